"""What would make a pod fit on a node: small changes, each tried before it is named. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ..hookspecs import Filter, Obstacle, PodClass, Snapshot
from ..objects.json import Json, JsonObject
from ..objects.pod import PodSpec, Toleration, TopologySpreadConstraint
from ..objects.pod_class import pod_class
from ..objects.resources import CPU
from .inspection import inspect
from .scenario import Scenario, ScenarioPod
from .tenancy import RunningPod

_CORDON = "node.kubernetes.io/unschedulable"
_MOST_LEAVERS = 128


@dataclass(frozen=True, slots=True)
class Place:
    """A node where a pod does not fit, and what rules found in the way there."""

    snapshot: Snapshot
    row: int
    obstacles: Sequence[Obstacle] = ()


def remedies(
    scenario: Scenario, pod: ScenarioPod, filters: Sequence[Filter], place: Place
) -> list[Json]:
    """Return changes, of which each alone makes the pod feasible at a place, the smallest first.

    Tried are: what the pod lacks in resources, tolerations, more skew, dropping what ties it to
    other nodes, and the fewest pods that would have to leave the node or where they are in the way.
    """
    snapshot, row = place.snapshot, place.row
    found: list[Json] = []
    short = _short(pod.wanted, snapshot, row)
    if short:
        told = ", ".join(_amount(name, amount) for name, amount in short.items())
        if _fits(_asking_less(pod, short), filters, snapshot, row):
            change: JsonObject = {
                "change": f"lower the pod's requests by {told}",
                "short": {**short},
            }
            found.append(change)
    for text, spec in (*_skewed(pod.pod.spec, place), *_loosened(pod.pod.spec, snapshot, row)):
        if _fits(_class_of(pod, spec), filters, snapshot, row):
            found.append({"change": text})
    leaving = _leavers(scenario, pod, filters, place)
    if leaving:
        found.append({"change": f"move away {', '.join(leaving)}", "pods": list(leaving)})
    return found


def _short(wanted: PodClass, snapshot: Snapshot, row: int) -> dict[str, int]:
    """Return by how much each resource is short, in the units of the snapshot."""
    short: dict[str, int] = {}
    for name, amount in wanted.requests.amounts.items():
        resource = snapshot.resource_row.get(name)
        free = 0
        if resource is not None:
            free = int(snapshot.allocatable[resource, row] - snapshot.requested[resource, row])
        if amount > free:
            short[name] = amount - free
    return short


def _amount(name: str, amount: int) -> str:
    """Return an amount as people write it: cpu in thousandths, the rest in base units."""
    return f"{amount}m cpu" if name == CPU else f"{amount} {name}"


def _asking_less(pod: ScenarioPod, short: dict[str, int]) -> PodClass:
    """Return the pod's class with its requests cut by what is short."""
    wanted = pod.wanted
    amounts = {
        name: amount - short.get(name, 0) for name, amount in wanted.requests.amounts.items()
    }
    requests = msgspec.structs.replace(
        wanted.requests, amounts={name: amount for name, amount in amounts.items() if amount > 0}
    )
    lesser = PodClass((b"less" + wanted.key[0], *wanted.key[1:]), wanted.spec)
    lesser.requests = requests
    return lesser


def _skewed(spec: PodSpec, place: Place) -> Iterator[tuple[str, PodSpec]]:
    """Yield the spec with as much skew allowed as the pod would make there, and how to say it."""
    needed: dict[str | int, int] = {}
    for obstacle in place.obstacles:
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
        more = msgspec.structs.replace(spec, topology_spread_constraints=tuple(raised))
        yield f"raise the pod's maxSkew from {' and '.join(said)}", more


