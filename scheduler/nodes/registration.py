"""From a DockerHost and what its engine says to a Node (kubelet's node status setters).

Pure: present objects in, writes out. Taints and unschedulable are taken from the DockerHost only
when the Node is made, so that `kubectl cordon` and `kubectl taint` last.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import msgspec
from msgspec.structs import replace

from ..drivers import HostInfo
from ..foreign import ForeignContainer
from ..networks import PodNetwork
from ..objects import quantity
from ..objects.json import JsonObject
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.names import label_name_complaints
from ..objects.node import (
    NO_PART,
    SERVICE_NETWORK,
    ContainerImage,
    Node,
    NodeAddress,
    NodeStatus,
    NodeSystemInfo,
    node_view,
)
from ..objects.node_ports import FOREIGN_PORTS, written
from ..objects.pod import Condition
from ..objects.resources import CPU, EPHEMERAL_STORAGE, MEMORY
from ..objects.stored import Body, StoredObject
from ..store.operations import Create, Replace
from .docker_host import DockerHost, engine_of, url_ip
from .engines import ENGINE
from .foreign_holdings import held, less_foreign, words
from .pressure import PRESSURES

VERSION = "v1.37.0+ironfree"

_RUNTIME = "runtime.ironfree.dev"  # prefix of a label a runtime; RuntimeClasses can select by it
_HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "the container engine answers"),
)
_PRESSED = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
_WORKING = ("EngineStuck", "False", "EngineWorks", "the container engine does what it is told")

_CIDRS = ("podCIDR", "podCIDRs")
_SERVED = (SERVICE_NETWORK, "True", "Served", "pods here reach Services by address and name")


class Part(Enum):
    """A host's part in the network."""

    TAKEN = auto()
    """It has its subnet, is to have it, or there is no network."""
    LEAVING = auto()
    """Nothing serves its subnet any more, but pods may have addresses of it."""
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Registration:
    """What a Node is made of.

    Args:
        max_pods: where neither the DockerHost nor its engine says.
        images: that the host has, the largest; None before the first look.
        epoch: of the leader writing.
        stuck: why the engine does not do what it is told though it answers, "" when it does.
        foreign: what else runs on the host, None where that cannot be told.
        disk: bytes where containers and volumes are, 0 until that was looked at.
        pressures: conditions MemoryPressure, PIDPressure and DiskPressure, if they hold.
        network: that the host is part of.
        part: whether it is, or may be.
        offline: why Services are not served there, "" when they are; None: nothing is known.
    """

    host: DockerHost
    info: HostInfo
    max_pods: int
    epoch: int | None
    images: tuple[ContainerImage, ...] | None = None
    stuck: str = ""
    foreign: tuple[ForeignContainer, ...] | None = None
    disk: int = 0
    pressures: frozenset[str] = frozenset()
    network: PodNetwork | None = None
    offline: str | None = None
    part: Part = Part.TAKEN

    @property
    def address(self) -> str:
        """The node's InternalIP."""
        return self.info.address or url_ip(self.host.spec.address)


def capacity(made: Registration) -> dict[str, str | int | float]:
    """Return the node's capacity: the engine's word, overridden by spec.capacity."""
    info = made.info
    found: dict[str, str | int | float] = {
        "cpu": str(info.cpus),
        "memory": quantity.format_binary(info.memory_bytes),
        "pods": str(made.max_pods),
    }
    disk = info.disk_bytes or made.disk
    if disk:
        found[EPHEMERAL_STORAGE] = quantity.format_binary(disk)
    found |= {name: str(count) for name, count in info.resources.items()}
    return {**found, **{name: str(v) for name, v in made.host.spec.capacity.items()}}


def allocatable(made: Registration) -> dict[str, str | int | float]:
    """Return capacity less spec.reserved and what foreign containers hold, never below zero."""
    reserved = made.host.spec.reserved
    foreign = held(made.foreign or ())
    return {
        name: _less(made, name, str(amount), str(reserved.get(name, 0)), foreign.get(name, 0))
        if name in reserved or name in foreign
        else amount
        for name, amount in capacity(made).items()
    }


