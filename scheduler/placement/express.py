"""Places cohorts as a whole: thousands of identical pods that all find a node at once.

What the queue does pod by pod is done here for a cohort's pods together. That is only right as
long as each of them goes the straight way: pods that find no node, whose class waits already, or
that the store refuses to bind are handed to the queue, one by one.
"""

from collections import deque
from dataclasses import dataclass

from ..objects.cohort import Cohort, berth
from ..objects.pod_class import PodClass
from .plan import LodgedPods


@dataclass(slots=True)
class _Waiting:
    """A cohort whose pods have not been tried yet."""

    pod: PodClass
    cohort: Cohort
    left: set[int]
    arrived: float


class ExpressLane:
    """Cohorts that wait to be placed, first come, first served within a priority. Pure."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[_Waiting]] = {}
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return sum(each.cohort.size - len(each.left) for each in self._waiting.values())

    def add(self, pod: PodClass, cohort: Cohort, now: float) -> None:
        """Add a cohort that has just been made."""
        waiting = _Waiting(pod, cohort, set(), now)
        self._waiting[cohort.uid] = waiting
        self._lines.setdefault(pod.priority, deque()).append(waiting)

    def leave(self, uid: str) -> None:
        """A pod has left its cohort; if it waits here, it does no more."""
        if not self._waiting:
            return
        cohort, ordinal = berth(uid)
        waiting = self._waiting.get(cohort)
        if waiting is not None:
            waiting.left.add(ordinal)

    def priority(self) -> int | None:
        """Return the highest priority that waits."""
        return max(self._lines, default=None)

    def pop(self, cohorts: int) -> list[tuple[PodClass, LodgedPods]]:
        """Take up to so many cohorts of the highest priority."""
        priority = self.priority()
        batch: list[tuple[PodClass, LodgedPods]] = []
        if priority is None:
            return batch
        line = self._lines[priority]
        while line and len(batch) < cohorts:
            waiting = line.popleft()
            cohort, left = waiting.cohort, waiting.left
            del self._waiting[cohort.uid]
            ordinals = tuple(n for n in range(cohort.size) if n not in left)
            if ordinals:
                batch.append((waiting.pod, LodgedPods(cohort, ordinals, waiting.arrived)))
        if not line:
            del self._lines[priority]
        return batch
