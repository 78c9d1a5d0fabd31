"""Pods that others make room for: decided on in the cycle, carried out behind it.

A pod without a node gets one nominated and that node's victims are deleted, in that order, so that
after a crash in between nobody has left for a pod that nobody remembers. Until the writes are
known to the informer, the pod preempts nobody else.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import PluginError
from ..hookspecs import Filter, PodClass, Snapshot
from ..informer import Informer
from ..objects.disruption import DisruptionBudget
from ..objects.pod import Pod
from ..preemption_args import PreemptionArgs
from ..store.store import Store
from .draft import Draft
from .framework import Decision, Diagnosis, Framework
from .gang_preemption import Search, clear
from .gangs import Muster
from .nominations import NominatedFilter, Nominations, ReservedFilter
from .orders import Order, OrderWriter
from .plan import Allotment, PendingPod
from .preemption import BY_POLICY, NEVER, VICTIMS_LEAVE, Preemption, Scope, ineligible, preempt
from .reporting import Reporter
from .tenancy import Budget, Tenancy, is_being_cleared
from .tenants import Tenants

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Displaced:
    """What was decided for pods of one class that have no node.

    Args:
        orders: for those that others make room for, and those whose nomination is taken back.
        message: why nobody makes room for the others; "" when nobody was asked.
        waiting: uids of those whose victims are still going.
    """

    orders: Sequence[Order] = ()
    message: str = ""
    waiting: frozenset[str] = frozenset()

    def diagnoses(
        self, pods: Sequence[PendingPod], diagnosis: Diagnosis
    ) -> Iterable[tuple[Sequence[PendingPod], Diagnosis]]:
        """Return why pods have no node, those apart whose victims are still going."""
        yield [pod for pod in pods if pod.uid not in self.waiting], diagnosis
        if self.waiting:
            waiting = [pod for pod in pods if pod.uid in self.waiting]
            yield waiting, replace(diagnosis, preemption=VICTIMS_LEAVE)


class Displacement:
    """Nominates nodes, keeps their room, and sees the victims off.

    Args:
        pods: what was last seen of them.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        pods: Informer[Pod],
        budgets: Informer[DisruptionBudget],
        reporter: Reporter,
        nominations: Nominations,
    ) -> None:
        self._orders = OrderWriter(store, epoch, pods)
        self._budgets = budgets
        self._reporter = reporter
        self._under_way: set[str] = set()  # uids of pods whose orders are being written
        self._start = 0  # the row where the next search for victims starts
        self.nominations = nominations

    def is_under_way(self, uid: str) -> bool:
        """Tell whether orders about a pod are being written; nobody else writes its status now."""
        return uid in self._under_way

    def place(
        self, framework: Framework, pod: PodClass, pending: Sequence[PendingPod], draft: Draft
    ) -> list[Allotment]:
        """Place pods of a class, nominated ones on their nodes first, and keep others' room."""
        reserved = self.nominations.reserved(pod, draft.snapshot)
        if reserved is None:
            decision = framework.decide(pod, len(pending), draft)
            return [_allotment(pod, pending, decision, draft.snapshot)]
        also = ReservedFilter(framework.filters, draft.snapshot)
        found: list[Allotment] = []
        first = self._on_nominated(framework, pod, pending, draft, also)
        if first is not None:
            found.append(first)
            gone = {each.uid for each in first.pods}
            pending = [each for each in pending if each.uid not in gone]
            reserved = self.nominations.reserved(pod, draft.snapshot, gone)
        if pending:
            strict = Framework((*framework.filters, also), framework.scorers)
            kept = reserved or Draft(draft.snapshot)
            found.append(_beside(strict, pod, pending, draft, kept))
        return found

    def place_member(
        self,
        framework: Framework,
        pod: PodClass,
        pending: Sequence[PendingPod],
        draft: Draft,
        gang: Collection[str],
    ) -> list[Allotment]:
        """Place pods of a gang's class and keep the room of all but its members.

        Args:
            gang: uids of the members, who are all placed on this draft.
        """
        reserved = self.nominations.reserved(pod, draft.snapshot, gang)
        if reserved is None:
            decision = framework.decide(pod, len(pending), draft)
            return [_allotment(pod, pending, decision, draft.snapshot)]
        also = ReservedFilter(framework.filters, draft.snapshot)
        strict = Framework((*framework.filters, also), framework.scorers)
        return [_beside(strict, pod, pending, draft, reserved)]

    def preempt_together(
        self, muster: Muster, message: str, snapshot: Snapshot, tenants: Tenants, search: Search
    ) -> list[Order]:
        """Decide who makes room for a gang, so that enough of its members fit; or nobody does.

        Args:
            message: why it has no room.
        """
        members = [(pod, each) for pod, pods in muster.pods.items() for each in pods]
        nodes = {self.nominations.node_of(each.uid) for _, each in members} & set(snapshot.row_of)
        wanted = min(muster.pods, key=lambda pod: pod.priority)
        if any(each.uid in self._under_way for _, each in members) or any(
            is_being_cleared(wanted, tenants[node]) for node in nodes
        ):
            return []
        had = [each for _, each in members if self.nominations.remove(each.uid)]
        tenancy = Tenancy(tenants, self._known_budgets(), self.nominations.by_node())
        try:
            clearing = clear(muster, snapshot, search, tenancy)
        except PluginError as error:
            logger.error("nobody makes room for PodGroup %s: %s", muster.gang.key.name, error)
            clearing = None
        orders: list[Order] = []
        victims = dict(clearing.victims) if clearing is not None else {}
        for pod, each, node in clearing.places if clearing is not None else ():
            for lower in self.nominations.lower(node, muster.gang.priority):
                self.nominations.remove(lower.uid)
                orders.append(Order(lower))
            self.nominations.add(each, pod, node)
            leave = Preemption(node, tuple(victims.pop(node, ())))
            orders.append(Order(each, pod, message, leave, muster.gang))
        nominated = {order.pod.uid for order in orders}
        orders += [Order(each) for each in had if each.uid not in nominated]
        self._under_way.update(order.pod.uid for order in orders)
        return orders

    def preempt(
        self,
        framework: Framework,
        allotment: Allotment,
        snapshot: Snapshot,
        tenants: Tenants,
        args: PreemptionArgs,
    ) -> Displaced:
        """Decide who makes room for the pods of an allotment that have no node."""
        pod, diagnosis = allotment.pod, allotment.decision.diagnosis
        if diagnosis is None or diagnosis.failure or not snapshot.size:
            return Displaced()
        if pod.spec.preemption_policy == NEVER:
            return Displaced(message=BY_POLICY)
        try:
            return self._decide(framework.filters, allotment, snapshot, tenants, args)
        except PluginError as error:
            logger.error("nobody makes room for %r: %s", pod, error)
            return Displaced()

    def placed(self, pods: Iterable[PendingPod]) -> None:
        """Forget the nominations of pods that have been given a node."""
        if len(self.nominations):
            for pod in pods:
                self.nominations.remove(pod.uid)

    async def carry_out(self, orders: Sequence[Order]) -> None:
        """Write nominations, then delete victims; whatever fails is decided on again later.

        Raises:
            Fenced: another leader has taken over.
        """
        try:
            await self._orders.write(orders)
            for order in orders:
                if order.preemption is not None:
                    self._reporter.unschedulable((order.pod,), order.message)
                for victim, why in order.departures():
                    self._reporter.preempted(victim.key, victim.uid, why)
        finally:
            self._under_way.difference_update(order.pod.uid for order in orders)

    def _on_nominated(
        self,
        framework: Framework,
        pod: PodClass,
        pending: Sequence[PendingPod],
        draft: Draft,
        also: Filter,
    ) -> Allotment | None:
        """Place pods whose nominated nodes will have them now."""
        snapshot = draft.snapshot
        there: dict[int, list[PendingPod]] = {}
        for each in pending:
            row = snapshot.row_of.get(self.nominations.node_of(each.uid))
            if row is not None:
                there.setdefault(row, []).append(each)
        if not there:
            return None
        uids = [each.uid for pods in there.values() for each in pods]
        room = np.zeros(snapshot.size, dtype=np.int64)
        for row, pods in there.items():
            room[row] = len(pods)
        kept = self.nominations.reserved(pod, snapshot, uids) or Draft(snapshot)
        narrow = Framework((*framework.filters, also, NominatedFilter(room)), ())
        decision = narrow.decide(pod, len(uids), kept)
        if not decision.rows.size:
            return None
        draft.add(pod, decision.rows)
        rows: list[int] = decision.rows.tolist()
        decision = replace(decision, asked=len(rows), alternatives=(), diagnosis=None)
        return Allotment(
            pod,
            tuple(there[row].pop(0) for row in rows),
            snapshot.names(decision.rows),
            (),
            decision,
        )

    def _decide(
        self,
        filters: Sequence[Filter],
        allotment: Allotment,
        snapshot: Snapshot,
        tenants: Tenants,
        args: PreemptionArgs,
    ) -> Displaced:
        pod = allotment.pod
        left = [each for each in allotment.left if each.uid not in self._under_way]
        waiting = self._waiting(pod, left, filters, snapshot, tenants)
        able = [each for each in left if each.uid not in waiting]
        if not able:
            return Displaced(waiting=waiting)
        had = {each.uid for each in able if self.nominations.remove(each.uid)}
        tenancy = Tenancy(tenants, self._known_budgets(), self.nominations.by_node())
        scope = Scope(args, self._start)
        found = preempt(pod, filters, snapshot, tenancy, len(able), scope)
        self._start = found.start
        why = allotment.decision.diagnosis.message if allotment.decision.diagnosis else ""
        orders: list[Order] = []
        for each, outcome in zip(able, found.chosen, strict=False):
            for lower in self.nominations.lower(outcome.node, pod.priority):
                self.nominations.remove(lower.uid)
                orders.append(Order(lower))
            self.nominations.add(each, pod, outcome.node)
            orders.append(Order(each, pod, why, outcome))
        orders += [Order(each) for each in able[len(found.chosen) :] if each.uid in had]
        self._under_way.update(order.pod.uid for order in orders)
        return Displaced(orders, found.message, waiting)

    def _waiting(
        self,
        pod: PodClass,
        pending: Sequence[PendingPod],
        filters: Sequence[Filter],
        snapshot: Snapshot,
        tenants: Tenants,
    ) -> frozenset[str]:
        """Return the uids of those that take no further victims, for theirs are still going."""
        nominated = {each.uid: self.nominations.node_of(each.uid) for each in pending}
        tenancy = Tenancy(tenants)
        wait = {
            node
            for node in {*nominated.values()} - {""}
            if ineligible(pod, node, filters, snapshot, tenancy)
        }
        return frozenset(uid for uid, node in nominated.items() if node in wait)

    def _known_budgets(self) -> list[Budget]:
        return [Budget.of(each) for each in self._budgets.items.values()]


def _beside(
    strict: Framework, pod: PodClass, pending: Sequence[PendingPod], draft: Draft, kept: Draft
) -> Allotment:
    """Place pods beside the room that is kept for others, and count them into the draft, too.

    As in kube-scheduler only filters look at the pods that it is kept for.
    """
    decision = strict.decide(pod, len(pending), kept, draft.snapshot)
    if decision.rows.size:
        draft.add(pod, decision.rows)
    return _allotment(pod, pending, decision, draft.snapshot)


def _allotment(
    pod: PodClass, pending: Sequence[PendingPod], decision: Decision, snapshot: Snapshot
) -> Allotment:
    names = snapshot.names(decision.rows)
    placed = len(names)
    return Allotment(pod, pending[:placed], names, pending[placed:], decision)
