"""Which slices the Endpoints that somebody wrote by hand need. Pure.

Kubernetes' endpoint slice mirroring controller: one slice for each set of ports, of 1,000 IPv4
addresses at most; an address that is said to be both ready and not is not.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from ..objects.endpoints import (
    MANAGED_BY,
    MIRROR,
    SERVICE_NAME,
    SLICES,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    slice_body,
)
from ..objects.meta import ObjectMeta
from ..objects.stored import Body
from ..store.operations import Remove, Replace
from .slice_writes import Ports, SliceWrite, new_slice, owned

MOST_MIRRORED = 1000
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
}


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is to be in slices.

    Args:
        by_ports: a slice each.
        beyond: addresses that are too many; foreign: addresses that are not IPv4.
    """

    by_ports: Mapping[Ports, tuple[Endpoint, ...]]
    beyond: int
    foreign: int

    @classmethod
    def of(cls, endpoints: Endpoints) -> "Mirror":
        """Return what is to be in the slices of an Endpoints object."""
        found: dict[Ports, dict[tuple[str, str], Endpoint]] = {}
        beyond = foreign = 0
        for ports, address, ready in _each(endpoints):
            if not _is_ipv4(address.ip):
                foreign += 1
                continue
            known = found.setdefault(ports, {})
            key = address.ip, address.target_ref.uid if address.target_ref else ""
            if key not in known and len(known) >= MOST_MIRRORED:
                beyond += 1
                continue
            usable = ready and (key not in known or known[key].conditions.ready is True)
            known[key] = _endpoint(address, usable)
        return cls({ports: tuple(each.values()) for ports, each in found.items()}, beyond, foreign)

    def complaints(self) -> list[tuple[str, str]]:
        """Return why not all of it is there, as reasons and messages of events."""
        found: list[tuple[str, str]] = []
        if self.foreign:
            words = f"Left out {self.foreign} addresses that are not IPv4"
            found.append(("InvalidIPAddress", words))
        if self.beyond:
            words = (
                f"Left out {self.beyond} addresses: {MOST_MIRRORED} are mirrored for the same "
                "ports; write EndpointSlices instead"
            )
            found.append(("TooManyAddressesToMirror", words))
        return found


def _each(endpoints: Endpoints) -> Iterator[tuple[Ports, EndpointAddress, bool]]:
    """Yield every address with its ports and whether it is ready."""
    for subset in endpoints.subsets:
        ports = _ports(subset)
        yield from ((ports, each, True) for each in subset.addresses)
        yield from ((ports, each, False) for each in subset.not_ready_addresses)


def _ports(subset: EndpointSubset) -> Ports:
    return tuple(
        replace(each, name=each.name or "", protocol=each.protocol or "TCP")
        for each in subset.ports
    )


def _is_ipv4(address: str) -> bool:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        (address.ip,),
        EndpointConditions(ready),
        address.target_ref,
        address.node_name,
        hostname=address.hostname,
    )


def plan_mirror(
    endpoints: Endpoints, mirror: Mirror, slices: Sequence[EndpointSlice], now: datetime
) -> list[SliceWrite]:
    """Return the writes that make the mirrored slices of a Service what they are to be.

    Args:
        slices: those that there are. One whose ports nobody has any more is used for new ports.
    """
    left = dict(mirror.by_ports)
    spare: list[EndpointSlice] = []
    writes: list[SliceWrite] = []
    for each in sorted(slices, key=lambda known: known.meta.name):
        wanted = left.pop(each.ports, ()) if each.address_type == "IPv4" else ()
        if wanted:
            writes += _change(endpoints, each, each.ports, wanted)
        else:
            spare.append(each)
    for ports, wanted in left.items():
        if spare and spare[0].address_type == "IPv4":
            writes += _change(endpoints, spare.pop(0), ports, wanted)
        else:
            writes.append(new_slice(_like(endpoints), ports, wanted, now))
    return [*writes, *removals(spare)]


def removals(slices: Sequence[EndpointSlice]) -> list[Remove]:
    """Return the writes that remove slices."""
    return [Remove(each.stored.key, each.meta.uid, each.stored.revision) for each in slices]


def _change(
    endpoints: Endpoints, known: EndpointSlice, ports: Ports, wanted: tuple[Endpoint, ...]
) -> list[Replace]:
    labels, annotations = _labels(endpoints), _annotations(endpoints)
    owners = owned("Endpoints", endpoints.meta)
    stored = known.stored
    meta = replace(stored.meta, labels=labels, annotations=annotations, owner_references=owners)
    if (known.ports, known.endpoints, known.meta) == (ports, wanted, meta):
        return []
    return [Replace(SLICES, meta, Body(slice_body(wanted, ports)), b"", stored.revision)]


def _like(endpoints: Endpoints) -> ObjectMeta:
    """Return what every slice of an Endpoints object has."""
    return ObjectMeta(
        namespace=endpoints.meta.namespace,
        labels=_labels(endpoints),
        annotations=_annotations(endpoints),
        owner_references=owned("Endpoints", endpoints.meta),
    )


def _labels(endpoints: Endpoints) -> dict[str, str]:
    return {**endpoints.meta.labels, SERVICE_NAME: endpoints.meta.name, MANAGED_BY: MIRROR}


def _annotations(endpoints: Endpoints) -> dict[str, str]:
    return {k: v for k, v in endpoints.meta.annotations.items() if k not in _NOT_COPIED}
