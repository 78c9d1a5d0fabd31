"""Typed views of EndpointSlices (discovery/v1) and Endpoints (core/v1): where Services are."""

import msgspec

from .meta import ObjectMeta
from .pod import View
from .stored import StoredObject

SLICES = "endpointslices.discovery.k8s.io"
ENDPOINTS = "endpoints"
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of a slice: whose it is."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
"""Label of a slice: who keeps it."""
CONTROLLER = "endpointslice-controller.k8s.io"
MIRROR = "endpointslicemirroring-controller.k8s.io"
"""Who keeps the slices of Endpoints that somebody wrote."""
MOST = 100
"""Endpoints of one slice."""
KEPT_BY_US = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
"""Label of the Endpoints of Services with a selector."""
_SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"


class Target(View, frozen=True):
    """core/v1 ObjectReference to a pod."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class EndpointConditions(msgspec.Struct, frozen=True):
    """discovery/v1 EndpointConditions.

    Args:
        ready: whether it is to be used; serving: whether its probes pass, though it may be
            terminating.
    """

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(View, frozen=True):
    """discovery/v1 Endpoint."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: Target | None = None
    node_name: str | None = None
    zone: str | None = None
    hostname: str | None = None


class EndpointPort(View, frozen=True):
    """discovery/v1 and core/v1 EndpointPort; clients insist on a name, which may be empty."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class EndpointSlice(msgspec.Struct, frozen=True):
    """An EndpointSlice as it was seen."""

    meta: ObjectMeta
    address_type: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[EndpointPort, ...]
    stored: StoredObject


class _SliceBody(View, frozen=True):
    address_type: str
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


class EndpointAddress(View, frozen=True):
    """core/v1 EndpointAddress."""

    ip: str
    target_ref: Target | None = None
    node_name: str | None = None
    hostname: str | None = None


class EndpointSubset(View, frozen=True):
    """core/v1 EndpointSubset."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(msgspec.Struct, frozen=True):
    """An Endpoints object as it was seen.

    Args:
        mirrored: whether its addresses are to be in slices where its Service has no selector.
        subsets: of those that are; of others nothing is kept.
    """

    meta: ObjectMeta
    mirrored: bool
    subsets: tuple[EndpointSubset, ...]


class _EndpointsBody(View, frozen=True):
    subsets: tuple[EndpointSubset, ...] = ()


_slice = msgspec.json.Decoder(_SliceBody)
_endpoints = msgspec.json.Decoder(_EndpointsBody)


def slice_view(stored: StoredObject) -> EndpointSlice:
    """Return the typed view of a stored EndpointSlice."""
    body = _slice.decode(stored.body.json)
    endpoints, ports = body.endpoints or (), body.ports or ()
    return EndpointSlice(stored.meta, body.address_type, endpoints, ports, stored)


def slice_body(endpoints: tuple[Endpoint, ...], ports: tuple[EndpointPort, ...]) -> bytes:
    """Return the body of a slice of IPv4 addresses."""
    return msgspec.json.encode(_SliceBody("IPv4", endpoints, ports))


def endpoints_view(stored: StoredObject) -> Endpoints:
    """Return the typed view of a stored Endpoints object."""
    meta = stored.meta
    mirrored = (
        meta.labels.get(_SKIP_MIRROR) != "true"
        and _LEADER not in meta.annotations
        and not KEPT_BY_US.items() <= meta.labels.items()
    )
    return Endpoints(
        meta, mirrored, _endpoints.decode(stored.body.json).subsets if mirrored else ()
    )


def endpoints_body(subsets: tuple[EndpointSubset, ...]) -> bytes:
    """Return the body of an Endpoints object."""
    return msgspec.json.encode(_EndpointsBody(subsets))