def _loosened(spec: PodSpec, snapshot: Snapshot, row: int) -> Iterator[tuple[str, PodSpec]]:
    """Yield specs that ask less of the node, and how to say it."""
    facts = snapshot.nodes[row]
    missing = [t for t in facts.taints if t.effect in ("NoSchedule", "NoExecute")]
    tolerations = [Toleration(t.key, "Equal", t.value, t.effect) for t in missing]
    if tolerations:
        said = ", ".join(f"{t.key}={t.value}:{t.effect}" for t in missing)
        yield (
            f"let the pod tolerate {said}",
            msgspec.structs.replace(spec, tolerations=(*spec.tolerations, *tolerations)),
        )
    if facts.unschedulable:
        cordon = Toleration(_CORDON, "Exists", "", "NoSchedule")
        tolerant = (*spec.tolerations, *tolerations, cordon)
        yield "uncordon the node", msgspec.structs.replace(spec, tolerations=tolerant)
    wrong = {k: v for k, v in spec.node_selector.items() if facts.labels.get(k) != v}
    if wrong:
        said = ", ".join(f"{key}={value}" for key, value in wrong.items())
        yield f"label the node {said}", msgspec.structs.replace(spec, node_selector={})
    if spec.affinity is not None:
        for part in ("node_affinity", "pod_affinity", "pod_anti_affinity"):
            if getattr(spec.affinity, part) is not None:
                affinity = msgspec.structs.replace(spec.affinity, **{part: None})
                said = part.replace("_", " ")
                yield f"drop the pod's {said}", msgspec.structs.replace(spec, affinity=affinity)
    if spec.topology_spread_constraints:
        free = msgspec.structs.replace(spec, topology_spread_constraints=())
        yield "drop the pod's topology spread constraints", free
    if spec.node_name and spec.node_name != facts.name:
        yield "drop the pod's node name", msgspec.structs.replace(spec, node_name="")


def _leavers(
    scenario: Scenario, pod: ScenarioPod, filters: Sequence[Filter], place: Place
) -> list[str]:
    """Return a smallest-first set of pods without which the pod fits; [] if none is found."""
    row = place.row
    gone: list[tuple[str, RunningPod]] = []
    for where, each in _suspects(scenario, place)[:_MOST_LEAVERS]:
        scenario.state.remove_pod(each.uid)
        gone.append((where, each))
        if _fits(pod.wanted, filters, scenario.state.freeze(0), row):
            break
    fits = bool(gone) and _fits(pod.wanted, filters, scenario.state.freeze(0), row)
    needed: list[tuple[str, RunningPod]] = []
    for where, each in gone:  # those that turn out to be able to stay are put back
        scenario.state.set_pod(each.uid, each.pod, where, leaving=each.leaving)
        if fits and not _fits(pod.wanted, filters, scenario.state.freeze(0), row):
            scenario.state.remove_pod(each.uid)
            needed.append((where, each))
    for where, each in needed:
        scenario.state.set_pod(each.uid, each.pod, where, leaving=each.leaving)
    return [f"{each.key.namespace}/{each.key.name}" for _, each in needed]


def _suspects(scenario: Scenario, place: Place) -> list[tuple[str, RunningPod]]:
    """Return who may be in the way, the least first: whom rules told of, then the node's pods."""
    nodes = place.snapshot.nodes
    here = nodes[place.row].name
    classes: dict[str, set[PodClass]] = {}
    for obstacle in place.obstacles:
        for other, rows in obstacle.pods.items():
            for there in rows:
                classes.setdefault(nodes[there].name, set()).add(other)
    found = [
        (where, each)
        for where in dict.fromkeys((here, *classes))
        for each in scenario.running.get(where, {}).values()
        if where == here or each.pod in classes[where]
    ]
    found.sort(
        key=lambda pair: (
            pair[1].pod not in classes.get(pair[0], ()),
            pair[1].pod.priority,
            -sum(pair[1].pod.requests.amounts.values()),
        )
    )
    return found


def _class_of(pod: ScenarioPod, spec: PodSpec) -> PodClass:
    return pod_class(msgspec.structs.replace(pod.pod, spec=spec, digest=b""))


def _fits(wanted: PodClass, filters: Sequence[Filter], snapshot: Snapshot, row: int) -> bool:
    return bool(np.isin(row, inspect(wanted, snapshot, filters, ()).rows))
