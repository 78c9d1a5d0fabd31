"""Whether a host's engine does what it is told, for one that answers pings may still be stuck.

A circuit breaker (M. Nygard, Release It!): after so many calls in a row whose outcome stayed
unknown nothing more is sent but one call at a time, each after a longer delay; the first that is
answered, be it with a no, closes the circuit again. A host that does not answer at all has no
session, and so nothing to break.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

from ..errors import DriverError, EngineRejected, ImageUnavailable
from .memory import Backoff

TRIPS = 5
"""Unknown outcomes in a row after which it opens."""

Answer = TypeVar("Answer")


class CircuitState(StrEnum):
    """CLOSED lets every call through, OPEN none; HALF_OPEN is trying one."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit:
    """One session's.

    Args:
        changed: hears of the failure that opens it, and None when it closes.
        probes: how long it stays open before one call is tried.
    """

    def __init__(self, changed: Callable[[DriverError | None], None], probes: Backoff) -> None:
        self._changed = changed
        self._probes = probes
        self._failures = 0
        self._openings = 0
        self._retry_at = 0.0
        self._closed = asyncio.Event()
        self._closed.set()
        self._turn = asyncio.Lock()
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """What it lets through now."""
        if self._closed.is_set():
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self._probing else CircuitState.OPEN

    async def send(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a call once the circuit lets it through.

        Raises:
            DriverError: as the call does; it counts as a failure, but for an engine's no.
        """
        while not self._closed.is_set():
            async with self._turn:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._retry_at):
                        await self._closed.wait()
                if not self._closed.is_set():
                    return await self._probed(call)
        return await self._counted(call)

    async def _probed(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._probing = True
        try:
            return await self._counted(call)
        finally:
            self._probing = False
            if not self._closed.is_set():
                self._hold()

    async def _counted(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await call()
        except (EngineRejected, ImageUnavailable):
            self._answered()
            raise
        except DriverError as error:
            self._failures += 1
            if self._failures >= TRIPS and self._closed.is_set():
                self._closed.clear()
                self._hold()
                self._changed(error)
            raise
        self._answered()
        return answer

    def _answered(self) -> None:
        self._failures = 0
        if not self._closed.is_set():
            self._openings = 0
            self._closed.set()
            self._changed(None)

    def _hold(self) -> None:
        """Let nothing through for a while."""
        self._openings += 1
        delay = self._probes.delay(self._openings).total_seconds() * random.uniform(0.75, 1)
        self._retry_at = asyncio.get_running_loop().time() + delay
