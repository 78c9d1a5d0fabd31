"""Verifies every plan before it is applied, whoever made it.

Pure, and on purpose not the framework: no plugin, no column tricks. It adds the plan up node by
node from pods' specs and nodes' declarations and reports every broken hard rule.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..objects.cohort import Cohort
from ..objects.pod import (
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from ..objects.pod_class import HostPort, PodClass
from ..objects.selectors import integer
from ..snapshot import NodeFacts, Snapshot, TaintKey
from .plan import Allotment, LodgedPods, Plan
from .topology_check import CountedNodes, TopologyCheck, holds
from .volume_check import VolumeCheck

_CORDON = TaintKey("node.kubernetes.io/unschedulable", "", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule and the allotment that breaks it."""

    allotment: int
    message: str


class Counted(Protocol):
    """Knows which pods are bound or assumed already."""

    def __contains__(self, uid: str, /) -> bool: ...

    def is_lodged(self, cohort: Cohort, ordinals: Iterable[int]) -> bool:
        """Tell whether some of a cohort's pods are."""
        ...

    def members(self, namespace: str, group: str) -> int:
        """Return how many pods of a PodGroup are, but for those being deleted."""
        ...


GroupName = tuple[str, str]  # namespace, name
Ignores = Callable[[PodClass, str], bool]


def _nothing(_pod: PodClass, _resource: str) -> bool:
    return False


def check(
    plan: Plan,
    snapshot: Snapshot,
    bound: Counted,
    groups: Mapping[GroupName, int] | None = None,
    counted: CountedNodes | None = None,
    ignores: Ignores = _nothing,
) -> list[Violation]:
    """Return what is wrong with a plan, nothing if it may be applied.

    Args:
        snapshot: the cluster before the plan.
        bound: knows which pods are bound or assumed already.
        groups: minMember of every PodGroup that there is of those the plan has members of.
        counted: what plans before have shown of the nodes.
        ignores: tells whether the profile of a class does not count a resource.
    """
    found = _Check(snapshot, bound, counted or CountedNodes(), ignores).run(plan.allotments)
    return found + _torn(plan.allotments, bound, groups or {}, {v.allotment for v in found})


@dataclass(slots=True)
class _Check:
    snapshot: Snapshot
    bound: Counted
    counted: CountedNodes
    ignores: Ignores
    lodged: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    seen: set[str] = field(default_factory=set[str])
    used: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    ports: dict[str, list[HostPort]] = field(default_factory=dict[str, list[HostPort]])

    def run(self, allotments: Sequence[Allotment]) -> list[Violation]:
        violations: list[Violation] = []
        topology = TopologyCheck(self.snapshot, admits, self.counted)
        volumes = VolumeCheck(self.snapshot)
        row_of = self.snapshot.row_of
        for number, allotment in enumerate(allotments):
            found = [*self._identity(allotment), *self._nodes(allotment)]
            rows = [row_of[node] for node in allotment.nodes if node in row_of]
            found += topology.place(allotment.pod, rows)
            found += volumes.place(allotment.pod, rows)
            violations += [Violation(number, message) for message in found]
        return violations

    def _identity(self, allotment: Allotment) -> Iterable[str]:
        if len(allotment.pods) != len(allotment.nodes):
            yield f"{len(allotment.pods)} pods but {len(allotment.nodes)} nodes"
        if isinstance(allotment.pods, LodgedPods):
            yield from self._lodged(allotment.pods)
            return
        for pod in allotment.pods:
            if pod.uid in self.seen or pod.uid in self.bound:
                yield f"pod {pod.key.namespace}/{pod.key.name} would be bound twice"
            self.seen.add(pod.uid)

    def _lodged(self, pods: LodgedPods) -> Iterable[str]:
        cohort, ordinals = pods.cohort, set(pods.ordinals)
        seen = self.lodged.setdefault(cohort.uid, set())
        counted = self.bound.is_lodged(cohort, ordinals)
        if len(ordinals) < len(pods) or not seen.isdisjoint(ordinals) or counted:
            yield f"pods of cohort {cohort.namespace}/{cohort.prefix} would be bound twice"
        seen |= ordinals

    def _nodes(self, allotment: Allotment) -> Iterable[str]:
        copies: dict[str, int] = {}
        for node in allotment.nodes:
            copies[node] = copies.get(node, 0) + 1
        pod = allotment.pod
        unlimited = {name for name in pod.requests.amounts if self.ignores(pod, name)}
        for node, count in copies.items():
            row = self.snapshot.row_of.get(node)
            if row is None:
                yield f"node {node!r} does not exist"
                continue
            facts = self.snapshot.nodes[row]
            yield from self._declared(pod.spec, facts)
            yield from self._resources(pod, count, facts.name, row, unlimited)
            yield from self._ports(pod, count, facts.name, row)

    def _declared(self, spec: PodSpec, node: NodeFacts) -> Iterable[str]:
        if spec.node_name and spec.node_name != node.name:
            yield f"node {node.name!r} is not the requested node {spec.node_name!r}"
        taints = (*node.taints, _CORDON) if node.unschedulable else node.taints
        for taint in taints:
            hard = taint.effect in ("NoSchedule", "NoExecute")
            if hard and not any(_tolerates(t, taint) for t in spec.tolerations):
                yield f"node {node.name!r} has untolerated taint {taint.key}:{taint.effect}"
        if not _selected(spec, node):
            yield f"node {node.name!r} does not match the node selector"
        if not _liked(spec, node):
            yield f"node {node.name!r} matches no required node affinity term"

    def _resources(
        self, pod: PodClass, count: int, node: str, row: int, unlimited: Container[str]
    ) -> Iterable[str]:
        used = self.used.setdefault(node, {})
        for name, amount in pod.requests.amounts.items():
            used[name] = used.get(name, 0) + amount * count
            if name in unlimited:
                continue
            resource = self.snapshot.resource_row.get(name)
            if resource is None:
                yield f"node {node!r} has no {name}"
                continue
            offered = int(self.snapshot.allocatable[resource, row])
            total = int(self.snapshot.requested[resource, row]) + used[name]
            if total > offered:
                yield f"node {node!r} would be overcommitted: {name} {total} of {offered}"

    def _ports(self, pod: PodClass, count: int, node: str, row: int) -> Iterable[str]:
        taken = self.ports.setdefault(node, [])
        for wanted in pod.host_ports:
            there = self.snapshot.ports.get((wanted.protocol, wanted.port), {})
            held = [HostPort(wanted.protocol, wanted.port, ip) for n, ip in there if n == row]
            if count > 1 or any(wanted.conflicts(other) for other in (*held, *taken)):
                yield f"host port {wanted.protocol}/{wanted.port} of {node!r} would be taken twice"
        taken.extend(pod.host_ports)


