"""Writes down decisions in full, behind them and at a bounded pace.

A decision itself only counts who rejected what. Afterwards, in a thread, the same rules are asked
about the same snapshot once more and everything they say is kept (see transcript). Decisions that
come faster than that is done wait for it (see backlog) until there is nothing else to do; of those
that are too many to wait the decision records say what they always say. Room that was kept for
nominated pods is not shown. Nothing here is needed for placement to work.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter

from ..errors import PluginError, Unavailable
from ..objects.meta import now_seconds
from ..snapshot import NodeFacts, Snapshot
from ..store.explanations import ExplanationRecord
from ..store.store import Store
from .backlog import Backlog, Heard
from .draft import Draft
from .framework import Framework
from .inspection import inspect
from .plan import Allotment
from .transcript import transcribe

logger = logging.getLogger(__name__)

RATE = 2.0  # explanations a second while decisions are made
SHARE = 0.2  # of the time, while none are
_PAUSE = 0.25  # seconds after a decision: what is waiting to be placed or bound goes first
_LATE = 0.01  # seconds by which the event loop is late when others are at work
_MOST = 64  # explanations written together,
_SECONDS = 0.02  # or as many as take this long


class Scribe:
    """Explains decisions by asking again.

    Args:
        frameworks: by schedulerName.
        clock: monotonic seconds.
    """

    def __init__(
        self, store: Store, frameworks: Mapping[str, Framework], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._frameworks = frameworks
        self._clock = clock
        self._backlog = Backlog()
        self._told: Iterator[ExplanationRecord] = iter(())
        self._named: tuple[Sequence[NodeFacts], tuple[str, ...]] = ((), ())
        self._wake = asyncio.Event()
        self._plans = 0
        self._noticed = 0

    def hear(self, snapshot: Snapshot, allotments: Sequence[Allotment], ids: Sequence[int]) -> None:
        """Take note of a plan; of the oldest ones not written down yet some may be dropped for it.

        Args:
            ids: of each allotment's decision record, 0 for one that is not to be explained.
        """
        if any(ids) and snapshot.size:
            self._plans += 1
            self._backlog.add(snapshot, allotments, ids, now_seconds())
            self._wake.set()

    async def run(self) -> None:
        """Write down what is heard, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._noticed, pause, due = self._plans, _PAUSE, 0.0
            while True:
                quiet = await self._quiet(pause)
                pause, begun = _PAUSE, self._clock()
                if not quiet and begun < due:
                    continue
                if not await self._write(_MOST if quiet else 1):
                    break
                due = begun + 1 / RATE
                if quiet:
                    pause = (self._clock() - begun) * (1 / SHARE - 1)

    async def _quiet(self, pause: float) -> bool:
        """Wait, and tell whether nothing was decided meanwhile and nobody kept the loop busy."""
        due = self._clock() + pause
        await asyncio.sleep(pause)
        quiet = self._plans == self._noticed and self._clock() < due + _LATE
        self._noticed = self._plans
        return quiet

    async def _write(self, most: int) -> bool:
        """Write down the next ones; returns whether there were any."""
        records = await asyncio.to_thread(_next, self._told, most)
        if not records and self._backlog.decisions:
            self._told = self._explain(self._backlog.take(most))
            records = await asyncio.to_thread(_next, self._told, most)
        try:
            await self._store.record_explanations(records)
        except Unavailable as error:
            logger.warning("%d explanations were not kept: %s", len(records), error)
        return bool(records or self._backlog.decisions)

    def _explain(self, plans: Sequence[Heard]) -> Iterator[ExplanationRecord]:
        for heard in plans:
            nodes = self._names(heard.snapshot)
            for number, payload in self._replay(heard):
                yield ExplanationRecord(number, heard.made_at, nodes, payload)

    def _names(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the nodes' names, the same object while the nodes are the same."""
        if self._named[0] is not snapshot.nodes:
            self._named = snapshot.nodes, tuple(facts.name for facts in snapshot.nodes)
        return self._named[1]

    def _replay(self, heard: Heard) -> Iterator[tuple[int, bytes]]:
        """Yield decisions' ids and transcripts, each on what the decision saw."""
        draft = Draft(heard.snapshot)
        for pod, rows, number in heard.placed:
            if number:
                framework = self._frameworks[pod.spec.scheduler_name]
                try:
                    seen = inspect(pod, draft.snapshot, framework.filters, framework.scorers)
                except PluginError as error:
                    logger.warning("decision %d is not explained: %s", number, error)
                else:
                    yield number, transcribe(seen)
            if rows.size:
                draft.add(pod, rows)


def _next(records: Iterator[ExplanationRecord], most: int) -> list[ExplanationRecord]:
    """Return the next records, as many as are made in a short time."""
    ends = perf_counter() + _SECONDS
    found: list[ExplanationRecord] = []
    for record in records:
        found.append(record)
        if len(found) == most or perf_counter() >= ends:
            break
    return found
