"""Group commit: all writes of a process that wait at one moment become one commit.

Callers get their answer after it. If the connection dies while committing, the outcome is asked of
PostgreSQL (by the writer's mark in `writers`) before anybody is answered.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from ..errors import Invalid, Unavailable
from ..objects.stored import ObjectKey
from .commits import Commits, Unknown
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
from .postgres import CONNECTION_ERRORS, DATA_ERRORS, unavailable
from .reader import Reader
from .rows import names
from .verdict import Outcome, Verdict

_BATCH = 4096
_BATCH_BYTES = 16 << 20
_LODGED_AS_ONE = 16  # pods of a cohort that take as long as one alone
# Of the event loop, before a batch is closed. Who has been answered or told of a commit goes on
# meanwhile (an informer, its controller, then its write) and is not left to the commit after.
_TURNS = 3
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


class Writer:
    """The one writing task of a process."""

    def __init__(self, url: str, reader: Reader, hub: Hub, *, patience: float = PATIENCE) -> None:
        self._commits = Commits(url, reader, hub)
        self._patience = patience
        self._queue: deque[Ticket] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def measures(self) -> WriterMeasures:
        """What it counts and times."""
        return self._commits.measures

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
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
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
            self._commits.disconnect()

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
        unknown: Unknown | None = None
        while slices:
            try:
                verdict = unknown and await self._commits.was_made(unknown)
                unknown = None
                ops = [op for _, part in slices for op in part]
                _answer(slices, verdict or await self._commits.make(ops))
                return
            except Unknown as error:
                unknown = error
                self._commits.disconnect()
            except asyncio.CancelledError:
                _fail(slices, _CLOSED)
                raise
            except Exception as error:  # noqa: BLE001 - any, for it goes to the callers
                if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, DATA_ERRORS):
                    self._commits.disconnect()
                    slices = _still_waiting(slices, error, unknown)
                    await asyncio.sleep(pause)
                    pause = min(1.0, pause * 2)
                else:
                    await self._isolate(slices, error)
                    return

    async def _isolate(self, slices: list[Slice], error: Exception) -> None:
        """Find the operation that cannot be done: halve the batch until it stands alone."""
        self._commits.doubt()
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


def _answer(slices: list[Slice], verdict: Verdict) -> None:
    start = 0
    for ticket, ops in slices:
        ticket.answer(verdict.outcomes[start : start + len(ops)])
        start += len(ops)


def _still_waiting(
    slices: list[Slice], error: BaseException, unknown: Unknown | None
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
