"""Pods that others make room for: decided on in the cycle, carried out behind it.

A pod without a node gets one nominated and that node's victims are deleted, in that order, so that
after a crash in between nobody has left for a pod that nobody remembers. Until the writes are
known to the informer, the pod preempts nobody else.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from ..errors import Conflict, Fenced, PluginError, StatusError, Unavailable
from ..hookspecs import Filter, PodClass, Snapshot
from ..informer import Informer
from ..objects.deletion import DeletionRequest, delete
from ..objects.disruption import BY_PREEMPTION, DisruptionBudget, targeted
from ..objects.json import JsonObject
from ..objects.meta import now_seconds
from ..objects.pod import Pod
from ..objects.pod_class import pod_class
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Remove, Replace, Write
from ..store.store import Store
from .draft import Draft
from .framework import Decision, Framework
from .gang_preemption import Search, clear
from .gangs import Muster
from .nominations import NominatedFilter, Nominations, ReservedFilter
from .plan import Allotment, Gang, PendingPod
from .preemption import (
    NEVER,
    Budget,
    Preemption,
    RunningPod,
    Tenancy,
    helpable,
    is_being_cleared,
    preempt,
)
from .reporting import Reporter
from .state import ClusterState

logger = logging.getLogger(__name__)

NODE = "node"  # the index of the pods' informer that this needs
_TRIES = 5
_READERS = 8
_PAUSE = 1.0
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)

Edit = Callable[[StoredObject], Write | None]


class Order(msgspec.Struct, frozen=True):
    """A pod that gets a nominated node, or loses the one it had.

    Args:
        message: why it has no node yet.
        preemption: None takes its nomination back.
        gang: whose member it is, if room is made for all of them.
    """

    pod: PendingPod
    wanted: PodClass | None = None
    message: str = ""
    preemption: Preemption | None = None
    gang: Gang | None = None


class Tenants(Mapping[str, Sequence[RunningPod]]):
    """The pods on each node, as they are now; made node by node when asked for."""

    def __init__(self, pods: Informer[Pod], state: ClusterState) -> None:
        self._pods = pods
        self._state = state
        self._known: dict[str, tuple[RunningPod, ...]] = {}

    def __getitem__(self, node: str) -> Sequence[RunningPod]:
        known = self._known.get(node)
        if known is None:
            found = self._pods.by_index(NODE, node)
            counted = [p for p in found if not p.terminal and p.meta.uid in self._state]
            residents = sorted(
                [RunningPod.of(pod, pod_class(pod)) for pod in counted], key=lambda each: each.key
            )
            known = self._known[node] = tuple(residents)
        return known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class Displacement:
    """Nominates nodes, keeps their room, and sees the victims off.

    Args:
        pods: indexed by NODE.
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
        self._store = store
        self._epoch = epoch
        self._pods = pods
        self._budgets = budgets
        self._reporter = reporter
        self._under_way: set[str] = set()  # uids of pods whose orders are being written
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
    ) -> list[Order]:
        """Decide who makes room for the pods of an allotment that have no node."""
        pod, diagnosis = allotment.pod, allotment.decision.diagnosis
        if diagnosis is None or diagnosis.failure or pod.spec.preemption_policy == NEVER:
            return []
        try:
            return self._orders(framework.filters, allotment, snapshot, tenants)
        except PluginError as error:
            logger.error("nobody makes room for %r: %s", pod, error)
            return []

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
            await self._write({order.pod.key: _nomination(order) for order in orders})
            for order in orders:
                if order.preemption is not None:
                    self._reporter.unschedulable((order.pod,), order.message)
            gone: dict[ObjectKey, Edit] = {}
            for order in orders:
                for victim in order.preemption.victims if order.preemption else ():
                    if not victim.leaving and victim.key not in gone:
                        gone[victim.key] = _departure(victim, order)
                        self._reporter.preempted(victim.key, victim.uid, _why(order))
            await self._write(gone)
            await self._pods.reached(await self._revision())
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

    def _orders(
        self,
        filters: Sequence[Filter],
        allotment: Allotment,
        snapshot: Snapshot,
        tenants: Tenants,
    ) -> list[Order]:
        pod = allotment.pod
        open_nodes = helpable(pod, filters, snapshot)
        able: list[PendingPod] = []
        for each in allotment.left:
            node = self.nominations.node_of(each.uid)
            row = snapshot.row_of.get(node)
            waits = row is not None and open_nodes[row] and is_being_cleared(pod, tenants[node])
            if not waits and each.uid not in self._under_way:
                able.append(each)
        if not able:
            return []
        had = {each.uid for each in able if self.nominations.remove(each.uid)}
        tenancy = Tenancy(tenants, self._known_budgets(), self.nominations.by_node())
        outcomes = preempt(pod, filters, snapshot, tenancy, len(able))
        message = allotment.decision.diagnosis.message if allotment.decision.diagnosis else ""
        orders: list[Order] = []
        for each, outcome in zip(able, outcomes, strict=False):
            for lower in self.nominations.lower(outcome.node, pod.priority):
                self.nominations.remove(lower.uid)
                orders.append(Order(lower))
            self.nominations.add(each, pod, outcome.node)
            orders.append(Order(each, pod, message, outcome))
        orders += [Order(each) for each in able[len(outcomes) :] if each.uid in had]
        self._under_way.update(order.pod.uid for order in orders)
        return orders

    def _known_budgets(self) -> list[Budget]:
        return [Budget.of(each) for each in self._budgets.items.values()]

    async def _write(self, edits: Mapping[ObjectKey, Edit]) -> None:
        """Edit pods as they were last seen, and again as they are stored where a race was lost."""
        left = dict(edits)
        for number in range(_TRIES):
            try:
                left = await self._attempt(left, fresh=number > 0)
            except Unavailable as error:
                logger.warning("preemption waits: %s; trying again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)
            if not left:
                return
        logger.warning("%d writes of a preemption lost too many races", len(left))

    async def _attempt(
        self, edits: Mapping[ObjectKey, Edit], *, fresh: bool
    ) -> dict[ObjectKey, Edit]:
        """Try every edit once; return those that lost a race."""
        writes: list[tuple[ObjectKey, Write]] = []
        for key, found in (await self._present(list(edits), fresh=fresh)).items():
            write = edits[key](found)
            if write is not None:
                writes.append((key, msgspec.structs.replace(write, epoch=self._epoch)))
        again: dict[ObjectKey, Edit] = {}
        outcomes = await self._store.write_many([write for _, write in writes]) if writes else ()
        for (key, _), outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, Fenced):
                raise outcome
            if isinstance(outcome, Conflict):
                again[key] = edits[key]
            elif isinstance(outcome, StatusError):
                logger.debug("a write of a preemption was refused: %s", outcome)
        return again

    async def _present(
        self, keys: Sequence[ObjectKey], *, fresh: bool
    ) -> dict[ObjectKey, StoredObject]:
        """Return pods as the informer has them, or as they are stored if that is what is needed."""
        known = self._pods.items
        found = {} if fresh else {k: p.stored for k in keys if (p := known.get(k)) and p.stored}
        missing = [key for key in keys if key not in found]
        for start in range(0, len(missing), _READERS):
            part = missing[start : start + _READERS]
            stored = await asyncio.gather(*(self._store.get(key) for key in part))
            found.update({k: each for k, each in zip(part, stored, strict=True) if each})
        return found

    async def _revision(self) -> int:
        while True:
            try:
                return await self._store.revision()
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)


