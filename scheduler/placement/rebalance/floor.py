"""The cluster while moves are tried on it: pods leave their hosts and turn up on others.

Pure. A move is tried as placement will see it, with the pod still where it is; what comes of all
moves of a step is verified by the independent checker on the cluster without the pods that left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...batch_terms import Batch
from ...hookspecs import Change, Filter, Normalise, PodClass, Scores, Verdict
from ...objects.cohort import Cohort
from ...objects.stored import ObjectKey
from ...plugin_manager import GuardedBatchRule
from ...snapshot import Counts, Mask, Rows, Snapshot
from ..batch.stated import Stated, state
from ..checker import check
from ..draft import Draft
from ..framework import Decision, Framework
from ..inspection import inspect
from ..plan import Allotment, PendingPod, Plan
from ..residents import kinds_of
from ..scenario import Scenario, ScenarioPod
from ..tenancy import Budget
from ..what_if import WhatIf
from .movability import Scope, is_daemon, why_fixed
from .rulebook import BatchRules, Put, Rulebook, moved


@dataclass(frozen=True, slots=True)
class Tenant:
    """A running pod.

    Args:
        row: of its node.
        fixed: why it may not move, "" if it may.
        leaving: it is being deleted.
    """

    key: ObjectKey
    uid: str
    pod: PodClass
    row: int
    fixed: str
    leaving: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Moves that are worth making together: (number of the tenant, row it goes to)."""

    moves: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Among:
    """A filter that lets pods onto some nodes only."""

    hosts: Mask
    name: str = "RebalanceHosts"
    wakes_on: Change = field(default=Change.NODE_ADDED)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict:
        """Reject every other node."""
        return Verdict(self.hosts, "node(s) are not among the hosts that stay", False)


@dataclass(frozen=True, slots=True)
class Fullest:
    """Scores how full a node is already: a host that is nearly empty may soon be."""

    name: str = "Fullest"
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores:
        """Return the larger share of cpu and memory that is requested, in percent."""
        offered = np.maximum(snapshot.at(snapshot.allocatable[0], rows), 1)
        memory = np.maximum(snapshot.at(snapshot.allocatable[1], rows), 1)
        cpu = snapshot.at(snapshot.requested[0], rows) / offered
        return 100.0 * np.maximum(cpu, snapshot.at(snapshot.requested[1], rows) / memory)


class _Nobody:
    """Knows of no pod that is bound: those that move are taken out before."""

    def __contains__(self, uid: str, /) -> bool:
        return False

    def is_lodged(self, cohort: Cohort, ordinals: Iterable[int]) -> bool:
        """No pod of any cohort is."""
        return False

    def members(self, namespace: str, group: str) -> int:
        """None of any PodGroup are; they are never moved."""
        return 0


