"""Keeps the database small: forgets old deletions, Events, bodies nobody uses, old decisions.

Runs wherever the advisory lock is free, a bounded piece at a time, so that no writer waits long.
Events are removed by ordinary writes, so that watchers see them go (Kubernetes gives an Event
one hour since its last write, kube-apiserver --event-ttl).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import Fenced, StatusError, Unavailable
from ..objects.stored import ObjectKey, StoredObject
from .database import REVISION, Database
from .operations import Remove, Write
from .tables import (
    assignments,
    build_contexts,
    cohorts,
    decisions,
    explanations,
    head,
    marks,
    node_lists,
    objects,
    specs,
    tombstones,
    writers,
)

_LOCK = 0x434F4D50
_PIECE = 5000
_FORGOTTEN = timedelta(days=1)  # far longer than a writer asks for its outcome
_EVENTS = ("events", "events.events.k8s.io")


@dataclass(frozen=True)
class Retention:
    """How long what is kept.

    Args:
        tombstones: how long a watch may be away and continue without a gap.
        most_tombstones, most_explanations: beyond this many, older ones go earlier.
        decisions: of explanations, too.
        interval: seconds between two compactions.
        specs_every: compactions between two searches for unused bodies, which read all objects.
    """

    tombstones: timedelta = timedelta(hours=1)
    most_tombstones: int = 1_000_000
    events: timedelta = timedelta(hours=1)
    decisions: timedelta = timedelta(days=180)
    most_explanations: int = 200_000
    interval: float = 60.0
    specs_every: int = 15


DEFAULT_RETENTION = Retention()


class _Writes(Protocol):
    async def write_many(
        self, ops: Sequence[Write]
    ) -> Sequence[StoredObject | StatusError | Fenced]: ...


async def compact_forever(database: Database, store: _Writes, retention: Retention) -> None:
    """Compact at every interval, until cancelled; an absent database is tried again later."""
    for turn in count(1):
        await asyncio.sleep(retention.interval)
        try:
            specs = turn % retention.specs_every == 0
            await compact(database, store, retention, datetime.now(UTC), specs=specs)
        except Unavailable:
            continue


async def compact(
    database: Database, store: _Writes, retention: Retention, now: datetime, *, specs: bool = True
) -> bool:
    """Compact once; returns False when another process is at it."""
    async with database.lent() as connection:
        if not await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK))):
            return False
        try:
            mark = sa.select(sa.literal(now, marks.c.at.type), head.c.revision)
            await connection.execute(
                insert(marks).from_select(["at", "revision"], mark).on_conflict_do_nothing()
            )
            await _drop_events(connection, store, now - retention.events)
            await _drop_tombstones(connection, now - retention.tombstones, retention)
            if specs:
                await _drop_specs(connection, database)
            await _drop_decisions(connection, now - retention.decisions)
            await _drop_explanations(connection, now - retention.decisions, retention)
            await _drop_assignments(connection)
            await _drop_contexts(connection)
            await connection.execute(sa.delete(writers).where(writers.c.at < now - _FORGOTTEN))
        except BaseException:
            await connection.invalidate()  # which frees the lock
            raise
        await connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))
    return True


async def _drop_events(connection: AsyncConnection, store: _Writes, before: datetime) -> None:
    revision = await connection.scalar(
        sa.select(sa.func.max(marks.c.revision)).where(marks.c.at <= before)
    )
    if revision is None:
        return
    await connection.execute(
        sa.delete(marks).where(marks.c.at < before, marks.c.revision < revision)
    )
    old = (
        sa.select(
            objects.c.resource,
            objects.c.namespace,
            objects.c.name,
            objects.c.uid,
            objects.c.revision,
        )
        .where(objects.c.resource.in_(_EVENTS), objects.c.revision <= revision)
        .limit(_PIECE)
    )
    while True:
        rows = await connection.execute(old)
        outcomes = await store.write_many(
            [Remove(ObjectKey(*key), uid, expected) for *key, uid, expected in rows]
        )
        if not any(isinstance(outcome, StoredObject) for outcome in outcomes):
            return


async def _drop_tombstones(
    connection: AsyncConnection, before: datetime, retention: Retention
) -> None:
    """Advance head.compacted first: a watcher must learn that its position is gone."""
    revision = tombstones.c.revision
    aged = sa.select(sa.func.max(revision)).where(tombstones.c.deleted_at < before)
    beyond = sa.select(revision).order_by(revision.desc()).offset(retention.most_tombstones)
    limit = await connection.scalar(
        sa.select(sa.func.greatest(aged.scalar_subquery(), beyond.limit(1).scalar_subquery()))
    )
    if limit is None:
        return
    await connection.execute(
        sa.update(head).values(compacted=sa.func.greatest(head.c.compacted, limit))
    )
    await _delete_all(connection, revision, revision <= limit)


async def _drop_specs(connection: AsyncConnection, database: Database) -> None:
    """Delete bodies that nothing refers to.

    The search takes long and holds no lock; what was written since is checked under the head lock
    (see tables), by the index on revision.
    """
    unused = (
        sa.select(specs.c.digest)
        .where(~sa.exists().where(objects.c.digest == specs.c.digest))
        .where(~sa.exists().where(tombstones.c.digest == specs.c.digest))
        .where(~sa.exists().where(cohorts.c.digest == specs.c.digest))
        .limit(_PIECE)
    )
    revision = (await connection.execute(REVISION)).scalar_one()
    digests = (await connection.scalars(unused)).all()
    if not digests:
        return
    used_since = sa.union_all(
        *(
            sa.select(table.c.digest).where(
                table.c.revision > revision, table.c.digest.is_not(None)
            )
            for table in (objects, tombstones)
        ),
        sa.select(cohorts.c.digest).where(cohorts.c.created_revision > revision),
    )
    async with database.transaction() as locked:
        await locked.execute(sa.update(head).values(spec_generation=head.c.spec_generation + 1))
        await locked.execute(
            sa.delete(specs).where(
                specs.c.digest == sa.any_(sa.literal(digests, ARRAY(BYTEA))),
                specs.c.digest.not_in(used_since),
            )
        )


async def _drop_decisions(connection: AsyncConnection, before: datetime) -> None:
    await _delete_all(connection, decisions.c.id, decisions.c.made_at < before)


async def _drop_explanations(
    connection: AsyncConnection, before: datetime, retention: Retention
) -> None:
    """Delete old explanations, and the lists of nodes that no explanation names any more."""
    number = explanations.c.decision
    beyond = sa.select(number).order_by(number.desc()).offset(retention.most_explanations).limit(1)
    last = await connection.scalar(beyond)
    await _delete_all(connection, number, explanations.c.made_at < before)
    if last is not None:
        await _delete_all(connection, number, number <= last)
    named = sa.exists().where(explanations.c.nodes == node_lists.c.digest)
    await connection.execute(sa.delete(node_lists).where(~named))


async def _drop_assignments(connection: AsyncConnection) -> None:
    """Delete what Placements decided that are gone."""
    known = sa.exists().where(objects.c.uid == assignments.c.placement)
    await connection.execute(sa.delete(assignments).where(~known))


async def _drop_contexts(connection: AsyncConnection) -> None:
    """Delete what was uploaded for ImageBuilds that are gone."""
    known = sa.exists().where(objects.c.uid == build_contexts.c.build)
    await connection.execute(sa.delete(build_contexts).where(~known))


async def _delete_all(
    connection: AsyncConnection, key: sa.Column[int], which: sa.ColumnElement[bool]
) -> None:
    """Delete rows of the key's table, a piece at a time."""
    piece = sa.delete(key.table).where(key.in_(sa.select(key).where(which).limit(_PIECE)))
    while (await connection.execute(piece)).rowcount:
        pass
