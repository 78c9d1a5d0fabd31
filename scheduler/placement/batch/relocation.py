"""Has running pods make room for a Placement: they are replaced elsewhere, or evicted.

Moves come first, for they cost nobody anything: the replacement runs before the pod goes. Victims
are evicted last, when all that can be known beforehand says that the Placement can then be
committed. What has begun is in the status before a pod is touched, so a restart does not forget
what of the limits is used up; marks on pods are taken back by the next leader.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ...informer import Informer
from ...objects.meta import now_seconds
from ...objects.placement_job import (
    RESOURCE,
    Nominated,
    PlacementJob,
    PlacementStatus,
    Victim,
)
from ...objects.pod import Pod
from ...objects.rebalance_job import PlannedMove, RebalanceSpec, RebalanceStatus
from ...objects.stored import ObjectKey
from ...plugin_manager import Rules
from ...store.store import Store
from ..live import Absence
from ..orders import Order, OrderWriter
from ..plan import PendingPod
from ..preemption import Preemption
from ..rebalance.lookout import Lookout
from ..rebalance.marks import Marks
from ..rebalance.progress import beginning, settled
from ..scenario import Scenario
from ..simulator import live_cluster
from ..tenancy import RunningPod, violating
from .clearance import Clearance, Eviction
from .outcome import Outcome
from .preparation import scope_of
from .renewal import renew

_PARALLEL = 4  # moves at a time
_LOOK = 0.5  # seconds between two looks at pods
_PODS = "pods"
_BUDGETS = 10.0  # and at the cluster, while disruption budgets allow no move

Tell = Callable[[PlacementStatus], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Clearing:
    """How far making room came.

    Args:
        why: it was given up, "" if there is room.
    """

    status: PlacementStatus
    why: str = ""


class Relocation:
    """Moves and evicts for one Placement at a time, as the leader of one epoch.

    Args:
        marks: shared with everybody who has pods moved.
        pods: an informer that somebody else runs.
        preempted: told of a pod (key, uid) that it is made to go, and why.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        *,
        marks: Marks,
        pods: Informer[Pod],
        lookout: Lookout,
        preempted: Callable[[ObjectKey, str, str], None],
    ) -> None:
        self._store = store
        self._marks = marks
        self._pods = pods
        self._lookout = lookout
        self._preempted = preempted
        self._orders = OrderWriter(store, epoch, pods)
        self._moving = False
        self._nominated: list[PendingPod] = []

    async def run(
        self,
        job: PlacementJob,
        outcome: Outcome,
        rules: Rules,
        status: PlacementStatus,
        tell: Tell,
    ) -> Clearing:
        """Have everybody make room whom a plan names, and wait until they have.

        Raises:
            Fenced: another leader has taken over. Unavailable: the database does not answer.
            PluginError: a filter failed.
        """
        clearance = outcome.clearance
        if clearance is None:
            return Clearing(status)
        await self._lookout.synced()
        found = await self._move(job, clearance, rules, status, tell)
        if found.why or not clearance.evictions:
            return found
        return await self._evict(job, outcome, rules, found.status, tell)

    async def resume(self, nominated: Sequence[Nominated]) -> None:
        """Take back what somebody before this leader had said on pods.

        Raises:
            Fenced: another leader has taken over.
        """
        pods = [
            PendingPod(ObjectKey(_PODS, *each.pod.split("/", 1)), each.uid) for each in nominated
        ]
        await self._orders.write([Order(pod) for pod in pods])

    async def stop(self) -> None:
        """Take back what was said on pods; call it whatever came of a plan."""
        if self._moving:
            self._marks.want_moves(RESOURCE, ())
            await self._marks.settle()
            self._moving = False
        nominated, self._nominated = self._nominated, []
        if nominated:
            await self._orders.write([Order(pod) for pod in nominated])

    async def _move(
        self,
        job: PlacementJob,
        clearance: Clearance,
        rules: Rules,
        status: PlacementStatus,
        tell: Tell,
    ) -> Clearing:
        seconds, scope = job.spec.limits.wait_seconds, scope_of(job)
        spec = RebalanceSpec(move_seconds=seconds)
        state = RebalanceStatus(moves=planned_moves(clearance), room=_served(clearance))
        patience = time.monotonic() + seconds
        again = 0.0  # when budgets are asked again
        while state.moves or state.active:
            most = _PARALLEL - len(state.active)
            if state.moves and most and time.monotonic() >= again:
                cluster = await live_cluster(self._store, Absence())
                found = await asyncio.to_thread(
                    beginning, state, cluster, rules.filters, scope, most, rules.batch
                )
                if found.stale:
                    return Clearing(status, found.stale)
                begun = tuple(replace(move, since=now_seconds()) for move in found.now)
                state = replace(state, moves=found.left, active=(*state.active, *begun))
                again = time.monotonic() + (0.0 if begun else _BUDGETS)
                if begun:
                    patience = time.monotonic() + seconds
                    shown = (*state.active, *state.moves)
                    status = replace(status, moved=status.moved + len(begun), moves=shown)
                    await tell(status)
            self._moving = True
            self._marks.want_moves(RESOURCE, state.active)
            await self._marks.settle()
            if not state.active and time.monotonic() > patience:
                why = f"disruption budgets have allowed no move for {seconds} s"
                return Clearing(status, why)
            await asyncio.sleep(_LOOK)
            before = len(state.active)
            state = settled(state, spec, self._lookout.see, now_seconds())
            if len(state.active) < before:
                again = 0.0
            if state.missed:
                return Clearing(status, state.message)
        return Clearing(status)

    async def _evict(
        self,
        job: PlacementJob,
        outcome: Outcome,
        rules: Rules,
        status: PlacementStatus,
        tell: Tell,
    ) -> Clearing:
        assert outcome.clearance is not None
        cluster = await live_cluster(self._store, Absence())
        present = list(_present(outcome.clearance.evictions, cluster))
        going = [pod for _, pod in present if not pod.leaving]
        broken, _ = violating(going, tuple(cluster.budgets.values()))
        if broken:
            name = f"{broken[0].key.namespace}/{broken[0].key.name}"
            why = f"a PodDisruptionBudget does not let pod {name} be evicted any more"
            return Clearing(status, why)
        for each, pod in present:
            cluster.stop(pod.uid, each.node)
        renewed = await asyncio.to_thread(renew, job, outcome, cluster, rules)
        if renewed.outcome is None:
            return Clearing(status, renewed.why)
        orders = _orders(present)
        self._nominated = [order.pod for order in orders]
        promised = tuple([Nominated(_name(pod), pod.uid) for pod in self._nominated])
        status = replace(status, evicted=status.evicted + len(going), nominated=promised)
        await tell(status)
        await self._orders.write(orders)
        for order in orders:
            for victim, why in order.departures():
                self._preempted(victim.key, victim.uid, why)
        uids, seconds = {pod.uid for _, pod in present}, job.spec.limits.wait_seconds
        end = time.monotonic() + seconds
        while left := [pod for _, pod in present if self._is_there(pod, uids)]:
            if time.monotonic() > end:
                name = f"{left[0].key.namespace}/{left[0].key.name}"
                return Clearing(status, f"pod {name} has not gone within {seconds} s")
            await asyncio.sleep(_LOOK)
        return Clearing(status)

    def _is_there(self, pod: RunningPod, uids: set[str]) -> bool:
        known = self._pods.items.get(pod.key)
        return known is not None and known.meta.uid in uids and not known.terminal


