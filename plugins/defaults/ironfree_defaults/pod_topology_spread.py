"""PodTopologySpread: pods of a selector are spread over topology domains."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from scheduler.hookspecs import (
    Alike,
    Change,
    Counts,
    CoupledScores,
    Mask,
    Mutual,
    Normalise,
    Obstacle,
    PodClass,
    Rejection,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject
from scheduler.objects.pod import TopologySpreadConstraint
from scheduler.snapshot import ABSENT

from .topology_arguments import HARD, SOFT, read_defaults
from .topology_domains import Census, Constraint, by_default, declared, gather, places
from .topology_obstacles import obstacles
from .topology_scores import HOSTNAME, SoftDomains, SpreadScores

_SKEWED = "node(s) didn't match pod topology spread constraints"
_UNLABELLED = f"{_SKEWED} (missing required label)"
_SYSTEM = (
    TopologySpreadConstraint(3, HOSTNAME, SOFT),
    TopologySpreadConstraint(5, "topology.kubernetes.io/zone", SOFT),
)


@dataclass(frozen=True)
class PodTopologySpread:
    """Kubernetes PodTopologySpread.

    Filter (DoNotSchedule): with one more pod, a domain has at most maxSkew more matching pods than
    the emptiest domain. Score (ScheduleAnyway): the fewer matching pods in a node's domains, the
    better, weighed by the logarithm of how many domains there are. Both count pods of the
    namespace that are not being deleted, on nodes that have every constraint's label and that the
    inclusion policies admit.

    Args:
        defaults: constraints of pods that have none; their selector is that of the pod's services
            and controllers.
        system: `defaults` are upstream's own: nodes lacking one of the labels are scored, too.
    """

    defaults: tuple[TopologySpreadConstraint, ...] = _SYSTEM
    system: bool = True
    name: str = "PodTopologySpread"
    wakes_on: Change = (
        Change.NODE_ADDED
        | Change.NODE_REMOVED
        | Change.NODE_LABELS
        | Change.NODE_TAINTS
        | Change.POD_PLACED
        | Change.POD_REMOVED
        | Change.POD_LABELS
    )
    weight: int = 2
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (PodTopologySpreadArgs).

        Raises:
            ConfigurationError: an argument is not allowed (ValidatePodTopologySpreadArgs).
        """
        defaults = read_defaults(args, cls.name)
        return cls() if defaults is None else cls(defaults, system=False)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Close domains that would be too far ahead of the emptiest, and nodes in no domain."""
        constraints = self._constraints(pod, snapshot, HARD)
        if not constraints:
            return None
        census = Census(pod, constraints, snapshot)
        domains = [_HardDomains(each, census, snapshot) for each in constraints]
        rooms = [each.room.copy() for each in domains]
        coupling = None
        if any(each.grows for each in constraints):
            coupling = _SpreadRoom(domains)

        def because() -> Sequence[Rejection]:
            tell = partial(obstacles, pod, constraints, snapshot)
            return _rejections(domains, rooms, tell)

        room = rooms[0].copy()
        for each in rooms[1:]:
            room &= each
        return Verdict(room, because, coupling=coupling)

    def score(
        self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts
    ) -> Scores | CoupledScores | None:
        """Score domains with fewer matching pods higher; nodes lacking a label get 0."""
        constraints = self._constraints(pod, snapshot, SOFT)
        if not constraints:
            return None
        require_all = not self.system or bool(pod.spec.topology_spread_constraints)
        census = Census(pod, constraints, snapshot, require_all=require_all)
        idle = require_all and not any(each.grows for each in constraints)
        if idle and not any(census.pods(each).any() for each in constraints):
            return census.labelled[rows] * np.int64(100)
        domains = [SoftDomains(each, census, snapshot) for each in constraints]
        return SpreadScores(domains, None if census.labelled.all() else census.labelled)

    def mutual(self, pods: Sequence[PodClass], snapshot: Snapshot, rows: Rows) -> Iterable[Mutual]:
        """Say what one more pod of a batch in its domains takes off a pod's score.

        Scores are scaled by the largest raw score that there would be with one pod more.
        """
        for c, pod in enumerate(pods):
            constraints = self._constraints(pod, snapshot, SOFT)
            if not constraints:
                continue
            require_all = not self.system or bool(pod.spec.topology_spread_constraints)
            census = Census(pod, constraints, snapshot, require_all=require_all)
            domains = [SoftDomains(each, census, snapshot) for each in constraints]
            labelled = None if census.labelled.all() else census.labelled
            points = SpreadScores(domains, labelled).points(rows)
            for constraint, domain, taken in zip(constraints, domains, points, strict=True):
                counted = [
                    number
                    for number, other in enumerate(pods)
                    if other.namespace == pod.namespace
                    and constraint.selector.matches(other.labels)
                ]
                if counted:
                    yield Mutual(c, dict.fromkeys(counted, -taken), domain.homes)

    def _constraints(self, pod: PodClass, snapshot: Snapshot, action: str) -> Sequence[Constraint]:
        if pod.spec.topology_spread_constraints:
            return declared(pod, action)
        if not self.defaults:
            return ()
        chosen = (each for each in self.defaults if each.when_unsatisfiable == action)
        return by_default(pod, chosen, snapshot)


class _HardDomains:
    """The domains of one DoNotSchedule constraint.

    `room` is (N,) bool, where this constraint admits the next copy.
    """

    def __init__(self, constraint: Constraint, census: Census, snapshot: Snapshot) -> None:
        column = snapshot.label(constraint.key)
        size = len(column.code_of)
        self._grows = constraint.grows
        self._part = census.part(constraint)
        self.places = places(column.codes)
        self._counts = gather(self.places, census.pods(constraint), self._part, size)
        self._known = np.zeros(size + 1, dtype=np.bool_)
        self._known[self.places[self._part]] = True
        self._floor = int(np.count_nonzero(self._known)) < constraint.min_domains
        self._allowed = constraint.max_skew - constraint.includes_self
        self._sizes: Counts | None = None
        self._open()

    def put(self, row: int) -> None:
        """Count one more copy on a row."""
        if not self._grows or not self._part[row]:
            return
        domain = int(self.places[row])
        count = int(self._counts[domain]) + 1
        self._counts[domain] = count
        if not self._floor and count - 1 == self._least:
            self._at_least -= 1
            if not self._at_least:
                self._open()
                return
        if count == self._limit + 1:
            self._close(domain, row)

    def groups(self) -> Alike:
        """Return what tells nodes apart: the domain, and whether their pods count."""
        return self.places, self._part

    def fold(self, rows: Rows) -> "_HardDomains":
        """Return these domains with one node a group."""
        folded = copy(self)
        folded.places, folded._part = self.places[rows], self._part[rows]
        folded._counts = self._counts.copy()
        folded._sizes = None
        folded._open()
        return folded

    def _open(self) -> None:
        """Find the emptiest domain and all that are not too far ahead of it."""
        if self._floor:
            self._least = self._at_least = 0
        else:
            known = self._counts[self._known]
            self._least = int(known.min()) if known.size else 0
            self._at_least = int(np.count_nonzero(known == self._least))
        self._limit = self._least + self._allowed
        admitted = self._counts <= self._limit
        admitted[ABSENT] = False
        self.room: Mask = admitted[self.places]

    def _close(self, domain: int, row: int) -> None:
        if self._sizes is None:
            self._sizes = np.bincount(self.places + 1, minlength=self._counts.size)
        if self._sizes[domain + 1] == 1:
            self.room[row] = False
        else:
            self.room[self.places == domain] = False


class _SpreadRoom:
    """Coupling of a pod's DoNotSchedule constraints."""

    settled = False

    def __init__(self, domains: Sequence[_HardDomains]) -> None:
        self._domains = domains

    def put(self, row: int) -> None:
        """Count one more copy on a row."""
        for each in self._domains:
            each.put(row)

    def room(self) -> Mask:
        """Return where the next copy may run."""
        if len(self._domains) == 1:
            return self._domains[0].room
        return np.logical_and.reduce([each.room for each in self._domains])

    def groups(self) -> Alike:
        """Return what tells nodes apart."""
        return [column for each in self._domains for column in each.groups()]

    def fold(self, rows: Rows) -> "_SpreadRoom":
        """Return the same with one node a group."""
        return _SpreadRoom([each.fold(rows) for each in self._domains])


def _rejections(
    domains: Sequence[_HardDomains],
    rooms: Sequence[Mask],
    tell: Callable[[int], Sequence[Obstacle]],
) -> Sequence[Rejection]:
    """Give each node the reason of the first constraint it fails."""
    left = np.ones(rooms[0].size, dtype=np.bool_)
    unlabelled = np.zeros(rooms[0].size, dtype=np.bool_)
    skewed = unlabelled.copy()
    for each, room in zip(domains, rooms, strict=True):
        missing = each.places == ABSENT
        unlabelled |= left & missing
        skewed |= left & ~room & ~missing
        left &= room
    change = Change.NODE_ADDED | Change.NODE_LABELS
    missing = Rejection(_UNLABELLED, unlabelled, False, change, tell)
    return missing, Rejection(_SKEWED, skewed, obstacles=tell)
