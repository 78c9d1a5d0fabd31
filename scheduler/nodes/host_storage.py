"""Looks after a host's disk: removes images when it is full, says what images there are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ..errors import DriverError, EngineRejected
from ..images import Filesystem, ImageStore, LocalImage
from ..objects.node import ContainerImage
from .image_collection import CollectionLimits, excess, removable, shortfall, told
from .rounds import rounds

_log = logging.getLogger(__name__)
_SOON = 0.25  # of the interval, before which there is no first look


class HostStorage:
    """One per session.

    Args:
        changed: takes in the images that a Node tells, when they have changed.
        interval: seconds between looks.
    """

    def __init__(
        self,
        node: str,
        images: ImageStore,
        changed: Callable[[tuple[ContainerImage, ...]], Awaitable[None]],
        limits: CollectionLimits,
        interval: float,
    ) -> None:
        self._node = node
        self._images = images
        self._changed = changed
        self._limits = limits
        self._interval = interval
        self._used: dict[str, float] = {}
        self._said: tuple[ContainerImage, ...] | None = None
        self._looking = asyncio.Lock()
        self._tight = False  # the disk is full, and there was no image left to remove

    async def run(self) -> None:
        """Look every so often, until cancelled; a look that fails is made again next time."""
        await rounds(self.look, self._interval, (_SOON, 1), f"disk of host {self._node}")

    async def look(self) -> None:
        """Look once, and remove images if there is need."""
        await self._look(0)

    async def reclaim(self, wanted: int) -> bool:
        """Remove images now though the disk may not count as full; returns whether some were.

        Args:
            wanted: bytes, at least; as far as removing images is allowed at all. A disk that is
                too full to be looked at counts as one of unknown size.
        """
        return self._limits.high < 100 and await self._look(wanted)

    async def _look(self, wanted: int) -> bool:
        async with self._looking:
            images = await self._note_uses()
            disk = await self._filesystem(unknown=wanted > 0)
            if wanted and disk is not None:
                wanted = max(wanted, shortfall(disk, self._limits))
            elif disk is not None:
                wanted = excess(disk, self._limits)
            removed = await self._make_room(disk, images, wanted)
            if removed:
                images = await self._images.list()
            report = told(images)
            if report != self._said:
                await self._changed(report)
                self._said = report
            return removed

    async def _filesystem(self, *, unknown: bool) -> Filesystem | None:
        """Ask for the disk; None where the host cannot tell, or fails to and that is allowed."""
        try:
            return await self._images.filesystem()
        except DriverError:
            if not unknown:
                raise
            return None

    async def _note_uses(self) -> Sequence[LocalImage]:
        images, now = await self._images.list(), asyncio.get_running_loop().time()
        before = self._used
        self._used = {i.id: now if i.in_use else before.get(i.id, now) for i in images}
        return images

    async def _make_room(
        self, disk: Filesystem | None, images: Sequence[LocalImage], wanted: int
    ) -> bool:
        """Remove images of so many bytes; returns whether one was."""
        if not wanted:
            self._tight = False
            return False
        now, freed, removed = asyncio.get_running_loop().time(), 0, 0
        for image in removable(images, self._used, now, self._limits.least_age):
            if freed >= wanted:
                break
            try:
                await self._images.remove(image)
            except EngineRejected as error:
                _log.info("image %s stays on host %s: %s", image.id, self._node, error)
                continue
            freed, removed = freed + image.size, removed + 1
        if self._tight and not removed:
            return False  # which has been told
        self._tight = freed < wanted
        _log.log(
            logging.WARNING if self._tight else logging.INFO,
            "disk of host %s: %s; removed %d images of %d MiB, wanted %d MiB",
            self._node,
            _fullness(disk),
            removed,
            freed >> 20,
            wanted >> 20,
        )
        return removed > 0


def _fullness(disk: Filesystem | None) -> str:
    if disk is None or not disk.capacity:
        return "too full to be looked at"
    return f"{100 - disk.available * 100 // disk.capacity} % full"
