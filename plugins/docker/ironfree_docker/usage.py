"""What the containers of one installation use, asked of an engine a few at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC

from scheduler.errors import EngineRejected
from scheduler.streams import ContainerUsage

from . import wire
from .containers import Containers, container_path
from .engine import LIST, Engine
from .labels import POD_UID, belongs

_AT_ONCE = 4
_CACHES = ("total_inactive_file", "inactive_file")  # cgroup v1, v2


class Usage:
    """Reads `/stats`, one look a container."""

    def __init__(self, engine: Engine, containers: Containers, cluster: str) -> None:
        self._engine = engine
        self._cluster = cluster
        self._containers = containers
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def all(self) -> Mapping[str, ContainerUsage]:
        """Every running container's, by id."""
        running = [
            each.id
            for each in await self._containers.list(POD_UID)
            if each.state == "running" and belongs(each.labels or {}, self._cluster)
        ]
        return await self.of(running)

    async def of(self, running: Sequence[str]) -> Mapping[str, ContainerUsage]:
        """Those containers', by id; of those that have gone meanwhile there is none."""
        found = await asyncio.gather(*map(self._one, running))
        return {name: usage for name, usage in zip(running, found, strict=True) if usage}

    async def _one(self, container: str) -> ContainerUsage | None:
        """`one-shot` spares the second that the engine takes to measure a rate (API 1.41)."""
        query = {"stream": "0", "one-shot": "1"}
        async with self._places:
            try:
                found = await self._engine.read(
                    f"{container_path(container)}/stats", wire.Stats, query=query, within=LIST
                )
            except EngineRejected:
                return None  # gone meanwhile
        return container_usage(found)


def container_usage(found: wire.Stats) -> ContainerUsage | None:
    """None for a container that does not run, whose answer is all zero."""
    memory = found.memory_stats
    if found.read.year <= 1 or memory.usage is None:
        return None
    cache = next((memory.stats[name] for name in _CACHES if name in memory.stats), 0)
    return ContainerUsage(
        at=found.read.astimezone(UTC),
        cpu_nanoseconds=found.cpu_stats.cpu_usage.total_usage,
        memory_bytes=max(memory.usage - cache, 0),
        processes=found.pids_stats.current,
    )
