"""What containers use, measured while somebody asks, at a bounded cost however many ask.

A host is looked at twice, a second apart, when nothing is known of it, and else at most once in a
window: rates come from what was seen before. Whoever asks meanwhile gets the same answer.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .drivers import HostDirectory
from .errors import DriverError
from .objects.meta import now_seconds
from .objects.pod import Pod, bare_id
from .streams import ContainerUsage, MeteredHost

WINDOW = 15.0  # seconds that an answer is good for
_STALE = 120.0  # seconds after which what was seen before says nothing of the present
_APART = 1.0  # seconds between the first two looks
_PATIENCE = 10.0  # seconds a host may take; without an answer its pods have none
_AT_ONCE = 32  # hosts


@dataclass(frozen=True, slots=True)
class Rate:
    """What a container uses now.

    Args:
        nanocores: of processor, averaged over `seconds`.
        memory_bytes: its working set at the end of them.
        at: their end on our clock; UTC.
    """

    nanocores: int
    memory_bytes: int
    seconds: float
    at: datetime


Rates = Mapping[str, Rate]  # by container id


@dataclass(slots=True)
class _Known:
    """Of one host: what was seen last and when, on our clock, and the rates up to then."""

    seen: Mapping[str, ContainerUsage] = field(default_factory=dict[str, ContainerUsage])
    at: float = float("-inf")
    rates: Rates = field(default_factory=dict[str, Rate])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Meter:
    """Measures hosts on demand. Remembers the last look at each that was ever asked for.

    Args:
        hosts: finds the connection of a node.
    """

    def __init__(self, hosts: HostDirectory) -> None:
        self.hosts = hosts
        self._known: dict[str, _Known] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def rates(self, nodes: Iterable[str]) -> Mapping[str, Rates]:
        """Return the rates of all containers by node; nodes that do not answer are left out."""
        wanted = sorted(set(nodes))
        found = await asyncio.gather(*map(self._node, wanted))
        return {node: rates for node, rates in zip(wanted, found, strict=True) if rates is not None}

    async def _node(self, node: str) -> Rates | None:
        host = self.hosts.host(node)
        if not isinstance(host, MeteredHost):
            self._known.pop(node, None)
            return None
        known = self._known.setdefault(node, _Known())
        try:
            async with self._places, asyncio.timeout(_PATIENCE), known.lock:
                await self._refresh(host, known)
        except (DriverError, TimeoutError):
            return None
        return known.rates

    async def _refresh(self, host: MeteredHost, known: _Known) -> None:
        now = asyncio.get_running_loop().time
        age = now() - known.at
        if age < WINDOW:
            return
        before = known.seen if age < _STALE else dict[str, ContainerUsage]()
        seen = await host.usage()
        if seen.keys() - before.keys():  # new ones have no rate yet
            await asyncio.sleep(_APART)
            before, seen = {**seen, **before}, await host.usage()
        at = now_seconds()
        known.rates = {
            name: rate
            for name, usage in seen.items()
            if name in before and (rate := _rate(before[name], usage, at)) is not None
        }
        known.seen, known.at = seen, now()


def measured(pod: Pod, rates: Rates) -> dict[str, Rate] | None:
    """Return what a pod's running containers use by name, None until each has been measured.

    Args:
        rates: of the pod's node.
    """
    statuses = pod.status.all_container_statuses
    running = [status for status in statuses if status.state.running is not None]
    found = {status.name: rates.get(bare_id(status.container_id)) for status in running}
    known = {name: rate for name, rate in found.items() if rate is not None}
    return known if known and len(known) == len(found) else None


def _rate(before: ContainerUsage, after: ContainerUsage, at: datetime) -> Rate | None:
    seconds = (after.at - before.at).total_seconds()
    used = after.cpu_nanoseconds - before.cpu_nanoseconds
    if seconds <= 0 or used < 0:  # it was started anew in between
        return None
    return Rate(round(used / seconds), after.memory_bytes, seconds, at)
