"""How far a Rebalance is: which moves have ended, which may begin now, what its status says.

Pure. Everything that has to outlive a process is in the status, written before it is acted upon.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from msgspec.structs import replace

from ...hookspecs import Filter, PodClass
from ...objects.pod import Pod
from ...objects.rebalance_job import (
    MOST_HOPELESS,
    MOST_HOSTS,
    FixedHost,
    GoalReached,
    Hopeless,
    HostCounts,
    Phase,
    PlannedMove,
    RebalanceSpec,
    RebalanceStatus,
    ShapeRoom,
)
from ...objects.replication import REPLACE_FIRST, REPLACES
from ...objects.windows import within
from ...plugin_manager import GuardedBatchRule
from ..batch.valuing import decimal_text
from ..draft import Draft
from ..framework import Framework
from ..scenario import Scenario, ScenarioPod
from ..tenancy import RunningPod, violating
from .defragmenting import Room
from .floor import Floor
from .movability import Scope, is_daemon, why_fixed
from .plan import Improved, RebalancePlan
from .rulebook import Put, Rulebook

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is seen of a move's pods.

    Args:
        leaving: the pod that is moved, None once it has gone or goes.
        landed: whether a replacement of it is on the host it was meant for.
        lost: whether that host takes no pods any more: it is gone, silent or cordoned.
        ending: whether the pod is being stopped, on a host that answers: it holds its room yet.
    """

    leaving: Pod | None
    landed: bool
    lost: bool = False
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which moves begin now.

    Args:
        left: planned ones that wait.
        stale: why the plan is worth nothing any more, "" if it is.
    """

    now: tuple[PlannedMove, ...]
    left: tuple[PlannedMove, ...]
    stale: str = ""


def told(
    status: RebalanceStatus, plan: RebalancePlan, spec: RebalanceSpec, now: datetime
) -> RebalanceStatus:
    """Return a status with a fresh plan."""
    moves = tuple(
        PlannedMove(f"{m.pod.namespace}/{m.pod.name}", m.uid, m.source, m.target, m.why)
        for m in plan.moves
    )
    phase = Phase.QUIET if not moves else Phase.MOVING if spec.mode == "auto" else Phase.PLANNED
    bound = "" if plan.bound is None else str(plan.bound)
    return replace(
        status,
        phase=phase,
        message="",
        last_plan_time=now,
        next_plan_time=now + timedelta(seconds=spec.interval_seconds),
        hosts=HostCounts(plan.total, plan.used, plan.after, bound),
        returnable=plan.empty[:MOST_HOSTS],
        moves=moves,
        fixed=tuple(FixedHost(host, reason) for host, reason in plan.fixed),
        room=tuple(f"{key.namespace}/{key.name}" for key in plan.room[:MOST_HOSTS]),
        hopeless=tuple(
            Hopeless(f"{pod.key.namespace}/{pod.key.name}", pod.uid, reason)
            for pod, reason in plan.hopeless[:MOST_HOPELESS]
        ),
        shapes=tuple(map(_shape_room, plan.rooms)),
        goals=tuple(map(_goal, plan.improved)),
    )


def _goal(improved: Improved) -> GoalReached:
    before, after = decimal_text(improved.before), decimal_text(improved.after)
    bound = "" if improved.bound is None else decimal_text(improved.bound)
    return GoalReached(improved.name, before, after, bound)


def _shape_room(room: Room) -> ShapeRoom:
    bound = "" if room.bound is None else str(room.bound)
    return ShapeRoom(room.wanted.name, room.wanted.count, room.fit, room.after, bound)


def settled(
    status: RebalanceStatus,
    spec: RebalanceSpec,
    see: Callable[[PlannedMove], Sighting],
    now: datetime,
) -> RebalanceStatus:
    """Return a status without the moves that have ended.

    Once all of a plan are made the next plan is due; after a miss the plan is worth nothing, and
    the next one comes in its time. A move is missed when its pod has gone and none stands in for it
    where it was meant to, when the host it was meant to go to is lost, or when it takes too long.
    A pod that is being stopped is waited for: a plan made beside it would see too little room.
    """
    active: list[PlannedMove] = []
    made, missed = 0, list[str]()
    for move in status.active:
        seen = see(move)
        late = move.since is not None and (now - move.since).total_seconds() > spec.move_seconds
        if seen.ending and not late:
            active.append(move)
        elif seen.leaving is None and seen.landed:
            made += 1
        elif seen.leaving is None:
            missed.append(f"pod {move.pod} went elsewhere than to {move.target}")
        elif seen.lost:
            missed.append(f"host {move.target}, where pod {move.pod} was to go, is lost")
        elif late:
            missed.append(f"pod {move.pod} was not replaced within {spec.move_seconds} s")
        else:
            active.append(move)
    status = replace(
        status,
        active=tuple(active),
        made=status.made + made,
        missed=status.missed + len(missed),
        begun=recent(status.begun, now),
    )
    if missed:
        return replace(status, moves=(), message=missed[0])
    if made and not active and not status.moves:
        return replace(status, next_plan_time=None)
    return status


def recent(begun: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return the times that are within the last hour."""
    return tuple(at for at in begun if now - at < _HOUR)


def allowance(status: RebalanceStatus, spec: RebalanceSpec, now: datetime) -> tuple[int, str]:
    """Return how many moves may begin now, and why no more where it is none."""
    if not within(spec.windows, now):
        return 0, f"waits for a window: {', '.join(spec.windows)} UTC"
    left = spec.budget.max_moves_per_hour - len(recent(status.begun, now))
    if left <= 0:
        return 0, f"has begun {spec.budget.max_moves_per_hour} moves within the hour"
    return max(0, min(left, spec.budget.max_parallel - len(status.active))), ""


