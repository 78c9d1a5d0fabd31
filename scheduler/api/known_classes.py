"""The classes that new pods name (PriorityClasses, RuntimeClasses), held instead of read."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ..informer import Informer
from ..objects.stored import ObjectKey, StoredObject
from ..store.store import Store

T = TypeVar("T")


class KnownClasses(Generic[T]):
    """All classes of one kind; one made a moment ago by anybody is found too."""

    def __init__(self, store: Store, resource: str, view: Callable[[StoredObject], T]) -> None:
        self._store = store
        self._resource = resource
        self._view = view
        self._informer = Informer(store, resource, view)
        self._classes: Mapping[str, T] = {}
        self._version = 0
        self._looked_at: int = -1  # the informer's revision when they were compared last

    async def run(self) -> None:
        """Keep current until cancelled."""
        await self._informer.run()

    @property
    def version(self) -> int:
        """Changes whenever any class does; what was resolved under another one is stale."""
        if self._informer.revision != self._looked_at:
            self._refresh()
        return self._version

    def _refresh(self) -> None:
        self._looked_at = self._informer.revision
        items = {key.name: view for key, view in self._informer.items.items()}
        if items != self._classes:
            self._classes = items
            self._version += 1

    async def holding(self, name: str) -> Mapping[str, T]:
        """Return the classes by name, that one among them if it exists at all ("" for any)."""
        await self._informer.synced()
        if self._informer.revision != self._looked_at:
            self._refresh()
        classes = self._classes
        if name and name not in classes:
            found = await self._store.get(ObjectKey(self._resource, "", name))
            if found is not None:
                return {**classes, name: self._view(found)}
        return classes

    async def reached(self, revision: int) -> None:
        """Wait until a class written at that revision counts."""
        await self._informer.reached(revision)
