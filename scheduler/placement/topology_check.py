"""Verifies affinity between pods and spreading of a plan, pod after pod.

Pure, and on purpose not the framework: plain dictionaries of domains and the words of the
Kubernetes documentation, no plugin, no column. Costs nothing for pods without such rules in a
cluster without them. Constraints that a profile gives by default are not known here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from ..objects.pod import (
    LabelSelector,
    NodeSelectorRequirement,
    PodAffinity,
    PodAffinityTerm,
    TopologySpreadConstraint,
)
from ..objects.pod_class import PodClass
from ..snapshot import NodeFacts, Snapshot

Domain = tuple[str, str]  # label key and value of its nodes
Admits = Callable[[TopologySpreadConstraint, PodClass, NodeFacts], bool]
Rows = Mapping[int, int]
_NO_LABELS: Mapping[str, str] = {}
_EVERYTHING = LabelSelector()
_MOST_KEPT = 64


class CountedNodes:
    """Which nodes spread constraints count, remembered for as long as the nodes stay as they are.

    Looking at every node for every plan cost ten times as much as all the rest of a check.
    """

    def __init__(self) -> None:
        self._nodes: Sequence[NodeFacts] = ()
        self._rows: dict[bytes, frozenset[int]] = {}
        self._domains: dict[tuple[bytes, str], frozenset[str]] = {}

    def of(
        self,
        constraint: TopologySpreadConstraint,
        keys: Sequence[str],
        pod: PodClass,
        nodes: Sequence[NodeFacts],
        admits: Admits,
    ) -> tuple[frozenset[int], frozenset[str]]:
        """Return the rows that a constraint of a class counts, and the domains they are in.

        Args:
            keys: of all constraints of the class with the same action.
        """
        if nodes is not self._nodes or len(self._rows) >= _MOST_KEPT:
            self._nodes = nodes
            self._rows.clear()
            self._domains.clear()
        likes = _depends_on(constraint, keys, pod)
        rows = self._rows.get(likes)
        if rows is None:
            rows = self._rows[likes] = frozenset(
                row
                for row, node in enumerate(nodes)
                if all(key in node.labels for key in keys) and admits(constraint, pod, node)
            )
        key = constraint.topology_key
        domains = self._domains.get((likes, key))
        if domains is None:
            domains = frozenset(nodes[row].labels[key] for row in rows)
            self._domains[likes, key] = domains
        return rows, domains


def _depends_on(constraint: TopologySpreadConstraint, keys: Sequence[str], pod: PodClass) -> bytes:
    """Return the same for constraints of whatever class that count the same nodes."""
    spec = pod.spec
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    honoured = constraint.node_affinity_policy == "Honor"
    selects = (spec.node_selector, affinity and affinity.required) if honoured else None
    tolerates = spec.tolerations if constraint.node_taints_policy == "Honor" else None
    return msgspec.msgpack.encode((sorted(keys), selects, tolerates), order="deterministic")


@dataclass(slots=True)
class TopologyCheck:
    """A cluster as pods of a plan come to it.

    Args:
        snapshot: the cluster before the plan.
        admits: tells whether a spread constraint of a class counts a node (inclusion policies).
        counted: what is known of that from plans before.
    """

    snapshot: Snapshot
    admits: Admits
    counted: CountedNodes
    added: dict[PodClass, dict[int, int]] = field(default_factory=dict[PodClass, dict[int, int]])
    _repelling: dict[bytes, set[PodClass]] | None = None

    def place(self, pod: PodClass, rows: Iterable[int]) -> Iterable[str]:
        """Add copies of a class one by one, and yield what each breaks."""
        rules = [*self._of_others(pod), *self._of_itself(pod)]
        mine = self.added.setdefault(pod, {})
        for row in rows:
            node = self.snapshot.nodes[row]
            for rule in rules:
                if complaint := rule.complaint(node):
                    yield complaint
                rule.put(node, row)
            mine[row] = mine.get(row, 0) + 1
        if mine and self._repelling is not None and (key := _repelling(pod)):
            self._repelling.setdefault(key, set()).add(pod)

    def _of_itself(self, pod: PodClass) -> Iterable["_Rule"]:
        affinity = pod.spec.affinity
        if affinity is not None:
            toward = required(affinity.pod_affinity)
            if toward:
                yield self._together(pod, toward)
            for term in required(affinity.pod_anti_affinity):
                yield self._apart(pod, term)
        hard = [
            each
            for each in pod.spec.topology_spread_constraints
            if each.when_unsatisfiable == "DoNotSchedule"
        ]
        keys = [each.topology_key for each in hard]
        for constraint in hard:
            yield self._spread(pod, constraint, keys)

    def _together(self, pod: PodClass, terms: tuple[PodAffinityTerm, ...]) -> "_Together":
        rule = _Together(
            tuple(term.topology_key for term in terms),
            all(about(term, pod, pod, self.snapshot.namespaces) for term in terms),
        )
        for other, rows in self._everybody():
            if all(about(term, pod, other, self.snapshot.namespaces) for term in terms):
                for row in rows:
                    rule.count(self.snapshot.nodes[row])
        return rule

    def _apart(self, pod: PodClass, term: PodAffinityTerm) -> "_Apart":
        namespaces = self.snapshot.namespaces
        rule = _Apart(term.topology_key, about(term, pod, pod, namespaces), "its anti-affinity")
        for other, rows in self._everybody():
            if about(term, pod, other, namespaces):
                for row in rows:
                    rule.take(self.snapshot.nodes[row])
        return rule

    def _of_others(self, pod: PodClass) -> Iterable["_Apart"]:
        """Yield what the anti-affinity of pods that are there keeps this class from."""
        if self._repelling is None:
            self._repelling = {}
            for other in self.snapshot.attracting:
                if key := _repelling(other):
                    self._repelling.setdefault(key, set()).add(other)
        labels = self.snapshot.namespaces.get(pod.namespace, _NO_LABELS)
        for owners in self._repelling.values():
            some = next(iter(owners))
            affinity = some.spec.affinity
            for term in required(affinity.pod_anti_affinity if affinity else None):
                rule = _Apart(term.topology_key, False, "the anti-affinity of a pod there")
                for owner in owners:
                    if _admitted(term, owner, pod, labels):
                        for row in self._rows(owner):
                            rule.take(self.snapshot.nodes[row])
                if rule.taken:
                    yield rule

    def _spread(
        self, pod: PodClass, constraint: TopologySpreadConstraint, keys: list[str]
    ) -> "_Spread":
        nodes, key = self.snapshot.nodes, constraint.topology_key
        within, domains = self.counted.of(constraint, keys, pod, nodes, self.admits)
        counts = dict.fromkeys(domains, 0)
        matches = selection(constraint.label_selector, constraint.match_label_keys, (), pod)
        gone = self.snapshot.leaving.items()  # pods being deleted do not count
        for sign, pods in ((1, self._everybody()), (-1, gone)):
            for other, rows in pods:
                if other.namespace == pod.namespace and matches(other.labels):
                    for row in within.intersection(rows):
                        counts[nodes[row].labels[key]] += sign * rows[row]
        return _Spread(constraint, counts, within, int(matches(pod.labels)))

    def _everybody(self) -> Iterable[tuple[PodClass, Rows]]:
        yield from self.snapshot.placed.items()
        yield from self.added.items()

    def _rows(self, pod: PodClass) -> Iterable[int]:
        yield from self.snapshot.placed.get(pod, ())
        yield from self.added.get(pod, ())


@dataclass(slots=True)
class _Apart:
    """No pod where one is that the term is about, or whose term is about it."""

    key: str
    own: bool
    whose: str
    taken: set[str] = field(default_factory=set[str])

    def take(self, node: NodeFacts) -> None:
        if self.key in node.labels:
            self.taken.add(node.labels[self.key])

    def complaint(self, node: NodeFacts) -> str:
        if node.labels.get(self.key) in self.taken:
            where = f"{self.key}={node.labels[self.key]}"
            return f"node {node.name!r} is in {where}, where {self.whose} allows no such pod"
        return ""

    def put(self, node: NodeFacts, _row: int) -> None:
        if self.own:
            self.take(node)


@dataclass(slots=True)
class _Together:
    """Only where pods are that all terms are about; the first of a group may go anywhere."""

    keys: tuple[str, ...]
    own: bool
    found: set[Domain] = field(default_factory=set[Domain])

    def count(self, node: NodeFacts) -> None:
        self.found.update((key, node.labels[key]) for key in self.keys if key in node.labels)

    def complaint(self, node: NodeFacts) -> str:
        missing = [key for key in self.keys if key not in node.labels]
        if missing:
            return f"node {node.name!r} lacks the label {missing[0]} of required pod affinity"
        if all((key, node.labels[key]) in self.found for key in self.keys):
            return ""
        if self.own and not self.found:
            return ""
        return f"node {node.name!r} has no pod near that required pod affinity asks for"

    def put(self, node: NodeFacts, _row: int) -> None:
        if self.own:
            self.count(node)


@dataclass(slots=True)
class _Spread:
    """At most maxSkew more matching pods than in the emptiest domain."""

    constraint: TopologySpreadConstraint
    counts: dict[str, int]
    counted: frozenset[int]
    own: int
    least: int = 0
    emptiest: int = 0

    def __post_init__(self) -> None:
        self._find_least()

    def _find_least(self) -> None:
        """Find how many pods the emptiest domains have, and how many such domains there are."""
        counts = self.counts.values()
        if len(counts) >= (self.constraint.min_domains or 1):
            self.least = min(counts, default=0)
            self.emptiest = sum(count == self.least for count in counts)

    def complaint(self, node: NodeFacts) -> str:
        key = self.constraint.topology_key
        domain = node.labels.get(key)
        if domain is None:
            return f"node {node.name!r} lacks the label {key} of a spread constraint"
        skew = self.counts.get(domain, 0) + self.own - self.least
        if skew > self.constraint.max_skew:
            limit = self.constraint.max_skew
            return f"{key}={domain} of node {node.name!r} would have a skew of {skew} over {limit}"
        return ""

    def put(self, node: NodeFacts, row: int) -> None:
        if self.own and row in self.counted:
            domain = node.labels[self.constraint.topology_key]
            self.counts[domain] += 1
            self.emptiest -= self.counts[domain] == self.least + 1
            if not self.emptiest:
                self._find_least()


_Rule = _Apart | _Together | _Spread


def required(affinity: PodAffinity | None) -> tuple[PodAffinityTerm, ...]:
    """Return the required terms of a pod's affinity or anti-affinity."""
    return affinity.required if affinity is not None else ()


