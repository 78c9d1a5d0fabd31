"""TCP connections made on the host itself: how probes reach pods without an agent.

A pod's address is only known on its host. So `tools dial` (tools.c) runs there, which connects
wherever it is told over the one stream that is attached to it; no exec and no event a probe.
"""

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing

from scheduler.drivers import Connection, DialFailure
from scheduler.errors import DriverError, EngineRejected, HostUnreachable
from scheduler.images import Filesystem
from scheduler.streams import Level, Signals

from .containers import Containers
from .engine import INSPECT, Engine
from .hijack import Hijacked
from .host_program import frames, packed, running

_OPEN, _DATA, _CLOSE, _STAT, _HEADS = 1, 2, 3, 4, 5
_STATFS = struct.Struct("<7Q")
"""Of Linux's struct statfs: type, block size, blocks, free, free for all; inodes, free ones."""
_MOST = 4096
_PROGRAM_MEMORY = 16 << 20
_MOST_PLACES = 8
"""Addresses of a name that are tried."""
_SIGNALS = (
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/threads-max",
)
_MEMORY = re.compile(rb"^(MemTotal|MemAvailable): +(\d+) kB$", re.MULTILINE)
_TASKS = re.compile(rb"\S+ \S+ \S+ \d+/(\d+) ")


class Dialed:
    """A drivers.Connection over the dialer's stream."""

    def __init__(self, link: "_Link", number: int) -> None:
        self._link = link
        self._number = number
        self.opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False

    def arrive(self, kind: int, payload: bytes) -> None:
        """Take in a frame."""
        if kind == _DATA:
            self._parts.put_nowait(payload)
            return
        reason = 0 if kind == _OPEN else struct.unpack("<i", payload[:4])[0] or -1
        if not self.opened.done():
            self.opened.set_result(reason)
        if kind == _CLOSE:
            self._ended = True
            self._parts.put_nowait(b"")

    async def send(self, data: bytes) -> None:
        """Send; a connection that has ended swallows it."""
        for start in range(0, len(data), _MOST):
            await self._link.send(self._number, _DATA, data[start : start + _MOST])

    async def receive(self) -> bytes:
        """Return what came, b"" once it has ended."""
        if self._ended and self._parts.empty():
            return b""
        return await self._parts.get()

    async def close(self) -> None:
        """Let it go."""
        if self._link.connections.pop(self._number, None) is not None and not self._ended:
            await self._link.send(self._number, _CLOSE, b"")


class _Link:
    """The stream of one running dialer.

    Args:
        lease: ends the stream when it is closed.
    """

    def __init__(self, host: str, stream: Hijacked, lease: AsyncExitStack) -> None:
        self._host = host
        self._stream = stream
        self._lease = lease
        self._writing = asyncio.Lock()
        self._last = 0
        self.connections: dict[int, Dialed] = {}
        self.reading = asyncio.create_task(self._read())

    @property
    def up(self) -> bool:
        return not self.reading.done()

    def new(self) -> tuple[Dialed, int]:
        self._last += 1
        self.connections[self._last] = made = Dialed(self, self._last)
        return made, self._last

    async def send(self, number: int, kind: int, payload: bytes) -> bool:
        """Send a frame; returns whether there is still somebody to take it."""
        async with self._writing:
            await self._stream.write(packed(number, kind, payload))
        return self.up

    async def close(self) -> None:
        self.reading.cancel()
        await asyncio.wait({self.reading})
        await self._lease.aclose()

    async def _read(self) -> None:
        try:
            async with aclosing(frames(self._stream, self._host)) as said:
                async for number, kind, payload in said:
                    found = self.connections.get(number)
                    if found is not None:
                        found.arrive(kind, payload)
        except DriverError:
            pass  # those who wait are told below
        finally:
            for each in self.connections.values():
                each.arrive(_CLOSE, struct.pack("<i", -1))


