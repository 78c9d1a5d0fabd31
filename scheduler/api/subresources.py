"""/scale and /binding."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import BadRequest, Cause, Conflict, NotFound
from ..objects import checking
from ..objects.json import JsonObject
from ..objects.kind import Scale, field_at
from ..objects.kinds.fields import child, ensure, number, text
from ..objects.node import node_view
from ..objects.pod import pod_view
from ..objects.pod_class import host_ports
from ..objects.resources import allocatable, pod_requests
from ..objects.selectors import from_label_selector, from_map
from ..objects.stored import ObjectKey, StoredObject
from ..objects.wire import document
from ..store.bind import overlap
from ..store.operations import Bind, Occupancy
from . import status_errors
from .backend import Backend
from .request import Call
from .updating import Change, Updater

SCALE_VERSION = "autoscaling/v1"
_BIND_TRIES = 5


def scale_of(call: Call, stored: StoredObject) -> JsonObject:
    """Return the Scale of an object (autoscaling/v1)."""
    where, obj = _scale(call), document(stored, call.kind)
    meta = child(obj, "metadata")
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = field_at(obj, where.selector)
    status: JsonObject = {"replicas": field_at(obj, where.status_replicas) or 0}
    if isinstance(selector, dict):
        status["selector"] = _selector_text(selector)
    return {
        "kind": "Scale",
        "apiVersion": SCALE_VERSION,
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": field_at(obj, where.replicas) or 0},
        "status": status,
    }


def _scale(call: Call) -> Scale:
    assert call.kind.scale is not None
    return call.kind.scale


def _selector_text(selector: JsonObject) -> str:
    if selector.keys() & {"matchLabels", "matchExpressions"}:
        return str(from_label_selector(selector))
    return str(from_map({key: str(value) for key, value in selector.items()}))


ScaleWish = Callable[[JsonObject], Awaitable[JsonObject]]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Writes /scale."""

    backend: Backend

    async def update(self, call: Call, wish: ScaleWish) -> StoredObject:
        """Set the number of replicas.

        Args:
            wish: gives the wanted Scale for the present one.
        """

        async def change(current: StoredObject) -> Change:
            wanted = await wish(scale_of(call, current))
            replicas = checked_scale(call, wanted)
            obj = document(current, call.kind)
            meta = ensure(obj, "metadata")
            given = child(wanted, "metadata")
            meta.pop("resourceVersion", None)
            for key in ("resourceVersion", "uid", "name"):
                if text(given, key):
                    meta[key] = text(given, key)
            *parents, last = _scale(call).replicas.split(".")
            at = obj
            for part in parents:
                at = ensure(at, part)
            at[last] = replicas
            return Change(obj)

        stored, _warnings = await Updater(self.backend).update(call, change)
        return stored


def checked_scale(call: Call, wanted: JsonObject) -> int:
    """Return the replicas a Scale asks for.

    Raises:
        BadRequest: it is no Scale. Invalid: the number is negative.
    """
    if text(wanted, "kind") not in {"", "Scale"}:
        raise BadRequest(f"{text(wanted, 'kind')} cannot be handled as a Scale: unknown conversion")
    wrong = [p for p in checking.check("autoscaling.v1.Scale", wanted) if not p.unknown]
    if wrong:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {wrong[0].message}')
    replicas = number(child(wanted, "spec"), "replicas")
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise status_errors.invalid(call.kind, call.name, (Cause("spec.replicas", why),))
    return replicas


def checked_binding(call: Call, given: JsonObject) -> JsonObject:
    """Return a Binding (or Pod binding v1) whose types are right.

    Raises:
        BadRequest: it is no Binding.
    """
    if text(given, "kind") not in {"", "Binding"}:
        raise BadRequest(f"{text(given, 'kind')} cannot be handled as a Binding")
    wrong = [p for p in checking.check("core.v1.Binding", given) if not p.unknown]
    if wrong:
        raise BadRequest(
            f'Binding in version "v1" cannot be handled as a Binding: {wrong[0].message}'
        )
    name = text(child(given, "metadata"), "name")
    if name and name != call.name:
        raise BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )
    return given


@dataclass(frozen=True, slots=True)
class Binder:
    """Writes pods/{name}/binding after checking that the pod fits."""

    backend: Backend

    async def bind(self, call: Call, binding: JsonObject) -> None:
        """Give a pod its node.

        Raises:
            BadRequest: the target is not a Node.
            Conflict: the pod has a node already, does not fit on this one, or batch rules are
                against it.
        """
        target = child(binding, "target")
        node = text(target, "name")
        if text(target, "kind") not in {"", "Node"} or not node:
            raise status_errors.invalid(
                call.kind, call.name, (Cause("target", "Required value: name of a Node"),)
            )
        uid = text(child(binding, "metadata"), "uid")
        for attempt in range(_BIND_TRIES):
            write, pod = await self._checked(call, node, uid)
            async with self.backend.review(pod, node) as against:
                if against:
                    raise _refused(call, f'pod {call.name} may not be on node "{node}": {against}')
                if call.query.dry_run:
                    return
                try:
                    await self.backend.store.write(write)
                except Conflict:  # most often another binder used the node meanwhile
                    if attempt == _BIND_TRIES - 1:
                        raise
                else:
                    return

    async def _checked(self, call: Call, node: str, uid: str) -> tuple[Bind, StoredObject]:
        """Return the write for a pod that can be bound and fits, and the pod.

        The node's occupancy is read before the node: whatever changes after that revision makes
        the write a Conflict.
        """
        store = self.backend.store
        held = await store.bound_on(node)
        found = await store.get(ObjectKey("nodes", "", node))
        if found is None:
            raise NotFound(f'nodes "{node}" not found', kind="nodes", name=node)
        current = await Updater(self.backend).current(call)
        if current.binding is not None:
            raise _refused(
                call, f'pod {call.name} is already assigned to node "{current.binding.node}"'
            )
        if current.meta.deletion_timestamp is not None:
            raise _refused(call, f"pod {call.name} is being deleted, cannot be assigned to a host")
        pod = pod_view(current)
        if pod.spec.scheduling_gates:
            raise _refused(call, f"pod {call.name} has non-empty .spec.schedulingGates")
        write = Bind(
            current.key,
            uid or pod.meta.uid,
            node,
            snapshot_revision=held.revision,
            requests=pod_requests(pod.spec).amounts,
            host_ports=tuple((p.host_ip, p.protocol, p.port) for p in host_ports(pod.spec)),
        )
        short = _shortages(found, held, write)
        if short:
            raise _refused(
                call, f'pod {call.name} does not fit on node "{node}": {", ".join(short)}'
            )
        return write, current


def _shortages(node: StoredObject, held: Occupancy, wanted: Bind) -> list[str]:
    """Return what a node has too little of for a pod, in kube-scheduler's words."""
    offered = allocatable(node_view(node).status.allocatable)
    return [
        f"insufficient {name}"
        for name, amount in sorted(wanted.requests.items())
        if amount > offered.get(name, 0) - held.requests.get(name, 0)
    ] + [
        f"host port {port[2]}/{port[1]} is taken"
        for port in wanted.host_ports
        if any(overlap(port, other) for other in held.host_ports)
    ]


def _refused(call: Call, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on pods/binding "{call.name}": {why}',
        kind="pods",
        name=call.name,
    )
