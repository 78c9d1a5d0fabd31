"""Pods that no rule can tell apart: same spec, same namespace, same labels, same controller.

The scheduler decides about classes, not pods: ten thousand replicas are one decision with a count.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from .meta import ObjectMeta
from .pod import Pod, PodSpec, claim_names
from .pod_group import group_name
from .resources import PodRequests, pod_requests

SERVICES = "services"
REPLICATION_CONTROLLERS = "replicationcontrollers"
REPLICA_SETS = "replicasets.apps"
STATEFUL_SETS = "statefulsets.apps"
_SPREADING = {
    ("v1", "ReplicationController"): REPLICATION_CONTROLLERS,
    ("apps/v1", "ReplicaSet"): REPLICA_SETS,
    ("apps/v1", "StatefulSet"): STATEFUL_SETS,
}
Workload = tuple[str, str]  # resource and name
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - Kubernetes' spelling of "every host address"


class HostPort(msgspec.Struct, frozen=True, order=True):
    """A port taken on a node (Kubernetes HostPortInfo): host_ip "" is written 0.0.0.0."""

    protocol: str
    port: int
    host_ip: str = ANY_ADDRESS

    def conflicts(self, other: "HostPort") -> bool:
        """Tell whether both cannot be on one node: same protocol and port, overlapping address."""
        return (
            self.protocol == other.protocol
            and self.port == other.port
            and (self.host_ip == other.host_ip or ANY_ADDRESS in (self.host_ip, other.host_ip))
        )


ClassKey = tuple[bytes, str, tuple[tuple[str, str], ...], Workload | None]


class PodClass:
    """A class of identical pods; equal keys are equal classes, and equal classes share the object.

    Args:
        key: (body digest, namespace, labels sorted by key, owner).
        spec: what every pod of the class declares.
        requests: what each copy asks of its node.
        host_ports: what each copy takes on its node; never two copies on one node if not empty.
        claims: names of the PersistentVolumeClaims that its pods mount.
        owner: the controller whose pods are spread by default constraints, None for none or another
            kind of controller.
        group: name of the PodGroup that its pods belong to, "" for none.
        attracts: whether its pods have pod affinity or anti-affinity, so that they bear on where
            other pods may go.
        names_nodes: whether it may go to none but nodes that it names, as a DaemonSet's pods.
    """

    __slots__ = (
        "_hash",
        "attracts",
        "claims",
        "group",
        "host_ports",
        "key",
        "labels",
        "names_nodes",
        "namespace",
        "owner",
        "requests",
        "spec",
    )

    def __init__(self, key: ClassKey, spec: PodSpec) -> None:
        self.key = key
        self.namespace = key[1]
        self.labels: Mapping[str, str] = dict(key[2])
        self.owner: Workload | None = key[3]
        self.spec = spec
        self.group: str = group_name(self.labels, spec)
        self.requests: PodRequests = pod_requests(spec)
        self.host_ports: tuple[HostPort, ...] = host_ports(spec)
        self.claims: tuple[str, ...] = claim_names(spec)
        affinity = spec.affinity
        self.attracts: bool = affinity is not None and (
            affinity.pod_affinity is not None or affinity.pod_anti_affinity is not None
        )
        self.names_nodes: bool = bool(spec.node_name) or _names_nodes(spec)
        self._hash = hash(key)

    @property
    def priority(self) -> int:
        """Higher goes first."""
        return self.spec.priority

    @property
    def scheduler_name(self) -> str:
        """The profile that its pods are placed by."""
        return self.spec.scheduler_name

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, PodClass) and self.key == other.key)

    def __repr__(self) -> str:
        return f"PodClass({self.key[0].hex()[:8]} in {self.namespace!r})"


def pod_class(pod: Pod) -> PodClass:
    """Return the class of a pod.

    Raises:
        BadRequest: a quantity in the spec cannot be read.
    """
    labels = pod.meta.labels
    return _class(
        pod.digest or msgspec.msgpack.encode(pod.spec, order="deterministic"),
        pod.meta.namespace,
        tuple(sorted(labels.items())) if labels else (),
        _owner(pod.meta),
        _Unhashed(pod.spec),
    )


def _owner(meta: ObjectMeta) -> Workload | None:
    owner = meta.controller_owner() if meta.owner_references else None
    resource = _SPREADING.get((owner.api_version, owner.kind)) if owner else None
    return (resource, owner.name) if owner and resource else None


def _names_nodes(spec: PodSpec) -> bool:
    """Tell whether every required term of node affinity names nodes."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    terms = affinity.required.node_selector_terms if affinity and affinity.required else ()
    return bool(terms) and all(
        any(each.key == "metadata.name" and each.operator == "In" for each in term.match_fields)
        for term in terms
    )


def host_ports(spec: PodSpec) -> tuple[HostPort, ...]:
    """Return the node ports a pod takes: containers and sidecars (Kubernetes GetHostPorts)."""
    running = [*spec.containers]
    running += [c for c in spec.init_containers if c.restart_policy == "Always"]
    return tuple(
        dict.fromkeys(
            HostPort(port.protocol or "TCP", port.host_port, port.host_ip or ANY_ADDRESS)
            for container in running
            for port in container.ports
            if port.host_port > 0
        )
    )


class _Unhashed:
    """Carries a spec past the cache, whose key is the digest that stands for it."""

    __slots__ = ("spec",)

    def __init__(self, spec: PodSpec) -> None:
        self.spec = spec

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)


@lru_cache(maxsize=65536)
def _class(
    digest: bytes,
    namespace: str,
    labels: tuple[tuple[str, str], ...],
    owner: Workload | None,
    carried: _Unhashed,
) -> PodClass:
    return PodClass((digest, namespace, labels, owner), carried.spec)
