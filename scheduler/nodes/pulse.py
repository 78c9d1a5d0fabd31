"""Asks every connected host now and then whether its engine still answers.

One clock for all hosts: with thousands of them, a timer each for the pause and for the patience
costs more than the asking.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from ..drivers import Host
from ..errors import HostUnreachable
from .settings import NodeSettings

_TICKS = 16  # looks at who is due, in one interval


@dataclass(eq=False, slots=True)
class _Watched:
    """One host.

    Args:
        lost: fails when it does not answer any more.
        failures: in a row.
        task: the ping under way; late: it has been given up.
    """

    name: str
    host: Host
    answered: Callable[[], None]
    lost: asyncio.Future[None]
    due: float
    failures: int = 0
    task: asyncio.Task[None] | None = None
    late: bool = False


class Pulse:
    """One per leader."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._watched: set[_Watched] = set()
        self._agenda: list[tuple[float, int, _Watched]] = []  # a heap: who is due next
        self._turn = itertools.count()

    async def watch(self, name: str, host: Host, answered: Callable[[], None]) -> None:
        """Ping a host until it does not answer.

        Args:
            answered: called after each ping that succeeds.

        Raises:
            HostUnreachable: it did not answer so many pings in a row.
            DriverError: as `Host.ping` does.
        """
        loop = asyncio.get_running_loop()
        watched = _Watched(name, host, answered, loop.create_future(), loop.time() + self._pause())
        self._watched.add(watched)
        self._enter(watched)
        try:
            await watched.lost
        finally:
            self._watched.discard(watched)
            if watched.task is not None:
                watched.task.cancel()

    def _enter(self, watched: _Watched) -> None:
        heapq.heappush(self._agenda, (watched.due, next(self._turn), watched))

    def _take_due(self, now: float) -> list[_Watched]:
        due: list[_Watched] = []
        while self._agenda and self._agenda[0][0] <= now:
            watched = heapq.heappop(self._agenda)[2]
            if watched in self._watched:
                due.append(watched)
        return due

    def _pause(self) -> float:
        return self._settings.ping * random.uniform(0.9, 1.1)

    async def run(self) -> None:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(self._settings.ping / _TICKS)
                now = loop.time()
                due = self._take_due(now)
                for each in due:
                    each.task = group.create_task(self._ping(each))
                if due:
                    loop.call_later(self._settings.ping_timeout, _give_up, tuple(due), now)

    async def _ping(self, each: _Watched) -> None:
        failure: Exception | None = None
        try:
            await each.host.ping()
        except asyncio.CancelledError:
            if not each.late:
                raise
            failure = TimeoutError()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the session's to tell
            failure = error
        each.task, each.late = None, False
        each.due = asyncio.get_running_loop().time() + self._pause()
        self._enter(each)
        if failure is None:
            each.failures = 0
            each.answered()
        elif not each.lost.done():
            self._failed(each, failure)

    def _failed(self, each: _Watched, failure: Exception) -> None:
        if not isinstance(failure, TimeoutError | HostUnreachable):
            each.lost.set_exception(failure)
            return
        each.failures += 1
        if each.failures >= self._settings.ping_failures:
            text = f"host {each.name} did not answer {each.failures} pings"
            lost = HostUnreachable(text)
            lost.__cause__ = failure
            each.lost.set_exception(lost)


def _give_up(asked: tuple[_Watched, ...], when: float) -> None:
    """Cancel the pings of a round that are still under way."""
    for each in asked:
        if each.task is not None and each.due <= when:
            each.late = True
            each.task.cancel()
