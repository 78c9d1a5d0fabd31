"""One commit after another of a process, each of a batch of writes.

While nobody else commits, a process knows the head as its last commit left it. Then a batch is
read for and decided without the head lock, and written in one statement that does nothing if the
head has moved meanwhile; so a commit takes one round trip and what must be read. Otherwise, and
for what one statement cannot do, the transaction takes the lock first: what it reads cannot change
before it commits.
"""

import time
import uuid
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from ..objects.cohort import PLACES
from ..objects.stored import ObjectKey
from . import statements
from .bind import ended
from .binders import Binders
from .cohorts import NO_COHORTS, CohortsWanted
from .decide import decide, touched
from .hub import Hub
from .measures import WriterMeasures
from .operations import (
    AnyWrite,
    Bind,
    BindAll,
    BindCohort,
    Create,
    CreateCohort,
    Remove,
    Replace,
    ReportCohort,
)
from .parts import COPY_FROM, parts
from .postgres import CONNECTION_ERRORS, DATA_ERRORS, REFUSALS, TAKEN, Connection, connect
from .quota_book import QuotaBook
from .reader import BodyMissing, Reader
from .recent_cohorts import RecentCohorts
from .statements import Head, Mark
from .verdict import Present, Verdict


class Unknown(Exception):
    """The connection died while committing.

    Args:
        verdict: of the batch; after: the head's revision before it.
        mark: which the commit leaves if it was made.
    """

    def __init__(self, verdict: Verdict, after: int, mark: Mark) -> None:
        super().__init__("the connection was lost while committing")
        self.verdict = verdict
        self.after = after
        self.mark = mark


