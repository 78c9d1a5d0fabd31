"""Removes the data of volumes that are being deleted, on the hosts that have them."""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from ..drivers import Host, VolumeHost
from ..errors import Conflict, DriverError, NotFound, Unavailable
from ..informer import Informer
from ..objects.storage import (
    DATA,
    HOSTNAME,
    VOLUME_PROTECTION,
    VOLUMES,
    PersistentVolume,
    volume_view,
)
from ..objects.stored import StoredObject
from ..store.operations import Remove, Replace
from ..store.store import Store

_log = logging.getLogger(__name__)
_AGAIN = 5.0  # seconds until a volume is tried again
_PATIENCE = 60.0


class VolumeRemoval:
    """One per leader; what is on one host goes one after another, and keeps no other waiting.

    Args:
        nodes: whose labels say which node a volume is on.
        host: the open connection of a node, None while there is none.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        nodes: Informer[StoredObject],
        host: Callable[[str], Host | None],
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._nodes = nodes
        self._host = host
        self._volumes = Informer(store, VOLUMES, volume_view)
        # host → volume → why it is not removed yet, as last logged
        self._due: dict[str, dict[str, str]] = {}
        self._busy: set[str] = set()  # hosts
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Remove until cancelled.

        Raises:
            ExceptionGroup: with Fenced, when another leader has taken over.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._volumes.run())
            group.create_task(self._follow())
            while True:
                await self._something_due()
                for host in self._due.keys() - self._busy:
                    self._busy.add(host)
                    group.create_task(self._try_all(host))

    async def _follow(self) -> None:
        async for deltas in self._volumes.subscribe():
            for delta in deltas:
                if delta.new is not None and _is_due(delta.new):
                    self._due.setdefault(delta.new.host, {}).setdefault(delta.key.name, "")
                    self._wake.set()

    async def _something_due(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(_AGAIN if self._due else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _try_all(self, host: str) -> None:
        """Try each volume of a host once, also those that come meanwhile."""
        due, tried = self._due[host], set[str]()
        while left := due.keys() - tried:
            name = min(left)
            tried.add(name)
            await self._try(name, due)
        self._busy.discard(host)
        if not due:
            del self._due[host]

    async def _try(self, name: str, due: dict[str, str]) -> None:
        volume = self._volumes.get("", name)
        if volume is None or not _is_due(volume):
            due.pop(name, None)
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                if await self._remove(volume):
                    await self._let_go(volume)
                    due.pop(name, None)
        except (DriverError, TimeoutError, Conflict, Unavailable) as error:
            why = str(error) or "it takes too long"
            if due.get(name) != why:
                _log.warning("volume %s is not removed yet: %s", name, why)
                due[name] = why

    async def _remove(self, volume: PersistentVolume) -> bool:
        """Remove the data; returns False while the host cannot be reached."""
        if volume.spec.reclaim_policy != "Delete" or volume.spec.csi is None:
            return True
        nodes = self._nodes.items.values()
        on = (n.meta.name for n in nodes if n.meta.labels.get(HOSTNAME) == volume.host)
        node = next(on, None)
        if node is None:
            return True  # the host has been given up, with whatever is on it
        host = self._host(node)
        if host is None:
            return False
        if isinstance(host, VolumeHost):
            await host.remove_volume(volume.spec.csi.volume_handle)
        return True

    async def _let_go(self, volume: PersistentVolume) -> None:
        stored, meta = volume.stored, volume.meta
        left = tuple(each for each in meta.finalizers if each != DATA)
        if left:
            kept = replace(meta, finalizers=left)
            op: Replace | Remove = Replace(
                VOLUMES, kept, stored.body, stored.status, stored.revision, self._epoch
            )
        else:
            op = Remove(stored.key, meta.uid, stored.revision, self._epoch)
        try:
            await self._store.write(op)
        except NotFound:
            return


def _is_due(volume: PersistentVolume) -> bool:
    held = volume.meta.finalizers
    deleting = volume.meta.deletion_timestamp is not None
    return deleting and DATA in held and VOLUME_PROTECTION not in held
