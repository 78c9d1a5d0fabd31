"""Evicts pods that keep more on their host's disk than their specs allow.

An engine limits neither the layer of a container nor a volume of its local driver, so both are
measured now and then, as kubelet does where file systems have no quotas.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from ..drivers import PodObservation
from ..objects.pod import Pod
from ..streams import DiskMeteredHost
from .memory import Eviction
from .pod_disk import container_ids, disk_of, excess, has_disk_volumes, is_limited
from .pressure import is_critical
from .rounds import rounds

LIMIT = "ephemeral-storage-limit"
"""The word for it in the metric of evictions."""
_SHARE = 20  # a host is left alone for so many times as long as the last look took


class LimitDesk(Protocol):
    """What a watch needs of the session that runs it."""

    def evictable(
        self, wanted: Callable[[Pod], bool]
    ) -> Iterable[tuple[Pod, PodObservation | None]]:
        """Return the pods that are not on their way out, and what runs of them.

        Args:
            wanted: by its spec; one pod of a cohort speaks for others.
        """
        ...

    def evict(self, uid: str, resource: str, eviction: Eviction) -> None:
        """Have a pod stopped, and fail."""
        ...


class StorageLimitWatch:
    """One per session; silent where the host cannot measure, and while no pod has a limit.

    Args:
        interval: seconds between looks, at least.
    """

    def __init__(self, node: str, host: object, desk: LimitDesk, interval: float) -> None:
        self._node = node
        self._host = host if isinstance(host, DiskMeteredHost) else None
        self._desk = desk
        self._interval = interval
        self._rests_until = 0.0

    async def run(self) -> None:
        """Look every so often, until cancelled; a look that fails is made again next time."""
        if self._host is not None:
            what = f"use of disk on host {self._node}"
            await rounds(self.look, self._interval, (0.5, 1), what)

    async def look(self) -> None:
        """Look once, and evict every pod that has more than it may."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if self._host is None or begun < self._rests_until:
            return
        limited = [each for each in self._desk.evictable(_may_exceed) if each[1] is not None]
        if not limited:
            return
        ids = container_ids(seen for _, seen in limited)
        volumes = has_disk_volumes([pod for pod, _ in limited])
        try:
            usage = await self._host.disk_usage(ids, volumes=volumes)
        finally:
            self._rests_until = loop.time() + _SHARE * (loop.time() - begun)
        for pod, seen in limited:
            why = excess(pod, disk_of(pod.meta.uid, seen, usage))
            if why:
                self._desk.evict(pod.meta.uid, LIMIT, Eviction(why, disrupts=False))


def _may_exceed(pod: Pod) -> bool:
    return is_limited(pod) and not is_critical(pod)
