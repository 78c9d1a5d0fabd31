"""How an engine is reached: address, TLS, and failures in the words of scheduler.errors."""

import asyncio
import re
import ssl
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from scheduler.drivers import HostAddress, TlsMaterial
from scheduler.errors import DriverError, HostUnreachable

from .duplex import CHUNK, PlainWire, TlsWire, Wire

_TCP = re.compile(r"(?:tcp|https?)://(?P<host>\[[0-9a-fA-F:.]+\]|[^/:@?#]+)(?::(?P<port>\d+))?/?")


LOCAL = "http://docker"
"""What requests through a unix socket start with; HTTP wants a name, and no one reads it."""

KEPT = 30.0
"""Seconds for which an idle connection is kept: a host is looked at at least that often."""


_KNOCKING = 64
"""Connections to a unix socket that are being opened at once. ssh lets 128 wait to be accepted; one
more looks open to asyncio, for the kernel refuses it with EAGAIN, and fails (ENOTCONN)."""


class _UnixConnector(aiohttp.UnixConnector):
    """A pool that opens only so many connections at once."""

    def __init__(self, path: str, limit: int) -> None:
        super().__init__(path, limit=limit, keepalive_timeout=KEPT)
        self._knocking = asyncio.Semaphore(_KNOCKING)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - what is overridden has it
    ) -> Connection:
        """Return a connection for a request."""
        async with self._knocking:
            return await super().connect(req, traces, timeout)


@dataclass(frozen=True)
class Route:
    """A parsed address.

    Args:
        base: URL that requests start with.
        socket: path of a unix socket, or "" for TCP.
        host: IP or name of the machine, or "" for this one.
        port: its TCP port, or 0.
        tls: context for TCP with TLS, or None.
    """

    base: str
    socket: str = ""
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None

    def connector(self, limit: int) -> aiohttp.BaseConnector:
        """A pool of at most `limit` connections (0: unbounded)."""
        if self.socket:
            return _UnixConnector(self.socket, limit)
        tls = self.tls if self.tls is not None else True
        return aiohttp.TCPConnector(limit=limit, ssl=tls, keepalive_timeout=KEPT)

    async def dial(self) -> Wire:
        """A connection of one's own, outside the pools; OSError when there is none to be had."""
        if self.socket:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=CHUNK)
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=CHUNK)
        if self.tls is None:
            return PlainWire(reader, writer)
        wire = TlsWire(reader, writer, self.tls, self.host)
        try:
            await wire.shake_hands()
        except BaseException:
            wire.abort()
            raise
        return wire


def route(address: HostAddress) -> Route:
    """Parse an address; DriverError saying what to mend.

    Accepted, besides ssh:// (see ssh.py): unix:///path, tcp://host[:port]; the ports default to
    2375, with TLS 2376.
    """
    if address.url.startswith("unix://"):
        path = address.url.removeprefix("unix://")
        if not path.startswith("/"):
            raise DriverError(f"host {address.name}: {address.url!r} needs an absolute path")
        return Route(LOCAL, path)
    match = _TCP.fullmatch(address.url)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        shown = re.sub(r"//[^/@]*@", "//…@", address.url)  # no password in a condition
        raise DriverError(
            f"host {address.name}: address {shown!r} is none of unix:///path, "
            "tcp://host:port and ssh://user@host"
        )
    scheme = "https" if address.tls else "http"
    port = match["port"] or ("2376" if address.tls else "2375")
    context = _context(address.name, address.tls) if address.tls else None
    base, name = f"{scheme}://{match['host']}:{port}", match["host"].strip("[]")
    return Route(base, host=name, port=int(port), tls=context)


def _context(name: str, tls: TlsMaterial) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=tls.ca.decode("ascii"))
        # certificates made by Docker's own instructions lack extensions that strict mode demands
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with _file(tls.certificate) as certificate, _file(tls.key) as key:
            context.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise DriverError(f"host {name}: the TLS material cannot be used: {error}") from error
    return context


@contextmanager
def _file(content: bytes) -> Generator[str]:
    """Yield a path to content, for OpenSSL takes a chain from files only.

    The file has no name of its own, so nothing is left of it should this process be killed.
    """
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


@asynccontextmanager
async def failures_named(host: str, action: str) -> AsyncGenerator[None]:
    """Turn what aiohttp and the socket raise into DriverError, naming host and action."""
    try:
        yield
    except TimeoutError as error:
        raise HostUnreachable(f"host {host} did not answer in time: {action}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise HostUnreachable(
            f"host {host}: its certificate is not one of the given CA: {error.certificate_error}"
        ) from error
    except aiohttp.ClientResponseError as error:
        reason = error.message.partition("\n")[0].rstrip(":")  # the rest quotes what was sent
        raise DriverError(
            f"host {host} does not speak HTTP like a Docker engine: {reason}: {action}"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise HostUnreachable(f"host {host} cannot be reached: {reason}: {action}") from error
    except asyncio.IncompleteReadError as error:
        raise HostUnreachable(f"host {host} broke off its answer: {action}") from error
