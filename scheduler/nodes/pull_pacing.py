"""When which host may pull which image, over the whole cluster.

A thousand pods of a new image must not meet its registry at once, and one slow pull must not keep
others waiting. So:

- A host pulls few images at once, and a registry serves few pulls at once. Whoever waits goes in
  order of arrival, past those whose host or image is not free.
- Of an image nobody has pulled lately, one host pulls first, the *scout*. The others follow when it
  has got the image or a layer of it, or when it takes long. When two hosts in a row have failed,
  those who wait fail with them, and come again by their own back-off.
- A pull that does not move gives its place on the host back, but not its registry's.
- Pods that want one image on one host share one pull, which ends with the last of them.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ..errors import EngineRejected, ImageUnavailable
from ..images import PullProgress, RegistryCredentials
from .pull_measures import BROKEN_OFF, FAILED, PULLED, PullMeasures

Heard = Callable[[PullProgress], None]
Run = Callable[[Heard], Awaitable[None]]

_LATELY = 600.0  # seconds for which an image that was pulled needs no scout
_MOST_KNOWN = 4096  # images
_FAILURES = 2  # scouts in a row, after which the others need not try


@dataclass(frozen=True, slots=True)
class Source:
    """What is pulled: an image in normal form, as whom."""

    image: str
    registry: str
    credentials: RegistryCredentials | None = None


@dataclass(frozen=True, slots=True)
class PacingLimits:
    """How much at once.

    Args:
        per_host, per_registry: pulls.
        patience: seconds without progress after which a pull stands still.
    """

    per_host: int = 3
    per_registry: int = 32
    patience: float = 15.0


@dataclass(eq=False, slots=True)
class _Ticket:
    """One pull on one host, waiting or under way.

    Args:
        turn: done when it may begin; with a reason, when it need not.
        under_way: it counts at its registry; holds_host: and on its host.
        moved: how often there was progress.
    """

    node: str
    source: Source
    arrived: float
    turn: asyncio.Future[str]
    listeners: list[Heard] = field(default_factory=list[Heard])
    under_way: bool = False
    holds_host: bool = False
    moved: int = 0
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[float] | None = None


@dataclass(slots=True)
class _Scouting:
    """What is known of an image that nobody has pulled lately."""

    scout: _Ticket | None = None
    failures: int = 0


class PullPacer:
    """One per leader; for one event loop."""

    def __init__(self, limits: PacingLimits, measures: PullMeasures) -> None:
        self._limits = limits
        self._measures = measures
        self._tickets: dict[tuple[str, Source], _Ticket] = {}
        self._waiting: dict[str, dict[_Ticket, None]] = {}  # by registry, in order of arrival
        self._hosts: Counter[str] = Counter()
        self._registries: Counter[str] = Counter()
        self._good: OrderedDict[Source, float] = OrderedDict()
        self._scouting: dict[Source, _Scouting] = {}
        self._woken = False

    async def pull(self, node: str, source: Source, run: Run, heard: Heard) -> float:
        """Run a pull when its turn has come, or share one of the same that is there already.

        Args:
            run: pulls; it is given whom to tell of progress, and cancelled when nobody wants the
                image any more.
            heard: is told of progress.

        Returns:
            Seconds that the pull took, without those it waited.

        Raises:
            What `run` raises; ImageUnavailable when other hosts have just failed.
        """
        key = (node, source)
        ticket = self._tickets.get(key)
        if ticket is None:
            loop = asyncio.get_running_loop()
            ticket = _Ticket(node, source, loop.time(), turn=loop.create_future())
            self._tickets[key] = ticket
            ticket.task = asyncio.create_task(self._run(ticket, run), name=f"pull on {node}")
        assert ticket.task is not None
        ticket.listeners.append(heard)
        try:
            return await asyncio.shield(ticket.task)
        finally:
            ticket.listeners.remove(heard)
            if not ticket.listeners:
                await self._abandon(key, ticket)

    async def _abandon(self, key: tuple[str, Source], ticket: _Ticket) -> None:
        """End a pull that nobody waits for any more, and see that it has ended."""
        if self._tickets.get(key) is ticket:
            del self._tickets[key]
        assert ticket.task is not None
        if not ticket.task.done():
            ticket.task.cancel()
            await asyncio.wait({ticket.task})
            if not ticket.task.cancelled():
                ticket.task.exception()  # it ended by itself at the last moment

    async def _run(self, ticket: _Ticket, run: Run) -> float:
        loop, source = asyncio.get_running_loop(), ticket.source
        result, label = BROKEN_OFF, (self._measures.label(source.registry),)
        try:
            await self._turn(ticket, label)
            begun = loop.time()
            self._measures.waited.add(begun - ticket.arrived)
            self._measures.pulling[label] += 1
            try:
                await run(lambda progress: self._moved(ticket, progress))
                result = PULLED
            except (ImageUnavailable, EngineRejected) as error:
                result = FAILED
                self._scout_failed(ticket, error)
                raise
            finally:
                self._measures.pulling[label] -= 1
                self._measures.outcomes[*label, result] += 1
                self._leave(ticket, pulled=result is PULLED)
            self._measures.seconds.add(loop.time() - begun)
            return loop.time() - begun
        finally:
            key = (ticket.node, source)
            if self._tickets.get(key) is ticket:  # whoever comes now wants another pull
                del self._tickets[key]

    async def _turn(self, ticket: _Ticket, label: tuple[str]) -> None:
        """Wait until the pull may begin; it holds its places then."""
        registry = ticket.source.registry
        self._waiting.setdefault(registry, {})[ticket] = None
        self._measures.waiting[label] += 1
        self._wake()
        try:
            why = await ticket.turn
        except asyncio.CancelledError:
            if ticket.under_way:  # its turn came as it was given up
                self._leave(ticket, pulled=False)
            raise
        finally:
            self._measures.waiting[label] -= 1
            queue = self._waiting.get(registry, {})
            queue.pop(ticket, None)
            if not queue:
                self._waiting.pop(registry, None)
            self._forget(ticket.source)
        if why:
            raise ImageUnavailable(why)

    # --- whose turn it is ---------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._woken = False
        for registry, queue in tuple(self._waiting.items()):
            for ticket in tuple(queue):
                if self._registries[registry] >= self._limits.per_registry:
                    break
                if self._may_begin(ticket):
                    self._begin(ticket)

    def _may_begin(self, ticket: _Ticket) -> bool:
        if ticket.turn.done() or self._hosts[ticket.node] >= self._limits.per_host:
            return False
        scouting = self._scouting.get(ticket.source)
        return self._is_good(ticket.source) or scouting is None or scouting.scout is None

    def _begin(self, ticket: _Ticket) -> None:
        self._hosts[ticket.node] += 1
        self._registries[ticket.source.registry] += 1
        ticket.under_way = ticket.holds_host = True
        if not self._is_good(ticket.source):
            self._scouting.setdefault(ticket.source, _Scouting()).scout = ticket
        self._watch(ticket)
        ticket.turn.set_result("")

    def _leave(self, ticket: _Ticket, *, pulled: bool) -> None:
        """Give all places back."""
        if ticket.timer is not None:
            ticket.timer.cancel()
        ticket.under_way = False
        self._step_aside(ticket)
        _less(self._registries, ticket.source.registry)
        scouting = self._scouting.get(ticket.source)
        if scouting is not None and scouting.scout is ticket:
            scouting.scout = None
        if pulled:
            self._learn(ticket.source)
        self._forget(ticket.source)
        self._wake()

    # --- scouts -------------------------------------------------------------------------------

    def _is_good(self, source: Source) -> bool:
        since = self._good.get(source)
        return since is not None and asyncio.get_running_loop().time() - since < _LATELY

    def _learn(self, source: Source) -> None:
        """Let everybody pull an image: it can be had."""
        self._good[source] = asyncio.get_running_loop().time()
        self._good.move_to_end(source)
        if len(self._good) > _MOST_KNOWN:
            self._good.popitem(last=False)
        self._scouting.pop(source, None)
        self._wake()

    def _scout_failed(self, ticket: _Ticket, error: Exception) -> None:
        source = ticket.source
        self._good.pop(source, None)
        scouting = self._scouting.setdefault(source, _Scouting())
        scouting.failures += 1
        if scouting.failures < _FAILURES:
            return
        for other in tuple(self._waiting.get(source.registry, ())):
            if other.source == source and not other.turn.done():
                other.turn.set_result(f"not tried, for other hosts have just failed: {error}")

    def _forget(self, source: Source) -> None:
        """Remember failures of an image only for those who wait for it."""
        queue = self._waiting.get(source.registry, ())
        scouting = self._scouting.get(source)
        if scouting is None or scouting.scout is not None:
            return
        if not any(each.source == source for each in queue):
            del self._scouting[source]

    # --- pulls that move, and such that do not ------------------------------------------------

    def _moved(self, ticket: _Ticket, progress: PullProgress) -> None:
        ticket.moved += 1
        if not ticket.holds_host:  # it moves again: count it, though there may be one too many
            ticket.holds_host = True
            self._hosts[ticket.node] += 1
            self._watch(ticket)
        scouting = self._scouting.get(ticket.source)
        fetched = progress.layers_done > 0 and progress.bytes_done > 0
        if fetched and scouting is not None and scouting.scout is ticket:
            self._learn(ticket.source)
        for listener in tuple(ticket.listeners):
            listener(progress)

    def _watch(self, ticket: _Ticket) -> None:
        """Look again after the patience whether the pull has moved."""
        loop, seen = asyncio.get_running_loop(), ticket.moved
        ticket.timer = loop.call_later(self._limits.patience, self._look, ticket, seen)

    def _look(self, ticket: _Ticket, seen: int) -> None:
        if ticket.moved == seen:
            self._step_aside(ticket)
            self._wake()
            return
        scouting = self._scouting.get(ticket.source)
        if scouting is not None and scouting.scout is ticket:
            self._learn(ticket.source)  # others need not wait until a large layer is there
        self._watch(ticket)

    def _step_aside(self, ticket: _Ticket) -> None:
        if ticket.holds_host:
            ticket.holds_host = False
            _less(self._hosts, ticket.node)


def _less(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