def _beside(
    strict: Framework, pod: PodClass, pending: Sequence[PendingPod], draft: Draft, kept: Draft
) -> Allotment:
    """Place pods beside the room that is kept for others, and count them into the draft, too."""
    decision = strict.decide(pod, len(pending), kept)
    if decision.rows.size:
        draft.add(pod, decision.rows)
    return _allotment(pod, pending, decision, draft.snapshot)


def _allotment(
    pod: PodClass, pending: Sequence[PendingPod], decision: Decision, snapshot: Snapshot
) -> Allotment:
    names = snapshot.names(decision.rows)
    placed = len(names)
    return Allotment(pod, pending[:placed], names, pending[placed:], decision)


def _nomination(order: Order) -> Edit:
    """Return the edit that writes or clears a waiting pod's nominated node."""
    node = order.preemption.node if order.preemption is not None else ""

    def edit(stored: StoredObject) -> Write | None:
        if stored.meta.uid != order.pod.uid or stored.binding is not None:
            return None
        status = _object.decode(stored.status or b"{}")
        if (status.get("nominatedNodeName") or "") == node:
            return None
        status["nominatedNodeName"] = node
        if not node:
            del status["nominatedNodeName"]
        encoded = msgspec.json.encode(status)
        return Replace(stored.resource, stored.meta, stored.body, encoded, stored.revision)

    return edit


def _departure(victim: RunningPod, order: Order) -> Edit:
    """Return the edit that deletes a victim as the API would, and says why."""
    scheduler = order.wanted.spec.scheduler_name if order.wanted is not None else ""
    message = f"{scheduler}: preempting to accommodate a higher priority pod"

    def edit(stored: StoredObject) -> Write | None:
        if stored.meta.uid != victim.uid or stored.meta.deletion_timestamp is not None:
            return None
        now = now_seconds()
        meta = delete(stored, DeletionRequest(), now)
        if meta is None:
            return Remove(stored.key, stored.meta.uid, stored.revision)
        status = targeted(stored.status, BY_PREEMPTION, message, now)
        return Replace(stored.resource, meta, stored.body, status, stored.revision)

    return edit


def _why(order: Order) -> str:
    assert order.preemption is not None
    return f"Preempted by pod {order.pod.uid} on node {order.preemption.node}"
