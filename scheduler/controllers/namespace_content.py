"""Empties and removes namespaces that are being deleted (Kubernetes' namespace controller).

The store refuses new objects in a terminating namespace, so what is empty stays empty.
"""

import asyncio
import logging
from datetime import timedelta

from ..objects.deletion import DeletionRequest
from ..objects.kind import KindRegistry
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Remove, Replace
from .clock import Clock
from .deletion_writes import deletion, removal
from .deletions import delete
from .fenced_store import FencedStore
from .informers import NAMESPACES, Informers, OwnedInformer
from .settings import ControllerSettings
from .work_queue import WorkQueue

_CHUNK = 1000
_LOOK_AGAIN = timedelta(seconds=15)
_log = logging.getLogger(__name__)


class NamespaceContent:
    """Carries the deletion of namespaces to its end."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resources = [
            kind.resource for kind in registry.kinds if kind.namespaced and kind.conversion is None
        ]
        self._informers = informers
        self._settings = settings
        self._clock = clock
        self._queue = WorkQueue[str]("namespace content", clock)
        self._ending: set[str] = set()

    async def run(self) -> None:
        """Empty namespaces, until cancelled or fenced."""
        informers = self._informers.all()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_namespaces())
            for resource in self._resources:
                if resource in informers:
                    group.create_task(self._follow_content(informers[resource]))
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_namespaces(self) -> None:
        async for deltas in self._informers.others[NAMESPACES].subscribe():
            for delta in deltas:
                if delta.new is None:
                    self._ending.discard(delta.key.name)
                elif delta.new.meta.deletion_timestamp is not None:
                    self._ending.add(delta.key.name)
                    self._queue.add(delta.key.name)

    async def _follow_content(self, informer: OwnedInformer) -> None:
        subscription = informer.subscribe_samples()
        while True:
            for delta in await subscription.next():
                if delta.new is None and delta.key.namespace in self._ending:
                    self._queue.add(delta.key.namespace)

    async def _reconcile(self, name: str) -> timedelta | None:
        namespace = await self._store.get(ObjectKey(NAMESPACES, "", name))
        if namespace is None or namespace.meta.deletion_timestamp is None:
            return None
        left = 0
        for resource in self._resources:
            left += await self._empty(resource, name)
        if left:
            _log.info("namespace %s waits for %d objects to end", name, left)
            return _LOOK_AGAIN
        if namespace.meta.finalizers:
            return None  # whoever drops the last one brings us back
        await self._store.write(removal(namespace))
        return None

    async def _empty(self, resource: str, namespace: str) -> int:
        """Delete the resource's objects; return how many live on."""
        listing = await self._store.list(resource, namespace)
        now = self._clock.now()
        writes: list[Remove | Replace] = []
        for stored in listing.objects:
            write = None if _deleting(stored) else deletion(stored, DeletionRequest(), now)
            if write is not None:
                writes.append(write)
        for start in range(0, len(writes), _CHUNK):
            await delete(self._store, writes[start : start + _CHUNK])
        return len(listing.objects) - sum(isinstance(write, Remove) for write in writes)


def _deleting(stored: StoredObject) -> bool:
    return stored.meta.deletion_timestamp is not None
