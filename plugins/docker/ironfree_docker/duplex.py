"""Byte streams to an engine whose two directions end one by one, with TLS and without.

Ending what one sends while still reading is how stdin ends. asyncio's own TLS cannot do that, and
neither can an HTTP client: so TLS is done here by Python's `ssl` in memory.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

CHUNK = 64 << 10

Result = TypeVar("Result")


class Wire(Protocol):
    """A connection; one reader and one writer at a time."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end; OSError when the connection breaks."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; returns once little of it is left to send. OSError when the connection breaks."""
        ...

    async def end_input(self) -> None:
        """Say that nothing more will be sent."""
        ...

    def abort(self) -> None:
        """Break the connection off, at once."""
        ...


class PlainWire:
    """Without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """As Wire.read."""
        return await self._reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        """As Wire.write."""
        self._writer.write(data)
        await self._writer.drain()

    async def end_input(self) -> None:
        """As Wire.end_input."""
        self._writer.write_eof()

    def abort(self) -> None:
        """As Wire.abort."""
        self._writer.transport.abort()


class TlsWire:
    """With TLS: the end of what we send is its close_notify alert (RFC 8446, section 6.1)."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        name: str,
    ) -> None:
        self._below = PlainWire(reader, writer)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._plain = bytearray()  # read ahead when our side ended
        self._ended = False

    async def shake_hands(self) -> None:
        """Agree on keys; ssl.SSLError, an OSError, when the certificates do not fit."""
        await self._step(self._tls.do_handshake)

    async def read(self) -> bytes:
        """As Wire.read."""
        if self._plain:
            data, self._plain = bytes(self._plain), bytearray()
            return data
        try:
            return await self._step(lambda: self._tls.read(CHUNK))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def write(self, data: bytes) -> None:
        """As Wire.write."""
        self._tls.write(data)
        await self._flush()

    async def end_input(self) -> None:
        """As Wire.end_input.

        OpenSSL refuses to read data that lies before it unread while it closes, so it is taken out
        first: at most what one read from the socket brought.
        """
        if self._ended:
            return
        self._ended = True
        with suppress(ssl.SSLError):  # nothing (more) there, or the other side has ended too
            while part := self._tls.read(CHUNK):
                self._plain += part
        with suppress(ssl.SSLError):  # the other side has not ended yet
            self._tls.unwrap()
        await self._flush()

    def abort(self) -> None:
        """As Wire.abort."""
        self._below.abort()

    async def _step(self, act: Callable[[], Result]) -> Result:
        """Act, feeding TLS with what it wants to read."""
        while True:
            try:
                result = act()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._below.read()
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
        await self._flush()
        return result

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._below.write(data)
