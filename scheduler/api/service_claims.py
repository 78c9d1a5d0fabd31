"""What Services hold: an address of the cluster, and ports that are open on every node."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from ..errors import Invalid, Unavailable
from ..objects.json import JsonObject
from ..objects.kinds.fields import children, number, text
from ..objects.kinds.service import HEADLESS, NODE_PORTS, has_address, has_node_ports
from ..objects.meta import ObjectMeta
from ..store.store import Store
from .reservations import Reservations

_RESERVED = 16  # the first addresses, for the API itself and for DNS
_SPECIAL = (0, 1, 10)  # the network's own, the API's, and the name server's
_TRIES = 256


@dataclass(slots=True)
class Claims:
    """What was reserved for one write of a Service."""

    addresses: list[str] = field(default_factory=list[str])
    ports: list[int] = field(default_factory=list[int])


class ServiceClaims:
    """Hands out and takes back.

    Args:
        network: of the addresses, e.g. 10.96.0.0/16.
    """

    def __init__(self, store: Store, network: str) -> None:
        self._network = IPv4Network(network)
        self._special = {self._network[at] for at in (*_SPECIAL, -1)}
        self._addresses = Reservations(store, "ipaddresses.networking.k8s.io", '"{}"')
        self._ports = Reservations(store, "nodeports.ironfree.dev", '"nodePort":{}')

    async def take(self, meta: ObjectMeta, spec: JsonObject, before: JsonObject) -> Claims:
        """Reserve what a Service is to have and has not, and write it into its spec.

        Args:
            meta: uid included.
            before: its spec until now, {} for none.

        Raises:
            Invalid: something wished for is out of range or in use.
            Unavailable: nothing is left.
        """
        taken = Claims()
        try:
            if has_address(spec) and not text(before, "clusterIP"):
                address = await self._address(meta, text(spec, "clusterIP"))
                taken.addresses.append(address)
                spec["clusterIP"], spec["clusterIPs"] = address, [address]
            await self._have_ports(meta, spec, _ports(before), taken.ports)
        except BaseException:
            await self.give_back(taken, meta.uid)
            raise
        return taken

    async def give_back(self, claims: Claims, uid: str) -> None:
        """Free what was reserved."""
        for address in claims.addresses:
            await self._addresses.give_back(address, uid)
        for port in claims.ports:
            await self._ports.give_back(str(port), uid)

    async def let_go(self, uid: str, before: JsonObject, spec: JsonObject) -> None:
        """Free what a Service had and has no more.

        Args:
            spec: what it is now, {} when it is gone.
        """
        address = text(before, "clusterIP")
        lost = address not in {"", HEADLESS, text(spec, "clusterIP")}
        ports = [*(_ports(before) - _ports(spec))]
        await self.give_back(Claims([address] if lost else [], ports), uid)

    async def _address(self, meta: ObjectMeta, wanted: str) -> str:
        if wanted:
            return await self._wanted_address(meta, wanted)
        for at in _places(meta.uid, self._network.num_addresses - _RESERVED - 1):
            candidate = str(self._network[_RESERVED + at])
            if await self._addresses.take(candidate, meta):
                return candidate
        raise Unavailable(f"no free cluster IP found in {self._network}; delete unused Services")

    async def _wanted_address(self, meta: ObjectMeta, wanted: str) -> str:
        if IPv4Address(wanted) in self._special:
            why = f"the provided IP ({wanted}) is kept for the cluster itself"
        elif IPv4Address(wanted) not in self._network:
            why = f"the provided IP ({wanted}) is not in the valid range: {self._network}"
        elif await self._addresses.take(wanted, meta):
            return wanted
        else:
            why = f"failed to allocate IP {wanted}: provided IP is already allocated"
        raise _invalid(meta, f'spec.clusterIPs: Invalid value: ["{wanted}"]: {why}')

    async def _have_ports(
        self, meta: ObjectMeta, spec: JsonObject, held: set[int], taken: list[int]
    ) -> None:
        ports = children(spec, "ports")
        for at, port in enumerate(ports):
            wanted = number(port, "nodePort")
            if not wanted or wanted in {*held, *taken}:
                continue
            if not await self._ports.take(str(wanted), meta):
                where = f"spec.ports[{at}].nodePort: Invalid value: {wanted}"
                raise _invalid(meta, f"{where}: provided port is already allocated")
            taken.append(wanted)
        for at, port in enumerate(ports if has_node_ports(spec) else ()):
            if not number(port, "nodePort"):
                port["nodePort"] = await self._free_port(f"{meta.uid}/{at}", meta)
                taken.append(number(port, "nodePort"))

    async def _free_port(self, seed: str, meta: ObjectMeta) -> int:
        for at in _places(seed, len(NODE_PORTS)):
            candidate = NODE_PORTS[at]
            if await self._ports.take(str(candidate), meta):
                return candidate
        raise Unavailable("no free port of nodes found; delete unused Services")


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
