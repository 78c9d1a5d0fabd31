"""When to stop, and whom to tell: the only things that the engine knows of the outside."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .solution import Progress

FOREVER = float("inf")


def _never() -> bool:
    return False


def _nobody(_: Progress) -> None:
    return


class Deadline:
    """The time that is left, and whether anybody still wants the answer.

    Args:
        seconds: from now on; infinity for no limit.
        clock: a monotonic clock in seconds.
        cancelled: asked at every step; True ends the search at once.
    """

    def __init__(
        self,
        seconds: float = FOREVER,
        clock: Callable[[], float] = time.monotonic,
        cancelled: Callable[[], bool] = _never,
    ) -> None:
        self._clock = clock
        self._cancelled = cancelled
        self._begun = clock()
        self._end = self._begun + seconds

    @property
    def length(self) -> float:
        """Seconds that there were at the start."""
        return self._end - self._begun

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds left, 0 when over or cancelled."""
        return 0.0 if self._cancelled() else max(0.0, self._end - self._clock())

    @property
    def over(self) -> bool:
        """Whether to stop now."""
        return self.left <= 0.0

    def part(self, share: float, most: float = FOREVER) -> "Deadline":
        """Return a deadline for a step: a share of what is left, at most some seconds."""
        return Deadline(min(self.left * share, most), self._clock, self._cancelled)

    def limit(self, most: float) -> float:
        """Return the seconds that a single call may take, never quite 0 and never infinite."""
        return max(0.001, min(self.left, most))


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who hears of progress, on the engine's thread."""

    report: Callable[[Progress], None] = _nobody
