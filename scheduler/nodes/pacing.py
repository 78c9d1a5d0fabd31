"""Room for work on hosts, over all of them together.

Thirty thousand pods bound in one moment would all be begun in that moment, and for minutes
everything would wait for one processor: the API, and pings, so that hosts that are well would be
given up. So only so much goes on at once. Work that waits for its host gives its place to the next
after a while: what is rationed is this process, and slow hosts must not keep others waiting.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")
_LATE = 0.02  # seconds by which a timer is late when the process has enough to do
_MOST_HOLDS = 20  # after which a place is given back however much there is to do


class Pacer:
    """One per leader and sort of work.

    Args:
        places: how much goes on at once.
        hold: seconds after which work that is still under way counts no more, unless the process
            has enough to do anyway; then it is twenty times as long.
    """

    def __init__(self, places: int, hold: float) -> None:
        self._free = places
        self._hold = hold
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def send(self, work: Callable[[], Awaitable[Answer]], *, first: bool) -> Answer:
        """Do some work when its turn comes.

        Args:
            first: before all that is not; for what goes on with something, or ends it.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn(self._first if first else self._others)
        place = _Place(self._give_back, self._hold)
        try:
            return await work()
        finally:
            place.leave()

    async def _turn(self, queue: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had come in the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        for queue in (self._first, self._others):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


class _Place:
    """Left once: at the end, or after a while."""

    __slots__ = ("_back", "_due", "_hold", "_left", "_timer")

    def __init__(self, back: Callable[[], None], hold: float) -> None:
        self._back = back
        self._hold = hold
        self._left = _MOST_HOLDS
        self._begin()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._left -= 1
        self._due = loop.time() + self._hold
        self._timer: asyncio.TimerHandle | None = loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        if self._left and asyncio.get_running_loop().time() - self._due > _LATE:
            self._begin()
        else:
            self.leave()

    def leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._back()
