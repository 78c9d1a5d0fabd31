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

from ..errors import Fenced, StatusError, Unavailable
from ..objects.stored import ObjectKey, StoredObject
from .operations import Remove, Write
from .pool import Pool
from .postgres import Connection

_LOCK = 0x434F4D50
_PIECE = 5000
_FORGOTTEN = timedelta(days=1)  # far longer than a writer asks for its outcome
_EVENTS = ("events", "events.events.k8s.io")


@dataclass(frozen=True)
class Retention:
    """How long what is kept.

    Args:
        tombstones: how long a watch may be away and continue without a gap.
        most_tombstones: beyond this many, older ones go earlier.
        interval: seconds between two compactions.
        specs_every: compactions between two searches for unused bodies, which read all objects.
    """

    tombstones: timedelta = timedelta(hours=1)
    most_tombstones: int = 1_000_000
    events: timedelta = timedelta(hours=1)
    decisions: timedelta = timedelta(days=180)
    interval: float = 60.0
    specs_every: int = 15


DEFAULT_RETENTION = Retention()


class _Writes(Protocol):
    async def write_many(
        self, ops: Sequence[Write]
    ) -> Sequence[StoredObject | StatusError | Fenced]: ...


async def compact_forever(pool: Pool, store: _Writes, retention: Retention) -> None:
    """Compact at every interval, until cancelled; an absent database is tried again later."""
    for turn in count(1):
        await asyncio.sleep(retention.interval)
        try:
            specs = turn % retention.specs_every == 0
            await compact(pool, store, retention, datetime.now(UTC), specs=specs)
        except Unavailable:
            continue


async def compact(
    pool: Pool, store: _Writes, retention: Retention, now: datetime, *, specs: bool = True
) -> bool:
    """Compact once; returns False when another process is at it."""
    async with pool.lent() as connection:
        if not await connection.fetchval(f"SELECT pg_try_advisory_lock({_LOCK})"):
            return False
        try:
            await connection.execute(
                "INSERT INTO marks SELECT $1, revision FROM head ON CONFLICT DO NOTHING", now
            )
            await _drop_events(connection, store, now - retention.events)
            await _drop_tombstones(connection, now - retention.tombstones, retention)
            if specs:
                await _drop_specs(connection)
            await _drop_decisions(connection, now - retention.decisions)
            await connection.execute("DELETE FROM writers WHERE at < $1", now - _FORGOTTEN)
        except BaseException:
            connection.terminate()  # which frees the lock
            raise
        await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")
    return True


async def _drop_events(connection: Connection, store: _Writes, before: datetime) -> None:
    revision = await connection.fetchval("SELECT max(revision) FROM marks WHERE at <= $1", before)
    if revision is None:
        return
    await connection.execute("DELETE FROM marks WHERE at < $1 AND revision < $2", before, revision)
    while True:
        rows = await connection.fetch(
            "SELECT resource, namespace, name, uid::text, revision FROM objects"
            " WHERE resource = ANY ($1::text[]) AND revision <= $2 LIMIT $3",
            _EVENTS,
            revision,
            _PIECE,
        )
        outcomes = await store.write_many(
            [Remove(ObjectKey(*key), uid, expected) for *key, uid, expected in rows]
        )
        if not any(isinstance(outcome, StoredObject) for outcome in outcomes):
            return


async def _drop_tombstones(connection: Connection, before: datetime, retention: Retention) -> None:
    """Advance head.compacted first: a watcher must learn that its position is gone."""
    limit = await connection.fetchval(
        "SELECT greatest("
        " (SELECT max(revision) FROM tombstones WHERE deleted_at < $1),"
        " (SELECT revision FROM tombstones ORDER BY revision DESC OFFSET $2 LIMIT 1))",
        before,
        retention.most_tombstones,
    )
    if limit is None:
        return
    await connection.execute("UPDATE head SET compacted = greatest(compacted, $1)", limit)
    while True:
        done = await connection.execute(
            "DELETE FROM tombstones WHERE revision IN"
            " (SELECT revision FROM tombstones WHERE revision <= $1 LIMIT $2)",
            limit,
            _PIECE,
        )
        if done == "DELETE 0":
            return


async def _drop_specs(connection: Connection) -> None:
    """Delete bodies that nothing refers to.

    The search takes long and holds no lock; what was written since is checked under the head lock
    (see tables), by the index on revision.
    """
    row = await connection.fetchrow(
        "SELECT (SELECT revision FROM head), array_agg(digest) FROM"
        " (SELECT digest FROM specs s"
        "  WHERE NOT EXISTS (SELECT FROM objects o WHERE o.digest = s.digest)"
        "  AND NOT EXISTS (SELECT FROM tombstones t WHERE t.digest = s.digest)"
        "  LIMIT $1) unused",
        _PIECE,
    )
    if row is None or row[1] is None:
        return
    await connection.execute("BEGIN")
    await connection.execute("UPDATE head SET spec_generation = spec_generation + 1")
    await connection.execute(
        "DELETE FROM specs WHERE digest = ANY ($1::bytea[]) AND digest NOT IN"
        " (SELECT digest FROM objects WHERE revision > $2 AND digest IS NOT NULL"
        " UNION ALL SELECT digest FROM tombstones WHERE revision > $2 AND digest IS NOT NULL)",
        row[1],
        row[0],
    )
    await connection.execute("COMMIT")


async def _drop_decisions(connection: Connection, before: datetime) -> None:
    while True:
        done = await connection.execute(
            "DELETE FROM decisions WHERE id IN"
            " (SELECT id FROM decisions WHERE made_at < $1 LIMIT $2)",
            before,
            _PIECE,
        )
        if done == "DELETE 0":
            return
