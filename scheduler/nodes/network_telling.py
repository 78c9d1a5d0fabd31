"""Keeps a host told of the network: all of it at first, then what changes.

What is true on this host alone is told in place of what all hosts are told.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from ..drivers import Host
from ..errors import DriverError, HostUnreachable
from ..network import NetworkBook, NetworkNews
from ..networks import Entry, Key, NetworkedHost, NetworkFeed, PodNetwork
from .memory import Backoff
from .pacing import Pacer

_log = logging.getLogger(__name__)
_STEADY = 30.0  # seconds that it must have gone well for, to count as the first failure again
_TELLING = 3  # failures in a row after which the Node says so
_ANEW = 300.0  # seconds after which everything is said again, whatever went wrong unseen
_MENDING = 30.0  # the same while the host cannot do something


class NetworkTelling:
    """One per session.

    Args:
        network: the host's part of it; None has nothing done.
        told: takes in why Services are not served on the host, "" when they are.
        pacer: of beginnings, over all hosts.
    """

    def __init__(
        self,
        host: Host,
        network: PodNetwork | None,
        book: NetworkBook | None,
        told: Callable[[str], Awaitable[None]],
        pace: Backoff,
        pacer: Pacer,
    ) -> None:
        self._host = host
        self._network = network
        self._book = book
        self._told = told
        self._pace = pace
        self._pacer = pacer
        self._again = 0.0  # loop time at which all is said again
        self._own: dict[Key, Entry] = {}
        self._news: NetworkNews | None = None

    def have(self, entry: Entry) -> None:
        """Have this host know something that holds on it alone."""
        self._own[entry.key] = entry
        if self._news is not None:
            self._news.add(entry.key, entry)

    async def run(self) -> None:
        """Tell, until cancelled."""
        host, network, book = self._host, self._network, self._book
        clock, failures = asyncio.get_running_loop().time, 0
        if network is None or book is None or not isinstance(host, NetworkedHost):
            return
        while True:
            begun = math.inf
            try:
                async with AsyncExitStack() as stack:
                    opening = partial(self._open, stack, host.network(network), book)
                    feed, news = await self._pacer.send(opening, first=False)
                    begun = clock()
                    await self._keep_up(feed, book, news)
            except DriverError as error:
                failures = 1 if clock() - begun > _STEADY else failures + 1
                _log.info("telling a host's network broke off: %s", error)
                # What breaks off once goes on as it was last told.
                if failures >= _TELLING or not isinstance(error, HostUnreachable):
                    await self._told(str(error))
            await asyncio.sleep(self._pace.delay(failures).total_seconds())

    async def _open(
        self,
        stack: AsyncExitStack,
        served: AbstractAsyncContextManager[NetworkFeed],
        book: NetworkBook,
    ) -> tuple[NetworkFeed, NetworkNews]:
        """Have the host serve, and tell it all."""
        feed = await stack.enter_async_context(served)
        news = self._news = book.subscribe()
        stack.callback(book.unsubscribe, news)
        await self._begin(feed, book)
        return feed, news

    async def _begin(self, feed: NetworkFeed, book: NetworkBook) -> None:
        own = dict(self._own)
        everywhere = (each for each in book.entries() if each.key not in own)
        problems = await feed.begin([*everywhere, *own.values()])
        self._again = asyncio.get_running_loop().time() + (_MENDING if problems else _ANEW)
        await self._told(problems)

    async def _keep_up(self, feed: NetworkFeed, book: NetworkBook, news: NetworkNews) -> None:
        clock = asyncio.get_running_loop().time
        complaining = asyncio.create_task(feed.complaint())
        changing = asyncio.create_task(news.next())
        try:
            while True:
                done, _ = await asyncio.wait(
                    (complaining, changing),
                    timeout=max(0.0, self._again - clock()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if clock() >= self._again:
                    await self._begin(feed, book)
                if complaining in done:
                    await self._told(complaining.result())
                    self._again = min(self._again, clock() + _MENDING)
                    complaining = asyncio.create_task(feed.complaint())
                if changing in done:
                    changed = self._here(changing.result())
                    changing = asyncio.create_task(news.next())
                    entries = [each for each in changed.values() if each is not None]
                    await feed.change(entries, [k for k, each in changed.items() if each is None])
        finally:
            for task in (complaining, changing):
                task.cancel()
            await asyncio.wait((complaining, changing))

    def _here(self, changed: Mapping[Key, Entry | None]) -> Mapping[Key, Entry | None]:
        """Return what has changed on this host."""
        return {key: self._own.get(key, entry) for key, entry in changed.items()}