class Dialer:
    """One per open host; the container is started by the first call.

    Args:
        image: has the image with the program on the host, and returns its name.
    """

    def __init__(
        self,
        engine: Engine,
        containers: Containers,
        cluster: str,
        image: Callable[[], Awaitable[str]],
    ) -> None:
        self._image = image
        self._engine = engine
        self._containers = containers
        self._cluster = cluster
        self._starting = asyncio.Lock()
        self._link: _Link | None = None

    async def dial(self, address: str, port: int, within: float) -> Connection | DialFailure:
        """Connect from the host's network; of a name's addresses to the first that takes it.

        Raises:
            HostUnreachable: the engine does not answer. DriverError: it cannot run the dialer.
        """
        places = await _resolved(address)
        if not places:
            return DialFailure(f"no such host: {address}")
        link = await self._up()
        failures: list[DialFailure] = []
        end = asyncio.get_running_loop().time() + within
        for number, where in enumerate(places):
            left = end - asyncio.get_running_loop().time()
            place = _socket_address(where, port)
            outcome = await self._connect(link, place, left / (len(places) - number))
            if not isinstance(outcome, DialFailure):
                return outcome
            failures.append(outcome)
        return failures[0]

    async def _connect(self, link: _Link, where: bytes, within: float) -> Connection | DialFailure:
        connection, number = link.new()
        try:
            async with asyncio.timeout(within):
                if not await link.send(number, _OPEN, where):
                    raise self._broken()
                error = await connection.opened
        except BaseException as failure:
            await connection.close()
            if isinstance(failure, TimeoutError):
                return DialFailure("i/o timeout", timed_out=True)
            raise
        if not error:
            return connection
        await connection.close()
        if error < 0:
            raise self._broken()
        return DialFailure(os.strerror(error).lower())

    async def filesystem(self, within: float = INSPECT) -> Filesystem:
        """The file system that containers and images are on.

        Raises:
            HostUnreachable: no answer. DriverError: the engine cannot run the dialer.
        """
        answer = b"".join(await self._ask(_STAT, b"", within))
        if len(answer) < _STATFS.size:
            raise DriverError(f"host {self._engine.name} cannot tell how full its disk is")
        _, block, blocks, _, available, inodes, free = _STATFS.unpack_from(answer)
        return Filesystem(blocks * block, available * block, inodes, free)

    async def signals(self, within: float = INSPECT) -> Signals:
        """What the host has left of memory and process ids, in one question.

        Source: kubelet's memory.available and pid.available; Linux proc(5).

        Raises:
            HostUnreachable: no answer. DriverError: the engine cannot run the dialer, or its
                kernel does not tell.
        """
        paths = b"".join(path.encode() + b"\0" for path in _SIGNALS)
        found = _signals(await self._ask(_HEADS, paths, within))
        if found is None:
            raise DriverError(f"host {self._engine.name} cannot tell how much memory it has left")
        return found

    async def _ask(self, kind: int, payload: bytes, within: float) -> list[bytes]:
        """What the dialer has to say of its host."""
        link = await self._up()
        connection, number = link.new()
        answers: list[bytes] = []
        try:
            async with asyncio.timeout(within):
                if not await link.send(number, kind, payload):
                    raise self._broken()
                while answer := await connection.receive():
                    answers.append(answer)
        except TimeoutError as error:
            raise self._broken() from error
        finally:
            link.connections.pop(number, None)
        return answers

    def _broken(self) -> HostUnreachable:
        return HostUnreachable(f"host {self._engine.name}: the dialer's stream broke")

    async def close(self) -> None:
        """End the dialer."""
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def _up(self) -> _Link:
        async with self._starting:
            if self._link is not None and not self._link.up:
                await self.close()
            if self._link is None:
                self._link = await self._start()
            return self._link

    async def _start(self) -> _Link:
        engine, image = self._engine, await self._image()
        try:
            async with AsyncExitStack() as stack:
                program = running(
                    engine, self._containers, self._cluster, image, "dial", _PROGRAM_MEMORY
                )
                stream = await stack.enter_async_context(program)
                return _Link(engine.name, stream, stack.pop_all())
        except EngineRejected as error:
            raise DriverError(f"pods cannot be reached for probes: {error}") from error


def _signals(heads: list[bytes]) -> Signals | None:
    """What the first bytes of the files of _SIGNALS say, None where something is missing."""
    if len(heads) < len(_SIGNALS):
        return None
    memory = {found[1]: int(found[2]) << 10 for found in _MEMORY.finditer(heads[0])}
    tasks, limits = _TASKS.match(heads[1]), [head.strip() for head in heads[2:]]
    if len(memory) < 2 or tasks is None or not all(limit.isdigit() for limit in limits):
        return None
    most = min(map(int, limits))
    return Signals(
        memory=Level(memory[b"MemAvailable"], memory[b"MemTotal"]),
        pids=Level(max(0, most - int(tasks[1])), most),
    )


async def _resolved(address: str) -> list[str]:
    """The IPs of an address or a name, none for a name that nobody knows."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(address))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(each[4][0]) for each in found][:_MOST_PLACES]


def _socket_address(address: str, port: int) -> bytes:
    """A struct sockaddr_in or sockaddr_in6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    number = socket.inet_pton(family, address)
    head = struct.pack("=H", 10 if ":" in address else 2) + struct.pack(">H", port)
    return head + (bytes(4) + number + bytes(4) if ":" in address else number + bytes(8))