def _less(made: Registration, name: str, amount: str, reserved: str, foreign: int) -> str:
    cpu = name == CPU
    read = quantity.milli if cpu else quantity.value
    info = made.info
    engine = {CPU: info.cpus * 1000, MEMORY: info.memory_bytes, **info.resources}.get(name, 0)
    left = less_foreign(read(amount), engine, foreign)
    return (quantity.format_cpu if cpu else quantity.format_binary)(max(0, left - read(reserved)))


def labels(made: Registration) -> dict[str, str]:
    """Return the labels a node gets from its host; spec.labels win."""
    info, spec = made.info, made.host.spec
    found = {
        "kubernetes.io/hostname": made.host.name,
        "kubernetes.io/arch": info.architecture,
        "kubernetes.io/os": info.os,
        "beta.kubernetes.io/arch": info.architecture,
        "beta.kubernetes.io/os": info.os,
    }
    if spec.zone:
        found["topology.kubernetes.io/zone"] = spec.zone
    usable = (name for name in info.runtimes if not label_name_complaints(name))
    found.update({f"{_RUNTIME}/{name}": "true" for name in usable})
    return {**found, **spec.labels}


def node_write(
    made: Registration, present: StoredObject | None, now: datetime
) -> Create | Replace | None:
    """Return the write that makes the Node what the host is, or None when it is already."""
    if present is None:
        return _new_node(made, now)
    node = node_view(present)
    meta = replace(
        present.meta,
        labels={**_lasting(present.meta.labels), **labels(made)},
        annotations=_annotations(made, present.meta.annotations),
        owner_references=_owned(present.meta, made.host),
    )
    status, body = _node_status(made, node, now), _with_subnet(made, node, present.body)
    if meta == present.meta and status == node.status and body is present.body:
        return None
    return Replace(
        "nodes",
        meta,
        body,
        _merged(present.status, status),
        expected_revision=present.revision,
        epoch=made.epoch,
    )


def _new_node(made: Registration, now: datetime) -> Create:
    host = made.host
    spec: dict[str, object] = {"providerID": f"ironfree://{host.spec.driver}/{host.name}"}
    if host.spec.unschedulable:
        spec["unschedulable"] = True
    if host.spec.taints:
        spec["taints"] = host.spec.taints
    spec |= _subnet(made)
    meta = ObjectMeta(
        name=host.name,
        uid=str(uuid.uuid4()),
        creation_timestamp=now,
        labels=labels(made),
        annotations=_annotations(made, {}),
        owner_references=(owner(host),),
    )
    status = _node_status(made, None, now)
    body = Body(msgspec.json.encode({"spec": spec}))
    return Create("nodes", meta, body, msgspec.json.encode(status), epoch=made.epoch)


def _subnet(made: Registration) -> JsonObject:
    subnet = made.network.subnet if made.network is not None else ""
    return dict(zip(_CIDRS, (subnet, [subnet]), strict=True)) if subnet else {}


def _with_subnet(made: Registration, node: Node, body: Body) -> Body:
    """Return a Node's body with its subnet, the very body if it has it."""
    wanted = _subnet(made)
    known = bool(wanted) or made.part is Part.NONE
    if not known or node.spec.pod_cidr == wanted.get("podCIDR", ""):
        return body
    fields = _object.decode(body.json)
    spec = fields.get("spec")
    others = {k: v for k, v in spec.items() if k not in _CIDRS} if isinstance(spec, dict) else {}
    fields["spec"] = {**others, **wanted}
    return Body(msgspec.json.encode(fields))


def _annotations(made: Registration, present: Mapping[str, str]) -> dict[str, str]:
    found = {**present, ENGINE: engine_of(made.host)}
    if made.foreign is None:
        return found
    found.pop(FOREIGN_PORTS, None)
    ports = written(port for each in made.foreign for port in each.ports)
    return {**found, FOREIGN_PORTS: ports} if ports else found


