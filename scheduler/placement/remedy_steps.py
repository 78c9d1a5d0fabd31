"""Single changes to a pod, a node or who runs there that may help a pod onto the node. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from ..hookspecs import NodeFacts, Obstacle, PodClass, Snapshot
from ..objects.pod import PodSpec, Toleration, TopologySpreadConstraint
from ..objects.pod_class import pod_class
from ..objects.resources import CPU, PODS
from ..objects.tolerations import tolerated
from .scenario import ScenarioPod
from .tenancy import RunningPod

_CORDON = "node.kubernetes.io/unschedulable"
_HARD = ("NoSchedule", "NoExecute")
_TIES = ("node_affinity", "pod_affinity", "pod_anti_affinity")


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Args:
        kind: what is changed; but for PODS a remedy has one step of a kind.
        said: what to do, for people who may see all of the cluster; equal of equal steps alone.
        spec, facts: what it makes of the pod's spec and of what the node declares.
        short: by how much it lowers what the pod requests, in the units of snapshots.
        gone: node and pod of whom it moves away.
    """

    kind: str
    said: str
    spec: Callable[[PodSpec], PodSpec] | None = None
    facts: Callable[[NodeFacts], NodeFacts] | None = None
    short: Mapping[str, int] = field(default_factory=dict[str, int])
    gone: Sequence[tuple[str, RunningPod]] = ()

    @property
    def size(self) -> int:
        """How much it changes: each pod that has to leave counts."""
        return max(1, len(self.gone))


Steps = tuple[Step, ...]


def changed_class(pod: ScenarioPod, steps: Steps) -> PodClass:
    """Return the class of a pod after changes."""
    spec, short = changed_spec(pod, steps), dict[str, int]()
    for step in steps:
        short |= step.short
    wanted = pod.wanted
    if spec is not pod.pod.spec:
        wanted = pod_class(msgspec.structs.replace(pod.pod, spec=spec, digest=b""))
    return _asking_less(wanted, short) if short else wanted


def changed_spec(pod: ScenarioPod, steps: Steps) -> PodSpec:
    """Return the spec of a pod after changes."""
    spec = pod.pod.spec
    for step in steps:
        spec = spec if step.spec is None else step.spec(spec)
    return spec


def changed_facts(facts: NodeFacts, steps: Steps) -> NodeFacts:
    """Return what a node declares after changes."""
    for step in steps:
        facts = facts if step.facts is None else step.facts(facts)
    return facts


def moving(gone: Sequence[tuple[str, RunningPod]]) -> Step:
    """Return the step of moving pods away."""
    names = (f"{each.key.namespace}/{each.key.name}" for _, each in gone)
    return Step(PODS, f"move away {', '.join(names)}", gone=tuple(gone))


@dataclass(frozen=True, slots=True)
class Leavers:
    """Who a change moves away, as far as those of one namespace may know.

    Args:
        names: namespace/name of the namespace's own.
        others: how many there are of other namespaces.
    """

    names: Sequence[str]
    others: int

    @classmethod
    def of(cls, gone: Sequence[tuple[str, RunningPod]], namespace: str) -> "Leavers":
        """Return what a namespace may know of pods."""
        keys = [each.key for _, each in gone]
        names = [f"{namespace}/{key.name}" for key in keys if key.namespace == namespace]
        return cls(names, len(keys) - len(names))

    def __str__(self) -> str:
        pods = "1 pod" if self.others == 1 else f"{self.others} pods"
        beyond = [f"{pods} of other namespaces"] if self.others else []
        return ", ".join([*self.names, *beyond])


def told_in(namespace: str, step: Step) -> str:
    """Return what a step is, for people of a namespace."""
    return f"move away {Leavers.of(step.gone, namespace)}" if step.gone else step.said


def proposals(
    wanted: PodClass,
    spec: PodSpec,
    snapshot: Snapshot,
    row: int,
    obstacles: Sequence[Obstacle],
) -> Iterator[Step]:
    """Yield what may help beside moving pods, the smaller first.

    Args:
        wanted, spec: of the pod as it is by now.
        obstacles: what rules found in its way on that row.
    """
    facts = snapshot.nodes[row]
    short = _short(wanted, snapshot, row)
    if short:
        told = ", ".join(_amount(name, amount) for name, amount in short.items())
        yield Step("requests", f"lower the pod's requests by {told}", short=short)
    yield from _more_skew(spec, obstacles)
    taints = facts.taints
    if facts.unschedulable:
        taints = tuple(t for t in taints if t.key != _CORDON)
        yield Step("cordon", "uncordon the node", facts=_uncordoned)
    missing = [t for t in taints if t.effect in _HARD and not tolerated(spec.tolerations, t)]
    if missing:
        said = ", ".join(f"{t.key}={t.value}:{t.effect}" for t in missing)
        more = tuple(Toleration(t.key, "Equal", t.value, t.effect) for t in missing)
        yield Step("tolerations", f"let the pod tolerate {said}", partial(_tolerant, more=more))
    wrong = {k: v for k, v in spec.node_selector.items() if facts.labels.get(k) != v}
    if wrong:
        said = ", ".join(f"{key}={value}" for key, value in wrong.items())
        yield Step("labels", f"label the node {said}", facts=partial(_labelled, labels=wrong))
        drop = f"drop {said} from the pod's node selector"
        yield Step("node selector", drop, partial(_selecting, less=wrong))
    yield from _ties_dropped(spec, facts)


