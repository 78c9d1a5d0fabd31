"""Room for calls to engines, over all hosts together.

Thirty thousand pods bound in one moment would have as many calls under way, each of them a wait of
seconds for one processor: pings would time out, and hosts that are well be given up. So only so
many go at once. A call that waits for its host gives its place to the next one after a moment:
what is rationed is this process, and a slow host must not keep others waiting.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class CallPacer:
    """One per leader and sort of call.

    Args:
        places: calls that go at once.
        hold: seconds after which a call that is still under way counts no more.
    """

    def __init__(self, places: int, hold: float) -> None:
        self._free = places
        self._hold = hold
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def send(self, call: Callable[[], Awaitable[Answer]], *, first: bool) -> Answer:
        """Make a call when its turn comes.

        Args:
            first: before all that are not; for what goes on with something, or ends it.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn(self._first if first else self._others)
        place = _Place(self._give_back)
        timer = asyncio.get_running_loop().call_later(self._hold, place.leave)
        try:
            return await call()
        finally:
            timer.cancel()
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
    """One call's, left once."""

    __slots__ = ("_back",)

    def __init__(self, back: Callable[[], None]) -> None:
        self._back: Callable[[], None] | None = back

    def leave(self) -> None:
        back, self._back = self._back, None
        if back is not None:
            back()
