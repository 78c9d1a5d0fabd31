"""Which pods' volumes are made of which ConfigMaps, Secrets and claims; word of their changes."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count

import msgspec

from ..informer import Informer
from ..objects.meta import ObjectMeta
from ..objects.storage import CLAIMS
from ..objects.stored import ObjectKey, StoredObject
from ..store.store import Store

RESOURCES = ("configmaps", "secrets", CLAIMS)


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
        self._numbers = count()

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

    @contextmanager
    def news(self, key: ObjectKey) -> Generator[asyncio.Event]:
        """Have an event set at every change of an object, for as long as the context lasts."""
        changed, reader = asyncio.Event(), f"#{next(self._numbers)}"
        self.register(reader, frozenset({key}), changed.set)
        try:
            yield changed
        finally:
            self.forget(reader)

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
