"""Follows what a host has left of memory, process ids and disk; evicts pods while it is too little.

Like kubelet's eviction manager: one pod at a time, and the next only when that has ended or after
half a minute; for want of disk, only when nothing else makes room. PodDisruptionBudgets are not
asked, for the host would choose worse. Measuring a disk takes minutes, so that goes on beside the
looks.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..drivers import PodObservation
from ..errors import DriverError
from ..objects.eviction_signals import INODES_FREE
from ..objects.pod import Pod
from ..streams import (
    ContainerUsage,
    DiskMeteredHost,
    Level,
    MeteredHost,
    SignallingHost,
    Signals,
)
from .memory import Eviction
from .pod_disk import container_ids, disk_of
from .pressure import (
    ON_DISK,
    PodUsage,
    PressureLimits,
    Shortage,
    pressures,
    ranked,
    shortages,
    words,
)
from .rounds import rounds

_log = logging.getLogger(__name__)
_Pod = tuple[Pod, PodObservation | None]
_CLEANUP = 30.0  # seconds that an evicted pod has to end before another one is evicted
_FILES = 1 << 30  # bytes to be freed for want of inodes; how many files they are nobody says
_NEWS = 100  # a disk is told anew when its size differs by more than such a part


class EvictionDesk(Protocol):
    """What a watch needs of the session that runs it."""

    async def pressed(self, conditions: frozenset[str]) -> None:
        """Take in the conditions that hold, which have changed."""
        ...

    async def sized(self, disk: int) -> None:
        """Take in how many bytes the disk has, when that is new."""
        ...

    def short(self, shortage: Shortage) -> None:
        """Hear, once a shortage, that pods are evicted for it."""
        ...

    def evictable(self) -> Iterable[_Pod]:
        """Return the pods that are not on their way out, and what runs of them."""
        ...

    def evict(self, uid: str, resource: str, eviction: Eviction) -> None:
        """Have a pod stopped, and fail."""
        ...

    async def reclaim(self, wanted: int) -> bool:
        """Have disk freed that nobody needs, so many bytes; returns whether some will be."""
        ...

    def is_over(self, uid: str) -> bool:
        """Return whether a pod has ended or is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Before:
    """What was known of a host when a session began.

    Args:
        conditions: that held.
        disk: bytes that its disk has, 0 for not known.
    """

    conditions: frozenset[str] = frozenset()
    disk: int = 0


