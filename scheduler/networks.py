"""The network of pods across hosts, as a driver gives it to one host.

Every host has a subnet for its own pods, and every host is told the same: which subnet is behind
which host, where Services listen and who is behind them, and what names mean. What a Service's
address leads to is therefore decided on the host of whoever connects.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

Key = tuple[str, ...]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A host's part of the network.

    Args:
        subnet: of its pods, e.g. "10.240.3.0/24".
        ranges: addresses elsewhere that are to lead to the host itself, which passes on what it is
            told of; none overlaps with subnet.
        resolver: the address of the name server that the host is to be for its pods.
        zone: names below it are the cluster's, e.g. "cluster.local".
        port: TCP, where hosts reach each other.
        secret: that hosts show each other, 64 hexadecimal digits; never printed.
    """

    subnet: str
    ranges: tuple[str, ...]
    resolver: str
    zone: str
    port: int
    secret: str = field(repr=False)


class Backend(NamedTuple):
    """Where one of those is who are behind a Service."""

    address: str
    port: int


class Peer(NamedTuple):
    """Another host: pods of that subnet are reached through that address."""

    subnet: str
    address: str

    @property
    def key(self) -> Key:
        """What it is about."""
        return ("peer", self.subnet)


class Listener(NamedTuple):
    """A port of a Service, or of a pod that has a name of its own.

    Args:
        protocol: "TCP" or "UDP".
        backends: nobody: connections are refused.
        sticky: a client gets the same backend for as long as that is there.
    """

    address: str
    port: int
    protocol: str
    backends: tuple[Backend, ...]
    sticky: bool = False

    @property
    def key(self) -> Key:
        """What it is about."""
        return ("listener", self.address, str(self.port), self.protocol)


class Record(NamedTuple):
    """What a name in the zone means (RFC 1035, RFC 2782).

    Args:
        kind: "A": values are addresses; "CNAME": one name; "SRV": "port:name".
    """

    name: str
    kind: str
    values: tuple[str, ...]

    @property
    def key(self) -> Key:
        """What it is about."""
        return ("record", self.name, self.kind)


Entry = Peer | Listener | Record


class NetworkFeed(Protocol):
    """A host that is being told.

    Raises HostUnreachable when it hears no more; begin anew then.
    """

    async def begin(self, entries: Iterable[Entry]) -> str:
        """Have the host know exactly these; what it knows already goes on undisturbed.

        Returns:
            What of it the host cannot do, and why; "" when it does everything.
        """
        ...

    async def change(self, entries: Iterable[Entry], gone: Iterable[Key]) -> None:
        """Have the host know these, too, or anew, and others no more."""
        ...

    async def complaint(self) -> str:
        """Wait for, and return, something that the host cannot do, and why."""
        ...


class Gateway(Protocol):
    """What takes connections in for the API on a host, and carries them here."""

    @property
    def backend(self) -> Backend:
        """Where the host's network reaches it."""
        ...

    async def over(self) -> None:
        """Wait until it carries no more; begin anew then."""
        ...


@runtime_checkable
class GatewayHost(Protocol):
    """What a scheduler.drivers.Host may offer besides: its pods reach the API over its engine."""

    def gateway(self, connect: Connect) -> AbstractAsyncContextManager[Gateway]:
        """Carry what connects to the backend on the host to the API, while the context lasts.

        Args:
            connect: opens one connection to the API; OSError when that does not answer.
        """
        ...


@runtime_checkable
class NetworkedHost(Protocol):
    """What a scheduler.drivers.Host may offer besides."""

    async def subnet(self) -> str:
        """Return the subnet that the host has for pods now, "" for none."""
        ...

    async def join(self, network: PodNetwork) -> bool:
        """Have the subnet on the host, for sandboxes that name it; False: it takes no part.

        Raises EngineRejected: the host cannot have this one; its message says what to mend.
        """
        ...

    def network(self, network: PodNetwork) -> AbstractAsyncContextManager[NetworkFeed]:
        """Have the host serve the network; it goes on when the context has ended."""
        ...

    async def leave(self) -> None:
        """Have it serve no more, and remove the subnet.

        Raises EngineRejected: there are pods in it, which it keeps.
        """
        ...
