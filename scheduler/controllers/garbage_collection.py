"""Collects objects whose owners are gone, in the background, in the foreground, or orphaned.

Whether an owner is gone is decided by the store, never by a cache alone: an informer only says
where to look.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta

from ..informer import CohortDelta, Delta
from ..objects.deletion import FOREGROUND, ORPHAN, DeletionRequest
from ..objects.kind import KindRegistry
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.pod import Pod
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .clock import Clock
from .deletion_writes import deletion, finalized
from .deletions import delete
from .fenced_store import FencedStore, raise_failures
from .informers import OWNER, Informers, Owned, OwnedDelta, OwnedInformer
from .ownership import (
    Owner,
    blocks,
    collect,
    in_foreground,
    in_orphaning,
    owners_let_go,
    without_owner,
)
from .settings import ControllerSettings
from .work_queue import WorkQueue

_REMEMBERED = 8192
_WORKERS = 32
_CHUNK = 500


class GarbageCollection:
    """Follows every resource with an informer; a key is an object that may have to go."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._shared = informers
        self._informers = informers.all()
        self._workers = max(settings.workers, _WORKERS)
        self._clock = clock
        self._queue = WorkQueue[ObjectKey]("garbage collection", clock)
        self._absent: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """Collect, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            for resource, informer in self._informers.items():
                if resource != "pods":
                    group.create_task(self._follow(informer))
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._workers))

    async def _follow(self, informer: OwnedInformer) -> None:
        subscription = informer.subscribe()
        while True:
            self._look_at(await subscription.next())

    async def _follow_pods(self) -> None:
        """As `_follow`; pods of a cohort have owners and their fate in common."""
        async for deltas in self._shared.pods.subscribe_whole():
            single: list[Delta[Pod]] = []
            for delta in deltas:
                if not isinstance(delta, CohortDelta):
                    single.append(delta)
                    continue
                sample = delta.one(0)
                if sample.new is not None and self._misses_owner(
                    sample.new.meta, sample.key.namespace
                ):
                    single.extend(delta.each())
            self._look_at(single)

    def _look_at(self, deltas: Iterable[OwnedDelta]) -> None:
        gone: set[str] = set()
        for delta in deltas:
            old = delta.old.meta if delta.old is not None else None
            new = delta.new.meta if delta.new is not None else None
            if old is not None and (new is None or new.uid != old.uid):
                gone.add(old.uid)
                self._remember(old.uid)
            self._look(delta, old, new)
        for resource, informer in self._informers.items() if gone else ():
            for uid in informer.having(OWNER, gone):
                for item in informer.by_index(OWNER, uid):
                    self._queue.add(_key(resource, item))

    def _look(self, delta: OwnedDelta, old: ObjectMeta | None, new: ObjectMeta | None) -> None:
        for reference in owners_let_go(old, new):
            owner = self._owner_key(reference, delta.key.namespace)
            if owner is not None and self._leaving(owner, reference.uid):
                self._queue.add(owner)
        if new is None:
            return
        if in_foreground(new) or in_orphaning(new) or self._misses_owner(new, delta.key.namespace):
            self._queue.add(delta.key)

    def _misses_owner(self, meta: ObjectMeta, namespace: str) -> bool:
        """Tell whether a look at the store is worth it: an owner is not seen, or is leaving."""
        for reference in meta.owner_references:
            key = self._owner_key(reference, namespace)
            if key is None:
                continue
            owner = self._informers[key.resource].get(key.namespace, key.name)
            if owner is None or owner.meta.uid != reference.uid or in_foreground(owner.meta):
                return True
        return False

    def _leaving(self, owner: ObjectKey, uid: str) -> bool:
        found = self._informers[owner.resource].get(owner.namespace, owner.name)
        return found is not None and found.meta.uid == uid and in_foreground(found.meta)

    def _dependents(self, uid: str) -> list[ObjectKey]:
        return [
            _key(resource, item)
            for resource, informer in self._informers.items()
            for item in informer.by_index(OWNER, uid)
        ]

    def _owner_key(self, reference: OwnerReference, namespace: str) -> ObjectKey | None:
        """Return where an owner must be, None for kinds not served here: such owners stay."""
        kind = self._registry.by_gvk(reference.api_version, reference.kind)
        if kind is None or kind.resource not in self._informers:
            return None
        if kind.namespaced and not namespace:
            return None  # a cluster-wide object cannot belong to a namespaced one
        return ObjectKey(kind.resource, namespace if kind.namespaced else "", reference.name)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        stored = await self._store.get(key)
        if stored is None:
            return None
        if in_orphaning(stored.meta):
            await self._orphan(stored)
        elif in_foreground(stored.meta):
            await self._wait_for_dependents(stored)
        elif stored.meta.deletion_timestamp is None:
            await self._collect(stored)
        return None

    async def _collect(self, stored: StoredObject) -> None:
        owners = {
            reference.uid: await self._fate(reference, stored.meta.namespace)
            for reference in stored.meta.owner_references
        }
        decided = collect(stored.meta, owners, lambda: bool(self._dependents(stored.meta.uid)))
        if decided.meta is not None:
            await self._store.write(
                Replace(stored.resource, decided.meta, stored.body, stored.status, stored.revision)
            )
        elif decided.delete is not None:
            await self._delete(stored, decided.delete)

    async def _delete(self, stored: StoredObject, request: DeletionRequest) -> None:
        write = deletion(stored, request, self._clock.now())
        if write is not None:
            await delete(self._store, [write])

    async def _fate(self, reference: OwnerReference, namespace: str) -> Owner:
        if reference.uid in self._absent:
            return Owner.ABSENT
        key = self._owner_key(reference, namespace)
        if key is None:
            return Owner.SOLID
        found = await self._store.get(key)
        if found is None or found.meta.uid != reference.uid:
            self._remember(reference.uid)
            return Owner.ABSENT
        return Owner.WAITING if in_foreground(found.meta) else Owner.SOLID

    def _remember(self, uid: str) -> None:
        """Keep in mind that a uid, which never comes back, is gone."""
        self._absent[uid] = None
        self._absent.move_to_end(uid)
        if len(self._absent) > _REMEMBERED:
            self._absent.popitem(last=False)

    async def _wait_for_dependents(self, owner: StoredObject) -> None:
        """Have the blocking dependents deleted; with the last of them the owner goes."""
        await self._shared.reached(owner.revision)
        blocking = False
        for resource, informer in self._informers.items():
            for item in list(informer.by_index(OWNER, owner.meta.uid)):
                if blocks(item.meta, owner.meta.uid):
                    blocking = True
                    if item.meta.deletion_timestamp is None:
                        self._queue.add(_key(resource, item))
        if not blocking:
            await self._let_go(owner, FOREGROUND)

    async def _orphan(self, owner: StoredObject) -> None:
        """Make the dependents forget the owner; then it goes."""
        await self._shared.reached(await self._store.revision())
        dependents = self._dependents(owner.meta.uid)
        for start in range(0, len(dependents), _CHUNK):
            read = await asyncio.gather(
                *(self._store.get(key) for key in dependents[start : start + _CHUNK])
            )
            writes = [
                Replace(
                    stored.resource,
                    without_owner(stored.meta, owner.meta.uid),
                    stored.body,
                    stored.status,
                    stored.revision,
                )
                for stored in read
                if stored is not None
                and any(o.uid == owner.meta.uid for o in stored.meta.owner_references)
            ]
            raise_failures(await self._store.write_many(writes))
        await self._let_go(owner, ORPHAN)

    async def _let_go(self, owner: StoredObject, finalizer: str) -> None:
        await delete(self._store, [finalized(owner, finalizer)])


def _key(resource: str, item: Owned) -> ObjectKey:
    return ObjectKey(resource, item.meta.namespace, item.meta.name)
