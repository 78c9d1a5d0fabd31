"""SPDY/3.1 framing for the accepting side: bytes in, events out, and the frames to answer with.

kubectl carries port-forward's connections as SPDY streams inside one WebSocket. Only what it uses
is here: streams that the client opens, data, resets, pings. Flow control is not, for neither side
of Kubernetes' own implementation keeps to it.

Source: SPDY Protocol, draft 3.1 (2013), sections 2.2, 2.6; the dictionary is in section 2.6.10.1.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import IronfreeError

_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
REFUSED, CANCEL = 3, 5  # RST_STREAM status codes

LARGEST_FRAME = 1 << 20
_LARGEST_HEADERS = 64 << 10
_LARGEST_DATA = 64 << 10  # of the frames we send


def _dictionary() -> bytes:
    names = (
        "options head post put delete trace accept accept-charset accept-encoding accept-language "
        "accept-ranges age allow authorization cache-control connection content-base "
        "content-encoding content-language content-length content-location content-md5 "
        "content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location "
        "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after "
        "server te trailer transfer-encoding upgrade user-agent vary via warning "
        "www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
        "keep-alive origin"
    )
    words = [name.replace("_", " ").encode() for name in names.split(" ")]
    rest = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
        "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
        "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
        "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
        "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
        "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + rest.encode()


DICTIONARY = _dictionary()
"""What both sides' compression of headers starts from: 1,423 bytes, Adler-32 e3c6a7c2."""


class ProtocolError(IronfreeError):
    """The other side does not speak SPDY/3.1 as we understand it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream; `ended`: it will send no data on it."""

    stream: int
    headers: Mapping[str, str]
    ended: bool


@dataclass(frozen=True, slots=True)
class Received:
    """Data of a stream; `ended`: no more will come."""

    stream: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The client reset a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The client wants to read this (a ping's echo)."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Left:
    """The client opens no more streams."""


Event = Opened | Received | Abandoned | Asked | Left


class Framing:
    """One connection's state: bytes of half a frame, and the compression of each direction."""

    def __init__(self) -> None:
        self._rest = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield what these bytes complete, whatever their borders.

        Raises:
            ProtocolError: a frame is too large, or is none.
        """
        buffer = self._rest + data
        position = 0
        while len(buffer) - position >= 8:
            length = int.from_bytes(buffer[position + 5 : position + 8], "big")
            if length > LARGEST_FRAME:
                raise ProtocolError(f"a frame of {length} bytes; the limit is {LARGEST_FRAME}")
            end = position + 8 + length
            if len(buffer) < end:
                break
            yield from self._frame(buffer[position : position + 8], buffer[position + 8 : end])
            position = end
        self._rest = buffer[position:]

    def _frame(self, head: bytes, body: bytes) -> Iterator[Event]:
        first, flags = struct.unpack(">IB", head[:5])
        if not first >> 31:
            yield Received(first, body, bool(flags & _FIN))
            return
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != _VERSION:
            raise ProtocolError(f"a frame of SPDY version {version}; only {_VERSION} is spoken")
        match kind:
            case 1 if len(body) >= 10:
                stream = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
                yield Opened(stream, self._headers(body[10:]), bool(flags & _FIN))
            case 3 if len(body) == 8:
                yield Abandoned(int.from_bytes(body[:4], "big") & 0x7FFFFFFF)
            case 6 if len(body) == 4:
                yield Asked(head + body)
            case 7:
                yield Left()
            case 8 if len(body) >= 4:
                self._headers(body[4:])  # keeps the compression in step
            case 1 | 3 | 6 | 8:
                raise ProtocolError(f"a frame of type {kind} is too short")
            case _:
                pass  # SETTINGS, WINDOW_UPDATE and what a receiver must ignore

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _LARGEST_HEADERS)
        except zlib.error as error:
            raise ProtocolError(f"headers cannot be decompressed: {error}") from error
        if self._inflate.unconsumed_tail:
            raise ProtocolError(f"headers are longer than {_LARGEST_HEADERS} bytes")
        try:
            (count,) = struct.unpack_from(">I", plain)
            position, found = 4, dict[str, str]()
            for _ in range(count):
                name, position = _text(plain, position)
                found[name], position = _text(plain, position)
        except (struct.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"headers cannot be read: {error}") from error
        return found

    def accept(self, stream: int) -> bytes:
        """Return the SYN_REPLY that takes a stream."""
        block = self._deflate.compress(bytes(4)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, struct.pack(">I", stream) + block)

    def reset(self, stream: int, status: int) -> bytes:
        """Return the RST_STREAM that refuses or breaks off a stream."""
        return _control(_RST_STREAM, struct.pack(">II", stream, status))

    def data(self, stream: int, content: bytes, *, ended: bool = False) -> bytes:
        """Return data frames; `ended` half-closes the stream behind them."""
        starts = range(0, max(len(content), 1), _LARGEST_DATA)
        frames: list[bytes] = []
        for start in starts:
            part = content[start : start + _LARGEST_DATA]
            fin = _FIN if ended and start == starts[-1] else 0
            frames.append(struct.pack(">II", stream, fin << 24 | len(part)) + part)
        return b"".join(frames)


def _text(plain: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, position)
    end = position + 4 + length
    if end > len(plain):
        raise ProtocolError("headers end in the middle of a name or value")
    return plain[position + 4 : end].decode(), end


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, len(body)) + body
