"""Group commit: all writes of a process that wait at one moment become one transaction.

The transaction takes the row lock of `head` first, so commits are serialised over all processes
and what it reads afterwards cannot change before it commits: it checks, then writes. Callers get
their answer after the commit. If the connection dies while committing, the outcome is asked of
PostgreSQL (by the writer's mark in `writers`) before anybody is answered.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from ..errors import Invalid, Unavailable
from ..objects.cohort import PLACES
from ..objects.stored import ObjectKey
from . import statements
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
from .postgres import CONNECTION_ERRORS, DATA_ERRORS, Connection, connect, unavailable
from .quota_book import QuotaBook
from .reader import Reader
from .recent_cohorts import RecentCohorts
from .rows import names
from .verdict import Outcome, Present, Verdict

_BATCH = 4096
_BATCH_BYTES = 16 << 20
_LODGED_AS_ONE = 16  # pods of a cohort that take as long as one alone
_QUEUE = 200_000
_QUEUE_BYTES = 256 << 20
PATIENCE = 15.0  # seconds an operation waits for the database


_CLOSED = Unavailable(
    "the store was closed while the write was under way; read the object before repeating it",
    retry_after=1,
)


class Ticket:
    """Operations of one caller, answered together and in order.

    Args:
        size, weight: of all of them.
    """

    def __init__(self, ops: Sequence[AnyWrite], size: int, deadline: float) -> None:
        self.ops = ops
        self.size = size
        self.weight = sum(map(_weight, ops))
        self.outcomes: list[Outcome] = []
        self.sent = 0
        self.deadline = deadline
        self.future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

    def take(self, room: int, bytes_left: int) -> tuple[Sequence[AnyWrite], int, int]:
        """Take the operations that are due, as many as fit but one at least; count them as sent.

        Returns:
            the operations, their size and their weight.
        """
        if not self.sent and self.weight <= room and self.size <= bytes_left:
            self.sent = len(self.ops)
            return self.ops, self.size, self.weight
        ops: list[AnyWrite] = []
        size = weight = 0
        for op in self.ops[self.sent : self.sent + room]:
            ops.append(op)
            size += _size(op)
            weight += _weight(op)
            if size >= bytes_left or weight >= room:
                break
        self.sent += len(ops)
        return ops, size, weight

    def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes; the last ones resolve the caller's future."""
        self.outcomes += outcomes
        if len(self.outcomes) >= len(self.ops) and not self.future.done():
            self.future.set_result(self.outcomes)


Slice = tuple[Ticket, Sequence[AnyWrite]]


class _Unknown(Exception):
    """The connection died while committing."""

    def __init__(self, verdict: Verdict, after: int) -> None:
        super().__init__("the connection was lost while committing")
        self.verdict = verdict
        self.after = after


