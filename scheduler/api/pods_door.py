"""Where the API takes in what pods send: connections that gateways of hosts open in this process.

Pairs of sockets, of which nobody else has an end; whoever comes through one speaks TLS and is
known by his token alone.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from resource import RLIMIT_NOFILE, getrlimit
from socket import socket, socketpair

from aiohttp import web

from ..access import Authority
from ..networks import Connect

_log = logging.getLogger(__name__)
_RENEWAL = 30 * 24 * 3600.0  # seconds; certificates hold for a year
_AGAIN = 3600.0  # seconds after a renewal that failed
_SHARE = 8  # of the descriptors of this process, each connection of pods having two here


@asynccontextmanager
async def pods_door(
    app: web.Application, authority: Authority, names: Sequence[str]
) -> AsyncGenerator[Connect]:
    """Serve as long as the context lasts; yields what opens a connection.

    Args:
        app: for pods (server.for_pods).
        names: host names and addresses that the API is known by to pods.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    authority.serve(context, names)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, keepalive_timeout=120.0)
    await runner.setup()
    assert runner.server is not None
    way = _Way(runner.server, context)
    renewing = asyncio.create_task(_renew(context, authority, names), name="certificate")
    try:
        yield way.connect
    finally:
        renewing.cancel()
        await asyncio.wait((renewing,))
        await way.close()
        await runner.cleanup()


class _Way:
    """Opens connections, as many as leave the process descriptors for everything else.

    Args:
        serve: makes what serves one connection.
    """

    def __init__(self, serve: Callable[[], asyncio.Protocol], context: ssl.SSLContext) -> None:
        self._serve = serve
        self._context = context
        self._open = set[asyncio.WriteTransport]()  # and some that have ended
        self._shaking = set[asyncio.Task[None]]()
        self._closed = False

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open one; ConnectionRefusedError when there are too many, or no more are served."""
        if self._closed:
            raise ConnectionRefusedError("the API is no longer served here")
        most = getrlimit(RLIMIT_NOFILE)[0] // _SHARE
        if len(self._open) >= most:
            self._open = {each for each in self._open if not each.is_closing()}
        if len(self._open) >= most:
            raise ConnectionRefusedError(f"pods have {most} connections to the API")
        near, far = socketpair()
        shaking = asyncio.create_task(self._accept(far))
        self._shaking.add(shaking)
        shaking.add_done_callback(self._shaking.discard)
        reader, writer = await asyncio.open_connection(sock=near)
        self._open.add(writer.transport)
        return reader, writer

    async def _accept(self, far: socket) -> None:
        """Serve an end; a handshake that fails has broken the connection off."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            await loop.connect_accepted_socket(self._serve, far, ssl=self._context)

    async def close(self) -> None:
        """Accept no more."""
        self._closed = True
        for each in self._shaking:
            each.cancel()
        await asyncio.gather(*self._shaking, return_exceptions=True)


async def _renew(context: ssl.SSLContext, authority: Authority, names: Sequence[str]) -> None:
    pause = _RENEWAL
    while True:
        await asyncio.sleep(pause)
        try:
            authority.serve(context, names)
            pause = _RENEWAL
        except OSError as error:
            pause = _AGAIN
            _log.warning("the certificate of the API for pods is not renewed: %s", error)
