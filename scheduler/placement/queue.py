"""Which pods to place next: active, backing off, parked as unschedulable, or in flight.

Pure; the caller passes the time. Pods are kept by class and priority, so identical pods cost one
decision however many they are: while a class is parked, further pods of it park beside the others,
since nothing has happened that would change the answer. A gang waits as one pod, in a class of its
own; its members are kept elsewhere (see gangs).

**Order.** Higher priority strictly first, as in kube-scheduler: pods of lower priority wait as long
as others keep coming. Within one priority classes take turns: there is a line of those never tried
and a line of those that have failed, served alternately, so that a crowd that wakes in vain delays
nobody new. A class that becomes active, however it does, and one whose turn is over, goes to the
end of its line; a turn gives `turn` pods, in order of arrival. So a pod with `m` pods of its class
before it comes out within `2 * (m // turn + 1) * (c + 1)` turns, `c` being how many others are in
its line at once, at most; and a pop of `limit` pods or `classes` classes ends
`min(classes, limit // turn)` turns or more. Nobody who arrives later, comes back or has many pods
can stretch that. What cannot be placed leaves the line when that is known.

**Waking.** A parked class wakes when something happens that those who rejected it say can help, at
the latest after five minutes, and waits out a back-off of 1 s doubling to 10 s since its last
attempt (kube-scheduler's figures). Parked classes lie in beds by what wakes them: a change looks
at the kinds of beds and takes whole ones, so it costs the same for one class as for ten thousand;
those woken are moved on in portions, whenever the queue is asked for pods.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

from ..hookspecs import Change
from ..objects.stored import ObjectKey
from .framework import Diagnosis
from .lines import Levels, Line, Place, WaitingClass, Wanted
from .plan import PendingPod

LONGEST_PARKING = 300.0
TURN = 1024
_MOVED_AT_ONCE = 1024


class SchedulingQueue:
    """Every pending pod is in exactly one place until it is done or removed.

    Args:
        turn: how many pods of a class go before the next class of its priority.
    """

    def __init__(self, turn: int = TURN) -> None:
        self._turn = turn
        self._groups: dict[Wanted, WaitingClass] = {}
        self._class_of: dict[ObjectKey, Wanted] = {}
        self._history: dict[Wanted, tuple[int, float]] = {}
        self._flying: dict[ObjectKey, tuple[float, PendingPod]] = {}
        self._active = Levels()
        self._backoffs: list[tuple[float, int, WaitingClass]] = []
        self._parked: Line = OrderedDict()  # in the order in which parking ends
        self._beds: dict[int, Line] = {}  # by Diagnosis.wakes_on; plain int, flags are slow
        self._woken: deque[Line] = deque()
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

    def place_of(self, key: ObjectKey) -> str:
        """Return which of the places of `counts` a pod is in, "" if it is unknown."""
        pod = self._class_of.get(key)
        if pod is None:
            return ""
        return "flying" if key in self._flying else self._groups[pod].place.name.lower()

    def add(self, pod: Wanted, pending: PendingPod, now: float) -> Diagnosis | None:
        """Add a pod, or take over its new state; one in flight takes it over when it lands.

        Returns:
            Why it is parked, if it joins a class that is.
        """
        key = pending.key
        arrived = now
        known = self._class_of.get(key)
        if known is not None:
            flying = self._flying.get(key)
            if flying is not None and flying[1] == pending:
                self._class_of[key] = pod
                return None
            if flying is None:
                since, present = self._groups[known].pods[key]
                if present == pending:
                    if known == pod:
                        return None
                    arrived = since
            self.remove(key)
        self._class_of[key] = pod
        return self._join(pod, pending, arrived)

    def remove(self, key: ObjectKey) -> None:
        """Forget a pod, wherever it is."""
        pod = self._class_of.pop(key, None)
        if pod is None:
            return
        group = self._groups.get(pod)
        if self._flying.pop(key, None) is None and group is not None:
            del group.pods[key]
            if not group.pods:
                self._leave(group)
                del self._groups[pod]
        if pod not in self._groups:
            self._history.pop(pod, None)

    def pop(self, limit: int, classes: int, now: float) -> list[tuple[Wanted, list[PendingPod]]]:
        """Take up to `limit` pods of up to so many classes, identical ones together.

        Highest priority first, then in turns (see above). A class that is cut off by the limit
        goes on first at the next pop, with a full turn.
        """
        self._move_on(now)
        turn = min(self._turn, limit)
        batch: dict[Wanted, list[PendingPod]] = {}
        while limit > 0 and (group := self._active.first()) is not None:
            if group.pod not in batch and len(batch) == classes:
                break
            taken = self._take(group, min(turn, limit))
            limit -= len(taken)
            batch.setdefault(group.pod, []).extend(taken)
            if not group.pods or len(taken) == turn:
                self._active.end_turn(group)
            if not group.pods:
                self._leave(group)
                del self._groups[group.pod]
        return list(batch.items())

    def next_timer(self) -> float | None:
        """Return when there is something to move on (past if now), None if nothing waits."""
        if self._woken:
            return 0.0
        times = [next(iter(self._parked)).until] if self._parked else []
        if (backoff := self._next_backoff()) is not None:
            times.append(backoff)
        return min(times, default=None)

    def ready(self, now: float) -> bool:
        """Tell whether `pop` would give something."""
        self._move_on(now)
        return self._active.first() is not None

    def waits(self, pod: Wanted) -> bool:
        """Tell whether a class has pods here that are not in flight."""
        return pod in self._groups

    def priority(self) -> int | None:
        """Return the priority of what `pop` would give first, None if it would give nothing."""
        first = self._active.first()
        return None if first is None else first.pod.priority

    def done(self, key: ObjectKey) -> None:
        """A pod in flight has been bound."""
        if self._flying.pop(key, None) is not None:
            self._history.pop(self._class_of.pop(key), None)

    def arrivals(self, pods: Iterable[PendingPod]) -> list[float]:
        """Return when each of some pods in flight arrived."""
        return [self._flying[pod.key][0] for pod in pods]

    def tries(self, pod: Wanted) -> int:
        """Return how many tries in a row left pods of a class over."""
        return self._history.get(pod, (0, 0.0))[0]

    def unschedulable(self) -> Iterator[tuple[Wanted, int, Diagnosis]]:
        """Yield the parked classes, how many pods of each wait, and why."""
        for group in self._parked:
            if group.diagnosis is not None:
                yield group.pod, len(group.pods), group.diagnosis

    def park(
        self, pod: Wanted, left: Iterable[PendingPod], diagnosis: Diagnosis, now: float
    ) -> None:
        """Pods in flight have no node: park them with the reason."""
        group = self._land(pod, left)
        if group is None:
            return
        group.diagnosis = diagnosis
        self._failed(group, now)
        self._leave(group)
        if diagnosis.failure:
            self._back_off(group)
            return
        group.place = Place.PARKED
        group.until = now + LONGEST_PARKING
        self._parked[group] = None
        group.line = self._beds.setdefault(int(diagnosis.wakes_on), OrderedDict())
        group.line[group] = None

    def retry(self, pod: Wanted, pods: Iterable[PendingPod], now: float, *, backoff: bool) -> None:
        """Pods in flight could not be bound: try again at once, or after a back-off."""
        group = self._land(pod, pods)
        if group is None or group.place is not Place.ACTIVE or not backoff:
            return
        self._failed(group, now)
        self._leave(group)
        self._back_off(group)

    def forgive(self, pod: Wanted) -> None:
        """Room is being made for a class: once it is there, no back-off is waited out.

        One whose victims are gone would wait a second beside an empty place, which is then kept
        for it; as it only gets there by having had somebody evicted, it cannot keep others busy.
        """
        self._history.pop(pod, None)
        group = self._groups.get(pod)
        if group is None or group.place is Place.ACTIVE:
            return
        group.attempts = 0
        if group.place is Place.BACKOFF:
            self._leave(group)
            group.place = Place.ACTIVE
            self._active.join(group)

    def wake(self, pod: Wanted) -> None:
        """Something happened to a class itself: if it is parked, try it after its back-off."""
        group = self._groups.get(pod)
        if group is not None and group.place is Place.PARKED:
            assert group.line is not None
            del group.line[group]
            group.line = Line({group: None})
            self._woken.append(group.line)

    def changed(self, change: Change) -> int:
        """Something happened in the cluster: wake what it can help; returns how many classes."""
        flags, woken = int(change), 0
        for wakes_on in [wakes_on for wakes_on in self._beds if wakes_on & flags]:
            bed = self._beds.pop(wakes_on)
            if bed:
                self._woken.append(bed)
                woken += len(bed)
        return woken

    def _join(self, pod: Wanted, pending: PendingPod, arrived: float) -> Diagnosis | None:
        group = self._groups.get(pod)
        if group is None:
            attempts, tried = self._history.get(pod, (0, 0.0))
            group = self._groups[pod] = WaitingClass(pod, attempts=attempts, tried=tried)
            self._active.join(group)
        group.pods[pending.key] = (arrived, pending)
        return group.diagnosis if group.place is Place.PARKED else None

    def _land(self, pod: Wanted, pods: Iterable[PendingPod]) -> WaitingClass | None:
        """Put pods in flight back into their group; those removed meanwhile stay away."""
        group: WaitingClass | None = None
        for pending in pods:
            flown = self._flying.get(pending.key)
            if flown is None or flown[1] != pending:
                continue
            del self._flying[pending.key]
            present = self._class_of[pending.key]
            self._join(present, pending, flown[0])
            if present == pod:
                group = self._groups[pod]
        return group

    def _failed(self, group: WaitingClass, now: float) -> None:
        """Count a try that left pods over; remembered while the class has pods anywhere."""
        group.attempts += 1
        group.tried = now
        self._history[group.pod] = (group.attempts, now)

    def _take(self, group: WaitingClass, limit: int) -> list[PendingPod]:
        if len(group.pods) <= limit:
            taken, group.pods = group.pods, {}
        else:
            keys = [key for key, _ in zip(group.pods, range(limit), strict=False)]
            taken = {key: group.pods.pop(key) for key in keys}
        self._flying.update(taken)
        return [pending for _, pending in taken.values()]

    def _move_on(self, now: float) -> None:
        """Move on what was woken and what has waited long enough, a portion of it at most."""
        for _ in range(_MOVED_AT_ONCE):
            group = self._due(now)
            if group is None:
                return
            self._leave(group)
            if group.backoff_ends() > now:
                self._back_off(group)
            else:
                group.place = Place.ACTIVE
                self._active.join(group)

    def _due(self, now: float) -> WaitingClass | None:
        until = self._next_backoff()
        if until is not None and until <= now:
            return self._backoffs[0][2]
        if self._parked and (first := next(iter(self._parked))).until <= now:
            return first
        while self._woken:
            if self._woken[0]:
                return next(iter(self._woken[0]))
            self._woken.popleft()
        return None

    def _next_backoff(self) -> float | None:
        waiting = self._backoffs
        while waiting:
            until, _, group = waiting[0]
            if group.place is Place.BACKOFF and group.until == until:
                return until
            heapq.heappop(waiting)
        return None

    def _back_off(self, group: WaitingClass) -> None:
        group.place = Place.BACKOFF
        group.until = group.backoff_ends()
        self._ticket += 1
        heapq.heappush(self._backoffs, (group.until, self._ticket, group))

    def _leave(self, group: WaitingClass) -> None:
        """Take a class out of the place it is in; the caller gives it another or forgets it."""
        if group.place is Place.ACTIVE:
            self._active.leave(group)
        elif group.line is not None:
            del self._parked[group]
            del group.line[group]
        group.line = None
        group.until = 0.0
