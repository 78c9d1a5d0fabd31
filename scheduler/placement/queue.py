"""Which pods to place next: active, backing off, parked as unschedulable, or in flight.

Pure; the caller passes the time. Pods are kept by class and priority, so identical pods cost one
decision however many they are: while a class is parked, further pods of it park beside the others,
since nothing has happened that would change the answer. As in kube-scheduler a parked pod wakes
when something happens that its rejecting plugins say can help, at the latest after five minutes,
and waits out a back-off of 1 s doubling to 10 s since its last attempt.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from ..hookspecs import Change
from ..objects.pod_class import PodClass
from ..objects.stored import ObjectKey
from .framework import Diagnosis
from .plan import PendingPod

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 10.0
LONGEST_PARKING = 300.0


class _Place(Enum):
    ACTIVE = 1
    BACKOFF = 2
    PARKED = 3


@dataclass(slots=True, eq=False)
class _Group:
    """The waiting pods of one class, all in the same place.

    Args:
        pods: pod → its number in order of arrival.
        attempts: tries in a row that left pods over.
        tried: time of the last one.
        until: when back-off or parking ends.
    """

    pod: PodClass
    place: _Place = _Place.ACTIVE
    pods: dict[ObjectKey, tuple[int, PendingPod]] = field(
        default_factory=dict[ObjectKey, tuple[int, PendingPod]]
    )
    attempts: int = 0
    tried: float = 0.0
    until: float = 0.0
    diagnosis: Diagnosis | None = None

    def backoff_ends(self) -> float:
        """Return when the class may be tried again."""
        if not self.attempts:
            return self.tried
        return self.tried + min(FIRST_BACKOFF * 2 ** min(self.attempts - 1, 10), LONGEST_BACKOFF)


class SchedulingQueue:
    """Every pending pod is in exactly one place until it is done or removed."""

    def __init__(self) -> None:
        self._groups: dict[PodClass, _Group] = {}
        self._class_of: dict[ObjectKey, PodClass] = {}
        self._history: dict[PodClass, tuple[int, float]] = {}
        self._flying: dict[ObjectKey, PendingPod] = {}
        self._active: list[tuple[int, int, int, _Group]] = []
        self._timers: list[tuple[float, int, _Group]] = []
        self._arrivals = 0
        self._ticket = 0

    def __len__(self) -> int:
        return len(self._class_of)

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._class_of

    def counts(self) -> dict[str, int]:
        """Return how many pods are in each place."""
        counts = {"active": 0, "backoff": 0, "parked": 0, "flying": len(self._flying)}
        for group in self._groups.values():
            counts[group.place.name.lower()] += len(group.pods)
        return counts

    def add(self, pod: PodClass, pending: PendingPod) -> Diagnosis | None:
        """Add a pod, or take over its new state; one in flight takes it over when it lands.

        Returns:
            Why it is parked, if it joins a class that is.
        """
        key = pending.key
        known = self._class_of.get(key)
        if known is not None:
            flying = self._flying.get(key)
            if flying == pending:
                self._class_of[key] = pod
                return None
            if flying is None and known == pod and self._groups[pod].pods[key][1] == pending:
                return None
            self.remove(key)
        self._class_of[key] = pod
        return self._join(pod, pending)

    def remove(self, key: ObjectKey) -> None:
        """Forget a pod, wherever it is."""
        pod = self._class_of.pop(key, None)
        if pod is None:
            return
        group = self._groups.get(pod)
        if self._flying.pop(key, None) is None and group is not None:
            del group.pods[key]
            if not group.pods:
                del self._groups[pod]
        if pod not in self._groups:
            self._history.pop(pod, None)

    def pop(self, limit: int, classes: int, now: float) -> list[tuple[PodClass, list[PendingPod]]]:
        """Take up to `limit` pods of up to so many classes, identical ones together.

        Highest priority first, then first come.
        """
        self._expire(now)
        batch: list[tuple[PodClass, list[PendingPod]]] = []
        while limit > 0 and len(batch) < classes and self._active:
            priority, arrival, _, group = heapq.heappop(self._active)
            if self._stale(group, _Place.ACTIVE):
                continue
            head = next(iter(group.pods.values()))[0]
            if head != arrival:  # its first pods went away; it queues where its next one stands
                self._push_active(group, priority, head)
                continue
            taken = self._take(group, limit)
            limit -= len(taken)
            batch.append((group.pod, taken))
        return batch

    def next_timer(self) -> float | None:
        """Return when the next back-off or parking ends, None if nothing waits."""
        while self._timers and self._timers[0][2].until != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def ready(self, now: float) -> bool:
        """Tell whether `pop` would give something."""
        self._expire(now)
        while self._active and self._stale(self._active[0][3], _Place.ACTIVE):
            heapq.heappop(self._active)
        return bool(self._active)

    def done(self, key: ObjectKey) -> None:
        """A pod in flight has been bound."""
        if self._flying.pop(key, None) is not None:
            self._history.pop(self._class_of.pop(key), None)

    def park(
        self, pod: PodClass, left: Iterable[PendingPod], diagnosis: Diagnosis, now: float
    ) -> None:
        """Pods in flight have no node: park them with the reason."""
        group = self._land(pod, left)
        if group is None:
            return
        group.diagnosis = diagnosis
        self._failed(group, now)
        if diagnosis.failure:
            self._wait(group, _Place.BACKOFF, group.backoff_ends())
        else:
            self._wait(group, _Place.PARKED, now + LONGEST_PARKING)

    def retry(
        self, pod: PodClass, pods: Iterable[PendingPod], now: float, *, backoff: bool
    ) -> None:
        """Pods in flight could not be bound: try again at once, or after a back-off."""
        group = self._land(pod, pods)
        if group is None or group.place is not _Place.ACTIVE or not backoff:
            return
        self._failed(group, now)
        self._wait(group, _Place.BACKOFF, group.backoff_ends())

    def changed(self, change: Change, now: float) -> int:
        """Something happened in the cluster: wake what it can help; returns how many classes."""
        woken = 0
        for group in self._groups.values():
            if group.place is not _Place.PARKED or group.diagnosis is None:
                continue
            if group.diagnosis.wakes_on & change:
                woken += 1
                self._wake(group, now)
        return woken

    def _join(self, pod: PodClass, pending: PendingPod) -> Diagnosis | None:
        group = self._groups.get(pod)
        if group is None:
            attempts, tried = self._history.get(pod, (0, 0.0))
            group = self._groups[pod] = _Group(pod, attempts=attempts, tried=tried)
        self._arrivals += 1
        group.pods[pending.key] = (self._arrivals, pending)
        if len(group.pods) == 1 and group.place is _Place.ACTIVE:
            self._push_active(group, -pod.priority, self._arrivals)
        return group.diagnosis if group.place is _Place.PARKED else None

    def _land(self, pod: PodClass, pods: Iterable[PendingPod]) -> _Group | None:
        """Put pods in flight back into their group; those removed meanwhile stay away."""
        group: _Group | None = None
        for pending in pods:
            if self._flying.get(pending.key) != pending:
                continue
            del self._flying[pending.key]
            present = self._class_of[pending.key]
            self._join(present, pending)
            if present == pod:
                group = self._groups[pod]
        return group

    def _failed(self, group: _Group, now: float) -> None:
        """Count a try that left pods over; remembered while the class has pods anywhere."""
        group.attempts += 1
        group.tried = now
        self._history[group.pod] = (group.attempts, now)

    def _take(self, group: _Group, limit: int) -> list[PendingPod]:
        if len(group.pods) <= limit:
            taken = [pending for _, pending in group.pods.values()]
            group.pods = {}
            del self._groups[group.pod]
        else:
            keys = [key for key, _ in zip(group.pods, range(limit), strict=False)]
            taken = [group.pods.pop(key)[1] for key in keys]
            head = next(iter(group.pods.values()))[0]
            self._push_active(group, -group.pod.priority, head)
        for pending in taken:
            self._flying[pending.key] = pending
        return taken

    def _expire(self, now: float) -> None:
        while (timer := self.next_timer()) is not None and timer <= now:
            group = heapq.heappop(self._timers)[2]
            if self._groups.get(group.pod) is group and group.place is not _Place.ACTIVE:
                self._wake(group, now)

    def _wake(self, group: _Group, now: float) -> None:
        ends = group.backoff_ends()
        if ends > now:
            self._wait(group, _Place.BACKOFF, ends)
            return
        group.place = _Place.ACTIVE
        group.until = 0.0
        if group.pods:
            self._push_active(group, -group.pod.priority, next(iter(group.pods.values()))[0])

    def _wait(self, group: _Group, place: _Place, until: float) -> None:
        group.place = place
        group.until = until
        self._ticket += 1
        heapq.heappush(self._timers, (until, self._ticket, group))

    def _push_active(self, group: _Group, priority: int, arrival: int) -> None:
        self._ticket += 1
        heapq.heappush(self._active, (priority, arrival, self._ticket, group))

    def _stale(self, group: _Group, place: _Place) -> bool:
        return (
            group.place is not place or self._groups.get(group.pod) is not group or not group.pods
        )