@lru_cache(maxsize=65536)
def _repelling(pod: PodClass) -> bytes:
    """Return the same for classes with the same required anti-affinity, b"" for none."""
    affinity = pod.spec.affinity
    terms = required(affinity.pod_anti_affinity if affinity else None)
    return msgspec.msgpack.encode(terms, order="deterministic") if terms else b""


def about(
    term: PodAffinityTerm,
    owner: PodClass,
    other: PodClass,
    namespaces: Mapping[str, Mapping[str, str]],
) -> bool:
    """Tell whether a term of the pod to be placed is about pods of another class."""
    chosen = term.namespace_selector
    if chosen is not None and chosen != _EVERYTHING and other.namespace not in namespaces:
        return other.namespace in term.namespaces and _selects(term, owner, other)
    return _admitted(term, owner, other, namespaces.get(other.namespace, _NO_LABELS))


def _admitted(
    term: PodAffinityTerm, owner: PodClass, other: PodClass, labels: Mapping[str, str]
) -> bool:
    """Tell whether a term is about pods of a class whose namespace has those labels."""
    if not term.namespaces and term.namespace_selector is None:
        within = other.namespace == owner.namespace
    else:
        within = other.namespace in term.namespaces or _matches(term.namespace_selector, labels)
    return within and _selects(term, owner, other)


def _selects(term: PodAffinityTerm, owner: PodClass, other: PodClass) -> bool:
    keys, others = term.match_label_keys, term.mismatch_label_keys
    return selection(term.label_selector, keys, others, owner)(other.labels)


def selection(
    selector: LabelSelector | None,
    same: tuple[str, ...],
    different: tuple[str, ...],
    owner: PodClass,
) -> Callable[[Mapping[str, str]], bool]:
    """Return the test of a selector with the owner's values of label keys merged into it."""

    def test(labels: Mapping[str, str]) -> bool:
        mine = owner.labels
        return (
            _matches(selector, labels)
            and all(labels.get(key) == mine[key] for key in same if key in mine)
            and all(labels.get(key) != mine[key] for key in different if key in mine)
        )

    return test


def _matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        holds(each, labels.get(each.key)) for each in selector.match_expressions
    )


def holds(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    """Tell whether a label's value, None where it is absent, is as a selector wants it."""
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
