"""What pulls of images are counted as. Pure; one outlives the leader's terms of a process."""

from collections import Counter

from ..measures import Histogram, Labels, exponential

PULLED, FAILED, BROKEN_OFF = "pulled", "failed", "broken_off"
_REGISTRIES = 64  # named ones; images name registries at will
_OTHERS = "other"


class PullMeasures:
    """Totals since the process started, and what goes on now.

    Args of the numbers, those by registry for at most 64 of them, the rest being "other":
        outcomes: pulls by (registry, result): pulled, failed, broken_off.
        seconds: how long pulls took that succeeded, waiting left out.
        waited: seconds from the wish to the beginning, of every pull that began.
        waiting, pulling: now, by (registry).
    """

    def __init__(self) -> None:
        self.outcomes: Counter[Labels] = Counter()
        self.seconds = Histogram(exponential(0.1, 2, 14))
        self.waited = Histogram(exponential(0.01, 4, 9))
        self.waiting: Counter[Labels] = Counter()
        self.pulling: Counter[Labels] = Counter()
        self._known: set[str] = set()

    def label(self, registry: str) -> str:
        """Return the registry as labels have it."""
        if registry not in self._known and len(self._known) >= _REGISTRIES:
            return _OTHERS
        self._known.add(registry)
        return registry
