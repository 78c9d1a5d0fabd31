"""Topology domains: nodes grouped by a label, and how many pods of a selector each group has.

What PodTopologySpread's filter and scorer share. Constraints are compiled once per class, pods are
counted once per decision, class by class, and every further copy is one addition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.hookspecs import Counts, Mask, PodClass, Snapshot
from scheduler.objects.json import Json
from scheduler.objects.pod import LabelSelector, TopologySpreadConstraint
from scheduler.objects.pod_class import REPLICATION_CONTROLLERS, SERVICES
from scheduler.objects.selectors import (
    NOTHING,
    Requirement,
    Selector,
    from_label_selector,
    from_map,
)
from scheduler.objects.tolerations import tolerated
from scheduler.snapshot import ABSENT, Codes

from .node_affinity import NodeAffinity

Places = NDArray[np.intp]

_HARD = ("NoSchedule", "NoExecute")
_FEW = 16  # entries up to which a loop beats building arrays


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint as it holds for one class.

    Args:
        key: of the label that makes domains.
        max_skew: how many more matching pods than the emptiest domain a domain may have.
        min_domains: with fewer domains the emptiest counts as empty.
        selector: which pods count.
        honours_affinity: nodes that the pod's node selector or affinity excludes are no part.
        honours_taints: nodes with hard taints that the pod does not tolerate are no part.
        includes_self: the selector matches the class itself.
    """

    key: str
    max_skew: int
    min_domains: int
    selector: Selector
    honours_affinity: bool
    honours_taints: bool
    includes_self: bool

    @property
    def grows(self) -> bool:
        """Whether a copy of the class is counted."""
        return self.includes_self


@lru_cache(maxsize=8192)
def declared(pod: PodClass, action: str) -> tuple[Constraint, ...]:
    """Return the constraints in a pod's spec with one whenUnsatisfiable.

    Raises:
        BadRequest: a selector is malformed.
    """
    return tuple(
        _constraint(pod, each, _selector(pod, each))
        for each in pod.spec.topology_spread_constraints
        if each.when_unsatisfiable == action
    )


def by_default(
    pod: PodClass, defaults: Iterable[TopologySpreadConstraint], snapshot: Snapshot
) -> tuple[Constraint, ...]:
    """Return a profile's default constraints with the selectors of the pod's workloads.

    Returns:
        () where no service selects the pod and no controller owns it (upstream's DefaultSelector
        is empty).
    """
    chosen = list(defaults)
    if not chosen:
        return ()
    selector = default_selector(pod, snapshot)
    if not selector.requirements:
        return ()
    return tuple(_constraint(pod, each, selector) for each in chosen)


def default_selector(pod: PodClass, snapshot: Snapshot) -> Selector:
    """Return what the services that select a pod and the controller that owns it want together.

    Labels of a ReplicationController come before those of services; whether a controller selects
    the pod that it owns is not asked (kube-scheduler's DefaultSelector).
    """
    workloads = snapshot.workloads.get(pod.namespace, {})
    labels: dict[str, Requirement] = {}
    for (resource, _), selector in workloads.items():
        if resource == SERVICES and selector.matches(pod.labels):
            labels.update((term.key, term) for term in selector.requirements)
    more: Iterable[Requirement] = ()
    owner = workloads.get(pod.owner, NOTHING) if pod.owner else NOTHING
    if pod.owner and pod.owner[0] == REPLICATION_CONTROLLERS:
        labels.update((term.key, term) for term in owner.requirements)
    else:
        more = owner.requirements
    return Selector((*(labels[key] for key in sorted(labels)), *more))


def _constraint(pod: PodClass, each: TopologySpreadConstraint, selector: Selector) -> Constraint:
    return Constraint(
        each.topology_key,
        each.max_skew,
        1 if each.min_domains is None else each.min_domains,
        selector,
        each.node_affinity_policy == "Honor",
        each.node_taints_policy == "Honor",
        selector.matches(pod.labels),
    )


def _selector(pod: PodClass, each: TopologySpreadConstraint) -> Selector:
    """Return labelSelector and, of matchLabelKeys, those the pod has; none stays none."""
    selector = _parsed(each.label_selector)
    own = {key: pod.labels[key] for key in each.match_label_keys if key in pod.labels}
    if selector.nothing or not own:
        return selector
    return Selector((*from_map(own).requirements, *selector.requirements))


