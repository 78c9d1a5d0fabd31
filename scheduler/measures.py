"""Numbers that a room keeps of its own work, as values: what shows them is somebody else's affair.

Pure, for one thread. Adding a number costs a fraction of a microsecond. Labels are tuples, whose
meaning is that of the container they are kept in; keep them few, for every combination lives as
long as the process.
"""

from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter

import numpy as np

Labels = tuple[str, ...]
_FEW = 32  # values, fewer than which arrays are not worth their while


class Histogram:
    """How often values fell into buckets, and their sum.

    Args:
        bounds: upper bounds of the buckets, ascending, each inclusive; one more has no bound.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def add(self, value: float, times: int = 1) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add_all(self, values: Sequence[float]) -> None:
        """Count many values."""
        if len(values) < _FEW:
            for value in values:
                self.add(value)
            return
        given = np.array(values, dtype=np.float64)
        buckets = np.searchsorted(np.array(self.bounds), given, side="left")
        for bucket, count in enumerate(np.bincount(buckets).tolist()):
            self.counts[bucket] += count
        self.total += float(given.sum())

    def since(self, started: float) -> float:
        """Count the seconds since `started` (perf_counter); returns the time now."""
        now = perf_counter()
        self.add(now - started)
        return now


class Histograms(dict[Labels, Histogram]):
    """A histogram for each combination of labels, made when it is first asked for."""

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__()
        self.bounds = tuple(bounds)

    def __missing__(self, labels: Labels) -> Histogram:
        made = self[labels] = Histogram(self.bounds)
        return made


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Return so many bounds, each a factor above the one before, in twelve digits."""
    return tuple(float(f"{first * factor**step:.12g}") for step in range(count))
