"""Keys that need a look: each once in the queue, each with one worker at a time.

A controller adds a key whenever anything about it may have changed and decides from the present
state when the key's turn comes, so missed, repeated and reordered causes make no difference.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from ..errors import Conflict, Fenced, IronfreeError, Unavailable
from ..informer import Informer
from ..objects.stored import ObjectKey
from .clock import Clock, Timer

K = TypeVar("K", bound=Hashable)
_LONGEST_REST = 0.5
_log = logging.getLogger(__name__)

Reconcile = Callable[[K], Awaitable[timedelta | None]]
"""Looks at a key and makes it so; returns when to look again without a cause, or None."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key that failed waits (exponential, with jitter against herds).

    Args:
        first, most: seconds of the first and of the longest delay.
        jitter: each delay is multiplied by a random factor in [1, 1 + jitter].
    """

    first: float = 0.05
    most: float = 60.0
    jitter: float = 0.5

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row, 1 or more."""
        grown = self.first * 2.0 ** min(failures - 1, 32)
        return min(grown, self.most) * (1 + random.random() * self.jitter)


class WorkQueue(Generic[K]):
    """Runs a reconcile function over keys.

    Args:
        name: of the controller, for logs.
        clock: times add_after; back-off and rest are about load and take the loop's own time.
        rest: after a reconcile that took t seconds, its key rests rest x t (at most half a second)
            before it runs again, so that a huge object that changes all the time cannot occupy
            the event loop.
    """

    def __init__(
        self, name: str, clock: Clock, backoff: Backoff | None = None, rest: float = 4.0
    ) -> None:
        self._name = name
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._rest = rest
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, Timer]] = {}
        self._resting: dict[K, Timer] = {}
        self._waiting: dict[K, Timer] = {}
        self._wake = asyncio.Event()

    def add(self, key: K) -> None:
        """Ask for a look at the key, soon; once is enough however often it is asked."""
        if key in self._running or key in self._resting:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a look after so many seconds; of several requests the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.elapsed() + seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._timers[key] = (due, self._clock.call_later(seconds, lambda: self._fire(key)))

    async def serve(self, reconcile: Reconcile[K], workers: int) -> None:
        """Reconcile keys forever, up to `workers` of them at once.

        A key whose reconcile raises is logged and looked at again after a back-off; the others
        are not affected.

        Raises:
            Fenced: another leader has taken over; this one must stop.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(reconcile))
        finally:
            due = [timer for _, timer in self._timers.values()]
            for timer in (*due, *self._resting.values(), *self._waiting.values()):
                timer.cancel()

    async def _work(self, reconcile: Reconcile[K]) -> None:
        while True:
            key = await self._take()
            began = time.monotonic()
            try:
                again = await reconcile(key)
            except Fenced:
                raise
            except Exception as error:  # noqa: BLE001 - one key's failure must not stop the others
                self._failed(key, error)
            else:
                self._failures.pop(key, None)
                if again is not None:
                    self.add_after(key, max(again.total_seconds(), 0.001))
            finally:
                self._done(key, time.monotonic() - began)

    async def _take(self) -> K:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._queued.discard(key)
        self._running.add(key)
        return key

    def _done(self, key: K, took: float) -> None:
        self._running.discard(key)
        rest = min(took * self._rest, _LONGEST_REST)
        if rest > 0.02:
            self._resting[key] = _later(rest, lambda: self._rested(key))
        elif key in self._again:
            self._again.discard(key)
            self.add(key)

    def _rested(self, key: K) -> None:
        del self._resting[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _retry(self, key: K) -> None:
        del self._waiting[key]
        self.add(key)

    def _failed(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures)
        if isinstance(error, Conflict):
            _log.debug("%s: %s changed meanwhile, looking again", self._name, key)
        elif isinstance(error, Unavailable):
            _log.warning("%s: %s: %s; again in %.1f s", self._name, key, error, delay)
        else:
            trace = None if isinstance(error, IronfreeError) and failures > 1 else error
            _log.error(
                "%s: %s failed %d time(s): %s; again in %.1f s",
                *(self._name, key, failures, error, delay),
                exc_info=trace,
            )
        if key not in self._waiting:
            self._waiting[key] = _later(delay, lambda: self._retry(key))


async def follow(informer: Informer[Any], queue: WorkQueue[ObjectKey]) -> None:
    """Ask for a look at every object of an informer that changes, until cancelled."""
    async for deltas in informer.subscribe():
        for delta in deltas:
            queue.add(delta.key)


def _later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)
