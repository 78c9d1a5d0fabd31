"""Which pods' volumes are made of which ConfigMaps and Secrets, and word of their changes."""

import asyncio
from collections.abc import Callable

import msgspec

from ..informer import Informer
from ..objects.meta import ObjectMeta
from ..objects.stored import ObjectKey, StoredObject
from ..store.store import Store

RESOURCES = ("configmaps", "secrets")


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """Of an object only that it changed; its contents are read when they are needed."""

    meta: ObjectMeta
    revision: int


def _seen(stored: StoredObject) -> _Seen:
    bare = ObjectMeta(name=stored.meta.name, namespace=stored.meta.namespace, uid=stored.meta.uid)
    return _Seen(bare, stored.revision)


class VolumeSources:
    """One per leader."""

    def __init__(self, store: Store) -> None:
        self._informers = {each: Informer(store, each, _seen) for each in RESOURCES}
        self._readers: dict[ObjectKey, dict[str, Callable[[], None]]] = {}
        self._reads: dict[str, frozenset[ObjectKey]] = {}

    def register(self, uid: str, keys: frozenset[ObjectKey], changed: Callable[[], None]) -> None:
        """Have a pod hear of every later change of these objects, and of no others."""
        self.forget(uid)
        if keys:
            self._reads[uid] = keys
        for key in keys:
            self._readers.setdefault(key, {})[uid] = changed

    def forget(self, uid: str) -> None:
        """Let a pod hear of nothing any more."""
        for key in self._reads.pop(uid, frozenset()):
            readers = self._readers[key]
            readers.pop(uid, None)
            if not readers:
                del self._readers[key]

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())
                group.create_task(self._follow(informer))

    async def _follow(self, informer: Informer[_Seen]) -> None:
        async for deltas in informer.subscribe():
            for delta in deltas:
                for changed in tuple(self._readers.get(delta.key, {}).values()):
                    changed()