def planned_moves(clearance: Clearance) -> tuple[PlannedMove, ...]:
    """Return moves as a status tells of them."""
    return tuple(
        PlannedMove(
            f"{each.pod.key.namespace}/{each.pod.key.name}",
            each.pod.uid,
            each.source,
            each.target,
            _sake(each.sake),
        )
        for each in clearance.moves
    )


def planned_victims(clearance: Clearance) -> tuple[Victim, ...]:
    """Return evictions as a status tells of them."""
    return tuple(
        Victim(
            f"{each.pod.key.namespace}/{each.pod.key.name}",
            each.pod.uid,
            each.node,
            _sake(each.sake),
        )
        for each in clearance.evictions
    )


def _name(pod: PendingPod) -> str:
    return f"{pod.key.namespace}/{pod.key.name}"


def _sake(pod: PendingPod) -> str:
    return f"makes room for {_name(pod)}"


def _served(clearance: Clearance) -> tuple[str, ...]:
    """Return the pods that moves make room for."""
    return tuple(dict.fromkeys(_name(each.sake) for each in clearance.moves))


def _present(
    evictions: Sequence[Eviction], cluster: Scenario
) -> Iterator[tuple[Eviction, RunningPod]]:
    """Yield who has still to go, as it is now."""
    for each in evictions:
        pod = cluster.running.get(each.node, {}).get(each.pod.uid)
        if pod is not None:
            yield each, pod


def _orders(present: Sequence[tuple[Eviction, RunningPod]]) -> list[Order]:
    victims: dict[PendingPod, list[tuple[Eviction, RunningPod]]] = {}
    for each, pod in present:
        victims.setdefault(each.sake, []).append((each, pod))
    orders: list[Order] = []
    for sake, pairs in victims.items():
        first, _ = pairs[0]
        leave = Preemption(first.node, tuple(pod for _, pod in pairs))
        orders.append(Order(sake, first.wanted, "", leave))
    return orders