class Commits:
    """Makes the commits of a process, one at a time."""

    def __init__(self, url: str, reader: Reader, hub: Hub) -> None:
        self._url = url
        self._reader = reader
        self._hub = hub
        self._connection: Connection | None = None
        self._head: Head | None = None  # as this process's last commit left it
        self._known: set[bytes] = set()
        self._generation = -1
        self._binders = Binders()
        self._recent = RecentCohorts()
        self._quotas = QuotaBook(reader, hub)
        self._id = str(uuid.uuid4())
        self._transaction = 0
        self.measures = WriterMeasures()

    async def make(self, ops: Sequence[AnyWrite]) -> Verdict:
        """Decide a batch and commit what it changes.

        Raises:
            Unknown: the connection was lost, and the commit may have been made.
            CONNECTION_ERRORS: the connection was lost before; nothing is committed.
            DATA_ERRORS: PostgreSQL cannot hold a value; nothing is committed.
        """
        connection = await self._connected()
        started = time.perf_counter()
        head = self._unlocked_head()
        if head is not None and _light(ops):
            verdict = await self._made_at_once(connection, ops, head)
            if verdict is not None:
                return self._made(verdict, head, started, len(ops))
        try:
            head = await statements.lock_head(connection)
            present = await self._present(connection, ops, head)
            verdict = decide(ops, present, datetime.now(UTC))
            await self._write(connection, verdict, head)
        except Unknown:
            raise
        except BaseException:
            await self._roll_back(connection)
            raise
        return self._made(verdict, head, started, len(ops))

    async def was_made(self, unknown: Unknown) -> Verdict | None:
        """Return the verdict if its commit was made; otherwise it never will be."""
        connection = await self._connected()
        if not await statements.committed(connection, unknown.mark):
            return None
        self._settle(unknown.verdict, unknown.after)
        return unknown.verdict

    def doubt(self) -> None:
        """Take no interned body to be in the database any more."""
        self._known.clear()

    def disconnect(self) -> None:
        """Drop the connection; the next commit opens another."""
        self._head = None
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self.disconnect()
            self._connection = await connect(self._url, prepare=statements.prepare)
        return self._connection

    def _unlocked_head(self) -> Head | None:
        """Return the head, if nobody is known to have committed after this process."""
        head = self._head
        return head if head is not None and head.revision == self._hub.revision else None

    async def _made_at_once(
        self, connection: Connection, ops: Sequence[AnyWrite], head: Head
    ) -> Verdict | None:
        """Commit without the lock.

        Returns:
            None if something else was true than thought, or one statement does not do.
        """
        self._head = None
        try:
            fresh = _fresh(ops)
            present = await self._present(connection, ops, head, fresh)
            assumed = {key for key in fresh if present.objects[key] is None}
            verdict = decide(ops, present, datetime.now(UTC))
            if assumed.difference(ObjectKey(*row[:3]) for row in verdict.inserts):
                return None  # nobody asks the database if they are there
            if not verdict.changes:
                return verdict if await statements.unmoved(connection, head) else None
            written = parts(verdict, self._known)
            if not statements.at_once(verdict, written):
                return None
            mark = self._mark(verdict)
            with self._committing(verdict, head, mark):
                done = await statements.commit_at_once(connection, head, written, mark)
            return verdict if done else None
        except (BodyMissing, LookupError, TAKEN):  # what was read in between does not fit together
            return None

    async def _write(self, connection: Connection, verdict: Verdict, head: Head) -> None:
        """Write and commit under the head lock."""
        if not verdict.changes:
            await connection.execute("ROLLBACK")
            return
        await statements.apply(connection, verdict, parts(verdict, self._known))
        mark = self._mark(verdict)
        with self._committing(verdict, head, mark):
            await statements.commit(connection, mark)

    @contextmanager
    def _committing(self, verdict: Verdict, head: Head, mark: Mark) -> Generator[None]:
        """Commit inside; a lost connection leaves the outcome unknown."""
        self._hub.coming = verdict.revision  # the notification may be here before the answer
        try:
            yield
        except (*DATA_ERRORS, *REFUSALS):
            raise
        except CONNECTION_ERRORS as error:
            raise Unknown(verdict, head.revision, mark) from error
        finally:
            self._hub.coming = 0

    def _mark(self, verdict: Verdict) -> Mark:
        self._transaction += 1
        return Mark(verdict.revision, self._id, self._transaction)

    async def _roll_back(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK", timeout=2)
        except CONNECTION_ERRORS:
            self.disconnect()

    def _made(self, verdict: Verdict, head: Head, started: float, operations: int) -> Verdict:
        self._settle(verdict, head.revision)
        if verdict.changes:
            self.measures.committed(started, operations)
            self._head = head._replace(revision=verdict.revision)
        else:
            self._head = head
        return verdict

    def _settle(self, verdict: Verdict, after: int) -> None:
        """Learn from a commit, and publish it."""
        self._known.update(verdict.bodies)
        bound = [(row.node, row.epoch, row.revision) for row in verdict.bindings]
        self._binders.add((*bound, *verdict.boarded), after, verdict.revision)
        revision = verdict.revision if verdict.changes else after
        self._recent.keep(verdict.lodgings, after, revision)
        self._quotas.keep(verdict.quotas, after, revision)
        # Where nothing changed, too: if others have committed, the hub learns that it is behind.
        self._hub.publish(after, revision, verdict.changes)

    async def _present(
        self,
        connection: Connection,
        ops: Sequence[AnyWrite],
        head: Head,
        absent: Collection[ObjectKey] = (),
    ) -> Present:
        """Return what the operations may look at.

        Args:
            absent: what is taken not to be there, where nothing is known of it.
        """
        if head.spec_generation != self._generation:
            self._known.clear()
            self._generation = head.spec_generation
        present = Present(head.revision, head.epoch, dict.fromkeys(absent))
        missing: list[ObjectKey] = []
        current = self._hub.revision == head.revision
        for key in touched(ops):
            held = self._hub.latest(key) if current else None
            if held is not None:
                present.objects[key] = held
            elif key not in absent:
                missing.append(key)
        wanted = _cohorts_wanted(ops)
        recent = self._recent.take(wanted.uids, head.revision)
        wanted = wanted.but({each.cohort.uid for each in recent})
        if missing or wanted != NO_COHORTS:
            found, lodgings = await self._reader.present(connection, missing, wanted)
            present.objects.update(found)
            recent += lodgings
        present.lodgings = recent
        if wanted.places:
            prefixes = {(namespace, prefix) for namespace, prefix, _ in wanted.places}
            present.places = await self._reader.places(connection, prefixes)
        boards = [op for op in ops if isinstance(op, BindCohort)]
        binds = [bind for op in ops for bind in _binds(op)]
        if binds or boards:
            snapshot = min(op.snapshot_revision for op in (*binds, *boards))
            present.bound = await self._binders.after(connection, snapshot, head.revision)
            nodes = {op.node for op in binds if op.host_ports}
            if nodes:
                present.ports = await statements.held_ports(connection, list(nodes))
        await self._quotas.lay_open(connection, ops, present)
        return present


def _light(ops: Sequence[AnyWrite]) -> bool:
    """Tell whether one statement may do for all of them."""
    rows = 0
    for op in ops:
        if isinstance(op, Remove) or (isinstance(op, Replace) and ended(op.status)):
            return False  # a pod's end takes away what it held
        rows += len(op.binds) if isinstance(op, BindAll) else 1
    return rows < COPY_FROM


def _fresh(ops: Sequence[AnyWrite]) -> set[ObjectKey]:
    """Return the keys of objects to be created, of which the database says if they are there.

    Pods are not among them: a cohort may have their names.
    """
    created: set[ObjectKey] = set()
    named: set[ObjectKey] = set()
    for op in ops:
        if isinstance(op, Create) and op.resource != "pods":
            created.add(ObjectKey(op.resource, op.meta.namespace, op.meta.name))
        elif isinstance(op, Replace):
            named.add(ObjectKey(op.resource, op.meta.namespace, op.meta.name))
    return created - named


def _binds(op: AnyWrite) -> tuple[Bind, ...]:
    return op.binds if isinstance(op, BindAll) else (op,) if isinstance(op, Bind) else ()


def _cohorts_wanted(ops: Sequence[AnyWrite]) -> CohortsWanted:
    created = [op.cohort for op in ops if isinstance(op, CreateCohort)]
    return CohortsWanted(
        frozenset((c.namespace, c.prefix, (c.start + c.size - 1) % PLACES) for c in created),
        frozenset(op.cohort for op in ops if isinstance(op, (BindCohort, ReportCohort))),
    )
