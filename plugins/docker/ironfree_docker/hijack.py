"""Requests after which the engine hands the connection over: exec and attach.

Source: Docker Engine API, "Attach to a container", "Hijacking": the request asks to upgrade to tcp,
and 101 is followed by the raw stream.
"""

import asyncio

import msgspec

from scheduler.errors import DriverError, EngineRejected
from scheduler.objects.json import JsonObject

from . import wire
from .connection import Route, failures_named
from .duplex import Wire

_LONGEST_HEAD = 64 << 10
_LONGEST_ERROR = 64 << 10


class Hijacked:
    """The raw stream; what the engine sent right behind its answer comes first."""

    def __init__(self, below: Wire, first: bytes, host: str) -> None:
        self._below = below
        self._first = first
        self._host = host

    async def read(self) -> bytes:
        """The next bytes, b"" at the end; HostUnreachable when the connection breaks."""
        if self._first:
            data, self._first = self._first, b""
            return data
        async with failures_named(self._host, "reading a stream"):
            return await self._below.read()

    async def write(self, data: bytes) -> None:
        """Send; what nobody reads any more is dropped, for the end shows when reading."""
        try:
            await self._below.write(data)
        except OSError:
            return

    async def end_input(self) -> None:
        """Say that nothing more will be sent."""
        try:
            await self._below.end_input()
        except OSError:
            return

    def abort(self) -> None:
        """Break the connection off."""
        self._below.abort()


async def hijack(
    route: Route, host: str, target: str, body: JsonObject | None, connect_within: float
) -> Hijacked:
    """POST to `target` and take the connection over.

    Args:
        host: for messages.
        target: path and query.

    Raises EngineRejected with the engine's code when it says no, OSError and TimeoutError.
    """
    async with asyncio.timeout(connect_within):
        below = await route.dial()
    try:
        content = b"" if body is None else msgspec.json.encode(body)
        await below.write(_request(route, target, content))
        status, fields, rest = await _head(below, host)
        if status in {101, 200}:  # 200: Podman, and Docker when the upgrade gets lost on the way
            return Hijacked(below, rest, host)
        raise await _rejection(below, host, target, (status, fields, rest))
    except BaseException:
        below.abort()
        raise


def _request(route: Route, target: str, content: bytes) -> bytes:
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {route.base.partition('://')[2]}",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join((*lines, "", "")).encode("ascii") + content


async def _head(below: Wire, host: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields in lower case, and what came behind them."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = await below.read()
        if not part or len(data) > _LONGEST_HEAD:
            raise DriverError(f"host {host} does not answer a request to upgrade like an engine")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise DriverError(f"host {host} does not speak HTTP like a Docker engine: {first[:80]!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in map(_field, lines)}
    return int(words[1]), fields, rest


def _field(line: str) -> tuple[str, str, str]:
    return line.partition(":")


async def _rejection(
    below: Wire, host: str, target: str, answer: tuple[int, dict[str, str], bytes]
) -> EngineRejected:
    status, fields, content = answer
    length = fields.get("content-length", "")
    wanted = min(int(length), _LONGEST_ERROR) if length.isdecimal() and len(length) < 9 else 0
    while len(content) < wanted and (part := await below.read()):
        content += part
    try:
        message = msgspec.json.decode(content, type=wire.Message).message.strip()
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = content[:200].decode(errors="replace")
    return EngineRejected(f"host {host}: {message}: POST {target.partition('?')[0]}", status)
