"""Writes down decisions in full, behind them and at a bounded pace.

A decision itself only counts who rejected what. Afterwards, in a thread, the same rules are asked
about the same snapshot once more and everything they say is kept (see transcript). When decisions
come faster than that can be done, a sample is kept: the decision records say of all of them what
they always say. Room that was kept for nominated pods is not shown. Nothing here is needed for
placement to work.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..errors import PluginError, Unavailable
from ..objects.meta import now_seconds
from ..snapshot import Snapshot
from ..store.explanations import ExplanationRecord
from ..store.store import Store
from .draft import Draft
from .framework import Framework
from .inspection import inspect
from .plan import Allotment
from .transcript import transcribe

logger = logging.getLogger(__name__)

RATE = 2.0  # explanations a second in the long run
BURST = 5.0
_PAUSE = 0.25  # seconds after a decision: what is waiting to be placed or bound goes first
_BACKLOG = 8  # plans whose snapshots are kept alive


@dataclass(frozen=True, slots=True)
class _Heard:
    """A plan to be written down: its snapshot, allotments, and the ids of those that are news."""

    snapshot: Snapshot
    allotments: Sequence[Allotment]
    ids: Sequence[int]
    made_at: datetime


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
        self._heard: deque[_Heard] = deque(maxlen=_BACKLOG)
        self._wake = asyncio.Event()
        self._left = BURST
        self._filled = clock()

    def hear(self, snapshot: Snapshot, allotments: Sequence[Allotment], ids: Sequence[int]) -> None:
        """Take note of a plan; the oldest one not written down yet may be dropped for it.

        Args:
            ids: of each allotment's decision record, 0 for one that is not to be explained.
        """
        if any(ids) and snapshot.size:
            self._heard.append(_Heard(snapshot, allotments, ids, now_seconds()))
            self._wake.set()

    async def run(self) -> None:
        """Write down what is heard, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_PAUSE)
            while self._heard:
                heard = self._heard.popleft()
                wanted = self._affordable(sum(1 for number in heard.ids if number))
                if not wanted:
                    continue
                try:
                    records = await asyncio.to_thread(self._explain, heard, wanted)
                    await self._store.record_explanations(records)
                except Unavailable as error:
                    logger.warning("%d explanations were not kept: %s", wanted, error)

    def _affordable(self, wanted: int) -> int:
        now = self._clock()
        self._left = min(BURST, self._left + RATE * (now - self._filled))
        self._filled = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted

    def _explain(self, heard: _Heard, most: int) -> list[ExplanationRecord]:
        nodes = tuple(facts.name for facts in heard.snapshot.nodes)
        return [
            ExplanationRecord(number, heard.made_at, nodes, payload)
            for number, payload in self._replay(heard, most)
        ]

    def _replay(self, heard: _Heard, most: int) -> Iterator[tuple[int, bytes]]:
        """Yield decisions' ids and transcripts, each on what the decision saw."""
        draft = Draft(heard.snapshot)
        for allotment, number in zip(heard.allotments, heard.ids, strict=True):
            if number and most:
                framework = self._frameworks[allotment.pod.spec.scheduler_name]
                most -= 1
                try:
                    seen = inspect(
                        allotment.pod, draft.snapshot, framework.filters, framework.scorers
                    )
                except PluginError as error:
                    logger.warning("decision %d is not explained: %s", number, error)
                else:
                    yield number, transcribe(seen)
            if not most:
                return
            if allotment.decision.rows.size:
                draft.add(allotment.pod, allotment.decision.rows)
