"""What is decided on next: classes, gangs and cohorts, until they are a batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..objects.pod_class import PodClass
from .express import ExpressLane
from .gangs import Gangs, Report
from .lines import Wanted
from .nominations import Nominations
from .plan import Gang, LodgedPods, PendingPod
from .queue import TURN, SchedulingQueue

PODS = 4096
CLASSES = 128
COHORTS = 16
SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where pods wait for their nodes.

    Args:
        queue: all but the others.
        express: whole cohorts.
        gangs: members of PodGroups.
    """

    queue: SchedulingQueue
    express: ExpressLane
    gangs: Gangs


class Batches:
    """Takes from lane and queue what may be decided on.

    Args:
        report: told which pods wait, and why, when that is known without trying.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        waiting: Waiting,
        nominations: Nominations,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        self._queue = waiting.queue
        self._express = waiting.express
        self._gangs = waiting.gangs
        self._nominations = nominations
        self._report = report
        self._clock = clock

    def take(self, now: float) -> Iterator[tuple[Wanted, Sequence[PendingPod]]]:
        """Take classes from lane and queue until they are a batch, or deciding has taken its time.

        Classes differ: most cost a fraction of a millisecond, a search for victims on thousands of
        nodes a hundred times that, and meanwhile nobody else in this process does anything.
        """
        ends = self._clock() + SECONDS
        for _ in range(COHORTS):
            express, queued = self._express.priority(), self._queue.priority()
            if express is None or (queued is not None and queued > express):
                break
            yield from self._board()
            if self._clock() >= ends:
                break
        express, left = self._express.priority(), PODS
        for _ in range(CLASSES):
            queued = self._queue.priority()
            if queued is None or (express is not None and queued < express):
                break
            popped = self._queue.pop(left, 1, now)
            for pod, pending in popped:
                left -= self._gangs.size(pod) if isinstance(pod, Gang) else len(pending)
                if isinstance(pod, Gang) or not pod.group or self._gangs.satisfied(pod):
                    yield pod, pending
                else:
                    self._gangs.take_back(pending)
            if not popped or left < TURN or self._clock() >= ends:
                break

    def unload(self, pod: PodClass, pods: Iterable[PendingPod], arrived: float) -> None:
        """Let pods of a cohort wait in the queue, one by one."""
        for pending in pods:
            diagnosis = self._queue.add(pod, pending, arrived)
            if diagnosis is not None:
                self._report((pending,), diagnosis.message)

    def _board(self) -> list[tuple[PodClass, LodgedPods]]:
        """Take a cohort from the lane, unless its pods must wait in the queue."""
        for pod, pods in self._express.pop(1):
            if not self._queue.waits(pod) and not len(self._nominations):
                return [(pod, pods)]
            self.unload(pod, pods, pods.arrived)
        return []
