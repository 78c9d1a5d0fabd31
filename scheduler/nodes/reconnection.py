"""How long an agent waits before it connects to its host again."""

import random
from dataclasses import dataclass

from .memory import Backoff


@dataclass(slots=True)
class Reconnection:
    """One host's. Two things are counted apart, for they say different things of a host.

    One that does not answer is asked less and less often, however long that takes; when it is back
    that is over. One that answers and breaks off again and again is worn out by connecting, so
    short connections count until one has lasted.

    Args:
        failures: to connect, in a row.
        breaks: connections in a row that ended before they had lasted.
        connected_at: when the present connection came about, None while there is none.
    """

    backoff: Backoff
    failures: int = 0
    breaks: int = 0
    connected_at: float | None = None

    @property
    def troubled(self) -> bool:
        """Whether the last try failed, or the last connection broke."""
        return self.failures + self.breaks > 0

    def connected(self, now: float) -> None:
        """Take in that the host is connected, in seconds of the loop."""
        self.failures = 0
        self.connected_at = now

    def ended(self, now: float) -> None:
        """Take in that a connection broke, or that none came about."""
        if self.connected_at is None:
            self.failures += 1
            return
        lasted, self.connected_at = now - self.connected_at, None
        self.breaks = 1 if lasted > self.backoff.limit else self.breaks + 1

    @property
    def bound(self) -> float:
        """The longest that the next pause may be, in seconds."""
        return self.backoff.delay(max(self.failures, self.breaks)).total_seconds()

    def pause(self) -> float:
        """Return the seconds to wait, with full jitter."""
        return random.uniform(0, self.bound)