def grouped(plan: Plan) -> set[GroupName]:
    """Return the PodGroups that a plan has members of."""
    return {_group(a.pod) for a in plan.allotments if a.pods and a.pod.group}


def _group(pod: PodClass) -> GroupName:
    return pod.namespace, pod.group


def _torn(
    allotments: Sequence[Allotment],
    bound: Counted,
    least: Mapping[GroupName, int],
    broken: set[int],
) -> list[Violation]:
    """Return what would give nodes to fewer of a group than must get them together.

    Args:
        broken: allotments that are wrong anyway, so that nothing comes of them, nor of what is
            bound together with them.
    """
    gangs = {gang for n in broken if (gang := allotments[n].gang) is not None}
    members = [
        (number, each)
        for number, each in enumerate(allotments)
        if each.pods and each.pod.group and number not in broken
    ]
    planned: Counter[GroupName] = Counter()
    for _, each in members:
        if each.gang not in gangs:
            planned[_group(each.pod)] += len(each.pods)
    found: list[Violation] = []
    for number, each in members:
        group = _group(each.pod)
        name, wanted = "/".join(group), least.get(group)
        there = bound.members(*group) + planned[group]
        if each.gang in gangs:
            found.append(Violation(number, f"others of PodGroup {name} cannot be bound"))
        elif wanted is None:
            found.append(Violation(number, f"PodGroup {name} does not exist"))
        elif there < wanted:
            message = f"PodGroup {name} would have {there} of {wanted} pods placed"
            found.append(Violation(number, message))
    return found


def _selected(spec: PodSpec, node: NodeFacts) -> bool:
    return all(node.labels.get(key) == value for key, value in spec.node_selector.items())


def _liked(spec: PodSpec, node: NodeFacts) -> bool:
    affinity = spec.affinity.node_affinity if spec.affinity else None
    if affinity is None or affinity.required is None:
        return True
    return any(_matches(term, node) for term in affinity.required.node_selector_terms)


def admits(constraint: TopologySpreadConstraint, pod: PodClass, node: NodeFacts) -> bool:
    """Tell whether a spread constraint's inclusion policies count a node."""
    spec = pod.spec
    if constraint.node_affinity_policy == "Honor" and not (
        _selected(spec, node) and _liked(spec, node)
    ):
        return False
    return constraint.node_taints_policy != "Honor" or all(
        any(_tolerates(each, taint) for each in spec.tolerations)
        for taint in node.taints
        if taint.effect in ("NoSchedule", "NoExecute")
    )


def _tolerates(toleration: Toleration, taint: TaintKey) -> bool:
    effect = toleration.effect in ("", taint.effect)
    key = toleration.key in ("", taint.key)
    if toleration.operator in ("Gt", "Lt"):
        value = _compares(toleration.operator, taint.value, toleration.value)
    else:
        value = toleration.operator == "Exists" or (
            toleration.operator in ("", "Equal") and toleration.value == taint.value
        )
    return effect and key and value


def _matches(term: NodeSelectorTerm, node: NodeFacts) -> bool:
    requirements = [
        *((r, node.labels.get(r.key)) for r in term.match_expressions),
        *((r, node.name if r.key == "metadata.name" else None) for r in term.match_fields),
    ]
    return bool(requirements) and all(_holds(r, value) for r, value in requirements)


def _holds(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    if requirement.operator not in ("Gt", "Lt"):
        return holds(requirement, value)
    if value is None or len(requirement.values) != 1:
        return False
    return _compares(requirement.operator, value, requirement.values[0])


def _compares(operator: str, value: str, bound: str) -> bool:
    number, limit = integer(value), integer(bound)
    if number is None or limit is None:
        return False
    return number > limit if operator == "Gt" else number < limit
