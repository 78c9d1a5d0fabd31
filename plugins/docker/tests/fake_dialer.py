"""The dialer of a fake engine: its protocol, over a connection that was HTTP."""

import asyncio
import errno
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import NoReturn

from aiohttp import web

PROC = {
    b"/proc/meminfo": b"MemTotal:  8192000 kB\nMemFree:  1 kB\nMemAvailable:  2048000 kB",
    b"/proc/loadavg": b"0.20 0.18 0.12 1/80 11206\n",
    b"/proc/sys/kernel/pid_max": b"4194304\n",
    b"/proc/sys/kernel/threads-max": b"1000\n",
}


async def speak(
    request: web.Request, disk: Sequence[int], files: Mapping[bytes, bytes]
) -> NoReturn:
    """Speak the dialer's protocol; whatever the address, the port is one of this machine.

    Only IPv4 gets anywhere.
    """
    assert request.transport is not None
    incoming = _Raw()
    request.protocol.set_parser(incoming)
    request.transport.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    writers: dict[int, asyncio.StreamWriter] = {}
    async with asyncio.TaskGroup() as group:
        try:
            while True:
                number, kind, length = struct.unpack("<IHH", await incoming.exactly(8))
                payload = await incoming.exactly(length)
                if kind == 1:
                    (port,) = struct.unpack_from(">H", payload, 2)
                    if struct.unpack_from("=H", payload) == (socket.AF_INET6,):
                        refusal = struct.pack("<IHHi", number, 3, 4, errno.ENETUNREACH)
                        request.transport.write(frame(1, refusal))
                        continue
                    group.create_task(_dial(request.transport, writers, number, port))
                elif kind == 2 and number in writers:
                    writers[number].write(payload)
                elif kind == 3 and number in writers:
                    writers.pop(number).close()
                elif kind == 4:
                    stat = struct.pack("<IHH15Q", number, 2, 120, 0, *disk, *[0] * 8)
                    request.transport.write(frame(1, stat + _ended(number)))
                elif kind == 5:
                    heads = (files[path] for path in payload[:-1].split(b"\0"))
                    parts = (struct.pack("<IHH", number, 2, len(h)) + h for h in heads)
                    request.transport.write(frame(1, b"".join(parts) + _ended(number)))
        finally:
            for writer in writers.values():
                writer.close()


async def keep_gateway(
    request: web.Request, port: int, frames: list[bytes], kept: list[asyncio.Transport]
) -> NoReturn:
    """Say that a gateway listens, say these frames, and answer like a pod that sends all back."""
    assert request.transport is not None
    kept.append(request.transport)
    incoming, transport = _Raw(), request.transport
    request.protocol.set_parser(incoming)
    transport.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    transport.write(frame(1, struct.pack("<IHHH", 0, 7, 2, port) + b"".join(frames)))
    while True:
        number, kind, length = struct.unpack("<IHH", await incoming.exactly(8))
        payload = await incoming.exactly(length)
        if kind in {2, 6}:
            transport.write(frame(1, struct.pack("<IHH", number, kind, length) + payload))


class _Raw:
    """What comes on a connection that is no longer HTTP."""

    def __init__(self) -> None:
        self._data = b""
        self._more = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._data += data
        self._more.set()
        return False, b""

    def feed_eof(self) -> None:
        """The handler is cancelled then."""

    async def exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more.clear()
            await self._more.wait()
        found, self._data = self._data[:size], self._data[size:]
        return found


async def _dial(
    transport: asyncio.Transport,
    writers: dict[int, asyncio.StreamWriter],
    number: int,
    port: int,
) -> None:
    def tell(kind: int, payload: bytes) -> None:
        content = struct.pack("<IHH", number, kind, len(payload)) + payload
        transport.write(frame(1, content))

    try:
        reader, writers[number] = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        tell(3, struct.pack("<i", error.errno or errno.ECONNREFUSED))
        return
    tell(1, b"")
    while data := await reader.read(4096):
        tell(2, data)
    tell(3, bytes(4))


def frame(stream: int, content: bytes) -> bytes:
    """One frame of multiplexed output."""
    return struct.pack(">BxxxI", stream, len(content)) + content


def _ended(number: int) -> bytes:
    """The dialer's word that it has said all."""
    return struct.pack("<IHHi", number, 3, 4, 0)