def _short(wanted: PodClass, snapshot: Snapshot, row: int) -> dict[str, int]:
    """Return by how much each request is too large, in the units of the snapshot."""
    short: dict[str, int] = {}
    for name, amount in wanted.requests.amounts.items():
        resource = snapshot.resource_row.get(name)
        free = 0
        if resource is not None:
            free = int(snapshot.allocatable[resource, row] - snapshot.requested[resource, row])
        if amount > free and name != PODS:  # of pods it is one, whatever it requests
            short[name] = amount - max(free, 0)
    return short


def _amount(name: str, amount: int) -> str:
    """Return an amount as people write it: cpu in thousandths, the rest in base units."""
    return f"{amount}m cpu" if name == CPU else f"{amount} {name}"


def _asking_less(wanted: PodClass, short: Mapping[str, int]) -> PodClass:
    """Return a class with its requests cut by what is short."""
    amounts = {
        name: amount - short.get(name, 0) for name, amount in wanted.requests.amounts.items()
    }
    requests = msgspec.structs.replace(
        wanted.requests, amounts={name: amount for name, amount in amounts.items() if amount > 0}
    )
    mark = msgspec.json.encode(short, order="sorted")
    lesser = PodClass((mark + wanted.key[0], *wanted.key[1:]), wanted.spec)
    lesser.requests = requests
    return lesser


def _more_skew(spec: PodSpec, obstacles: Sequence[Obstacle]) -> Iterator[Step]:
    """Yield as much skew allowed as the pod would make there."""
    needed: dict[str | int, int] = {}
    for obstacle in obstacles:
        key, skew = obstacle.numbers.get("topologyKey"), obstacle.numbers.get("skew")
        if key is not None and isinstance(skew, int):
            needed[key] = max(skew, needed.get(key, 0))
    raised: list[TopologySpreadConstraint] = []
    said: list[str] = []
    for each in spec.topology_spread_constraints:
        skew = needed.get(each.topology_key, 0)
        if each.when_unsatisfiable == "DoNotSchedule" and skew > each.max_skew:
            said.append(f"{each.max_skew} to {skew} by {each.topology_key}")
            raised.append(msgspec.structs.replace(each, max_skew=skew))
        else:
            raised.append(each)
    if said:
        more = partial(_spreading, constraints=tuple(raised))
        yield Step("skew", f"raise the pod's maxSkew from {' and '.join(said)}", more)


def _ties_dropped(spec: PodSpec, facts: NodeFacts) -> Iterator[Step]:
    """Yield the dropping of whatever ties the pod to other nodes."""
    for part in _TIES if spec.affinity is not None else ():
        if getattr(spec.affinity, part) is not None:
            said = part.replace("_", " ")
            yield Step(said, f"drop the pod's {said}", partial(_untied, part=part))
    if spec.topology_spread_constraints:
        free = partial(_spreading, constraints=())
        yield Step("spread", "drop the pod's topology spread constraints", free)
    if spec.node_name and spec.node_name != facts.name:
        yield Step("node name", "drop the pod's node name", _nameless)


def _uncordoned(facts: NodeFacts) -> NodeFacts:
    taints = tuple(taint for taint in facts.taints if taint.key != _CORDON)
    return msgspec.structs.replace(facts, unschedulable=False, taints=taints)


def _labelled(facts: NodeFacts, labels: Mapping[str, str]) -> NodeFacts:
    return msgspec.structs.replace(facts, labels={**facts.labels, **labels})


def _tolerant(spec: PodSpec, more: tuple[Toleration, ...]) -> PodSpec:
    return msgspec.structs.replace(spec, tolerations=(*spec.tolerations, *more))


def _selecting(spec: PodSpec, less: Mapping[str, str]) -> PodSpec:
    selector = {key: value for key, value in spec.node_selector.items() if key not in less}
    return msgspec.structs.replace(spec, node_selector=selector)


def _untied(spec: PodSpec, part: str) -> PodSpec:
    if spec.affinity is None:
        return spec
    affinity = msgspec.structs.replace(spec.affinity, **{part: None})
    return msgspec.structs.replace(spec, affinity=affinity)


def _nameless(spec: PodSpec) -> PodSpec:
    return msgspec.structs.replace(spec, node_name="")


def _spreading(spec: PodSpec, constraints: tuple[TopologySpreadConstraint, ...]) -> PodSpec:
    return msgspec.structs.replace(spec, topology_spread_constraints=constraints)
