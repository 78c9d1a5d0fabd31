"""Where the API takes in what pods send: connections that gateways of hosts open in this process.

A socket in a directory of its own, that nobody else may enter; whoever comes through it speaks TLS
and is known by his token alone.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from ..access import Authority
from ..networks import Connect

_RENEWAL = 30 * 24 * 3600.0  # seconds; certificates hold for a year


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
            yield lambda: asyncio.open_unix_connection(path)
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        await runner.cleanup()


async def _renew(context: ssl.SSLContext, authority: Authority, names: Sequence[str]) -> None:
    while True:
        await asyncio.sleep(_RENEWAL)
        authority.serve(context, names)