class Writer:
    """The one writing task of a process."""

    def __init__(self, url: str, reader: Reader, hub: Hub, *, patience: float = PATIENCE) -> None:
        self._url = url
        self._reader = reader
        self._hub = hub
        self._patience = patience
        self._queue: deque[Ticket] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._connection: Connection | None = None
        self._known: set[bytes] = set()
        self._generation = -1
        self._closed = False
        self._binders = Binders()
        self._recent = RecentCohorts()
        self._quotas = QuotaBook(reader, hub)
        self._id = str(uuid.uuid4())
        self._transaction = 0
        self.measures = WriterMeasures()

    @property
    def queued(self) -> int:
        """How many operations wait for their transaction."""
        return self._queued

    async def write(self, ops: Sequence[AnyWrite]) -> list[Outcome]:
        """Queue operations and wait until they are committed or refused."""
        if not ops:
            return []
        if self._closed:
            raise Unavailable("the store is closing; try again", retry_after=1)
        size = sum(map(_size, ops))
        full = self._queued + len(ops) > _QUEUE or self._queued_bytes + size > _QUEUE_BYTES
        if full and self._queued:
            raise Unavailable("too many writes are waiting; try again", retry_after=1)
        ticket = Ticket(ops, size, time.monotonic() + self._patience)
        self._queue.append(ticket)
        self._queued += len(ops)
        self._queued_bytes += size
        self._wake.set()
        return await ticket.future

    async def run(self) -> None:
        """Write forever; on cancellation what is queued is refused."""
        try:
            while True:
                await self._wake.wait()
                slices = self._take()
                if slices:
                    await self._write(slices)
                elif not self._queue:
                    self._wake.clear()
        finally:
            self._closed = True
            for ticket in self._queue:
                if not ticket.future.done():
                    ticket.future.set_exception(_CLOSED)
            if self._connection is not None:
                self._connection.terminate()

    def _take(self) -> list[Slice]:
        """Take up to a batch, a share of every ticket so that a long one delays no short one."""
        slices: list[Slice] = []
        room, bytes_left = _BATCH, _BATCH_BYTES
        for _ in range(len(self._queue)):
            if room <= 0 or bytes_left <= 0:
                break
            ticket = self._queue.popleft()
            if ticket.future.cancelled() and ticket.sent == 0:
                self._forget(len(ticket.ops), ticket.size)
                continue
            ops, size, weight = ticket.take(room, bytes_left)
            room -= weight
            bytes_left -= size
            self._forget(len(ops), size)
            slices.append((ticket, ops))
            if ticket.sent < len(ticket.ops):
                self._queue.append(ticket)
        return slices

    def _forget(self, count: int, size: int) -> None:
        self._queued -= count
        self._queued_bytes -= size

    async def _write(self, slices: list[Slice]) -> None:
        """Bring the slices to an answer, through outages and refusals by PostgreSQL."""
        pause = 0.05
        unknown: _Unknown | None = None
        while slices:
            try:
                connection = await self._connected()
                if unknown is not None:
                    if await statements.committed(connection, self._id, self._transaction):
                        self._done(slices, unknown.verdict, unknown.after)
                        return
                    unknown = None
                await self._attempt(connection, slices)
                return
            except _Unknown as error:
                unknown = error
                self._disconnect()
            except asyncio.CancelledError:
                _fail(slices, _CLOSED)
                raise
            except Exception as error:  # noqa: BLE001 - any, for it goes to the callers
                if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, DATA_ERRORS):
                    self._disconnect()
                    slices = _still_waiting(slices, error, unknown)
                    await asyncio.sleep(pause)
                    pause = min(1.0, pause * 2)
                else:
                    await self._isolate(slices, error)
                    return

    async def _isolate(self, slices: list[Slice], error: Exception) -> None:
        """Find the operation that cannot be done: halve the batch until it stands alone."""
        self._known.clear()
        flat = [(ticket, op) for ticket, ops in slices for op in ops]
        if len(flat) == 1:
            ticket, op = flat[0]
            if isinstance(error, DATA_ERRORS):
                ticket.answer([_unstorable(op, error)])
            else:
                _fail([(ticket, ())], error)
            return
        middle = len(flat) // 2
        for half in (flat[:middle], flat[middle:]):
            await self._write([(ticket, (op,)) for ticket, op in half])

    async def _attempt(self, connection: Connection, slices: list[Slice]) -> None:
        ops = [op for _, part in slices for op in part]
        started = time.perf_counter()
        verdict: Verdict | None = None
        after = 0
        try:
            head = await statements.lock_head(connection)
            after = head.revision
            if head.spec_generation != self._generation:
                self._known.clear()
                self._generation = head.spec_generation
            present = await self._present(connection, ops, head)
            verdict = decide(ops, present, datetime.now(UTC))
            if not verdict.changes:
                await connection.execute("ROLLBACK")
            else:
                await statements.apply(connection, verdict, self._known)
        except BaseException:
            await self._roll_back(connection)
            raise
        if verdict.changes:
            self._transaction += 1
            self._hub.coming = verdict.revision  # the notification may be here before the answer
            try:
                await statements.commit(connection, verdict.revision, self._id, self._transaction)
            except DATA_ERRORS:
                await self._roll_back(connection)
                raise
            except CONNECTION_ERRORS as error:
                raise _Unknown(verdict, after) from error
            finally:
                self._hub.coming = 0
            self.measures.committed(started, len(ops))
        self._done(slices, verdict, after)

    async def _roll_back(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(2):
                await connection.execute("ROLLBACK")
        except CONNECTION_ERRORS:
            self._disconnect()

    async def _present(
        self, connection: Connection, ops: list[AnyWrite], head: statements.Head
    ) -> Present:
        present = Present(head.revision, head.epoch, {})
        missing: list[ObjectKey] = []
        current = self._hub.revision == head.revision
        for key in touched(ops):
            held = self._hub.latest(key) if current else None
            if held is None:
                missing.append(key)
            else:
                present.objects[key] = held
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

    def _done(self, slices: list[Slice], verdict: Verdict, after: int) -> None:
        self._known.update(verdict.bodies)
        bound = [(row.node, row.epoch, row.revision) for row in verdict.bindings]
        self._binders.add((*bound, *verdict.boarded), after, verdict.revision)
        self._recent.keep(verdict.lodgings, after, verdict.revision if verdict.changes else after)
        self._quotas.keep(verdict.quotas, after, verdict.revision if verdict.changes else after)
        if verdict.changes:
            self._hub.publish(after, verdict.revision, verdict.changes)
        start = 0
        for ticket, ops in slices:
            ticket.answer(verdict.outcomes[start : start + len(ops)])
            start += len(ops)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await connect(self._url, prepare=statements.prepare)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _still_waiting(
    slices: list[Slice], error: BaseException, unknown: _Unknown | None
) -> list[Slice]:
    """Fail the tickets whose patience has ended; a batch of unknown outcome stays together."""
    now = time.monotonic()
    if unknown is not None:
        if all(ticket.deadline + PATIENCE < now for ticket, _ in slices):
            _fail(
                slices,
                Unavailable(
                    "the database went away while committing: the write may or may not have been "
                    "made; read the object before repeating it",
                    retry_after=1,
                ),
            )
            return []
        return slices
    overdue = [part for part in slices if part[0].deadline < now]
    _fail(overdue, unavailable(error))
    return [part for part in slices if part[0].deadline >= now]


def _size(op: AnyWrite) -> int:
    """Return about how many bytes an operation writes."""
    if isinstance(op, (Create, Replace)):
        return 300 + len(op.status) + (0 if op.body.digest else len(op.body.json))
    if isinstance(op, CreateCohort):
        return 300 + len(op.cohort.status)
    if isinstance(op, BindAll):
        return 100 * len(op.binds)
    if isinstance(op, BindCohort):
        return 100 + 20 * len(op.nodes)
    if isinstance(op, ReportCohort):
        return 1000 + 40 * sum(map(len, op.own))
    return 100


def _weight(op: AnyWrite) -> int:
    """Return how much of a batch an operation takes; one that is larger has a batch of its own."""
    if isinstance(op, (Create, Replace, Remove, Bind)):
        return 1
    if isinstance(op, BindAll):
        return max(1, len(op.binds))
    if isinstance(op, (BindCohort, ReportCohort)):
        return 1 + len(op.ordinals) // _LODGED_AS_ONE
    return 1


def _binds(op: AnyWrite) -> tuple[Bind, ...]:
    return op.binds if isinstance(op, BindAll) else (op,) if isinstance(op, Bind) else ()


def _cohorts_wanted(ops: Sequence[AnyWrite]) -> CohortsWanted:
    created = [op.cohort for op in ops if isinstance(op, CreateCohort)]
    return CohortsWanted(
        frozenset((c.namespace, c.prefix, (c.start + c.size - 1) % PLACES) for c in created),
        frozenset(op.cohort for op in ops if isinstance(op, (BindCohort, ReportCohort))),
    )


def _fail(slices: list[Slice], error: Exception) -> None:
    for ticket, _ in slices:
        if not ticket.future.done():
            ticket.future.set_exception(error)


def _named(op: AnyWrite) -> ObjectKey:
    if isinstance(op, Remove):
        return op.key
    if isinstance(op, Bind):
        return op.pod
    if isinstance(op, BindAll):
        return op.binds[0].pod
    if isinstance(op, CreateCohort):
        return ObjectKey("pods", op.cohort.namespace, op.cohort.prefix)
    if isinstance(op, (BindCohort, ReportCohort)):
        return ObjectKey("pods", op.namespace, op.cohort)
    return ObjectKey(op.resource, op.meta.namespace, op.meta.name)


def _unstorable(op: AnyWrite, error: BaseException) -> Invalid:
    key = _named(op)
    return Invalid(
        f'{key.resource} "{key.name}" is invalid: it has a value that cannot be stored ({error})',
        **names(key.resource, key.name),
    )
