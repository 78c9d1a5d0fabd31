"""From a Service and its slices to what hosts are told of it. Pure.

Names: the Kubernetes DNS-based service discovery specification, 1.1.0. Who is asked: kube-proxy's
rules; where nobody is ready, those that are ending and still serve.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..networks import Backend, Entry, Listener, Record
from ..objects.endpoints import Endpoint, EndpointPort, EndpointSlice
from ..objects.service import EXTERNAL_NAME, HEADLESS, Service

Port = tuple[int, str]  # number, protocol
_CARRIED = ("TCP", "UDP")
_EVERY = "0.0.0.0"  # noqa: S104  every address of the host: that is what a node's port is


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What has to be known besides.

    Args:
        zone: of names, e.g. "cluster.local".
        reaches: tells whether an address of an endpoint can be reached from every host.
        inside: tells whether an address is of the range of pods.
        declared: the ports that the pod behind an endpoint says that it has.
    """

    zone: str
    reaches: Callable[[Endpoint], bool]
    inside: Callable[[str], bool]
    declared: Callable[[Endpoint], Iterable[Port]]


def entries_of(
    service: Service, slices: Sequence[EndpointSlice], around: Surroundings
) -> list[Entry]:
    """Return what hosts are told of a Service."""
    name = f"{service.meta.name}.{service.meta.namespace}.svc.{around.zone}"
    spec = service.spec
    if spec.type == EXTERNAL_NAME:
        return [Record(name, "CNAME", (spec.external_name.rstrip(".").lower(),))]
    found = [each for each in slices if each.address_type == "IPv4"]
    if spec.cluster_ip == HEADLESS:
        return list(_headless(name, found, around))
    return list(_with_address(name, service, found, around)) if spec.cluster_ip else []


def _with_address(
    name: str, service: Service, slices: Sequence[EndpointSlice], around: Surroundings
) -> Iterator[Entry]:
    spec = service.spec
    yield Record(name, "A", (spec.cluster_ip,))
    for port in spec.ports:
        if port.protocol not in _CARRIED:
            continue
        if port.name:
            known = f"_{port.name}._{port.protocol.lower()}.{name}"
            yield Record(known, "SRV", (f"{port.port}:{name}",))
        backends = [
            Backend(endpoint.addresses[0], number)
            for endpoint, number in _behind(slices, port.name, port.protocol, around)
        ]
        sticky = spec.session_affinity == "ClientIP"
        behind = tuple(sorted(set(backends)))
        yield Listener(spec.cluster_ip, port.port, port.protocol, behind, sticky)
        if port.node_port:
            yield Listener(_EVERY, port.node_port, port.protocol, behind, sticky)


def _behind(
    slices: Sequence[EndpointSlice], name: str, protocol: str, around: Surroundings
) -> list[tuple[Endpoint, int]]:
    """Return who is to be asked for a port of a Service, and at which port of theirs."""
    there = [
        (endpoint, port.port)
        for each in slices
        for port in each.ports
        if port.port and (port.name or "") == name and (port.protocol or "TCP") == protocol
        for endpoint in each.endpoints
        if endpoint.addresses and around.reaches(endpoint)
    ]
    ready = [each for each in there if _ready(each[0])]
    return ready or [each for each in there if each[0].conditions.serving]


def _ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def _headless(name: str, slices: Sequence[EndpointSlice], around: Surroundings) -> Iterator[Entry]:
    """Yield names of those behind a Service without an address, and ways to each of them."""
    known: dict[str, set[str]] = {}
    located: dict[str, set[str]] = {}
    listeners: dict[tuple[str, int, str], Listener] = {}
    for each in slices:
        for endpoint in each.endpoints:
            if not endpoint.addresses or not _ready(endpoint) or not around.reaches(endpoint):
                continue
            address = endpoint.addresses[0]
            own = f"{endpoint.hostname or address.replace('.', '-')}.{name}"
            known.setdefault(name, set()).add(address)
            known.setdefault(own, set()).add(address)
            for port in each.ports:
                if port.port and port.name:
                    wanted = f"_{port.name}._{(port.protocol or 'TCP').lower()}.{name}"
                    located.setdefault(wanted, set()).add(f"{port.port}:{own}")
            if not around.inside(address):
                continue  # it is there by itself, and hosts must not take it
            for number, protocol in {*_numbers(each.ports), *around.declared(endpoint)}:
                if protocol in _CARRIED:
                    listeners[address, number, protocol] = Listener(
                        address, number, protocol, (Backend(address, number),)
                    )
    for kind, names in (("A", known), ("SRV", located)):
        for each, values in names.items():
            yield Record(each, kind, tuple(sorted(values)))
    yield from listeners.values()


def _numbers(ports: Iterable[EndpointPort]) -> Iterator[Port]:
    for port in ports:
        if port.port:
            yield port.port, port.protocol or "TCP"
