"""A local, indexed copy of one resource, kept current by list and watch.

Readers look at `items` synchronously; reactors subscribe to batches of deltas. Nothing is polled
and nothing is written here. After a compacted position the informer lists again and reports the
difference, so a subscriber never misses an object and never sees one twice.
"""

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from typing import Any, Generic, TypeVar, overload

import msgspec

from .errors import Expired, Unavailable
from .objects.cohort import Berths, Cohort, Lodging
from .objects.lots import Crowd, Lots
from .objects.stored import ObjectKey, StoredObject
from .store.operations import Batch, Change, ChangeType, CohortChange
from .store.store import Store

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F", bound="Feed[Any, Any]")
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


class CohortDelta(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """What happened to pods of a cohort: they were created, bound, or reported.

    Args:
        change: which pods, and how.
        view: makes items of them.
    """

    change: CohortChange
    view: Callable[[StoredObject], T]

    def each(self) -> Iterator[Delta[T]]:
        """Yield what happened to each pod."""
        return map(self._delta, self.change.each())

    def one(self, number: int) -> Delta[T]:
        """Return what happened to the pod at that position of the change's ordinals."""
        return self._delta(self.change.one(number))

    def _delta(self, change: Change) -> Delta[T]:
        pod = change.object
        old = None if change.prior is None else self.view(change.prior)
        return Delta(pod.key, old, self.view(pod), change.revision)


AnyDelta = Delta[T] | CohortDelta[T]


def each_delta(deltas: Iterable[AnyDelta[T]]) -> Iterator[Delta[T]]:
    """Yield deltas one object at a time."""
    for delta in deltas:
        if isinstance(delta, CohortDelta):
            yield from delta.each()
        else:
            yield delta


def sample_deltas(deltas: Iterable[AnyDelta[T]]) -> Iterator[Delta[T]]:
    """Yield deltas, of a cohort's pods one for all: enough to know their owners and specs."""
    for delta in deltas:
        yield delta.one(0) if isinstance(delta, CohortDelta) else delta


class Feed(Generic[T, D]):
    """Deltas since the last look, as an async iterator of batches; never drops, never blocks.

    Args:
        unfold: makes of what the informer knows what the subscriber wants to see.
    """

    def __init__(self, unfold: Callable[[Iterable[AnyDelta[T]]], Iterable[D]]) -> None:
        self._unfold = unfold
        self._pending: list[AnyDelta[T]] = []
        self._wake = asyncio.Event()

    def push(self, deltas: Iterable[AnyDelta[T]]) -> None:
        """Add deltas in order (called by the informer)."""
        self._pending.extend(deltas)
        if self._pending:
            self._wake.set()

    async def next(self) -> tuple[D, ...]:
        """Wait until there is something, then take everything."""
        await self._wake.wait()
        return self.take()

    def take(self) -> tuple[D, ...]:
        """Take what is there now, possibly nothing, without waiting."""
        batch = tuple(self._unfold(self._pending))
        self._pending.clear()
        self._wake.clear()
        return batch

    async def __aiter__(self) -> AsyncIterator[tuple[D, ...]]:
        while True:
            yield await self.next()


class Subscription(Feed[T, Delta[T]]):
    """A feed of single objects' deltas."""


class WholeSubscription(Feed[T, AnyDelta[T]]):
    """A feed in which pods of a cohort come together."""


class Informer(Generic[T]):
    """Keeps `items` equal to the store's objects of a resource, as typed views.

    Args:
        view: decodes a stored object; called once per change.
        indexers: name → function giving the index values of an item.
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
        self._entries: dict[ObjectKey, list[Sequence[str]]] = {}  # values, by indexer
        self._nowhere: list[Sequence[str]] = [() for _ in self._indexers]
        self._lots = Lots[T](view, self._indexers)
        self._subscriptions: list[Feed[T, Delta[T]] | Feed[T, AnyDelta[T]]] = []
        self._synced = asyncio.Event()
        self._moved = asyncio.Condition()
        self.revision = 0

    @property
    def items(self) -> Mapping[ObjectKey, T]:
        """Every object now, by key."""
        return _Items(self._items, self._lots)

    def get(self, namespace: str, name: str) -> T | None:
        """Return the object of that name, or None."""
        key = ObjectKey(self._resource, namespace, name)
        found = self._items.get(key)
        return self._lots.find(key) if found is None and self._lots else found

    def by_index(self, index: str, value: str) -> Collection[T]:
        """Return the objects whose indexer gave that value."""
        keys = self._indices[index].get(value)
        found = [self._items[key] for key in keys] if keys else []
        if self._lots:
            found.extend(self._lots.by_index(index, value))
        return found

    def having(self, index: str, values: Set[str]) -> Set[str]:
        """Return those of some index values that there are objects of."""
        single = self._indices[index].keys() & values
        return single | self._lots.having(index, values) if self._lots else single

    def lodges(self, cohort: Cohort, ordinal: int) -> bool:
        """Tell whether a pod lives in its cohort, as far as is known."""
        return self._lots.lives(cohort.uid, ordinal)

    def lodged(self, uid: str) -> bool:
        """Tell whether a pod of that uid lives in its cohort, as far as is known."""
        return bool(self._lots) and self._lots.lodged(uid)

    def in_namespaces(self, namespaces: Collection[str]) -> dict[str, list[tuple[ObjectKey, T]]]:
        """Return the objects of some namespaces, each apart; looks at every key once."""
        found: dict[str, list[tuple[ObjectKey, T]]] = {name: [] for name in namespaces}
        for each in self._items.items() if found else ():
            there = found.get(each[0].namespace)
            if there is not None:
                there.append(each)
        for name, there in found.items():
            there.extend(self._lots.in_namespace(name))
        return found

    def lodgings(self) -> Collection[Lodging]:
        """Return every cohort with who still lives in it."""
        return self._lots.lodgings()

    def alone(self, index: str, value: str) -> list[T]:
        """Return the objects of an index value that are held one by one, none of a cohort."""
        return [self._items[key] for key in self._indices[index].get(value, ())]

    def in_crowds(self, index: str, value: str) -> tuple[list[T], list[Crowd[T]]]:
        """Return the same as objects held one by one, and as crowds of cohorts' pods."""
        return self.alone(index, value), list(self.crowds(index, value))

    def crowds(self, index: str, value: str) -> Iterator[Crowd[T]]:
        """Yield the pods of an index value that live in cohorts."""
        return self._lots.crowds(index, value)

    def subscribe(self) -> Subscription[T]:
        """Return a new subscription; it starts with an addition for every present object."""
        return self._enrol(Subscription[T](each_delta))

    def subscribe_samples(self) -> Subscription[T]:
        """Return a subscription to which one pod of a cohort speaks for all."""
        return self._enrol(Subscription[T](sample_deltas))

    def subscribe_whole(self) -> WholeSubscription[T]:
        """Return a subscription to which pods of a cohort come together."""
        return self._enrol(WholeSubscription[T](tuple))

    def _enrol(self, feed: F) -> F:
        feed.push(Delta(k, None, v, self.revision) for k, v in self.items.items())
        self._subscriptions.append(feed)
        return feed

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
        self._items = dict(self.items)
        self._lots.clear()
        fresh = {stored.key: stored for stored in listing.objects}
        deltas = [self._set(key, None, listing.revision) for key in set(self._items) - set(fresh)]
        deltas += [
            self._set(key, self._view(stored), listing.revision) for key, stored in fresh.items()
        ]
        self._publish(deltas)
        await self._advance(listing.revision)
        self._synced.set()

    def _apply(self, batch: Batch) -> list[AnyDelta[T]]:
        deltas: list[AnyDelta[T]] = []
        for change in batch.changes:
            if not isinstance(change, CohortChange):
                deltas.append(self._changed(change))
            elif self._takes(change):
                deltas.append(CohortDelta(change, self._view))
            else:
                deltas += map(self._changed, change.each())
        return deltas

    def _changed(self, change: Change) -> Delta[T]:
        gone = change.type is ChangeType.DELETED
        new = None if gone else self._view(change.object)
        return self._set(change.object.key, new, change.revision)

    def _takes(self, change: CohortChange) -> bool:
        """Take over a cohort's change as one, unless its pods are held one by one."""
        made = change.bound_at is None and change.reports is None
        if made and len(change.ordinals) == change.cohort.size:
            self._lots.add(change.cohort)
            return True
        # After reading up from SQL some pods of a cohort are held alone, though they live there.
        uid = change.cohort.uid
        if not self._lots.all_live(uid, change.ordinals):
            return False
        if change.reports is not None:
            self._lots.report(change.cohort, change.reports)
            return True
        if change.bound_at is None:
            return False
        berths = Berths(
            change.first, change.bound_at, tuple(change.ordinals), change.nodes, {}, 0, 0
        )
        self._lots.bind(change.cohort, berths)
        return True

    def _set(self, key: ObjectKey, new: T | None, revision: int) -> Delta[T]:
        old = self._lots.take(key) if self._lots else None
        if old is None:
            old = self._items.pop(key, None) if new is None else self._items.get(key)
        if new is not None:
            self._items[key] = new
        if self._indexers:
            self._reindex(key, new)
        return Delta(key, old, new, revision)

    def _reindex(self, key: ObjectKey, new: T | None) -> None:
        nowhere = self._nowhere
        before = self._entries.pop(key, nowhere)
        after = nowhere if new is None else [make(new) for make in self._indexers.values()]
        if after is not nowhere:
            self._entries[key] = after
        if before == after:
            return
        for index, had, has in zip(self._indices.values(), before, after, strict=True):
            if had == has:
                continue
            for value in {*had}.difference(has):
                bucket = index[value]
                bucket.discard(key)
                if not bucket:
                    del index[value]
            for value in {*has}.difference(had):
                index.setdefault(value, set()).add(key)

    def _publish(self, deltas: Sequence[AnyDelta[T]]) -> None:
        for subscription in self._subscriptions:
            subscription.push(deltas)

    async def _advance(self, revision: int) -> None:
        async with self._moved:
            self.revision = revision
            self._moved.notify_all()


class _Items(Mapping[ObjectKey, T]):
    """Objects held one by one and those of cohorts, as one mapping."""

    def __init__(self, single: Mapping[ObjectKey, T], lots: Lots[T]) -> None:
        self._single = single
        self._lots = lots

    def __len__(self) -> int:
        return len(self._single) + len(self._lots)

    def __iter__(self) -> Iterator[ObjectKey]:
        yield from self._single
        yield from (key for key, _ in self._lots.all())

    def __getitem__(self, key: ObjectKey) -> T:
        found = self._single.get(key)
        if found is None:
            found = self._lots.find(key)
        if found is None:
            raise KeyError(key)
        return found

    @overload
    def get(self, key: ObjectKey, /) -> T | None: ...

    @overload
    def get(self, key: ObjectKey, /, default: T | E) -> T | E: ...

    def get(self, key: ObjectKey, /, default: object = None) -> object:
        """As of any mapping, without an exception for what is not there."""
        found = self._single.get(key)
        if found is None and self._lots:
            found = self._lots.find(key)
        return default if found is None else found
