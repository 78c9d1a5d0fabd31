"""What Services hold: an address of the cluster, and ports that are open on every node."""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from ..errors import Invalid, Unavailable
from ..objects import service_records
from ..objects.json import JsonObject
from ..objects.kinds.fields import children, number, text
from ..objects.kinds.service import NODE_PORTS, has_address, has_node_ports
from ..objects.meta import ObjectMeta
from ..objects.stored import ObjectKey
from ..store.store import Store
from .reservations import Reservations, Reserved

_RESERVED = 16  # the first addresses, for the API itself and for DNS
_SPECIAL = (0, 1, 10)  # the network's own, the API's, and the name server's
_TRIES = 256


class ServiceClaims:
    """Hands out and takes back.

    Args:
        network: of the addresses, e.g. 10.96.0.0/16.
    """

    def __init__(self, store: Store, network: str) -> None:
        self._network = IPv4Network(network)
        self._special = {self._network[at] for at in (*_SPECIAL, -1)}
        self._reservations = Reservations(store)

    async def take(self, meta: ObjectMeta, spec: JsonObject, before: JsonObject) -> list[Reserved]:
        """Reserve what a Service is to have and has not, and write it into its spec.

        Args:
            meta: uid included.
            before: its spec until now, {} for none.

        Raises:
            Invalid: something wished for is out of range or in use.
            Unavailable: nothing is left.
        """
        taken: list[Reserved] = []
        try:
            if has_address(spec) and not text(before, "clusterIP"):
                taken.append(await self._address(meta, text(spec, "clusterIP")))
                address = taken[0].key.name
                spec["clusterIP"], spec["clusterIPs"] = address, [address]
            await self._have_ports(meta, spec, _ports(before), taken)
        except BaseException:
            await self.give_back(taken)
            raise
        return taken

    async def given_up(self, uid: str, before: JsonObject, spec: JsonObject) -> list[Reserved]:
        """Return what a Service has and is to have no more, as it is known now.

        Asked before the Service is written: after that, another write may have it taken anew.

        Args:
            spec: what it is to be, {} when it goes.
        """
        kept = {*_records(spec)}
        gone = (key for key in _records(before) if key not in kept)
        found = [await self._reservations.held(key, uid) for key in gone]
        return [each for each in found if each is not None]

    async def give_back(self, reserved: Iterable[Reserved]) -> None:
        """Free what was reserved, as far as nobody has taken it anew."""
        for each in reserved:
            await self._reservations.give_back(each)

    async def _address(self, meta: ObjectMeta, wanted: str) -> Reserved:
        if wanted:
            return await self._wanted_address(meta, wanted)
        for at in _places(meta.uid, self._network.num_addresses - _RESERVED - 1):
            candidate = str(self._network[_RESERVED + at])
            taken = await self._reservations.take(_address_key(candidate), meta)
            if taken is not None:
                return taken
        raise Unavailable(f"no free cluster IP found in {self._network}; delete unused Services")

    async def _wanted_address(self, meta: ObjectMeta, wanted: str) -> Reserved:
        if IPv4Address(wanted) in self._special:
            why = f"the provided IP ({wanted}) is kept for the cluster itself"
        elif IPv4Address(wanted) not in self._network:
            why = f"the provided IP ({wanted}) is not in the valid range: {self._network}"
        else:
            taken = await self._reservations.take(_address_key(wanted), meta)
            if taken is not None:
                return taken
            why = f"failed to allocate IP {wanted}: provided IP is already allocated"
        raise _invalid(meta, f'spec.clusterIPs: Invalid value: ["{wanted}"]: {why}')

    async def _have_ports(
        self, meta: ObjectMeta, spec: JsonObject, before: set[int], taken: list[Reserved]
    ) -> None:
        """Reserve ports of nodes, and add them to what is taken."""
        ports, had = children(spec, "ports"), {*before}
        for at, port in enumerate(ports):
            wanted = number(port, "nodePort")
            if not wanted or wanted in had:
                continue
            reserved = await self._reservations.take(_port_key(wanted), meta)
            if reserved is None:
                where = f"spec.ports[{at}].nodePort: Invalid value: {wanted}"
                raise _invalid(meta, f"{where}: provided port is already allocated")
            taken.append(reserved)
            had.add(wanted)
        for at, port in enumerate(ports if has_node_ports(spec) else ()):
            if not number(port, "nodePort"):
                reserved = await self._free_port(f"{meta.uid}/{at}", meta)
                taken.append(reserved)
                port["nodePort"] = int(reserved.key.name)

    async def _free_port(self, seed: str, meta: ObjectMeta) -> Reserved:
        for at in _places(seed, len(NODE_PORTS)):
            taken = await self._reservations.take(_port_key(NODE_PORTS[at]), meta)
            if taken is not None:
                return taken
        raise Unavailable("no free port of nodes found; delete unused Services")


def _address_key(address: str) -> ObjectKey:
    return ObjectKey(service_records.ADDRESSES, "", address)


def _port_key(port: int) -> ObjectKey:
    return ObjectKey(service_records.NODE_PORTS, "", str(port))


def _records(spec: JsonObject) -> Iterator[ObjectKey]:
    return service_records.record_keys(text(spec, "clusterIP"), sorted(_ports(spec)))


def _ports(spec: JsonObject) -> set[int]:
    found = (number(port, "nodePort") for port in children(spec, "ports"))
    return {port for port in found if port}


def _invalid(meta: ObjectMeta, why: str) -> Invalid:
    return Invalid(f'Service "{meta.name}" is invalid: {why}', kind="Service", name=meta.name)


def _places(seed: str, size: int) -> Iterator[int]:
    """Yield places in an order that differs from Service to Service."""
    for attempt in range(_TRIES):
        digest = hashlib.blake2b(f"{seed}/{attempt}".encode(), digest_size=8).digest()
        yield int.from_bytes(digest) % size