def beginning(
    status: RebalanceStatus,
    cluster: Scenario,
    filters: Sequence[Filter],
    scope: Scope,
    most: int,
    batch: Sequence[GuardedBatchRule] = (),
) -> Beginning:
    """Return which planned moves begin now, each tried on the cluster as it is.

    Args:
        most: how many may.
        batch: rules that must be no worse off for a move, while both pods are there and after.

    Raises:
        PluginError: a filter or a batch rule failed.
    """
    stale = _worthless(status, cluster)
    if stale:
        return Beginning((), (), stale)
    book = Floor(cluster, filters, scope, batch).rulebook if batch else None
    return _Beginning(cluster, filters, scope, book).run(status, most)


def _worthless(status: RebalanceStatus, cluster: Scenario) -> str:
    """Return why moves gain nothing any more: their hosts will not be empty, the pod is gone."""
    if status.room:
        waiting = {pod.name for pod in cluster.pending}
        gone = waiting.isdisjoint(status.room)
        return f"pod {status.room[0]} does not wait any more" if gone else ""
    if status.shapes or status.goals:
        return ""  # no host is emptied; whether each still fits is tried
    known = {move.uid for move in (*status.moves, *status.active)}
    for source in dict.fromkeys(move.source for move in status.moves):
        for uid in cluster.running.get(source, {}):
            pod = cluster.bound[uid].pod
            if uid not in known and not is_daemon(pod) and pod.meta.deletion_timestamp is None:
                return f"pod {cluster.bound[uid].name} has come to host {source}"
    return ""


class _Beginning:
    def __init__(
        self,
        cluster: Scenario,
        filters: Sequence[Filter],
        scope: Scope,
        book: Rulebook | None,
    ) -> None:
        self._cluster = cluster
        self._book = book
        self._framework = Framework(filters, ())
        self._scope = scope
        self._draft = Draft(cluster.state.freeze(cluster.revision))
        self._leaving: list[Put] = []  # pods whose replacements are under way

    def run(self, status: RebalanceStatus, most: int) -> Beginning:
        going = self._under_way(status.active)
        if self._book:
            self._book.settle()
        now: list[PlannedMove] = []
        left: list[PlannedMove] = []
        for move in status.moves:
            there = self._cluster.bound.get(move.uid)
            if there is None or there.pod.node != move.source:
                continue
            if len(now) == most:
                left.append(move)
                continue
            reason = why_fixed(there, self._scope, ())
            if reason:
                return Beginning((), (), f"pod {move.pod} may not be moved any more: {reason}")
            pod = RunningPod.of(there.pod, there.wanted)
            broken, _ = violating([*going, pod], tuple(self._cluster.budgets.values()))
            if broken:
                left.append(move)
                continue
            reason, waits = self._against(there, move)
            if reason and (now or status.active) and (waits or status.goals):
                left.append(move)  # what is under way has to leave first
                continue
            if reason:
                return Beginning((), (), f"pod {move.pod} {reason}")
            now.append(move)
            going.append(pod)
        return Beginning(tuple(now), tuple(left))

    def _under_way(self, active: Sequence[PlannedMove]) -> list[RunningPod]:
        """Count in the replacements that are still to come; return the pods that leave."""
        landed = {p.pod.meta.annotations.get(REPLACES) for p in self._cluster.bound.values()}
        ours = {move.uid for move in active}
        going = [  # for others: a Placement, a drain
            RunningPod.of(each.pod, each.wanted)
            for uid, each in self._cluster.bound.items()
            if uid not in ours and each.pod.meta.annotations.get(REPLACE_FIRST) == "true"
        ]
        for move in active:
            there = self._cluster.bound.get(move.uid)
            if there is None:
                continue
            going.append(RunningPod.of(there.pod, there.wanted))
            row = self._draft.snapshot.row_of.get(there.pod.node)
            if row is not None:
                self._leaving.append((there.wanted, row, 1))
            if move.uid not in landed:
                self._take(there.wanted, move.target)
        for waits in self._cluster.nominees.values():
            if waits.pod.meta.annotations.get(REPLACES) not in ours:
                self._take(waits.wanted, waits.pod.status.nominated_node_name)
        return going

    def _take(self, wanted: PodClass, node: str) -> None:
        row = self._draft.snapshot.row_of.get(node)
        if row is not None:
            self._draft.add(wanted, np.array([row], dtype=np.int64))
            if self._book:
                self._book.add([(wanted, row, 1)])

    def _against(self, there: ScenarioPod, move: PlannedMove) -> tuple[str, bool]:
        """Count the replacement of a pod; return why it cannot come, and if that is of rules.

        A batch rule may be about how many pods there are, so what it says may pass.
        """
        row_of, wanted = self._draft.snapshot.row_of, there.wanted
        if move.target in row_of:
            target = row_of[move.target]
            leaves = (wanted, row_of[move.source], 1)
            why = self._book.begin(wanted, target, [*self._leaving, leaves]) if self._book else ""
            if why:
                return f"may not go to {move.target}: {why}", True
            if self._fits(wanted, target):
                self._leaving.append(leaves)
                return "", False
            if self._book:
                self._book.restore([(wanted, target, 1)])
        return f"does not fit on {move.target} any more", False

    def _fits(self, wanted: PodClass, row: int) -> bool:
        """Tell whether a pod fits on a row, and count it there if it does."""
        copies = np.zeros(self._draft.snapshot.size, dtype=np.int64)
        copies[row] = 1
        return self._framework.follow(wanted, copies, self._draft).size == 1
