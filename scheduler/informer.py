"""A local, indexed copy of one resource, kept current by list and watch.

Readers look at `items` synchronously; reactors subscribe to batches of deltas. Nothing is polled
and nothing is written here. After a compacted position the informer lists again and reports the
difference, so a subscriber never misses an object and never sees one twice.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from .errors import Expired, Unavailable
from .objects.stored import ObjectKey, StoredObject
from .store.operations import Batch, ChangeType, each_change
from .store.store import Store

T = TypeVar("T")
_PAUSE = 1.0  # seconds between attempts while the database is away
logger = logging.getLogger(__name__)


class Delta(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """What happened to one object: old None is an addition, new None a removal.

    Args:
        revision: of the commit, or of the list that revealed it.
    """

    key: ObjectKey
    old: T | None
    new: T | None
    revision: int


class Subscription(Generic[T]):
    """Deltas since the last look, as an async iterator of batches; never drops, never blocks."""

    def __init__(self) -> None:
        self._pending: list[Delta[T]] = []
        self._wake = asyncio.Event()

    def push(self, deltas: Iterable[Delta[T]]) -> None:
        """Add deltas in order (called by the informer)."""
        self._pending.extend(deltas)
        if self._pending:
            self._wake.set()

    async def next(self) -> tuple[Delta[T], ...]:
        """Wait until there is something, then take everything."""
        await self._wake.wait()
        return self.take()

    def take(self) -> tuple[Delta[T], ...]:
        """Take what is there now, possibly nothing, without waiting."""
        batch = tuple(self._pending)
        self._pending.clear()
        self._wake.clear()
        return batch

    async def __aiter__(self) -> AsyncIterator[tuple[Delta[T], ...]]:
        while True:
            yield await self.next()


class Informer(Generic[T]):
    """Keeps `items` equal to the store's objects of a resource, as typed views.

    Args:
        view: decodes a stored object; called once per change.
        indexers: name → function giving the index values of an item, a tuple (equal tuples leave
            the index as it is).
    """

    def __init__(
        self,
        store: Store,
        resource: str,
        view: Callable[[StoredObject], T],
        indexers: Mapping[str, Callable[[T], Sequence[str]]] | None = None,
    ) -> None:
        self._store = store
        self._resource = resource
        self._view = view
        self._indexers = dict(indexers or {})
        self._indices: dict[str, dict[str, set[ObjectKey]]] = {n: {} for n in self._indexers}
        self._items: dict[ObjectKey, T] = {}
        self._nowhere: tuple[Sequence[str], ...] = ((),) * len(self._indexers)
        self._values: dict[ObjectKey, tuple[Sequence[str], ...]] = {}  # under which it is indexed
        self._subscriptions: list[Subscription[T]] = []
        self._synced = asyncio.Event()
        self._moved = asyncio.Condition()
        self.revision = 0

    @property
    def items(self) -> Mapping[ObjectKey, T]:
        """Every object now, by key."""
        return self._items

    def get(self, namespace: str, name: str) -> T | None:
        """Return the object of that name, or None."""
        return self._items.get(ObjectKey(self._resource, namespace, name))

    def by_index(self, index: str, value: str) -> Collection[T]:
        """Return the objects whose indexer gave that value."""
        return [self._items[key] for key in self._indices[index].get(value, ())]

    def subscribe(self) -> Subscription[T]:
        """Return a new subscription; it starts with an addition for every present object."""
        subscription = Subscription[T]()
        subscription.push(Delta(k, None, v, self.revision) for k, v in self._items.items())
        self._subscriptions.append(subscription)
        return subscription

    async def synced(self) -> None:
        """Wait until the first list has been taken."""
        await self._synced.wait()

    async def reached(self, revision: int) -> None:
        """Wait until everything committed up to `revision` is in `items`."""
        if self.revision < revision:
            self._store.hurry(revision)
        async with self._moved:
            await self._moved.wait_for(lambda: self.revision >= revision)

    async def run(self) -> None:
        """List, then watch, forever; lists again when its position has been compacted.

        While the database does not answer, `items` stays as it is and listing is tried again.
        """
        while True:
            try:
                await self._relist()
                await self._follow()
            except Expired:
                continue
            except Unavailable as error:
                logger.warning("%s: %s; listing again in %g s", self._resource, error, _PAUSE)
                await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        watch = self._store.watch({self._resource}, self.revision)
        async with contextlib.aclosing(watch) as batches:
            async for batch in batches:
                self._publish(self._apply(batch))
                await self._advance(batch.revision)

    async def _relist(self) -> None:
        listing = await self._store.list(self._resource)
        fresh = {stored.key: stored for stored in listing.objects}
        deltas = [self._set(key, None, listing.revision) for key in set(self._items) - set(fresh)]
        deltas += [
            self._set(key, self._view(stored), listing.revision) for key, stored in fresh.items()
        ]
        self._publish(deltas)
        await self._advance(listing.revision)
        self._synced.set()

    def _apply(self, batch: Batch) -> list[Delta[T]]:
        return [
            self._set(
                change.object.key,
                None if change.type is ChangeType.DELETED else self._view(change.object),
                change.revision,
            )
            for change in each_change(batch.changes)
        ]

    def _set(self, key: ObjectKey, new: T | None, revision: int) -> Delta[T]:
        old = self._items.pop(key, None) if new is None else self._items.get(key)
        if new is not None:
            self._items[key] = new
        if self._indexers:
            self._reindex(key, new)
        return Delta(key, old, new, revision)

    def _reindex(self, key: ObjectKey, new: T | None) -> None:
        before = self._values.pop(key, None) or self._nowhere
        after = self._nowhere
        if new is not None:
            after = self._values[key] = tuple([make(new) for make in self._indexers.values()])
        for index, old_values, new_values in zip(
            self._indices.values(), before, after, strict=True
        ):
            if old_values != new_values:
                _move(index, key, old_values, new_values)

    def _publish(self, deltas: list[Delta[T]]) -> None:
        for subscription in self._subscriptions:
            subscription.push(deltas)

    async def _advance(self, revision: int) -> None:
        async with self._moved:
            self.revision = revision
            self._moved.notify_all()


def _move(
    index: dict[str, set[ObjectKey]],
    key: ObjectKey,
    before: Iterable[str],
    after: Iterable[str],
) -> None:
    for value in before:
        bucket = index.get(value, set())
        bucket.discard(key)
        if not bucket:
            index.pop(value, None)
    for value in after:
        index.setdefault(value, set()).add(key)
