"""Chooses which running pods make room for what a Placement has no room for. Pure.

What the solver has placed stays where it is. For every pod that is left, the most valuable first,
the fewest running pods are moved that give it a node (as `rebalance.room` does), or else pods of
lower priority are evicted (as `preemption` does, but no disruption budget is broken). A gang gets
all it needs or nothing is done for it.

Moves come first and evictions after. A move is made only if it holds beside everybody who runs, so
that moves wait for nothing, least of all for each other. Where the eviction that preemption would
choose takes more victims than are left, the next one is tried, and so on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from ...hookspecs import Filter, PodClass
from ...objects.placement_job import Limits
from ...plugin_manager import Rules
from ..draft import Draft
from ..framework import Decision
from ..plan import PendingPod, Plan
from ..preemption import NEVER, preempt
from ..preemption import Scope as Search
from ..rebalance.floor import Among, Floor, Step
from ..rebalance.movability import Scope
from ..rebalance.room import step_for
from ..scenario import Scenario
from ..tenancy import Budget, RunningPod, Tenancy
from .following import Followed
from .preparation import Prepared
from .turns import Turn

_TRIED = 16  # hosts that are looked at for evictions within the limits, for one pod


@dataclass(frozen=True, slots=True)
class Move:
    """A running pod that is replaced on another host, for a pod of the Placement."""

    pod: RunningPod
    source: str
    target: str
    sake: PendingPod


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod of lower priority that leaves its node, for a pod of the Placement."""

    pod: RunningPod
    node: str
    sake: PendingPod
    wanted: PodClass


@dataclass(frozen=True, slots=True)
class Clearance:
    """Who makes room, and what then fits.

    Args:
        followed: rows of the snapshot by demand, with those that the solver had placed.
    """

    moves: tuple[Move, ...]
    evictions: tuple[Eviction, ...]
    followed: Followed


@dataclass(frozen=True, slots=True)
class Ground:
    """Where room is made.

    Args:
        cluster: without nominations of the Placement's pods.
        scope: which pods may be moved, and among which hosts.
        over: tells that it is time to come to an end.
    """

    cluster: Scenario
    rules: Rules
    limits: Limits
    scope: Scope
    over: Callable[[], bool] = lambda: False


def clear(
    prepared: Prepared, plan: Plan, turns: Sequence[Turn], ground: Ground, floor: Floor
) -> Clearance:
    """Return who makes room for the pods that a plan leaves over.

    Args:
        turns: in which order the plan places pods.
        floor: of the ground's cluster, nobody moved yet; it is as it will be afterwards.

    Raises:
        PluginError: a filter failed.
    """
    return _Clearing(prepared, plan, turns, ground, floor).run()


def apply(clearance: Clearance, cluster: Scenario) -> None:
    """Have a scenario as it is once everybody has made room."""
    for move in clearance.moves:
        there = cluster.bound[move.pod.uid]
        cluster.stop(there.uid, move.source)
        moved = msgspec.structs.replace(there.pod, node=move.target)
        cluster.run(replace(there, pod=moved), move.target)
    for eviction in clearance.evictions:
        cluster.stop(eviction.pod.uid, eviction.node)


@dataclass(slots=True)
class _Made:
    """What has been done for one gang, or one class; can be taken back."""

    guests: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # class, row
    steps: list[tuple[Step, PendingPod]] = field(default_factory=list[tuple[Step, PendingPod]])
    gone: list[tuple[int, PendingPod, PodClass]] = field(
        default_factory=list[tuple[int, PendingPod, PodClass]]
    )


