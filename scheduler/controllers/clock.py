"""The present and timers, as a value that tests can replace by one they move themselves."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from ..objects.meta import now_seconds


class Timer(Protocol):
    """A callback that has not run yet."""

    def cancel(self) -> None:
        """Make sure that it never runs."""
        ...


class Clock(Protocol):
    """Tells the time and calls back later."""

    def now(self) -> datetime:
        """Return the present: UTC, whole seconds. Somebody may set it, so it may jump."""
        ...

    def elapsed(self) -> float:
        """Return seconds since some moment, on the scale of `call_later`: they never jump."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run the callback on the event loop after so many seconds."""
        ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> datetime:
        """Return the present: UTC, whole seconds."""
        return now_seconds()

    def elapsed(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run the callback on the event loop after so many seconds."""
        return asyncio.get_running_loop().call_later(seconds, callback)