def _parsed(selector: LabelSelector | None) -> Selector:
    if selector is None:
        return NOTHING
    labels: dict[str, Json] = dict(selector.match_labels)
    expressions: list[Json] = [
        {"key": each.key, "operator": each.operator, "values": list(each.values)}
        for each in selector.match_expressions
    ]
    return from_label_selector({"matchLabels": labels, "matchExpressions": expressions})


def matching(selector: Selector, namespace: str, snapshot: Snapshot) -> Counts:
    """Return how many pods of a namespace match, (N,); those being deleted do not count."""
    counts = np.zeros(snapshot.size, dtype=np.int64)
    if selector.nothing:
        return counts
    # Most classes miss a selector's first exact term: ask that before all the rest.
    first = next((each for each in selector.requirements if each.operator == "="), None)
    key, value = (first.key, first.values[0]) if first else ("", None)
    for pod, rows in snapshot.placed.items():
        if pod.namespace != namespace or pod.labels.get(key) != value:
            continue
        if selector.matches(pod.labels):
            _add(counts, rows, 1)
            going = snapshot.leaving.get(pod)
            if going:
                _add(counts, going, -1)
    return counts


def _add(counts: Counts, rows: Mapping[int, int], sign: int) -> None:
    if len(rows) <= _FEW:
        for row, count in rows.items():
            counts[row] += sign * count
        return
    places = np.fromiter(rows.keys(), dtype=np.intp, count=len(rows))
    counts[places] += sign * np.fromiter(rows.values(), dtype=np.int64, count=len(rows))


class Census:
    """Which nodes a class's constraints look at, and how many pods they have; for one decision.

    Args:
        require_all: only nodes with the label of every constraint are looked at.
    """

    def __init__(
        self,
        pod: PodClass,
        constraints: Sequence[Constraint],
        snapshot: Snapshot,
        *,
        require_all: bool = True,
    ) -> None:
        self._pod = pod
        self._snapshot = snapshot
        self._affine: Mask | None = None
        self._tolerated: Mask | None = None
        self._matching: dict[Selector, Counts] = {}
        self.labelled = snapshot.every()
        if require_all:
            for key in {constraint.key for constraint in constraints}:
                self.labelled &= snapshot.label(key).has()

    def part(self, constraint: Constraint) -> Mask:
        """Return the nodes whose pods count for a constraint, (N,)."""
        part = self.labelled.copy()
        if constraint.honours_affinity:
            if self._affine is None:
                verdict = NodeAffinity().filter(self._pod, self._snapshot)
                self._affine = self._snapshot.every() if verdict is None else verdict.room > 0
            part &= self._affine
        if constraint.honours_taints:
            if self._tolerated is None:
                self._tolerated = _without_hard_taints(self._pod, self._snapshot)
            part &= self._tolerated
        return part

    def pods(self, constraint: Constraint) -> Counts:
        """Return how many pods that match a constraint each node has, (N,)."""
        counts = self._matching.get(constraint.selector)
        if counts is None:
            counts = matching(constraint.selector, self._pod.namespace, self._snapshot)
            self._matching[constraint.selector] = counts
        return counts


def _without_hard_taints(pod: PodClass, snapshot: Snapshot) -> Mask:
    clean = [
        all(taint.effect not in _HARD or tolerated(pod.spec.tolerations, taint) for taint in taints)
        for taints in snapshot.taint_sets
    ]
    return np.array(clean, dtype=np.bool_)[snapshot.taint_codes]


def places(codes: Codes, absent: int = ABSENT) -> Places:
    """Return codes as indices; nodes without the label get `absent`."""
    found = codes.astype(np.intp)
    if absent != ABSENT:
        found[found == ABSENT] = absent
    return found


def gather(places: Places, values: Counts, part: Mask, size: int) -> Counts:
    """Add up node values by domain.

    Args:
        places: (N,) domain of each node; -1 means none and is the last place of the result.
        values: (N,).
        part: (N,), the nodes that count.
        size: number of domains.

    Returns:
        (size + 1,) int64.
    """
    sums = np.zeros(size + 1, dtype=np.int64)
    counted = part & (values != 0)
    if counted.any():
        np.add.at(sums, places[counted], values[counted])
    return sums
