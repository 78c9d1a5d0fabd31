"""Where the API takes in what pods send: connections that gateways of hosts open in this process.

A socket in a directory of its own, that nobody else may enter; whoever comes through it speaks TLS
and is known by his token alone.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from tempfile import TemporaryDirectory

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
    """Listen as long as the context lasts; yields what opens a connection.

    Args:
        app: for pods (server.for_pods).
        names: host names and addresses that the API is known by to pods.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    authority.serve(context, names)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, keepalive_timeout=120.0)
    await runner.setup()
    renewing = asyncio.create_task(_renew(context, authority, names), name="certificate")
    try:
        with TemporaryDirectory(prefix="ironfree-") as directory:
            path = Path(directory, "api")
            await web.UnixSite(runner, path, ssl_context=context, backlog=1024).start()
            yield _Way(path).connect
    finally:
        renewing.cancel()
        await asyncio.wait((renewing,))
        await runner.cleanup()


class _Way:
    """Opens connections, as many as leave the process descriptors for everything else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = set[asyncio.WriteTransport]()  # and some that have ended

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open one; ConnectionRefusedError when there are too many."""
        most = getrlimit(RLIMIT_NOFILE)[0] // _SHARE
        if len(self._open) >= most:
            self._open = {each for each in self._open if not each.is_closing()}
        if len(self._open) >= most:
            raise ConnectionRefusedError(f"pods have {most} connections to the API")
        reader, writer = await asyncio.open_unix_connection(self._path)
        self._open.add(writer.transport)
        return reader, writer


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
