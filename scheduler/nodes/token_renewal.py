"""When the tokens in pods' volumes are due: one queue in order of time for all pods."""

import asyncio
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from ..access.tokens import CLOCK_SLACK

_LONGEST_NAP = 60.0  # seconds, after which a clock that was set is noticed
_SLACK = 1024  # entries without a pod that are left in the queue


class TokenRenewals:
    """One per leader."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, str]] = []
        self._due: dict[str, tuple[int, Callable[[], None]]] = {}
        self._numbers = count()
        self._earlier = asyncio.Event()
        self._ahead = -inf  # by how much the clock was furthest ahead of one that nobody sets

    def put(self, uid: str, moment: float, due: Callable[[], None]) -> None:
        """Have a pod told at a moment (seconds since 1970), and not when it was told before."""
        self._ahead = max(self._ahead, _ahead())
        number = next(self._numbers)
        self._due[uid] = number, due
        if not self._queue or moment < self._queue[0][0]:
            self._earlier.set()
        heappush(self._queue, (moment, number, uid))
        if len(self._queue) > 2 * len(self._due) + _SLACK:
            self._queue = [each for each in self._queue if self._holds(each)]
            heapify(self._queue)

    def forget(self, uid: str) -> None:
        """Have a pod told no more."""
        self._due.pop(uid, None)

    def take(self, now: float) -> list[Callable[[], None]]:
        """Return who is to be told now, in order; nobody is told twice."""
        found: list[Callable[[], None]] = []
        while self._queue and self._queue[0][0] <= now:
            entry = heappop(self._queue)
            if self._holds(entry):
                found.append(self._due.pop(entry[2])[1])
        return found

    async def run(self) -> None:
        """Tell pods, until cancelled; all of them once the clock was set back.

        A token that was made before that holds only from a moment to come.
        """
        while True:
            for due in self.take(inf if self._was_set_back() else time.time()):
                due()
            self._earlier.clear()
            first = self._queue[0][0] - time.time() if self._queue else _LONGEST_NAP
            try:
                async with asyncio.timeout(min(max(first, 0.0), _LONGEST_NAP)):
                    await self._earlier.wait()
            except TimeoutError:
                continue

    def _was_set_back(self) -> bool:
        """Return whether tokens may be of a time to come, by more than their readers let pass."""
        ahead = _ahead()
        if ahead >= self._ahead - CLOCK_SLACK:
            return False
        self._ahead = ahead
        return True

    def _holds(self, entry: tuple[float, int, str]) -> bool:
        _, number, uid = entry
        return self._due.get(uid, (-1,))[0] == number


def _ahead() -> float:
    return time.time() - time.monotonic()
