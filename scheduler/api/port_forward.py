"""port-forward over a WebSocket: SPDY streams inside of it (kubectl), or plain channels (Python).

Source: Kubernetes KEP-4006 (tunnelling), k8s.io/kubelet/pkg/cri/streaming/portforward.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from ..errors import BadRequest, DriverError
from ..streams import StreamingHost
from . import spdy
from .channels import split
from .idleness import Idleness
from .inbox import Inbox
from .tasks import all_of, end

TUNNEL, CHANNELS = "SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"
PROTOCOLS = (TUNNEL, CHANNELS)

_MOST_PORTS = 64  # channels are numbered in a byte
_MOST_STREAMS = 256  # of one client: 128 connections

Send = Callable[[bytes], Awaitable[None]]


def ports(given: Sequence[str]) -> tuple[int, ...]:
    """Read `?ports=80,81&ports=82`, which only the plain channels use.

    Raises:
        BadRequest: one is no port, or there are too many.
    """
    words = [word for text in given for word in text.split(",") if word]
    if len(words) > _MOST_PORTS:
        raise BadRequest(f"at most {_MOST_PORTS} ports can be forwarded over one connection")
    return tuple(map(_port, words))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536):
        raise BadRequest(f'port "{text[:16]}" is not a number from 1 to 65535')
    return int(text)


@dataclass(slots=True)
class _Pair:
    """The two streams that kubectl opens for a connection, in the order in which they came."""

    port: int
    streams: dict[str, int] = field(default_factory=dict[str, int])
    inbox: Inbox = field(default_factory=Inbox)
    task: asyncio.Task[None] | None = None


class Forwarding:
    """The connections to a pod's ports that a client has over one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, host: StreamingHost, pod_uid: str) -> None:
        self._socket = socket
        self._host = host
        self._uid = pod_uid
        self._framing = spdy.Framing()
        self._pairs: dict[str, _Pair] = {}  # by requestid
        self._inboxes: dict[int, Inbox] = {}  # by data stream
        self._carrying: set[asyncio.Task[None]] = set()

    # --- plain channels -------------------------------------------------------------------

    async def channels(self, wanted: tuple[int, ...], idle: Idleness) -> None:
        """Connect to every port at once, one connection each; done when all have ended."""
        inboxes = [Inbox() for _ in wanted]
        for channel in range(2 * len(wanted)):
            await self._socket.send_bytes(struct.pack("<BH", channel, wanted[channel // 2]))
        reading = asyncio.create_task(self._read_channels(inboxes, idle))
        carrying = [
            asyncio.create_task(self._carry_channel(index, port, inboxes[index], idle))
            for index, port in enumerate(wanted)
        ]
        over = asyncio.create_task(all_of(carrying))
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                await over
        finally:
            await end(reading, over, *carrying)

    async def _read_channels(self, inboxes: list[Inbox], idle: Idleness) -> None:
        async for message in self._socket:
            if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
                return
            idle.interrupt()
            channel, content = split(message)
            if content and channel % 2 == 0 and channel // 2 < len(inboxes):
                await inboxes[channel // 2].put(content)

    async def _carry_channel(self, index: int, port: int, inbox: Inbox, idle: Idleness) -> None:
        async def send(data: bytes) -> None:
            await self._socket.send_bytes(bytes([2 * index]) + data)

        failure = await self._carry(port, inbox, send, idle)
        if failure:
            await self._socket.send_bytes(bytes([2 * index + 1]) + failure.encode())

    # --- SPDY ---------------------------------------------------------------------------------

    async def tunnel(self, idle: Idleness) -> None:
        """Serve the streams that the client opens until it leaves."""
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY:
                    return
                idle.interrupt()
                for event in self._framing.receive(message.data):
                    await self._handle(event, idle)
        except spdy.ProtocolError:
            return
        finally:
            await end(*self._carrying)

    async def _handle(self, event: spdy.Event, idle: Idleness) -> None:
        match event:
            case spdy.Opened(stream, headers):
                await self._open(stream, headers, idle)
            case spdy.Received(stream, data, ended) if stream in self._inboxes:
                inbox = self._inboxes[stream]
                await inbox.put(data)
                if ended:
                    await inbox.put(None)
            case spdy.Abandoned(stream):
                self._abandon(stream)
            case spdy.Asked(answer):
                await self._socket.send_bytes(answer)
            case _:
                pass  # the end of an error stream, what comes for a connection that has ended

    async def _open(self, stream: int, headers: Mapping[str, str], idle: Idleness) -> None:
        kind, request = headers.get("streamtype", ""), headers.get("requestid", "")
        pair = self._pairs.get(request)
        full = 2 * len(self._pairs) >= _MOST_STREAMS and pair is None
        try:
            port = _port(headers.get("port", ""))
        except BadRequest:
            port = 0
        twice = pair is not None and (kind in pair.streams or port != pair.port)
        if full or twice or not port or kind not in {"data", "error"}:
            await self._socket.send_bytes(self._framing.reset(stream, spdy.REFUSED))
            return
        if pair is None:
            pair = self._pairs[request] = _Pair(port)
        pair.streams[kind] = stream
        if kind == "data":
            self._inboxes[stream] = pair.inbox
        await self._socket.send_bytes(self._framing.accept(stream))
        if len(pair.streams) == 2:
            pair.task = asyncio.create_task(self._carry_pair(request, pair, idle))
            self._carrying.add(pair.task)
            pair.task.add_done_callback(self._carrying.discard)

    def _abandon(self, stream: int) -> None:
        for request, pair in self._pairs.items():
            if stream in pair.streams.values():
                if pair.task is not None:
                    pair.task.cancel()
                self._forget(request, pair)
                return

    async def _carry_pair(self, request: str, pair: _Pair, idle: Idleness) -> None:
        data, error = pair.streams["data"], pair.streams["error"]

        async def send(content: bytes) -> None:
            await self._socket.send_bytes(self._framing.data(data, content))

        try:
            failure = await self._carry(pair.port, pair.inbox, send, idle)
            told = self._framing.data(error, failure.encode(), ended=True)
            await self._socket.send_bytes(told + self._framing.data(data, b"", ended=True))
        except ConnectionError:
            return  # the client has gone: reading says so, too
        finally:
            self._forget(request, pair)

    def _forget(self, request: str, pair: _Pair) -> None:
        if self._pairs.get(request) is pair:
            del self._pairs[request]
        self._inboxes.pop(pair.streams.get("data", 0), None)
        pair.inbox.close()

    # --- both -----------------------------------------------------------------------------------

    async def _carry(self, port: int, inbox: Inbox, send: Send, idle: Idleness) -> str:
        """Copy both ways until the pod's end closes; returns why it cannot be reached, or ""."""
        try:
            async with self._host.connect(self._uid, port) as connection:
                writing = asyncio.create_task(_drain(inbox, connection.write, connection.end_input))
                try:
                    while data := await connection.read():
                        idle.interrupt()
                        await send(data)
                    failure = await connection.failure()
                finally:
                    inbox.close()
                    await end(writing)
        except DriverError as error:
            inbox.close()
            failure = str(error)
        return failure and f"error forwarding port {port} to pod {self._uid}: {failure}"


async def _drain(inbox: Inbox, write: Send, end_input: Callable[[], Awaitable[None]]) -> None:
    while (data := await inbox.get()) is not None:
        await write(data)
    await end_input()
