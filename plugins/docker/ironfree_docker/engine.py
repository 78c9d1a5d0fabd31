"""One engine: negotiated version, bounded concurrency, bounded answers, every call with a timeout.

Knows HTTP and nothing of pods; the endpoints are in containers.py, images.py and volumes.py.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec

from scheduler.drivers import HostAddress
from scheduler.errors import DriverError, EngineRejected, HostUnreachable
from scheduler.objects.json import JsonObject

from . import wire
from .connection import LOCAL, Route, failures_named, route
from .hijack import Hijacked, hijack
from .ssh import Tunnel, login

Answer = TypeVar("Answer")

OLDEST, NEWEST = (1, 40), (1, 45)
"""API versions spoken. 1.45 mounts parts of volumes; a newer one brings nothing we use."""

CONNECT, PING, INSPECT, LIST, CREATE, START = 2.0, 3.0, 5.0, 10.0, 30.0, 60.0
"""Seconds."""

READS, MUTATIONS, WAITS = 16, 4, 512
"""Calls under way at once per host. Waits only hold a connection open, most of them for the grace
of a stop, which must not begin when that of another ends: there are as many as a host may have
containers, though no more than sshd can have files open (1024) with all other connections."""

STREAMS = 256
"""Streams of clients open at once per host: followed logs, exec, attach, forwarded connections."""

MAX_ANSWER = 32 << 20
MAX_LINE = 1 << 20
_CHUNK = 64 << 10


class Engine:
    """A connection to one Docker Engine; open it with `Engine.open`."""

    def __init__(self, name: str, way: Route, tunnel: Tunnel | None = None) -> None:
        self.name = name
        self.route = way
        self._tunnel = tunnel
        self.version = wire.Version(version="", api_version="")
        self._prefix = ""
        self._calls = self._session(READS + MUTATIONS)
        self._streams = self._session(0)
        self._reads = asyncio.Semaphore(READS)
        self._mutations = asyncio.Semaphore(MUTATIONS)
        self._waits = asyncio.Semaphore(WAITS)
        self._places = asyncio.Semaphore(STREAMS)

    @classmethod
    async def open(cls, address: HostAddress) -> "Engine":
        """Connect and agree on an API version; DriverError saying what to mend."""
        if address.url.startswith("ssh://"):
            to = login(address)
            tunnel = await Tunnel.open(address.name, to)
            engine = cls(address.name, Route(LOCAL, tunnel.socket, to.host), tunnel)
        else:
            engine = cls(address.name, route(address))
        try:
            engine.version = await engine.read("/version", wire.Version, within=INSPECT)
            engine._prefix = f"/v{_agreed(address.name, engine.version)}"
        except HostUnreachable as error:
            told = await engine._tunnel.explain(error) if engine._tunnel else error
            await engine.close()
            raise told from error
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def api(self) -> tuple[int, int]:
        """The agreed API version as numbers."""
        return _number(self.name, self.api_version)

    @property
    def api_version(self) -> str:
        """The agreed API version, e.g. "1.41"."""
        return self._prefix.removeprefix("/v")

    async def close(self) -> None:
        """Release the connections, all of them even if one takes so long that this is cancelled."""
        async with AsyncExitStack() as stack:
            if self._tunnel is not None:
                stack.push_async_callback(self._tunnel.close)
            stack.push_async_callback(self._streams.close)
            stack.push_async_callback(self._calls.close)

    async def ping(self) -> None:
        """Return when the engine answers; never queued behind other calls."""
        async with self._exchange(self._streams, "GET", "/_ping", total=PING) as response:
            await self._body(response)

    async def read(
        self,
        path: str,
        kind: type[Answer],
        *,
        query: Mapping[str, str] | None = None,
        within: float = INSPECT,
    ) -> Answer:
        """GET and decode; EngineRejected with the engine's code when it says no."""
        async with (
            self._reads,
            self._exchange(self._calls, "GET", path, query=query, total=within) as response,
        ):
            return self._decode(await self._body(response), kind, path)

    async def change(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        within: float = START,
    ) -> bytes:
        """A mutation; returns the body. HostUnreachable means it may still happen."""
        async with (
            self._mutations,
            self._exchange(
                self._calls, method, path, query=query, body=body, total=within
            ) as response,
        ):
            return await self._body(response)

    async def send(
        self, path: str, archive: bytes, *, query: Mapping[str, str], within: float
    ) -> None:
        """PUT a tar archive."""
        async with (
            self._mutations,
            self._exchange(
                self._calls, "PUT", path, query=query, body=archive, total=within
            ) as response,
        ):
            await self._body(response)

    async def head(self, path: str, *, query: Mapping[str, str]) -> Mapping[str, str]:
        """The headers of an answer; EngineRejected with the engine's code when it says no."""
        async with (
            self._reads,
            self._exchange(self._calls, "HEAD", path, query=query, total=INSPECT) as response,
        ):
            return response.headers

    async def wait(self, path: str, *, query: Mapping[str, str], within: float) -> bytes:
        """A POST that by design takes long (stop, wait); holds up no other sort of call."""
        async with (
            self._waits,
            self._exchange(self._streams, "POST", path, query=query, total=within) as response,
        ):
            return await self._body(response)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: JsonObject | bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a stream of unbounded length and yield its chunks.

        Args:
            data: JSON or an archive to send, which may come in parts.
            headers: to send besides; they may be secret.
            silence: seconds without a byte after which the host counts as unreachable.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=silence)
        action = f"{method} {path}"
        async with failures_named(self.name, action):
            request = self._streams.request(
                method,
                self.route.base + self._prefix + path,
                params=dict(query or {}),
                data=_encoded(data),
                headers={**(headers or {}), **_content_type(data)},
                timeout=timeout,
            )
            async with request as response:
                await self._raise_rejection(response, action)
                try:
                    yield response.content.iter_chunked(_CHUNK)
                except BaseException:
                    response.close()
                    raise

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Take one of the places for clients' streams; EngineRejected 429 when none is left."""
        if self._places.locked():
            raise EngineRejected(
                f"host {self.name} has {STREAMS} streams open, which is all it may: end some", 429
            )
        async with self._places:
            yield

    async def aside(
        self, path: str, *, query: Mapping[str, str] | None = None, body: JsonObject | None = None
    ) -> bytes:
        """A short POST of a stream that has its place; never queued behind the pods' calls."""
        async with self._exchange(
            self._streams, "POST", path, query=query, body=body, total=LIST
        ) as response:
            return await self._body(response)

    @asynccontextmanager
    async def hijack(
        self, path: str, *, query: Mapping[str, str] | None = None, body: JsonObject | None = None
    ) -> AsyncGenerator[Hijacked]:
        """POST, and take over the connection as a raw stream; broken off in the end."""
        target = f"{self._prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        async with failures_named(self.name, f"POST {path}"), asyncio.timeout(LIST):
            stream = await hijack(self.route, self.name, target, body, CONNECT)
        try:
            yield stream
        finally:
            stream.abort()

    async def lines(
        self, chunks: AsyncIterator[bytes], kind: type[Answer]
    ) -> AsyncGenerator[Answer]:
        """Decode a stream of JSON lines."""
        rest = b""
        async for chunk in chunks:
            *complete, rest = (rest + chunk).split(b"\n")
            for line in complete:
                if line.strip():
                    yield self._decode(line, kind, "stream")
            if len(rest) > MAX_LINE:
                raise DriverError(f"host {self.name} sent a line longer than {MAX_LINE} bytes")
        if rest.strip():
            yield self._decode(rest, kind, "stream")

    def decode(self, content: bytes, kind: type[Answer], action: str) -> Answer:
        """Decode the body of a mutation."""
        return self._decode(content, kind, action)

    @asynccontextmanager
    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        total: float,
        query: Mapping[str, str] | None = None,
        body: JsonObject | bytes | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        action = f"{method} {path}"
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT)
        async with failures_named(self.name, action):
            request = session.request(
                method,
                self.route.base + self._prefix + path,
                params=dict(query or {}),
                data=_encoded(body),
                headers=_content_type(body),
                timeout=timeout,
                allow_redirects=False,
            )
            async with request as response:
                try:
                    await self._raise_rejection(response, action)
                    yield response
                except BaseException:
                    response.close()
                    raise

    async def _raise_rejection(self, response: aiohttp.ClientResponse, action: str) -> None:
        if response.status in range(200, 400):
            return
        content = await self._body(response)
        try:
            message = msgspec.json.decode(content, type=wire.Message).message
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = content[:200].decode(errors="replace")
        raise EngineRejected(
            f"host {self.name}: {message.strip() or response.reason}: {action}", response.status
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > MAX_ANSWER:
                raise DriverError(f"host {self.name} answered with more than {MAX_ANSWER} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def _decode(self, content: bytes, kind: type[Answer], action: str) -> Answer:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DriverError(
                f"host {self.name} answered what no Docker engine answers: {error}: {action}"
            ) from error

    def _session(self, limit: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self.route.connector(limit), response_class=_Abrupt, auto_decompress=False
        )


class _Abrupt(aiohttp.ClientResponse):
    """An answer that is broken off at once.

    TLS would wait half a minute for a goodbye that a silent engine does not say.
    """

    def close(self) -> None:
        """As ClientResponse.close, of which also a request that got no answer makes use."""
        connection = self.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        super().close()


def _encoded(
    body: JsonObject | bytes | AsyncIterator[bytes] | None,
) -> bytes | AsyncIterator[bytes] | None:
    return msgspec.json.encode(body) if isinstance(body, dict) else body


def _content_type(body: JsonObject | bytes | AsyncIterator[bytes] | None) -> dict[str, str]:
    if body is None:
        return {}
    return {"Content-Type": "application/json" if isinstance(body, dict) else "application/x-tar"}


def _agreed(host: str, version: wire.Version) -> str:
    """min(newest of the engine, newest of ours); DriverError when the ranges do not meet."""
    offered = _number(host, version.api_version)
    least = _number(host, version.min_api) if version.min_api else (1, 0)
    agreed = min(offered, NEWEST)
    if agreed < OLDEST or agreed < least:
        spoken = f"{_text(OLDEST)} to {_text(NEWEST)}"
        raise DriverError(
            f"host {host}: its Docker {version.version} offers API {_text(least)} to "
            f"{_text(offered)}; Ironfree speaks {spoken}. Upgrade the older of the two."
        )
    return _text(agreed)


def _number(host: str, text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 16):
        raise DriverError(f"host {host} answered with an API version that is none: {text[:40]!r}")
    return int(major), int(minor)


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"
