"""Probes the containers of one host: due times on a heap, a bounded number at once.

Knows nothing of what follows from a result; the lifecycle says which probes go on, and hears of
every threshold that is reached. A host that cannot be asked yields no result at all (kubelet).
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..drivers import Host
from ..errors import DriverError, EngineRejected, HostUnreachable
from ..objects.pod import Pod
from .handlers import HandlerOutcome, Target, perform
from .health import ProbeKind, Tally, Watch

_log = logging.getLogger(__name__)
_COMMANDS, _REQUESTS = 64, 64  # under way at once
_FRESH = timedelta(seconds=10)
_JITTER = 0.2  # seconds, so that containers started together are not probed together

Words = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class _Round:
    """One probe that goes on.

    Args:
        judged: takes every verdict that is news.
    """

    watch: Watch
    pod: Pod
    target: Target
    judged: Callable[[Watch, bool], None]
    tally: Tally
    live: bool = True


@dataclass(frozen=True, slots=True)
class ProbedPod:
    """A pod with what its probes need.

    Args:
        address: of the pod, as its host reaches it.
        started: by container id, when it was started.
        judged: takes every verdict that is news.
    """

    pod: Pod
    address: str
    started: dict[str, datetime | None]
    judged: Callable[[Watch, bool], None]


class Prober:
    """One per session with a host.

    Args:
        tell: records an event of a pod.
    """

    def __init__(self, host: Host, tell: Callable[[Pod, Words, str], None]) -> None:
        self._host = host
        self._tell = tell
        self._rounds: dict[str, dict[tuple[str, ProbeKind], _Round]] = {}
        self._heap: list[tuple[float, int, _Round]] = []
        self._order = 0
        self._wake = asyncio.Event()
        self._commands = asyncio.Semaphore(_COMMANDS)
        self._requests = asyncio.Semaphore(_REQUESTS)

    def watch(self, uid: str, probed: ProbedPod | None, watches: Sequence[Watch]) -> None:
        """Have exactly these probes of a pod go on; those that do already are not disturbed.

        Args:
            probed: None for a pod that is gone; it has no watches.
        """
        present = self._rounds.pop(uid, {})
        wanted: dict[tuple[str, ProbeKind], _Round] = {}
        for watch in watches if probed is not None else ():
            key = (watch.container, watch.kind)
            known = present.pop(key, None)
            if known is not None and known.watch == watch:
                wanted[key] = known
                continue
            if known is not None:
                known.live = False
            assert probed is not None
            wanted[key] = self._begin(probed, watch)
        for gone in present.values():
            gone.live = False
        if wanted:
            self._rounds[uid] = wanted

    def _begin(self, probed: ProbedPod, watch: Watch) -> _Round:
        spec = probed.pod.spec
        every = (*spec.init_containers, *spec.containers)
        container = next(c for c in every if c.name == watch.container)
        target = Target(self._host, container, watch.container_id, probed.address)
        made = _Round(watch, probed.pod, target, probed.judged, Tally())
        started = probed.started.get(watch.container_id)
        self._schedule(made, first_delay(watch, started, datetime.now(UTC)))
        return made

    def _schedule(self, each: _Round, delay: float) -> None:
        self._order += 1
        due = asyncio.get_running_loop().time() + delay
        heapq.heappush(self._heap, (due, self._order, each))
        if self._heap[0][2] is each:
            self._wake.set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Probe until cancelled.

        Args:
            group: of the session, so that no probe outlives it to tell it something.
        """
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._heap[0][0] <= loop.time():
                each = heapq.heappop(self._heap)[2]
                if each.live:
                    group.create_task(self._probe(each))
            self._wake.clear()
            pause = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _probe(self, each: _Round) -> None:
        probe, loop = each.watch.probe, asyncio.get_running_loop()
        places = self._commands if probe.exec is not None else self._requests
        async with places:
            begun = loop.time()
            try:
                outcome = await perform(probe, each.target, max(1, probe.timeout_seconds))
                self._count(each, outcome)
            except (DriverError, TimeoutError) as error:
                self._unknown(each, error)
            except Exception:  # noqa: BLE001 - a bug met by one probe must not stop its host
                _log.exception("a probe of pod %s failed", each.pod.meta.name)
        if each.live:
            self._schedule(each, max(0.0, begun + max(1, probe.period_seconds) - loop.time()))

    def _unknown(self, each: _Round, error: Exception) -> None:
        """A container that ended a moment ago, or a host that is away, is for others to tell."""
        if each.live and not isinstance(error, HostUnreachable | EngineRejected | TimeoutError):
            words = ("Warning", "ProbeError", f"{each.watch.kind} probe errored: {error}")
            self._tell(each.pod, words, each.watch.container)

    def _count(self, each: _Round, outcome: HandlerOutcome) -> None:
        if not each.live:
            return
        if not outcome.success:
            words = ("Warning", "Unhealthy", f"{each.watch.kind} probe failed: {outcome.message}")
            self._tell(each.pod, words, each.watch.container)
        each.tally, verdict = each.tally.count(each.watch.probe, success=outcome.success)
        if verdict is not None:
            each.judged(each.watch, verdict)


def first_delay(watch: Watch, started: datetime | None, now: datetime) -> float:
    """Return the seconds until a probe's first round.

    A container that has run for long was probed by a leader before: all of a host come at once
    then, and are spread over a period.
    """
    probe = watch.probe
    left = float(probe.initial_delay_seconds)
    if started is not None:
        age = max(timedelta(0), now - started)  # the host's clock may be ahead of ours
        left -= age.total_seconds()
        if left < 0 and age > _FRESH:
            return random.uniform(0, max(1, probe.period_seconds))
    return max(0.0, left) + random.uniform(0, _JITTER)
