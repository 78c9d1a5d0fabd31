"""A cluster written down as objects: what a simulation starts from.

Pure. Kubernetes objects as JSON come in, cluster state and pending pods come out. Objects are
defaulted as the API would and read leniently: what placement does not look at is not looked at.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ..errors import BadRequest
from ..objects.json import Json, JsonObject, get_object
from ..objects.kinds.pod_defaults import default_pod
from ..objects.kinds.priority import PriorityView
from ..objects.kinds.priority_class import SYSTEM_CLASSES
from ..objects.meta import ObjectMeta
from ..objects.node import Node, NodeSpec, NodeStatus
from ..objects.pod import Pod, PodSpec, PodStatus
from ..objects.pod_class import (
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
    PodClass,
    pod_class,
)
from ..objects.pod_group import RESOURCE, PodGroup, PodGroupSpec, PodGroupStatus
from ..objects.resizing import count_held
from ..objects.resources import allocatable
from ..objects.selectors import NOTHING, Selector, from_label_selector, from_map
from ..objects.stored import Body, ObjectKey, StoredObject
from .admission import LIMITS, RUNTIMES, Admission
from .state import ClusterState
from .tenancy import Budget, RunningPod, nanoseconds

MOST_OBJECTS = 300_000
_WORKLOADS = {
    "services": SERVICES,
    "replicationControllers": REPLICATION_CONTROLLERS,
    "replicaSets": REPLICA_SETS,
    "statefulSets": STATEFUL_SETS,
}
_PREEMPTS = "PreemptLowerPriority"
_NAMED: JsonObject = {"name": "container"}
_EXPRESSION: JsonObject = {"key": "", "operator": ""}
_ABSENT_IN_STATUS: dict[str, JsonObject] = {
    "conditions": {"type": "", "status": ""},
    "containerStatuses": {"name": ""},
    "initContainerStatuses": {"name": ""},
}
_ABSENT_IN_PODS: dict[str, dict[str, JsonObject]] = {
    "metadata": {"ownerReferences": {"apiVersion": "", "kind": "", "name": "", "uid": ""}},
    "spec": {
        "containers": _NAMED,
        "initContainers": _NAMED,
        "ports": {"containerPort": 0},
        "topologySpreadConstraints": {
            "maxSkew": 1,
            "topologyKey": "",
            "whenUnsatisfiable": "DoNotSchedule",
        },
        "requiredDuringSchedulingIgnoredDuringExecution": {"topologyKey": ""},
        "preferredDuringSchedulingIgnoredDuringExecution": {
            "weight": 0,
            "topologyKey": "",
            "preference": {},
        },
        "matchExpressions": _EXPRESSION,
        "matchFields": _EXPRESSION,
    },
    "status": _ABSENT_IN_STATUS,
}
_ABSENT_IN_NODES: dict[str, JsonObject] = {"taints": {"key": "", "effect": ""}}
_FRACTION = re.compile(r"\.([0-9]{1,9})")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScenarioPod:
    """A pod of a scenario and its class.

    Args:
        started: status.startTime in nanoseconds since 1970, None for as exactly as the pod says.
        refused: why it could not even be created, "" if it could.
    """

    key: ObjectKey
    pod: Pod
    wanted: PodClass
    started: int | None = None
    refused: str = ""

    @property
    def name(self) -> str:
        """namespace/name."""
        return _full_name(self.key)

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self.pod.meta.uid


@dataclass(slots=True)
class Scenario:
    """Nodes with what runs on them, and the pods that wait, in order.

    Args:
        running: node → uid → pod.
        bound: uid → pod, those in running.
        nominees: uid → pod, those that wait for room on a certain node.
        waiting: uid → pod, those that waited at first, in order.
        priorities: PriorityClasses by name.
        admission: what new pods are completed by, and held to.
        live: it began as the live cluster.
        budgets: PodDisruptionBudgets by namespace and name.
        groups: the PodGroups, by key; None where nothing is said of any, so that pods which name
            one are tried alone.
        revision: of the store up to which the live cluster is known at least.
    """

    state: ClusterState = field(default_factory=ClusterState)
    running: dict[str, dict[str, RunningPod]] = field(
        default_factory=dict[str, dict[str, RunningPod]]
    )
    bound: dict[str, ScenarioPod] = field(default_factory=dict[str, ScenarioPod])
    nominees: dict[str, ScenarioPod] = field(default_factory=dict[str, ScenarioPod])
    waiting: dict[str, ScenarioPod] = field(default_factory=dict[str, ScenarioPod])
    priorities: dict[str, PriorityView] = field(default_factory=dict[str, PriorityView])
    admission: Admission = field(default_factory=Admission)
    live: bool = False
    revision: int = 0
    budgets: dict[tuple[str, str], Budget] = field(default_factory=dict[tuple[str, str], Budget])
    groups: dict[ObjectKey, PodGroup] | None = None
    _uids: dict[str, str] = field(default_factory=dict[str, str])  # by namespace/name

    @property
    def pending(self) -> list[ScenarioPod]:
        """The pods that waited at first, in order."""
        return list(self.waiting.values())

    def run(self, pod: ScenarioPod, node: str) -> None:
        """Count a pod as running on a node; on one that is not known it counts for nothing."""
        leaving = pod.pod.meta.deletion_timestamp is not None
        self.state.set_pod(pod.uid, pod.wanted, node, leaving=leaving)
        running = RunningPod.of(pod.pod, pod.wanted)
        if pod.started is not None:
            running = msgspec.structs.replace(running, started=pod.started)
        self.running.setdefault(node, {})[pod.uid] = running
        self.bound[pod.uid] = pod
        self._uids[pod.name] = pod.uid
        self.nominees.pop(pod.uid, None)

    def wait(self, pod: ScenarioPod) -> None:
        """Let a pod wait, behind those that do."""
        self.waiting[pod.uid] = pod
        self._uids[pod.name] = pod.uid
        if pod.pod.status.nominated_node_name:
            self.nominees[pod.uid] = pod

    def forget(self, name: str) -> None:
        """Take out the pod of that namespace/name, wherever it is."""
        uid = self._uids.pop(name, "")
        bound = self.bound.get(uid)
        if bound is not None:
            self.stop(uid, bound.pod.node)
        self.waiting.pop(uid, None)
        self.nominees.pop(uid, None)

    def nominated(self, waits: ScenarioPod) -> dict[str, list[PodClass]]:
        """Return who else of at least its priority waits for room on a node."""
        found: dict[str, list[PodClass]] = {}
        for pod in self.nominees.values():
            node = pod.pod.status.nominated_node_name
            if pod is not waits and pod.wanted.priority >= waits.wanted.priority:
                found.setdefault(node, []).append(pod.wanted)
        return found

    def tenants(self) -> Mapping[str, Collection[RunningPod]]:
        """Return what runs, by node, as it is at any time."""
        return _Tenants(self.running)

    def stop(self, uid: str, node: str) -> None:
        """Stop counting a running pod."""
        self.state.remove_pod(uid)
        self.running.get(node, {}).pop(uid, None)
        self.bound.pop(uid, None)


class _Tenants(Mapping[str, Collection[RunningPod]]):
    def __init__(self, running: Mapping[str, Mapping[str, RunningPod]]) -> None:
        self._running = running

    def __getitem__(self, node: str) -> Collection[RunningPod]:
        return self._running[node].values()

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)


def read_scenario(spec: JsonObject, scenario: Scenario | None = None) -> Scenario:
    """Return the scenario of a Simulation's spec.

    Args:
        spec: lists nodes, pods, namespaces, services, replicationControllers, replicaSets,
            statefulSets, podDisruptionBudgets, priorityClasses, podGroups, limitRanges,
            runtimeClasses; every one may be absent.
        scenario: what they are laid over; objects of the same name are replaced.

    Raises:
        BadRequest: an object cannot be read; names the field.
    """
    scenario = scenario or Scenario()
    for number, (obj, where) in enumerate(_objects(spec, "nodes")):
        scenario.state.set_node(node_of(obj, where, number))
    for obj, where in _objects(spec, "namespaces"):
        meta = _meta(obj, where)
        scenario.state.set_namespace(meta.name, meta.labels)
    for field_name, resource in _WORKLOADS.items():
        for number, (obj, where) in enumerate(_objects(spec, field_name)):
            meta, selector = _meta(obj, where, "default"), _selector(obj, where, resource)
            name = meta.name or f"{meta.generate_name}{number}"
            scenario.state.set_workload(meta.namespace, resource, name, selector)
    for obj, where in _objects(spec, "podDisruptionBudgets"):
        budget = budget_of(obj, where)
        name = _meta(obj, where).name or where
        scenario.budgets[budget.namespace, name] = budget
    if spec.get("podGroups") is not None:
        scenario.groups = scenario.groups or {}
        for obj, where in _objects(spec, "podGroups"):
            group = group_of(obj, where)
            scenario.groups[ObjectKey(RESOURCE, group.meta.namespace, group.meta.name)] = group
    scenario.priorities.update(_priorities(spec))
    for obj, where in _objects(spec, "limitRanges"):
        scenario.admission.add_written(LIMITS, _meta(obj, where, "default"), obj, where)
    if spec.get("runtimeClasses") is not None and scenario.admission.runtimes is None:
        scenario.admission.runtimes = {}
    for obj, where in _objects(spec, "runtimeClasses"):
        scenario.admission.add_written(RUNTIMES, _meta(obj, where), obj, where)
    for number, (obj, where) in enumerate(_objects(spec, "pods")):
        _add_pod(scenario, obj, where, number)
    return scenario


def node_of(obj: JsonObject, where: str, number: int) -> Node:
    """Return the typed view of a Node document; raises BadRequest.

    Args:
        number: names it if nothing else does.
    """
    _complete(obj.get("spec"), _ABSENT_IN_NODES)
    _complete(obj.get("status"), _ABSENT_IN_STATUS)
    status = _convert(get_object(obj, "status", where), NodeStatus, f"{where}.status")
    try:
        allocatable(status.allocatable or status.capacity)
    except BadRequest as error:
        raise BadRequest(f"{where}.status: {error.message}") from error
    spec = _convert(get_object(obj, "spec", where), NodeSpec, f"{where}.spec")
    meta = _meta(obj, where)
    name = meta.name or f"{meta.generate_name}{number}"
    return Node(msgspec.structs.replace(meta, name=name), spec, status, 0)


def pod_of(obj: JsonObject, where: str, number: int) -> Pod:
    """Return the typed view of a Pod document; raises BadRequest.

    Args:
        number: makes the uid, since those of a scenario may be absent or alike.
    """
    _complete_pod(obj, where)
    return _pod_view(obj, where, number)


def _complete_pod(obj: JsonObject, where: str, admission: Admission | None = None) -> str:
    """Give a Pod document in place what a stored one has.

    Args:
        admission: what it would go through if it came now, which only a pod that waits does.

    Returns:
        Why it would be refused, "" where it would not.

    Raises:
        BadRequest: it cannot be read.
    """
    for part, absent in _ABSENT_IN_PODS.items():
        _complete(obj.get(part), absent)
    try:
        default_pod(obj)
        if get_object(obj, "spec", where).get("nodeName"):
            count_held(obj)
        elif admission is not None:
            return admission.admit(obj)
    except BadRequest as error:
        raise BadRequest(f"{where}: {error}") from error
    return ""


def _pod_view(obj: JsonObject, where: str, number: int) -> Pod:
    meta = _meta(obj, where, "default")
    _name_namespaces(get_object(obj, "spec", where).get("affinity"))
    spec = _convert(get_object(obj, "spec", where), PodSpec, f"{where}.spec")
    status = _convert(get_object(obj, "status", where), PodStatus, f"{where}.status")
    name = meta.name or f"{meta.generate_name}{number}"
    node = spec.node_name
    return Pod(
        msgspec.structs.replace(meta, name=name, uid=f"scenario-{number}"),
        msgspec.structs.replace(spec, node_name="") if node else spec,
        status,
        node,
        0,
        b"",
    )


def group_of(obj: JsonObject, where: str) -> PodGroup:
    """Return the typed view of a PodGroup document; raises BadRequest."""
    meta = _meta(obj, where, "default")
    spec = _convert(get_object(obj, "spec", where), PodGroupSpec, f"{where}.spec")
    stored = StoredObject(RESOURCE, meta, 0, 0, Body(b"{}"), b"")
    return PodGroup(meta, spec, PodGroupStatus(), stored)


def budget_of(obj: JsonObject, where: str) -> Budget:
    """Return what a PodDisruptionBudget document says; raises BadRequest.

    One whose selector cannot be read covers nobody, as in kube-scheduler.
    """
    meta = _meta(obj, where, "default")
    spec, status = get_object(obj, "spec", where), get_object(obj, "status", where)
    allowed = status.get("disruptionsAllowed") or 0
    if not isinstance(allowed, int):
        raise BadRequest(f"{where}.status.disruptionsAllowed must be a whole number")
    try:
        selector = from_label_selector(spec.get("selector"))
    except BadRequest:
        selector = NOTHING
    disrupted = frozenset(get_object(status, "disruptedPods", f"{where}.status"))
    return Budget(meta.namespace, selector, allowed, disrupted)


def _add_pod(scenario: Scenario, obj: JsonObject, where: str, number: int) -> None:
    refused = _complete_pod(obj, where, scenario.admission)
    pod = _pod_view(obj, where, number)
    if get_object(obj, "spec", where).get("priority") is None:
        spec, unknown = _with_priority(pod.spec, scenario.priorities)
        pod, refused = msgspec.structs.replace(pod, spec=spec), refused or unknown
    try:
        wanted = pod_class(pod)
    except BadRequest as error:
        raise BadRequest(f"{where}: {error}") from error
    key = ObjectKey("pods", pod.meta.namespace, pod.meta.name)
    member = ScenarioPod(key, pod, wanted, _started(obj, pod), refused)
    if scenario.live:
        scenario.forget(member.name)
    if pod.terminal:
        return
    if pod.node:
        scenario.run(member, pod.node)
    else:
        scenario.wait(member)


def _started(obj: JsonObject, pod: Pod) -> int | None:
    """Return status.startTime in nanoseconds, which the typed view cuts to microseconds."""
    time, status = pod.status.start_time, obj.get("status")
    text = status.get("startTime") if isinstance(status, dict) else None
    fraction = _FRACTION.search(text) if isinstance(text, str) else None
    if time is None or fraction is None:
        return None
    return nanoseconds(time.replace(microsecond=0)) + int(fraction[1].ljust(9, "0"))


def _with_priority(spec: PodSpec, classes: dict[str, PriorityView]) -> tuple[PodSpec, str]:
    """Fill in the priority of a class for a spec that gives no number itself.

    Returns:
        The spec, and why it would be refused, "" where it would not.
    """
    name = spec.priority_class_name
    if not name:
        defaults = [view for view in classes.values() if view.global_default]
        chosen = min(defaults, key=lambda view: view.value, default=None)
    elif name in classes:
        chosen = classes[name]
    elif name in SYSTEM_CLASSES:
        chosen = PriorityView(SYSTEM_CLASSES[name])
    else:
        return spec, f"no PriorityClass with name {name} was found"
    if chosen is None:
        return spec, ""
    policy = spec.preemption_policy
    if policy == _PREEMPTS:
        policy = chosen.preemption_policy
    return msgspec.structs.replace(spec, priority=chosen.value, preemption_policy=policy), ""


def _priorities(spec: JsonObject) -> dict[str, PriorityView]:
    return {
        _meta(obj, where).name: _convert(obj, PriorityView, where)
        for obj, where in _objects(spec, "priorityClasses")
    }


def _selector(obj: JsonObject, where: str, resource: str) -> Selector | None:
    """Return spec.selector of a service or controller; None where it selects nothing."""
    selector = get_object(get_object(obj, "spec", where), "selector", f"{where}.spec")
    if not selector:
        return None
    if resource in (REPLICA_SETS, STATEFUL_SETS):
        return from_label_selector(selector)
    return from_map({key: str(value) for key, value in selector.items()})


def _objects(spec: JsonObject, name: str) -> Iterable[tuple[JsonObject, str]]:
    """Yield the objects of a list without their nulls, and what to call each in a message."""
    given = spec.get(name)
    if given is None:
        return
    if not isinstance(given, list):
        raise BadRequest(f"spec.{name} must be a list")
    if len(given) > MOST_OBJECTS:
        raise BadRequest(f"spec.{name} has {len(given)} objects; at most {MOST_OBJECTS} are taken")
    for number, obj in enumerate(given):
        if not isinstance(obj, dict):
            raise BadRequest(f"spec.{name}[{number}] must be an object")
        yield _without_nulls(obj), f"spec.{name}[{number}]"


def _without_nulls(obj: JsonObject) -> JsonObject:
    return {key: _cleaned(value) for key, value in obj.items() if value is not None}


def _cleaned(value: Json) -> Json:
    if isinstance(value, dict):
        return _without_nulls(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    return value


def _meta(obj: JsonObject, where: str, namespace: str = "") -> ObjectMeta:
    fields = dict(get_object(obj, "metadata", where))
    fields.pop("managedFields", None)
    if namespace and not fields.get("namespace"):
        fields["namespace"] = namespace
    return _convert(fields, ObjectMeta, f"{where}.metadata")


def _complete(value: Json, absent: Mapping[str, JsonObject]) -> None:
    """Fill in what stored objects always have and a scenario's may leave out, by list, deeply."""
    if isinstance(value, list):
        for each in value:
            _complete(each, absent)
    elif isinstance(value, dict):
        for name, inner in value.items():
            defaults = absent.get(name)
            for each in inner if defaults and isinstance(inner, list) else ():
                if isinstance(each, dict):
                    _complete_one(each, defaults or {})
            _complete(inner, absent)


def _complete_one(obj: JsonObject, defaults: JsonObject) -> None:
    for field_name, default in defaults.items():
        wrapped = obj.get("podAffinityTerm") if field_name == "topologyKey" else None
        (wrapped if isinstance(wrapped, dict) else obj).setdefault(field_name, default)


def _name_namespaces(value: Json) -> None:
    """Say "default" where affinity terms say "", as for objects that name no namespace."""
    if isinstance(value, list):
        for each in value:
            _name_namespaces(each)
    elif isinstance(value, dict):
        namespaces = value.get("namespaces")
        if isinstance(namespaces, list):
            value["namespaces"] = [name or "default" for name in namespaces]
        for each in value.values():
            _name_namespaces(each)


def _convert(value: JsonObject, view: type[T], where: str) -> T:
    try:
        return msgspec.convert(value, view, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{where}: {error}") from error


def _full_name(key: ObjectKey) -> str:
    return f"{key.namespace}/{key.name}"