def owner(host: DockerHost) -> OwnerReference:
    """Return the reference that makes a DockerHost own its Node."""
    return OwnerReference("ironfree.dev/v1", "DockerHost", host.name, host.meta.uid, True)


def _lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """Return a node's labels without those of runtimes, which an engine may not have any more."""
    return {key: text for key, text in labels.items() if not key.startswith(f"{_RUNTIME}/")}


def _owned(meta: ObjectMeta, host: DockerHost) -> tuple[OwnerReference, ...]:
    others = tuple(o for o in meta.owner_references if o.kind != "DockerHost")
    return (*others, owner(host))


def _node_status(made: Registration, node: Node | None, now: datetime) -> NodeStatus:
    before = node.status if node else NodeStatus()
    info = made.info
    said = _conditions(made)
    others = tuple(c for c in before.conditions if c.type not in {s[0] for s in said})
    return replace(
        before,
        capacity=capacity(made),
        allocatable=allocatable(made),
        conditions=(*(_condition(before, now, *each) for each in said), *others),
        images=before.images if made.images is None else made.images,
        addresses=(
            NodeAddress("InternalIP", made.address),
            NodeAddress("Hostname", info.hostname or made.host.name),
        ),
        node_info=NodeSystemInfo(
            machine_id=info.engine_id,
            kernel_version=info.kernel,
            os_image=info.operating_system,
            container_runtime_version=info.engine,
            kubelet_version=VERSION,
            operating_system=info.os,
            architecture=info.architecture,
        ),
    )


def _conditions(made: Registration) -> tuple[tuple[str, str, str, str], ...]:
    """Return type, status, reason and message of the conditions."""
    pressed = made.pressures
    stuck = ("EngineStuck", "True", "CallsUnanswered", made.stuck) if made.stuck else _WORKING
    said = ((h[0], "True", *_PRESSED[h[0]]) if h[0] in pressed else h for h in _HEALTHY)
    foreign = () if made.foreign is None else (words(made.foreign),)
    return (*said, stuck, *foreign, *_served(made))


def _served(made: Registration) -> tuple[tuple[str, str, str, str], ...]:
    """Return whether pods of the host reach Services, if that is known."""
    if made.offline is None:
        return ()
    reason = "NotServed" if made.part is Part.TAKEN else NO_PART
    return ((SERVICE_NETWORK, "False", reason, made.offline) if made.offline else _SERVED,)


def _holds(status: NodeStatus, kind: str) -> bool:
    condition = status.condition(kind)
    return condition is not None and condition.status == "True"


def disk_of(node: StoredObject | None) -> int:
    """Return how large a Node itself says that its disk is, 0 where it says nothing."""
    said = node_view(node).status.capacity.get(EPHEMERAL_STORAGE, 0) if node is not None else 0
    return quantity.value(str(said))


def pressures_of(node: StoredObject | None) -> frozenset[str]:
    """Return which of its resources run short by a Node's own word."""
    if node is None:
        return frozenset()
    status = node_view(node).status
    return frozenset(kind for kind in PRESSURES if _holds(status, kind))


def pressure_words(kind: str, *, holds: bool) -> str:
    """Return the reason of the event that a condition of a Node begins or has ended (kubelet)."""
    reason = _PRESSED[kind][0] if holds else next(h[2] for h in _HEALTHY if h[0] == kind)
    return reason.replace("Kubelet", "Node", 1)


def _condition(
    before: NodeStatus, now: datetime, kind: str, status: str, reason: str, message: str
) -> Condition:
    old = before.condition(kind)
    if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
        return old
    moved = old.last_transition_time if old and old.status == status else now
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=now,
        last_transition_time=moved or now,
    )


_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def _merged(present: bytes, status: NodeStatus) -> bytes:
    """Put the fields a node agent owns into a status, leaving others (images, daemon endpoints)."""
    fields = _object.decode(present or b"{}")
    fields.update(msgspec.to_builtins(status))
    return msgspec.json.encode(fields)
