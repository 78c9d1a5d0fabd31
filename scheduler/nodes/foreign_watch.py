"""Follows which containers run on a host that Ironfree does not manage."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from ..errors import DriverError, Fenced, HostUnreachable, StatusError
from ..foreign import ForeignContainer, SharedHost
from .foreign_holdings import steadied

_log = logging.getLogger(__name__)


class ForeignWatch:
    """One per session; silent where the host cannot tell.

    Args:
        before: what was told last, be it by an earlier session.
        changed: takes in every look that differs from the one before.
        interval: seconds between looks when nothing is heard.
        settle: least seconds between two looks.
    """

    def __init__(
        self,
        node: str,
        host: object,
        before: tuple[ForeignContainer, ...] | None,
        changed: Callable[[tuple[ForeignContainer, ...]], Awaitable[None]],
        interval: float,
        settle: float,
    ) -> None:
        self._node = node
        self._host = host if isinstance(host, SharedHost) else None
        self._said = before
        self._changed = changed
        self._interval = interval
        self._settle = settle
        self._wanted = asyncio.Event()
        self._trouble = ""

    def look_soon(self) -> None:
        """Ask for a look, for something has changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Look when something is heard and every so often, until cancelled."""
        while self._host is not None:
            self._wanted.clear()
            await self.look()
            await asyncio.sleep(self._settle)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval * random.uniform(0.8, 1.2)):
                    await self._wanted.wait()

    async def look(self) -> None:
        """Look once. A failure is told once, and what was known stays."""
        if self._host is None:
            return
        try:
            found = steadied(await self._host.foreign(), self._said or ())
            if found != self._said:
                await self._changed(found)
                self._said = found
            self._trouble = ""
        except (Fenced, HostUnreachable):
            raise
        except (DriverError, StatusError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("containers of others on host %s: %s", self._node, error)
