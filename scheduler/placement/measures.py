"""What placement counts and times of itself. Pure.

One of these outlives the leader's terms of a process, so that its counters only grow.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

from ..measures import Histogram, Histograms, Labels, exponential
from .preemption import Preemption

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
_MOST_TRIES = 15  # more are told as "15+", as in kube-scheduler


class PlacementMeasures:
    """Totals since the process started.

    Args of the histograms, all with kube-scheduler's buckets where it has the same figure:
        phases: seconds of each part of the cycle, by (phase): pop, place, gang and preempt by
            class, the others by batch.
        attempts: pods by (result, profile).
        attempt_seconds: from leaving the queue until bound or given up, by (result, profile).
        waited: seconds from arrival to binding, by (how many tries it took).
        tries: how many tries bound pods took.
        batch: pods decided on together.
        gangs: decisions about gangs by (result).
        victims: pods to be evicted by one preemption.
        preemptions: how often it was asked who could make room.
    """

    def __init__(self) -> None:
        self.phases = Histograms(exponential(0.00001, 4, 10))
        self.attempts: Counter[Labels] = Counter()
        self.attempt_seconds = Histograms(exponential(0.001, 2, 15))
        self.waited = Histograms(exponential(0.001, 2, 23))
        self.tries = Histogram(exponential(1, 2, 5))
        self.gangs: Counter[Labels] = Counter()
        self.batch = Histogram(exponential(1, 4, 7))
        self.victims = Histogram(exponential(1, 2, 7))
        self.preemptions = 0

    def attempted(self, result: str, profile: str, pods: int, started: float) -> None:
        """Count the outcome of pods that left the queue at `started` (perf_counter)."""
        if pods:
            self.attempts[result, profile] += pods
            self.attempt_seconds[result, profile].add(perf_counter() - started, pods)

    def preempted(self, decided: Iterable[Preemption | None]) -> None:
        """Count a search for who could make room for the pods of a class, and what it decided."""
        self.preemptions += 1
        for each in decided:
            if each is not None and each.victims:
                self.victims.add(len(each.victims))

    def bound(self, waited: Sequence[float], tries: int) -> None:
        """Count pods that waited so many seconds and took so many tries."""
        if waited:
            self.waited[(str(tries) if tries < _MOST_TRIES else f"{_MOST_TRIES}+",)].add_all(waited)
            self.tries.add(tries, len(waited))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A batch on its way from the queue to its bindings.

    Args:
        started: when it left the queue (perf_counter).
        arrived: by allotment of its plan, when each of its pods arrived, by the queue's clock.
        tries: by allotment, how many it takes with this one.
    """

    started: float
    arrived: Sequence[Sequence[float]]
    tries: Sequence[int]


class Laps:
    """A stopwatch that tells of the phases one after the other."""

    def __init__(self, phases: Histograms) -> None:
        self._phases = phases
        self.started = self._last = perf_counter()

    def lap(self, phase: str) -> None:
        """The time since the last call was this phase's."""
        self._last = self._phases[(phase,)].since(self._last)