class Floor:
    """A scenario's hosts and tenants, with moves made so far.

    Args:
        filters: of the profile.
        batch: its batch rules, which hold for what is moved.
        coming: classes of which batch rules are told though none of them runs.

    Attributes:
        hosts: (N,) bool, chosen, ready and open to new pods.
        tenants: everything that runs on known nodes and is no daemon, by row.
        emptied: rows that moves have emptied.
        guests: row → classes that moves have brought.
        moved, evicted: numbers of tenants.
    """

    def __init__(
        self,
        scenario: Scenario,
        filters: Sequence[Filter],
        scope: Scope,
        batch: Sequence[GuardedBatchRule] = (),
        coming: Sequence[PodClass] = (),
    ) -> None:
        self._of = (scenario, filters, scope, batch)
        self._coming = coming
        self.batch = tuple(batch)
        self.filters = tuple(filters)
        self._framework = Framework(self.filters, ())
        self.base = scenario.state.freeze(scenario.revision)
        self.hosts = _hosts(self.base, scope)
        self.tenants = _tenants(scenario, self.base, scope)
        self.on: dict[int, list[int]] = {}
        for number, tenant in enumerate(self.tenants):
            self.on.setdefault(tenant.row, []).append(number)
        self.what_if = WhatIf(
            self.base,
            np.array([t.row for t in self.tenants], dtype=np.int64),
            *kinds_of(t.pod for t in self.tenants),
            np.array([t.leaving for t in self.tenants], dtype=np.bool_),
        )
        self.guests: dict[int, list[PodClass]] = {}
        for waits in scenario.nominees.values():
            node = waits.pod.status.nominated_node_name
            if node in self.base.row_of:
                self.invite(waits.wanted, self.base.row_of[node])
        self.awaited = frozenset(self.guests)
        self.emptied: set[int] = set()
        self.moved: set[int] = set()
        self.evicted: set[int] = set()

    def fresh(self) -> "Floor":
        """Return it with nobody moved."""
        return Floor(*self._of)

    @cached_property
    def rulebook(self) -> Rulebook | None:
        """Batch rules, and where tenants are after the moves made so far; None without rules.

        Raises:
            PluginError: a batch rule failed.
        """
        if not self.batch:
            return None
        away, everybody = self.what_if.away, np.arange(len(self.tenants))
        self.what_if.send_away(everybody[~away])
        alone = self.what_if.snapshot()
        alone = replace(alone, requested=alone.requested.copy())  # it is kept
        pods, rows = [each.pod for each in self.tenants], [each.row for each in self.tenants]
        book = Rulebook(self.batch, alone, pods, rows, self._coming)
        self.what_if.take_back(everybody[~away])
        return book

    def stated(self, pods: Sequence[tuple[PodClass, int]], leave: Rows, rows: Rows) -> Stated:
        """Return what batch rules say of placing so many pods of each class on some rows.

        Args:
            leave: numbers of tenants who are not there then; they are now.

        Raises:
            PluginError: a batch rule failed.
        """
        if not self.batch:
            return Stated()
        self.what_if.send_away(leave)
        count = np.array([many for _, many in pods], dtype=np.int64)
        batch = Batch(self.snapshot(), rows, tuple([pod for pod, _ in pods]), count)
        found = state(batch, self.batch)
        self.what_if.take_back(leave)
        return found

    def used(self) -> Mask:
        """Return which chosen hosts have pods that stay."""
        used = self.base.none()
        used[[row for row in (*self.on, *self.guests) if row not in self.emptied]] = True
        return used & self.hosts

    def snapshot(self) -> Snapshot:
        """Return the cluster after the moves made so far."""
        return self.what_if.snapshot(np.array(sorted(self.guests), dtype=np.int64))

    def invite(self, pod: PodClass, row: int) -> None:
        """Count a pod that comes to a host."""
        self.guests.setdefault(row, []).append(pod)
        self.what_if.invite(pod, row)

    def uninvite(self, pod: PodClass, row: int) -> None:
        """Take back a pod that was to come."""
        self.guests[row].remove(pod)
        self.what_if.invite(pod, row, -1)
        if not self.guests[row]:
            del self.guests[row]

    def why_not_empty(self, row: int) -> str:
        """Return which pod keeps a host from being emptied and why, "" if none does."""
        if row in self.awaited:
            return "a pod that waits has been nominated to it"
        fixed = next((self.tenants[n] for n in self.on[row] if self.tenants[n].fixed), None)
        if fixed is None:
            return ""
        return f"pod {fixed.key.namespace}/{fixed.key.name}: {fixed.fixed}"

    def by_class(self, numbers: Iterable[int]) -> dict[PodClass, list[int]]:
        """Return tenants by class, those that are hardest to place first."""
        found: dict[PodClass, list[int]] = {}
        for number in numbers:
            found.setdefault(self.tenants[number].pod, []).append(number)
        return dict(sorted(found.items(), key=lambda each: -self.size_of(each[0])))

    def size_of(self, pod: PodClass) -> float:
        """Return the largest share of the largest host that a pod asks for."""
        rows = self.base.resource_row
        offered = np.maximum(self.base.allocatable.max(axis=1, initial=1), 1)
        asked = pod.requests.amounts.items()
        return max((a / offered[rows[name]] for name, a in asked if name in rows), default=0.0)

    def fit(self, numbers: Sequence[int], targets: Mask) -> Step | None:
        """Return where tenants would go one after another, None if one has no other host."""
        book, draft, members = self.rulebook, Draft(self.snapshot()), self.by_class(numbers)
        sources = {pod: [self.tenants[n].row for n in each] for pod, each in members.items()}
        rules = (BatchRules(book, sources),) if book else ()
        framework = Framework((Among(targets), *rules, *self.filters), (Fullest(),))
        moves: list[tuple[int, int]] = []
        changes: list[Put] = []
        for pod, mine in members.items():
            rows: list[int] = framework.decide(pod, len(mine), draft).rows.tolist()
            if len(rows) < len(mine):
                break
            moves += zip(mine, rows, strict=True)
            if book:
                changes += (now := moved(pod, sources[pod], rows))
                book.add(now)
        if book:
            book.restore(changes)
        return Step(tuple(moves)) if len(moves) == len(numbers) else None

    def opens(self, number: int) -> Mask | None:
        """Return (N,) where batch rules' terms let a tenant come, None for everywhere."""
        return self.rulebook.opens(self.tenants[number].pod) if self.rulebook else None

    def takes(self, number: int, row: int) -> bool:
        """Tell whether a row takes a tenant that is still where it is."""
        pod, snapshot = self.tenants[number].pod, self.snapshot()
        return row in inspect(pod, snapshot, self.filters, ()).rows

    def make(self, step: Step) -> bool:
        """Carry a step out if the checker and batch rules find nothing wrong with it."""
        numbers = np.array([number for number, _ in step.moves], dtype=np.int64)
        self.what_if.send_away(numbers)
        wrong = check(self._plan(step), self.snapshot(), _Nobody(), ignores=self._framework.ignores)
        if wrong or (self.rulebook and self.rulebook.move(self._ways(step))):
            self.what_if.take_back(numbers)
            return False
        for number, row in step.moves:
            self.invite(self.tenants[number].pod, row)
            self.moved.add(number)
        left = {self.tenants[number].row for number, _ in step.moves}
        self.emptied |= {row for row in left if self.moved.issuperset(self.on[row])}
        return True

    def undo(self, step: Step) -> None:
        """Take a step back that was made."""
        for number, row in step.moves:
            self.uninvite(self.tenants[number].pod, row)
            self.moved.discard(number)
            self.emptied.discard(self.tenants[number].row)
        self.what_if.take_back(np.array([number for number, _ in step.moves], dtype=np.int64))
        if self.rulebook:
            for pod, source, target in self._ways(step):
                self.rulebook.restore(moved(pod, [source], [target]))

    def evict(self, numbers: Sequence[int]) -> None:
        """Have tenants go for good."""
        if self.rulebook:
            self.rulebook.add((self.tenants[n].pod, self.tenants[n].row, -1) for n in numbers)
        self.what_if.send_away(np.array(numbers, dtype=np.int64))
        self.evicted |= set(numbers)

    def readmit(self, numbers: Sequence[int]) -> None:
        """Have tenants back that were evicted."""
        if self.rulebook:
            self.rulebook.add((self.tenants[n].pod, self.tenants[n].row, 1) for n in numbers)
        self.what_if.take_back(np.array(numbers, dtype=np.int64))
        self.evicted -= set(numbers)

    def able(self) -> list[int]:
        """Return the tenants that may still be moved."""
        out = self.moved | self.evicted
        return [n for n, t in enumerate(self.tenants) if not t.fixed and n not in out]

    def holds_beside(self, step: Step) -> bool:
        """Tell whether moves hold with every pod still where it is, as while they are made."""
        draft = Draft(self.base)
        for number, row in step.moves:
            wanted = np.zeros(self.base.size, dtype=np.int64)
            wanted[row] = 1
            if not self._framework.follow(self.tenants[number].pod, wanted, draft).size:
                return False
        return not check(self._plan(step), self.base, _Nobody(), ignores=self._framework.ignores)

    def _ways(self, step: Step) -> list[tuple[PodClass, int, int]]:
        tenants = self.tenants
        return [(tenants[n].pod, tenants[n].row, row) for n, row in step.moves]

    def _plan(self, step: Step) -> Plan:
        rows = dict(step.moves)
        nothing = np.zeros(0, dtype=np.int64)
        allotments: list[Allotment] = []
        for pod, members in self.by_class(rows).items():
            pods = [PendingPod(self.tenants[n].key, self.tenants[n].uid) for n in members]
            names = self.base.names(np.array([rows[n] for n in members], dtype=np.int64))
            allotments.append(Allotment(pod, pods, names, (), Decision(pod, 0, nothing)))
        return Plan(self.base.revision, tuple(allotments))


def _hosts(snapshot: Snapshot, scope: Scope) -> Mask:
    chosen = np.array([scope.hosts.matches(node.labels) for node in snapshot.nodes], dtype=np.bool_)
    return chosen & snapshot.ready & ~snapshot.unschedulable


def _tenants(scenario: Scenario, snapshot: Snapshot, scope: Scope) -> tuple[Tenant, ...]:
    budgets = tuple(scenario.budgets.values())
    found = [
        _tenant(each, snapshot.row_of[each.pod.node], scope, budgets)
        for each in scenario.bound.values()
        if each.pod.node in snapshot.row_of and not is_daemon(each.pod)
    ]
    return tuple(sorted(found, key=lambda tenant: (tenant.row, tenant.key)))


def _tenant(pod: ScenarioPod, row: int, scope: Scope, budgets: Sequence[Budget]) -> Tenant:
    reason = why_fixed(pod, scope, budgets)
    leaving = pod.pod.meta.deletion_timestamp is not None
    return Tenant(pod.key, pod.pod.meta.uid, pod.wanted, row, reason, leaving)
