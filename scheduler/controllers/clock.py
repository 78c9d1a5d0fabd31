"""The present and timers, as a value that tests can replace by one they move themselves."""

import asyncio
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
    """Tells the time and calls back later; both on the same scale."""

    def now(self) -> datetime:
        """Return the present: UTC, whole seconds."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run the callback on the event loop after so many seconds."""
        ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> datetime:
        """Return the present: UTC, whole seconds."""
        return now_seconds()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run the callback on the event loop after so many seconds."""
        return asyncio.get_running_loop().call_later(seconds, callback)