class _Clearing:
    def __init__(
        self, prepared: Prepared, plan: Plan, turns: Sequence[Turn], ground: Ground, floor: Floor
    ) -> None:
        self._prepared = prepared
        self._turns = turns
        self._demands = prepared.model.demands
        self._ground = ground
        self._filters: tuple[Filter, ...] = prepared.framework.filters
        self._floor = floor
        self._numbers = {each.uid: n for n, each in enumerate(self._floor.tenants)}
        placed = {each.pod: each for each in plan.allotments}
        row_of = prepared.snapshot.row_of
        self._rows: list[list[int]] = [[] for _ in self._demands]
        self._last: list[Decision | None] = [None for _ in self._demands]
        for c, demand in enumerate(self._demands):
            if demand.pod in placed:
                self._rows[c] = [row_of[node] for node in placed[demand.pod].nodes]
                self._last[c] = placed[demand.pod].decision
        self._done: list[_Made] = []
        for demand, rows in zip(self._demands, self._rows, strict=True):
            for row in rows:
                self._floor.invite(demand.pod, row)

    def run(self) -> Clearance:
        for unit in self._units():
            if self._ground.over():
                break
            made = _Made()
            self._done.append(made)
            for c in unit:
                self._serve(c, made)
            least = max(self._demands[c].least for c in unit)
            if sum(len(self._rows[c]) for c in unit) < least:
                self._take_back(made)
        rows = tuple([np.array(each, dtype=np.int64) for each in self._rows])
        turns = [(self._demands[c].pod, 1) for made in self._done for c, _ in made.guests]
        followed = Followed(rows, tuple(self._last), (*self._turns, *turns))
        return Clearance(tuple(self._moves()), tuple(self._evictions()), followed)

    def _units(self) -> list[list[int]]:
        """Return gangs and single classes that have pods left, the most valuable first."""
        units: dict[tuple[str, str] | int, list[int]] = {}
        for c, demand in enumerate(self._demands):
            gang = (demand.pod.namespace, demand.pod.group) if demand.least else c
            units.setdefault(gang, []).append(c)
        short = [
            unit
            for unit in units.values()
            if any(len(self._rows[c]) < self._demands[c].count for c in unit)
        ]
        return sorted(short, key=lambda unit: -max(self._demands[c].value for c in unit))

    def _serve(self, c: int, made: _Made) -> None:
        """Place what is left of a class, and make room for it as long as that works."""
        demand = self._demands[c]
        while (missing := demand.count - len(self._rows[c])) and not self._ground.over():
            draft = Draft(self._floor.snapshot())
            decision = self._prepared.framework.decide(demand.pod, missing, draft)
            self._last[c] = decision
            rows: list[int] = decision.rows.tolist()
            for row in rows:
                self._floor.invite(demand.pod, row)
            rows = rows or self._move(c, made) or self._evict(c, made)
            if not rows:
                return
            self._rows[c] += rows
            made.guests += [(c, row) for row in rows]

    def _move(self, c: int, made: _Made) -> list[int]:
        """Move pods so that one more of a class fits; returns where it goes, [] for nowhere."""
        left = self._ground.limits.max_moves - len(self._floor.moved)
        if left <= 0:
            return []
        sake = self._next(c)
        found = step_for(self._floor, self._demands[c].pod, left, self._holds_beside)
        if found is None:
            return []
        step, row = found
        made.steps.append((step, sake))
        return [row]

    def _holds_beside(self, step: Step) -> bool:
        """Tell whether moves hold, with those chosen before, while everybody is still there."""
        before = (move for made in self._done for each, _ in made.steps for move in each.moves)
        together = Step((*before, *step.moves))
        return self._floor.holds_beside(together)

    def _evict(self, c: int, made: _Made) -> list[int]:
        """Evict pods so that one more of a class fits; returns where it goes, [] for nowhere."""
        pod, rules = self._demands[c].pod, self._ground.rules
        left = self._ground.limits.max_preemptions - len(self._evicted())
        if left <= 0 or rules.preemption is None or pod.spec.preemption_policy == NEVER:
            return []
        snapshot = self._floor.snapshot()
        search, tenancy = Search(rules.preemption), self._tenancy()
        among = snapshot.every()
        for _ in range(_TRIED):
            filters = (Among(among), *self._filters)
            chosen = preempt(pod, filters, snapshot, tenancy, 1, search).chosen
            if not chosen or chosen[0].pdb_violations:  # nor is there one that breaks none
                return []
            row = snapshot.row_of[chosen[0].node]
            going = [victim for victim in chosen[0].victims if not victim.leaving]
            if len(going) <= left:
                self._see_off(c, made, chosen[0].victims, row)
                return [row]
            among[row] = False
        return []

    def _see_off(self, c: int, made: _Made, victims: Sequence[RunningPod], row: int) -> None:
        """Have pods leave a row for the next of a class, who is invited there."""
        pod, sake = self._demands[c].pod, self._next(c)
        numbers = [self._numbers[victim.uid] for victim in victims]
        self._floor.evict(numbers)
        made.gone += [(number, sake, pod) for number in numbers]
        self._floor.invite(pod, row)

    def _tenancy(self) -> Tenancy:
        """Return who could be evicted still; what is left of budgets."""
        away = self._floor.what_if.away
        cluster = self._ground.cluster
        running: Mapping[str, list[RunningPod]] = {
            node: [
                pod
                for uid, pod in pods.items()
                if uid in self._numbers and not away[self._numbers[uid]]
            ]
            for node, pods in cluster.running.items()
        }
        gone = self._evicted()
        return Tenancy(running, [_used_up(each, gone) for each in cluster.budgets.values()])

    def _evicted(self) -> list[RunningPod]:
        """Return who goes because of us."""
        tenants = [self._floor.tenants[number] for number in self._floor.evicted]
        return [self._running(tenant.uid) for tenant in tenants if not tenant.leaving]

    def _running(self, uid: str) -> RunningPod:
        node = self._ground.cluster.bound[uid].pod.node
        return self._ground.cluster.running[node][uid]

    def _next(self, c: int) -> PendingPod:
        return self._prepared.members[c][len(self._rows[c])]

    def _take_back(self, made: _Made) -> None:
        floor = self._floor
        for c, row in reversed(made.guests):
            self._rows[c].pop()  # nobody came after them
            floor.uninvite(self._demands[c].pod, row)
        floor.readmit([number for number, _, _ in made.gone])
        for step, _ in reversed(made.steps):
            floor.undo(step)
        self._done.remove(made)

    def _moves(self) -> Iterator[Move]:
        tenants, nodes = self._floor.tenants, self._floor.base.nodes
        for made in self._done:
            for step, sake in made.steps:
                for number, row in step.moves:
                    tenant = tenants[number]
                    source, target = nodes[tenant.row].name, nodes[row].name
                    yield Move(self._running(tenant.uid), source, target, sake)

    def _evictions(self) -> Iterator[Eviction]:
        tenants, nodes = self._floor.tenants, self._floor.base.nodes
        for made in self._done:
            for number, sake, wanted in made.gone:
                tenant = tenants[number]
                node = nodes[tenant.row].name
                yield Eviction(self._running(tenant.uid), node, sake, wanted)


def _used_up(budget: Budget, gone: Sequence[RunningPod]) -> Budget:
    used = sum(budget.covers(pod) for pod in gone)
    return msgspec.structs.replace(budget, allowed=budget.allowed - used)
