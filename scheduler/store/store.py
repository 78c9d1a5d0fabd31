"""The store's one face: get, list, write, watch, decisions, leadership."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Self, cast

from ..errors import Expired, Fenced, Forbidden, StatusError
from ..objects.cohort import Cohort
from ..objects.resource_quota import RESOURCE as QUOTAS
from ..objects.stored import ObjectKey, StoredObject
from . import assignments, build_contexts, decisions, explanations
from .assignments import Assignment
from .compaction import DEFAULT_RETENTION, Retention, compact, compact_forever
from .database import Database, open_database
from .decisions import DecisionRecord
from .explanations import ExplanationRecord
from .follower import follow
from .hub import Hub, wanted
from .leadership import Leadership
from .measures import WriterMeasures
from .operations import (
    Batch,
    BindAll,
    Boarding,
    BoundTogether,
    CohortWrite,
    Create,
    CreateCohort,
    Listing,
    Occupancy,
    Replace,
    Write,
)
from .quota_ledger import HeldQuota, Ledgers
from .reader import Reader
from .rows import Bodies
from .writer import PATIENCE, Writer

_BOOKMARK = 5.0  # seconds after which a quiet watch learns how far it is complete


class Store:
    """One process's view of the database. Use `Store.open`."""

    def __init__(self, database: Database, reader: Reader, hub: Hub, writer: Writer) -> None:
        self._database = database
        self._reader = reader
        self._hub = hub
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        pool_size: int = 8,
        patience: float = PATIENCE,
        ring_changes: int = 131072,
        ring_bytes: int = 128 << 20,
        retention: Retention | None = DEFAULT_RETENTION,
    ) -> AsyncGenerator[Self, None]:
        """Connect, and run the group-commit writer and the change hub until the body ends.

        Args:
            url: postgresql:// URL of a migrated database.
            pool_size: connections for reading.
            patience: seconds a read or write waits for an absent database before Unavailable.
            ring_changes, ring_bytes: bounds of the recent changes held in memory.
            retention: how long what is kept; None leaves compaction to other processes.

        Raises:
            Unavailable, ConfigurationError: the database does not answer, or cannot be used.
        """
        database = await open_database(url, pool_size)
        try:
            reader = Reader(database, Bodies(), patience=patience)
            hub = Hub(await reader.revision(), changes=ring_changes, size=ring_bytes)
            writer = Writer(url, reader, hub, patience=patience)
            failure: Exception | None = None
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(writer.run(), name="store writer"),
                    group.create_task(follow(url, reader, hub), name="store follower"),
                ]
                store = cls(database, reader, hub, writer)
                if retention is not None:
                    tasks.append(group.create_task(compact_forever(database, store, retention)))
                try:
                    yield store
                except Exception as error:  # noqa: BLE001 - raised below, outside the group
                    failure = error
                finally:
                    hub.close()
                    for task in tasks:
                        task.cancel()
            if failure is not None:
                raise failure
        finally:
            await database.close()

    @property
    def measures(self) -> WriterMeasures:
        """What this process has committed so far."""
        return self._writer.measures

    @property
    def queued_writes(self) -> int:
        """How many operations wait to be written."""
        return self._writer.queued

    @property
    def seen_revision(self) -> int:
        """The last revision that this process knows of."""
        return self._hub.revision

    async def get(self, key: ObjectKey) -> StoredObject | None:
        """Return one object, or None. Sees every commit made before the call."""
        return await self._reader.get(key)

    async def list(self, resource: str, namespace: str = "") -> Listing:
        """Return all objects of a resource (of one namespace, or "" for all) at one revision."""
        return await self._reader.listing(resource, namespace)

    async def bound_on(self, node: str) -> Occupancy:
        """Return what the pods bound to a node hold of it, for a Bind with that revision.

        Costs one query over the node's own bindings; an absent node holds nothing.
        """
        return await self._reader.occupancy(node)

    async def unchanged(self, resource: str, namespace: str, since: int) -> int | None:
        """Return the last committed revision if nothing of a resource has changed after another.

        Args:
            namespace: of which one, or "" for all.
            since: the other revision, as of a list.

        Returns:
            None also where this process does not know (yet) of all that has changed.
        """
        hub = self._hub
        if hub.moved(resource, namespace) > since:
            return None
        revision = await self._reader.revision()
        known = revision <= hub.revision and hub.moved(resource, namespace) <= since
        return revision if known else None

    async def revision(self) -> int:
        """Return the last committed revision, over all processes."""
        return await self._reader.revision()

    async def write(self, op: Write) -> StoredObject:
        """Do one write; it is committed on return.

        Raises:
            StatusError: AlreadyExists, NotFound, Conflict, Forbidden, Invalid, Unavailable.
            Fenced: the operation's epoch is not the leader's.
        """
        outcome = (await self.write_many((op,)))[0]
        if isinstance(outcome, (StatusError, Fenced)):
            raise outcome
        return outcome

    async def write_many(
        self, ops: Sequence[Write]
    ) -> Sequence[StoredObject | StatusError | Fenced]:
        """Do many writes, in order, in as few transactions as fit; errors are values in place.

        Raises:
            Unavailable: the database did not answer; some of the writes may have been made.
        """
        return cast("Sequence[StoredObject | StatusError | Fenced]", await self._writer.write(ops))

    async def create_cohorts(
        self, ops: Sequence[CreateCohort]
    ) -> Sequence[Cohort | StatusError | Fenced]:
        """Add cohorts; as `write_many`. What comes back has its created_revision."""
        return cast("Sequence[Cohort | StatusError | Fenced]", await self._writer.write(ops))

    async def write_cohorts(
        self, ops: Sequence[CohortWrite]
    ) -> Sequence[Boarding | StatusError | Fenced]:
        """Bind or report pods of cohorts; as `write_many`."""
        return cast("Sequence[Boarding | StatusError | Fenced]", await self._writer.write(ops))

    async def bind_all(
        self, ops: Sequence[BindAll]
    ) -> Sequence[BoundTogether | StatusError | Fenced]:
        """Bind pods together or not at all, each operation for itself; as `write_many`."""
        return cast("Sequence[BoundTogether | StatusError | Fenced]", await self._writer.write(ops))

    async def over_quota(
        self, op: Create | Replace, old: StoredObject | None = None
    ) -> Forbidden | None:
        """Return why quotas would refuse a write that is only rehearsed, None if they would not.

        Args:
            old: what a Replace would change.
        """
        namespace = op.meta.namespace
        if not namespace:
            return None
        found = await self.list(QUOTAS, namespace)
        held = [HeldQuota(each, each.revision) for each in found.objects]
        ledgers = Ledgers({namespace: held}, {})
        if isinstance(op, Create):
            return ledgers.admit(op)
        return ledgers.admit_change(old, op) if old is not None else None

    async def watch(
        self, resources: Collection[str] | None, since: int
    ) -> AsyncGenerator[Batch, None]:
        """Yield every change after `since`, in order and without gap, and now and then a bookmark.

        Positions that memory no longer holds are read from SQL, where superseded states of an
        object are collapsed into its last. Close the generator with `contextlib.aclosing`. It ends
        when the store closes.

        Args:
            resources: whose changes; None for all.
            since: a revision, as of a list or an earlier batch.

        Raises:
            Expired: the position has been compacted; list again.
            Unavailable: the database did not answer while catching up.
        """
        hub, names = self._hub, wanted(resources)
        watcher = hub.join(names)
        position = since
        try:
            if since > hub.revision:
                await self._reach(since)
            while not hub.closed:
                watcher.woken.clear()
                batches = hub.since(position, names)
                if batches is None:
                    batch = await self._reader.changes(position, names)
                    position = batch.revision
                    yield batch
                    continue
                for batch in batches:
                    position = batch.revision
                    yield batch
                if not await _woken(watcher.woken):
                    yield Batch(position)
        finally:
            hub.leave(watcher)

    def hurry(self, revision: int) -> None:
        """Have quiet watches of this store say at once when they are complete up to a revision."""
        self._hub.hurry(revision)

    async def _reach(self, revision: int) -> None:
        """Wait until the hub has a revision that another process or a read has shown to exist."""
        if revision > await self._reader.revision():
            raise Expired(f"resource version {revision} is in the future; list again")
        while self._hub.revision < revision and not self._hub.closed:
            self._hub.behind.set()
            await asyncio.sleep(0.01)

    async def compact(self, retention: Retention, now: datetime) -> None:
        """Forget what is older than `retention` allows at `now`; `open` does so by itself."""
        await compact(self._database, self, retention, now)

    def leadership(self, identity: str) -> Leadership:
        """Return a candidate for leadership."""
        return Leadership(self._database, identity)

    async def record_decisions(self, records: Sequence[DecisionRecord]) -> None:
        """Keep decision records; committed on return."""
        await decisions.record(self._database, records)

    async def decisions_of(
        self, namespace: str, pod: str, limit: int = 20, *, decision: int | None = None
    ) -> Sequence[DecisionRecord]:
        """Return the latest decisions about a pod of that name, newest first.

        Args:
            decision: the id of the only one that is wanted.
        """
        return await decisions.of_pod(self._database, namespace, pod, limit, decision=decision)

    async def record_explanations(self, records: Sequence[ExplanationRecord]) -> None:
        """Keep explanations of decisions; committed on return."""
        await explanations.record(self._database, records)

    async def explanation(self, decision: int) -> ExplanationRecord | None:
        """Return the explanation of a decision, None where none was kept."""
        return await explanations.of_decision(self._database, decision)

    async def record_assignments(self, placement: str, found: Sequence[Assignment]) -> None:
        """Keep what a Placement of that uid decided, instead of what was kept of it before."""
        await assignments.record(self._database, placement, found)

    async def assignments_of(
        self, placement: str, after: int, limit: int
    ) -> tuple[Sequence[Assignment], int]:
        """Return up to `limit` assignments beyond the first `after`, and how many there are."""
        return await assignments.of_placement(self._database, placement, after, limit)

    def hold_context(self, build: str) -> AbstractAsyncContextManager[bool]:
        """Keep other processes from taking a context for an ImageBuild of that uid.

        Yields whether none does so now.
        """
        return build_contexts.hold(self._database, build)

    async def keep_context(self, build: str, content: AsyncIterator[bytes], most: int) -> int:
        """Keep what was uploaded for an ImageBuild of that uid, instead of what was kept before.

        Args:
            most: bytes of all that is kept.

        Returns:
            Bytes kept.

        Raises:
            Unavailable: there is no room.
        """
        return await build_contexts.keep(self._database, build, content, most)

    def context_of(self, build: str) -> AsyncIterator[bytes]:
        """Yield what is kept for an ImageBuild of that uid, in parts; nothing where nothing is."""
        return build_contexts.parts(self._database, build)

    async def drop_context(self, build: str) -> None:
        """Forget what is kept for an ImageBuild."""
        await build_contexts.drop(self._database, build)


async def _woken(event: asyncio.Event) -> bool:
    """Wait for news, or for the time of a bookmark."""
    try:
        async with asyncio.timeout(_BOOKMARK):
            return await event.wait()
    except TimeoutError:
        return False
