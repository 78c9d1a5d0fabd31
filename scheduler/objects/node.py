"""Typed views of nodes."""

from collections.abc import Sequence

import msgspec

from .json import Json, JsonObject
from .meta import ObjectMeta
from .pod import Condition, View
from .stored import Body, StoredObject


class Taint(View, frozen=True):
    """core/v1 Taint."""

    key: str
    effect: str
    value: str = ""
    time_added: str | None = None


class NodeAddress(View, frozen=True):
    """core/v1 NodeAddress."""

    type: str
    address: str


class NodeSpec(View, frozen=True):
    """core/v1 NodeSpec, the fields Ironfree acts on."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str = msgspec.field(name="providerID", default="")
    pod_cidr: str = msgspec.field(name="podCIDR", default="")


SERVICE_NETWORK = "ServiceNetwork"
"""The condition that tells whether pods of a Node's host reach Services."""
NO_PART = "TakesNoPart"
"""Its reason where the host is not of the network: nothing serves a subnet it may have had."""


class ContainerImage(View, frozen=True):
    """core/v1 ContainerImage."""

    names: tuple[str, ...] = ()
    size_bytes: int = 0


class NodeSystemInfo(View, frozen=True, omit_defaults=False):
    """core/v1 NodeSystemInfo; every field is written, for clients insist on all of them."""

    machine_id: str = msgspec.field(name="machineID", default="")
    system_uuid: str = msgspec.field(name="systemUUID", default="")
    boot_id: str = msgspec.field(name="bootID", default="")
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""


class NodeStatus(View, frozen=True):
    """core/v1 NodeStatus; quantities as written."""

    capacity: dict[str, str | int | float] = {}
    allocatable: dict[str, str | int | float] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()
    images: tuple[ContainerImage, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if present."""
        for condition in self.conditions:  # a generator would cost three times as much
            if condition.type == kind:
                return condition
        return None


class Node(msgspec.Struct, frozen=True):
    """A node as Ironfree's parts see it."""

    meta: ObjectMeta
    spec: NodeSpec
    status: NodeStatus
    revision: int


class _NodeBody(msgspec.Struct):
    spec: NodeSpec = NodeSpec()


_body = msgspec.json.Decoder(_NodeBody)
_status = msgspec.json.Decoder(NodeStatus)
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def node_view(stored: StoredObject) -> Node:
    """Return the typed view of a stored node."""
    return Node(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else NodeStatus(),
        revision=stored.revision,
    )


def with_taints(body: Body, taints: Sequence[Taint]) -> Body:
    """Return the body of a stored node with these taints in place of its own."""
    return _with(body, "taints", msgspec.to_builtins(taints) if taints else None)


def with_unschedulable(body: Body, unschedulable: bool) -> Body:
    """Return the body of a stored node that is cordoned, or open again."""
    return _with(body, "unschedulable", True if unschedulable else None)


def _with(body: Body, field: str, value: Json) -> Body:
    """Return a body with a field of its spec replaced, None: left out."""
    whole = _object.decode(body.json)
    spec = whole.get("spec")
    fields = {k: v for k, v in spec.items() if k != field} if isinstance(spec, dict) else {}
    whole["spec"] = fields if value is None else {**fields, field: value}
    return Body(msgspec.json.encode(whole, order="deterministic"))
