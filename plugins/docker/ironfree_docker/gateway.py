"""Connections of a host's pods to the API, over the engine (tools/gateway.c).

The host need not reach Ironfree, only Ironfree the engine: the program takes connections in on the
host and carries them over its stream.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress

from scheduler.errors import DriverError, HostUnreachable
from scheduler.networks import Backend, Connect

from .hijack import Hijacked
from .host_program import frames, packed

WHAT, MEMORY = "gateway", 64 << 20
"""What the program is asked for, and how much memory it may have."""

_OPEN, _DATA, _END, _RESET, _CREDIT, _PING, _LISTENING = range(1, 8)
_WINDOW = 64 << 10  # bytes that either side may send before it is given credit
_MOST = 16 << 10  # bytes of a frame
_PING_EVERY, _SILENCE = 30.0, 90.0
_PATIENCE = 15.0
_MOST_CARRIED = 1024  # twice what the program has at once: it reuses places of those that end here

Send = Callable[[int, int, bytes], Coroutine[None, None, None]]


class _Carried:
    """One connection of a pod's.

    Args:
        send: (number, kind, payload) to the host.
    """

    def __init__(self, number: int, send: Send) -> None:
        self._number = number
        self._send = send
        self._credit = _WINDOW
        self._more = asyncio.Event()
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()  # b"": no more
        self._unread = 0

    def arrive(self, data: bytes) -> bool:
        """Take in what the pod sends, b"" at its end; False when it is more than it may be."""
        self._unread += len(data)
        self._arrived.put_nowait(data)
        return self._unread <= _WINDOW

    def give(self, credit: int) -> None:
        """Take in that so many bytes more may be sent."""
        self._credit += credit
        self._more.set()

    async def carry(self, connect: Connect) -> None:
        """Carry until the API has ended it; cancelled when the pod breaks it off."""
        try:
            reader, writer = await connect()
        except OSError:
            await self._send(self._number, _RESET, b"")
            return
        forward = asyncio.create_task(self._forward(writer))
        try:
            await self._back(reader)
        finally:
            writer.transport.abort()
            forward.cancel()
            await asyncio.wait((forward,))

    async def _back(self, reader: asyncio.StreamReader) -> None:
        """What the API sends; a connection that it broke off ends like others."""
        with suppress(OSError):
            while data := await reader.read(await self._may_send()):
                self._credit -= len(data)
                await self._send(self._number, _DATA, data)
        await self._send(self._number, _END, b"")

    async def _may_send(self) -> int:
        while not self._credit:
            self._more.clear()
            await self._more.wait()
        return min(self._credit, _MOST)

    async def _forward(self, writer: asyncio.StreamWriter) -> None:
        """What the pod sends; credit is given in parts that are worth a frame."""
        taken = 0
        with suppress(OSError):
            while data := await self._arrived.get():
                writer.write(data)
                await writer.drain()
                taken += len(data)
                self._unread -= len(data)
                if taken >= _WINDOW // 4:
                    await self._send(self._number, _CREDIT, struct.pack("<I", taken))
                    taken = 0
            writer.write_eof()


class StreamedGateway:
    """A scheduler.networks.Gateway over the program's stream."""

    def __init__(self, host: str, stream: Hijacked, connect: Connect) -> None:
        self._host = host
        self._stream = stream
        self._connect = connect
        self._writing = asyncio.Lock()
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._carried: dict[int, _Carried] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._heard = asyncio.get_running_loop().time()
        self._running = [
            asyncio.create_task(each, name=f"gateway of {host}")
            for each in (self._read(), self._keep_alive())
        ]

    async def begin(self) -> None:
        """Wait until the program listens.

        Raises:
            HostUnreachable: it does not.
        """
        waiting = (self._listening, *self._running)
        await asyncio.wait(waiting, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not self._listening.done():
            raise HostUnreachable(f"host {self._host}: the gateway of its pods does not begin")

    @property
    def backend(self) -> Backend:
        """Where the program listens; ask once it does."""
        return Backend("127.0.0.1", self._listening.result())

    async def over(self) -> None:
        """Wait until it carries no more."""
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Break all connections off."""
        ending = [*self._running, *self._tasks.values()]
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)

    async def _send(self, number: int, kind: int, payload: bytes = b"") -> None:
        async with self._writing:
            await self._stream.write(packed(number, kind, payload))

    async def _keep_alive(self) -> None:
        """Ask whether it is still there, until it says nothing any more."""
        clock = asyncio.get_running_loop().time
        while clock() - self._heard < _SILENCE:
            try:
                async with asyncio.timeout(_SILENCE):
                    await self._send(0, _PING)
            except TimeoutError:
                return
            await asyncio.sleep(_PING_EVERY)

    async def _read(self) -> None:
        with suppress(DriverError):  # those who wait see that this has ended
            async with aclosing(frames(self._stream, self._host)) as said:
                async for number, kind, payload in said:
                    self._heard = asyncio.get_running_loop().time()
                    self._take(number, kind, payload)

    def _take(self, number: int, kind: int, payload: bytes) -> None:
        if kind == _LISTENING and not self._listening.done():
            self._listening.set_result(int.from_bytes(payload, "little"))
        elif kind == _OPEN and len(self._tasks) < _MOST_CARRIED:
            self._open(number)
        found = self._carried.get(number)
        if found is None:
            return
        if kind == _CREDIT:
            found.give(int.from_bytes(payload, "little"))
        elif kind == _RESET or (kind in {_DATA, _END} and not found.arrive(payload)):
            self._tasks[number].cancel()

    def _open(self, number: int) -> None:
        made = self._carried[number] = _Carried(number, self._send)
        task = self._tasks[number] = asyncio.create_task(made.carry(self._connect))

        def forget(_task: asyncio.Task[None]) -> None:
            if self._tasks.get(number) is task:
                del self._tasks[number], self._carried[number]

        task.add_done_callback(forget)


@asynccontextmanager
async def carried(host: str, stream: Hijacked, connect: Connect) -> AsyncGenerator[StreamedGateway]:
    """Carry what pods connect to, for as long as the context lasts."""
    made = StreamedGateway(host, stream, connect)
    try:
        await made.begin()
        yield made
    finally:
        await made.close()
