"""Where a Service is found: which slices it needs, and its one Endpoints object. Pure.

Kubernetes' endpoint slice and endpoints controllers: pods with an address that have not ended,
ready ones to be used; those that are terminating stay in slices, so that they can be drained.
Unlike theirs, an endpoint stays in the slice where it is for as long as its ports are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from ..objects.endpoints import (
    CONTROLLER,
    ENDPOINTS,
    KEPT_BY_US,
    MANAGED_BY,
    MOST,
    SERVICE_NAME,
    SLICES,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    EndpointSubset,
    Target,
    endpoints_body,
    slice_body,
)
from ..objects.meta import ObjectMeta, new_uid
from ..objects.pod import Pod
from ..objects.service import HEADLESS, Service
from ..objects.stored import Body
from ..store.operations import Create, Remove, Replace
from .slice_writes import Ports, SliceWrite, new_slice, owned

HEADLESS_LABEL = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
_MOST_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class Backends:
    """The pods behind a Service, by the ports that it finds on them and by uid."""

    service: Service
    by_ports: Mapping[Ports, Mapping[str, Endpoint]]

    @classmethod
    def of(cls, service: Service, pods: Iterable[Pod], zones: Mapping[str, str]) -> "Backends":
        """Return those of the pods that are to be told of.

        Args:
            pods: that the Service selects.
            zones: node → zone, of nodes that are in one.
        """
        found: dict[Ports, dict[str, Endpoint]] = {}
        for pod in sorted(pods, key=lambda each: each.meta.name):
            ports = _ports(service, pod)
            if pod.status.pod_ip and not pod.terminal and (ports or not service.spec.ports):
                endpoint = _endpoint(service, pod, zones.get(pod.node))
                found.setdefault(ports, {})[pod.meta.uid] = endpoint
        return cls(service, found)


def _ports(service: Service, pod: Pod) -> Ports:
    found: list[EndpointPort] = []
    for each in service.spec.ports:
        target = each.target_port or each.port
        number = target if isinstance(target, int) else _named(pod, target, each.protocol)
        if number:
            found.append(EndpointPort(each.name, number, each.protocol, each.app_protocol))
    return tuple(found)


def _named(pod: Pod, name: str, protocol: str) -> int:
    """Return the number of a pod's port by name, 0 if it has none."""
    if name.isdecimal():
        return int(name)
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for port in container.ports:
            if port.name == name and port.protocol == protocol:
                return port.container_port
    return 0


def _endpoint(service: Service, pod: Pod, zone: str | None) -> Endpoint:
    said = pod.status.condition("Ready")
    serving = said is not None and said.status == "True"
    terminating = pod.meta.deletion_timestamp is not None
    published = service.spec.publish_not_ready_addresses
    named = pod.spec.hostname and pod.spec.subdomain == service.meta.name
    return Endpoint(
        (pod.status.pod_ip,),
        EndpointConditions(published or (serving and not terminating), serving, terminating),
        Target("Pod", pod.meta.namespace, pod.meta.name, pod.meta.uid),
        pod.node or None,
        zone,
        pod.spec.hostname if named else None,
    )


def plan_slices(
    backends: Backends, slices: Sequence[EndpointSlice], now: datetime
) -> list[SliceWrite]:
    """Return the writes that make a Service's slices what they are to be.

    Args:
        slices: those that the Service owns.
    """
    service = backends.service
    left = {ports: dict(endpoints) for ports, endpoints in backends.by_ports.items()}
    kept: list[tuple[EndpointSlice, list[Endpoint]]] = []
    for each in sorted(slices, key=lambda known: known.meta.name):
        wanted = left.get(each.ports, {}) if each.address_type == "IPv4" else {}
        uids = (endpoint.target_ref.uid for endpoint in each.endpoints if endpoint.target_ref)
        kept.append((each, [wanted.pop(uid) for uid in uids if uid in wanted]))
    for each, endpoints in kept:
        wanted = left.get(each.ports, {})
        while wanted and len(endpoints) < MOST and each.address_type == "IPv4":
            endpoints.append(wanted.pop(next(iter(wanted))))
    fresh = [
        (ports, tuple(endpoints.values())[begun : begun + MOST])
        for ports, endpoints in left.items()
        for begun in range(0, len(endpoints), MOST)
    ]
    used = [(each, tuple(endpoints)) for each, endpoints in kept if endpoints]
    empty = [each for each, endpoints in kept if not endpoints]
    if not used and not fresh:
        fresh = [] if empty else [((), ())]  # one slice says that there is nobody
        used = [(each, ()) for each in empty[:1]]
        empty = empty[1:]
    writes: list[SliceWrite] = []
    for each, endpoints in used:
        writes += _change(service, each, endpoints)
    writes += [new_slice(_like(service), ports, endpoints, now) for ports, endpoints in fresh]
    writes += [Remove(each.stored.key, each.meta.uid, each.stored.revision) for each in empty]
    return writes


def _change(
    service: Service, known: EndpointSlice, endpoints: tuple[Endpoint, ...]
) -> list[SliceWrite]:
    labels = _slice_labels(service)
    if known.endpoints == endpoints and known.meta.labels == labels:
        return []
    stored = known.stored
    meta = replace(stored.meta, labels=labels)
    body = Body(slice_body(endpoints, known.ports))
    return [Replace(SLICES, meta, body, b"", stored.revision)]


def _like(service: Service) -> ObjectMeta:
    """Return what every slice of a Service has."""
    return ObjectMeta(
        namespace=service.meta.namespace,
        labels=_slice_labels(service),
        owner_references=owned("Service", service.meta),
    )


def _slice_labels(service: Service) -> dict[str, str]:
    labels = {k: v for k, v in service.meta.labels.items() if k != HEADLESS_LABEL}
    if service.spec.cluster_ip == HEADLESS:
        labels[HEADLESS_LABEL] = ""
    return {**labels, SERVICE_NAME: service.meta.name, MANAGED_BY: CONTROLLER}


def endpoints_of(backends: Backends, now: datetime) -> Create:
    """Return the Create of a Service's Endpoints object."""
    service = backends.service
    subsets: list[EndpointSubset] = []
    room = _MOST_ADDRESSES
    over = False
    for ports, endpoints in backends.by_ports.items():
        ready = [_address(e) for e in endpoints.values() if e.conditions.ready]
        others = [
            _address(e)
            for e in endpoints.values()
            if not e.conditions.ready and not e.conditions.terminating
        ]
        over = over or len(ready) + len(others) > room
        ready, others = ready[:room], others[: max(0, room - len(ready))]
        room -= len(ready) + len(others)
        if ready or others:
            subsets.append(EndpointSubset(tuple(ready), tuple(others), ports))
    meta = ObjectMeta(
        name=service.meta.name,
        namespace=service.meta.namespace,
        uid=new_uid(),
        creation_timestamp=now,
        labels={**service.meta.labels, **KEPT_BY_US},
        annotations={OVER_CAPACITY: "truncated"} if over else {},
    )
    return Create(ENDPOINTS, meta, Body(endpoints_body(tuple(subsets))), b"")


def _address(endpoint: Endpoint) -> EndpointAddress:
    target = endpoint.target_ref
    assert target is not None  # it was made of a pod
    return EndpointAddress(endpoint.addresses[0], target, endpoint.node_name, endpoint.hostname)