class PressureWatch:
    """One per session; silent where the host cannot tell.

    Args:
        interval: seconds between looks.
    """

    def __init__(
        self,
        node: str,
        host: object,
        limits: PressureLimits,
        before: Before,
        desk: EvictionDesk,
        interval: float,
    ) -> None:
        self._node = node
        self._host = host if isinstance(host, SignallingHost) else None
        self.limits = limits
        self._said = before.conditions
        self._met = dict.fromkeys(before.conditions, asyncio.get_running_loop().time())
        self._disk = before.disk
        self._desk = desk
        self._interval = interval
        self._evicted: tuple[str, float] | None = None
        self._found: dict[str, Shortage] = {}  # by signal
        self._full = asyncio.Event()

    async def run(self) -> None:
        """Look every so often, until cancelled; a look that fails is made again next time."""
        if self._host is None:
            return
        what = f"pressure on host {self._node}"
        async with asyncio.TaskGroup() as group:
            group.create_task(rounds(self.look, self._interval, (0.5, 3), what))
            group.create_task(rounds(self.relieve, 0, (0, 0), f"{what}, of its disk"))

    async def look(self) -> None:
        """Look once, and evict a pod if one has to go for memory or process ids."""
        signals = await self._signals()
        if signals is None:
            return
        now = asyncio.get_running_loop().time()
        found = shortages(self.limits, signals, self._found)
        self._met |= {shortage.condition: now for shortage in found}
        holding = pressures(self._met, now, self.limits)
        if holding != self._said:
            await self._desk.pressed(holding)
            self._said = holding
        for shortage in found:
            if shortage.signal not in self._found:
                self._desk.short(shortage)
        self._found = {shortage.signal: shortage for shortage in found}
        if any(signal in self._found for signal in ON_DISK):
            self._full.set()
        for shortage in found:
            if shortage.signal not in ON_DISK:
                await self._evict(shortage)

    async def relieve(self) -> None:
        """Wait until a look finds the disk short, and make room there once."""
        await self._full.wait()
        try:
            found = (self._found[signal] for signal in ON_DISK if signal in self._found)
            shortage = next(found, None)
            if shortage is not None and not await self._reclaims(shortage):
                await self._evict(shortage)
        finally:
            self._full.clear()  # what looks found meanwhile is not what is left now

    async def _signals(self) -> Signals | None:
        signals = await self._host.signals() if self._host is not None else None
        return None if signals is None else await self._with_disk(signals)

    async def _with_disk(self, signals: Signals) -> Signals:
        """Take in how large the disk is, or put in what was known of that before."""
        disk = signals.disk
        if disk is None:
            return signals
        if not disk.capacity:
            return replace(signals, disk=Level(disk.available, self._disk))
        if abs(disk.capacity - self._disk) * _NEWS > self._disk:
            self._disk = disk.capacity
            await self._desk.sized(disk.capacity)
        return signals

    async def _reclaims(self, shortage: Shortage) -> bool:
        """Return whether there will be more disk without an eviction; the next look tells."""
        missing = shortage.enough - shortage.level.available
        try:
            return await self._desk.reclaim(_FILES if shortage.signal == INODES_FREE else missing)
        except DriverError as error:
            _log.info("disk of host %s: nothing could be freed: %s", self._node, error)
            return False

    def _waits(self) -> bool:
        """Return whether the pod that was evicted last may still make room."""
        if self._evicted is None:
            return False
        uid, since = self._evicted
        waited = asyncio.get_running_loop().time() - since
        return waited < _CLEANUP and not self._desk.is_over(uid)

    async def _evict(self, shortage: Shortage) -> None:
        """Measure who has to go and evict it, unless room has been, or is being, made meanwhile."""
        if self._waits():
            return
        pods = [*self._desk.evictable()]
        on_disk = shortage.signal in ON_DISK
        usages = await (self._disk_usages(pods) if on_disk else self._usages(pods))
        victims = ranked(shortage, usages)
        left = await self._still(shortage) if victims else None
        if left is None or self._waits():
            return
        victim = victims[0]
        uid = victim.pod.meta.uid
        self._evicted = (uid, asyncio.get_running_loop().time())
        self._desk.evict(uid, left.resource, Eviction(words(left, victim)))

    async def _still(self, shortage: Shortage) -> Shortage | None:
        """Return a shortage as it is now, None when it has gone."""
        signals = await self._signals()
        if signals is None:
            return None
        found = shortages(self.limits, signals, {shortage.signal})
        return next((each for each in found if each.signal == shortage.signal), None)

    async def _usages(self, pods: Sequence[_Pod]) -> list[PodUsage]:
        measured: Mapping[str, ContainerUsage] = {}
        if isinstance(self._host, MeteredHost):
            measured = await self._host.usage()
        return [_usage(pod, seen, measured) for pod, seen in pods]

    async def _disk_usages(self, pods: Sequence[_Pod]) -> list[PodUsage]:
        """Measure what takes long; nobody is named by a host that cannot."""
        if not isinstance(self._host, DiskMeteredHost):
            return []
        ids = container_ids(seen for _, seen in pods)
        measured = await self._host.disk_usage(ids, volumes=True)
        found = ((pod, disk_of(pod.meta.uid, seen, measured)) for pod, seen in pods)
        return [PodUsage(pod, disk.total, disk.containers) for pod, disk in found]


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
        used=sum(each.memory_bytes for each in every) if every else None,
        containers={name: each.memory_bytes for name, each in found.items()},
        processes=sum(each.processes for each in every),
    )
