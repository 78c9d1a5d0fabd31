"""What the store's writer counts and times of itself."""

from ..measures import Histogram, exponential


class WriterMeasures:
    """Totals since the process started.

    Args of the histograms:
        commit: seconds of each transaction that changed something, from the lock to the commit.
        batch: operations that went into it.
    """

    def __init__(self) -> None:
        self.commit = Histogram(exponential(0.0005, 2, 15))
        self.batch = Histogram(exponential(1, 4, 7))

    def committed(self, started: float, operations: int) -> None:
        """Count a transaction that began at `started` (perf_counter)."""
        self.commit.since(started)
        self.batch.add(operations)
