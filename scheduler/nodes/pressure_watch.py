"""Follows what a host has left of memory and process ids; evicts pods while that is too little.

Like kubelet's eviction manager: one pod at a time, and the next only when that has ended or after
half a minute. PodDisruptionBudgets are not asked, for the host would choose worse.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from ..drivers import PodObservation
from ..objects.pod import Pod
from ..streams import ContainerUsage, MeteredHost, SignallingHost
from .pressure import PodUsage, PressureLimits, Shortage, pressures, ranked, shortages, words
from .rounds import rounds

_CLEANUP = 30.0  # seconds that an evicted pod has to end before another one is evicted


class EvictionDesk(Protocol):
    """What a watch needs of the session that runs it."""

    async def pressed(self, conditions: frozenset[str]) -> None:
        """Take in the conditions that hold, which have changed."""
        ...

    def short(self, shortage: Shortage) -> None:
        """Hear, once a shortage, that pods are evicted for it."""
        ...

    def evictable(self) -> Iterable[tuple[Pod, PodObservation | None]]:
        """Return the pods that are not on their way out, and what runs of them."""
        ...

    def evict(self, uid: str, shortage: Shortage, why: str) -> None:
        """Have a pod stopped, and fail."""
        ...

    def is_over(self, uid: str) -> bool:
        """Return whether a pod has ended or is gone."""
        ...


class PressureWatch:
    """One per session; silent where the host cannot tell.

    Args:
        before: the conditions that held when the session began.
        interval: seconds between looks.
    """

    def __init__(
        self,
        node: str,
        host: object,
        limits: PressureLimits,
        before: frozenset[str],
        desk: EvictionDesk,
        interval: float,
    ) -> None:
        self._node = node
        self._host = host if isinstance(host, SignallingHost) else None
        self.limits = limits
        self._said = before
        self._met = dict.fromkeys(before, asyncio.get_running_loop().time())
        self._desk = desk
        self._interval = interval
        self._evicted: tuple[str, float] | None = None
        self._shortages: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look every so often, until cancelled; a look that fails is made again next time."""
        if self._host is not None:
            await rounds(self.look, self._interval, (0.5, 3), f"pressure on host {self._node}")

    async def look(self) -> None:
        """Look once, and evict a pod if one has to go."""
        signals = await self._host.signals() if self._host is not None else None
        if signals is None:
            return
        now = asyncio.get_running_loop().time()
        found = shortages(self.limits, signals)
        self._met |= {shortage.condition: now for shortage in found}
        holding = pressures(self._met, now, self.limits)
        if holding != self._said:
            await self._desk.pressed(holding)
            self._said = holding
        for shortage in found:
            if shortage.condition not in self._shortages:
                self._desk.short(shortage)
        self._shortages = frozenset(shortage.condition for shortage in found)
        if found and not self._waits(now):
            await self._evict(found[0], now)

    def _waits(self, now: float) -> bool:
        """Return whether the pod that was evicted last may still make room."""
        if self._evicted is None:
            return False
        uid, since = self._evicted
        return now - since < _CLEANUP and not self._desk.is_over(uid)

    async def _evict(self, shortage: Shortage, now: float) -> None:
        measured: Mapping[str, ContainerUsage] = {}
        if isinstance(self._host, MeteredHost):
            measured = await self._host.usage()
        usages = [_usage(pod, seen, measured) for pod, seen in self._desk.evictable()]
        victims = ranked(shortage, usages)
        if not victims:
            return
        victim = victims[0]
        uid = victim.pod.meta.uid
        self._evicted = (uid, now)
        self._desk.evict(uid, shortage, words(shortage, victim))


def _usage(
    pod: Pod, seen: PodObservation | None, measured: Mapping[str, ContainerUsage]
) -> PodUsage:
    containers = seen.containers if seen is not None else ()
    found = {c.name: measured[c.id] for c in containers if c.id in measured}
    every = [*found.values()]
    if seen is not None and seen.sandbox is not None and seen.sandbox.id in measured:
        every.append(measured[seen.sandbox.id])
    return PodUsage(
        pod,
        memory=sum(each.memory_bytes for each in every) if every else None,
        containers={name: each.memory_bytes for name, each in found.items()},
        processes=sum(each.processes for each in every),
    )
