"""What pods keep on a host's disk, as far as an engine tells."""

import asyncio
from collections.abc import Collection, Iterator, Mapping

from scheduler.streams import DiskUsage

from . import wire
from .containers import Containers
from .labels import POD_UID, belongs, volume_name
from .volumes import Volumes

_WITHIN = 60.0  # seconds, for each of two questions


class DiskMeter:
    """One per host: engines refuse to measure twice at a time.

    Args:
        cluster: this installation's id.
    """

    def __init__(self, containers: Containers, volumes: Volumes, cluster: str) -> None:
        self._containers = containers
        self._volumes = volumes
        self._cluster = cluster
        self._measuring = asyncio.Lock()

    async def look(self, containers: Collection[str], *, volumes: bool) -> DiskUsage:
        """Measure layers of these containers and, if asked to, all volumes of pods."""
        async with self._measuring:
            layers = await self._containers.sizes(containers, _WITHIN)
            if not volumes:
                return DiskUsage(layers, {})
            sizes = await self._volumes.sizes(_WITHIN)
            listed = await self._volumes.list(POD_UID)
        return DiskUsage(layers, dict(self._of_pods(listed, sizes)))

    def _of_pods(
        self, listed: list[wire.Volume], sizes: Mapping[str, int]
    ) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield pod, volume and bytes; what has options is in memory or on a file server."""
        for volume in listed:
            labels, size = volume.labels or {}, sizes.get(volume.name, -1)
            pod = labels.get(POD_UID, "")
            if pod and size >= 0 and not volume.options and belongs(labels, self._cluster):
                yield (pod, volume.name.removeprefix(volume_name(pod, ""))), size
