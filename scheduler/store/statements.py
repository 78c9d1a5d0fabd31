"""The SQL of the writing transaction; every statement handles a whole batch."""
# ruff: noqa: S608 - statements are built from constants of this package alone

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from .bind import HostPort
from .parts import Rows, columns, inserted
from .postgres import Connection
from .rows import encode_json
from .verdict import Verdict

CHANNEL = "ironfree"


class Head(NamedTuple):
    """The head row."""

    revision: int
    epoch: int
    spec_generation: int


class Mark(NamedTuple):
    """What a commit leaves behind.

    Args:
        revision: the last one given out.
        writer: uuid of the writing process; transaction: its own count of transactions.
    """

    revision: int
    writer: str
    transaction: int


async def prepare(connection: Connection) -> None:
    """Make commits of this connection durable on return, and its plans those of a batch."""
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        await connection.execute("SET synchronous_commit = on")
    # A batch names its rows by key: always look them up, never scan a table for them.
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
        await connection.execute(f"SET {setting} = off")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute("SET default_transaction_isolation = 'read committed'")


async def lock_head(connection: Connection) -> Head:
    """Begin a transaction and take the lock that serialises commits."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    row = await connection.fetchrow("SELECT revision, epoch, spec_generation FROM head FOR UPDATE")
    assert row is not None
    return Head(*row)


async def commit(connection: Connection, mark: Mark) -> None:
    """Advance the head, leave the writer's mark, wake listeners, commit: one round trip.

    Args:
        connection: in the transaction of lock_head.
        mark: of this commit.
    """
    await connection.execute(
        f"UPDATE head SET revision = {mark.revision:d};"
        f"INSERT INTO writers VALUES ('{UUID(mark.writer)}', {mark.transaction:d}, now())"
        " ON CONFLICT (id) DO UPDATE SET transaction = excluded.transaction, at = excluded.at;"
        f"NOTIFY {CHANNEL}, '{mark.revision:d}'; COMMIT"
    )


def at_once(verdict: Verdict, written: Sequence[Rows]) -> bool:
    """Tell whether `commit_at_once` does it: nothing is taken away, and no part is long."""
    away = (verdict.deletes, verdict.tombstones, verdict.removed_pods, verdict.released)
    return not any((*away, verdict.left, verdict.emptied)) and not any(
        each.many for each in written
    )


async def commit_at_once(
    connection: Connection, head: Head, written: Sequence[Rows], mark: Mark
) -> bool:
    """Write, advance the head, leave the mark, wake listeners: all in one statement, if nothing
    has been committed since the head was looked at (Kung and Robinson, "On Optimistic Methods for
    Concurrency Control", 1981).

    Args:
        connection: not in a transaction.
        head: as of what the verdict was made of.
        written: of a verdict for which `at_once` is true.
        mark: of this commit.

    Returns:
        whether it is committed; if not, nothing is.
    """
    parts = [
        "moved AS (UPDATE head SET revision = $1"
        " WHERE revision = $2 AND epoch = $3 AND spec_generation = $4 RETURNING revision)",
        "marked AS (INSERT INTO writers SELECT $5::uuid, $6::bigint, now() FROM moved"
        " ON CONFLICT (id) DO UPDATE SET transaction = excluded.transaction, at = excluded.at)",
    ]
    parameters: list[object] = [mark.revision, *head, mark.writer, mark.transaction]
    for each in written:
        parts.append(f"{each.part.name} AS ({each.part.sql(len(parameters) + 1, 'moved')})")
        parameters += each.columns()
    told = f"SELECT revision, pg_notify('{CHANNEL}', revision::text) FROM moved"
    row = await connection.fetchrow(f"WITH {', '.join(parts)} {told}", *parameters)
    return row is not None


async def unmoved(connection: Connection, head: Head) -> bool:
    """Tell whether nothing has been committed since the head was looked at."""
    row = await connection.fetchrow("SELECT revision, epoch, spec_generation FROM head")
    assert row is not None
    return Head(*row) == head


async def committed(connection: Connection, mark: Mark) -> bool:
    """Tell whether a commit that a lost connection left behind was made; if not, it never will be.

    Takes the head lock first: while that transaction is still being decided, it holds the lock. A
    statement of `commit_at_once` that is still on its way finds another generation of specs, which
    costs writers no more than to forget which they know.
    """
    await connection.execute("BEGIN")
    done = False
    try:
        await connection.execute("SELECT FROM head FOR UPDATE")
        last = await connection.fetchval(
            "SELECT transaction FROM writers WHERE id = $1::uuid", mark.writer
        )
        done = last == mark.transaction
        if not done:
            await connection.execute("UPDATE head SET spec_generation = spec_generation + 1")
    finally:
        if not connection.is_closed():
            await connection.execute("ROLLBACK" if done else "COMMIT")
    return done


async def held_ports(connection: Connection, nodes: Sequence[str]) -> dict[str, set[HostPort]]:
    """Return the host ports in use on those nodes."""
    held: dict[str, set[HostPort]] = {}
    for node, address, protocol, port in await connection.fetch(
        "SELECT node, host_ip, protocol, port FROM host_ports WHERE node = ANY ($1::text[])", nodes
    ):
        held.setdefault(node, set()).add((address, protocol, port))
    return held


_DELETE_OBJECTS = (
    "DELETE FROM objects o USING unnest($1::text[], $2::text[], $3::text[]) AS u (r, s, n)"
    " WHERE o.resource = u.r AND o.namespace = u.s AND o.name = u.n"
)
_TOMBSTONE_TYPES = {
    "revision": "bigint",
    "resource": "text",
    "created_revision": "bigint",
    "deleted_at": "timestamptz",
    "metadata": "jsonb",
    "digest": "bytea",
    "body": "jsonb",
    "status": "jsonb",
    "node": "text",
    "bound_at": "timestamptz",
    "bound_revision": "bigint",
}
_TOMBSTONES = inserted("tombstones", _TOMBSTONE_TYPES, copied=True)
_GONE = (
    "UPDATE cohorts c SET gone = u.gone FROM unnest($1::uuid[], $2::bytea[]) AS u (uid, gone)"
    " WHERE c.uid = u.uid"
)


async def apply(connection: Connection, verdict: Verdict, written: Sequence[Rows]) -> None:
    """Write a verdict.

    Args:
        connection: in the transaction of lock_head.
        verdict: what to write.
        written: its parts.
    """
    await _apply_removals(connection, verdict)
    for each in written:
        await _write(connection, each)
    if verdict.left:
        left = [(lodging.cohort.uid, lodging.gone_bits()) for lodging in verdict.left]
        await connection.execute(_GONE, *columns(left))
    if verdict.emptied:
        await connection.execute(
            "DELETE FROM cohorts WHERE uid = ANY ($1::uuid[])", verdict.emptied
        )


async def _write(connection: Connection, written: Rows) -> None:
    part = written.part
    if written.many:
        await connection.copy_records_to_table(
            part.name, records=written.rows, columns=list(part.types)
        )
    else:
        await connection.execute(part.sql(), *written.columns())


async def _apply_removals(connection: Connection, verdict: Verdict) -> None:
    if verdict.deletes:
        await connection.execute(
            _DELETE_OBJECTS,
            *columns((key.resource, key.namespace, key.name) for key in verdict.deletes),
        )
    if verdict.tombstones:
        await _write(connection, Rows(_TOMBSTONES, list(_tombstone_rows(verdict))))
    if verdict.removed_pods:
        await connection.execute(
            "DELETE FROM bindings WHERE pod_uid = ANY ($1::uuid[])", verdict.removed_pods
        )
    if verdict.released:
        await connection.execute(
            "UPDATE bindings SET released = true WHERE pod_uid = ANY ($1::uuid[])",
            verdict.released,
        )
    gone = [*verdict.removed_pods, *verdict.released]
    if gone:
        await connection.execute("DELETE FROM host_ports WHERE pod_uid = ANY ($1::uuid[])", gone)


def _tombstone_rows(verdict: Verdict) -> Iterable[Sequence[Any]]:
    now = datetime.now(UTC)
    for obj in verdict.tombstones:
        digest, binding = obj.body.digest, obj.binding
        yield (
            obj.revision,
            obj.resource,
            obj.created_revision,
            now,
            encode_json(obj.meta),
            digest or None,
            None if digest else obj.body.json,
            obj.status or None,
            binding.node if binding else None,
            binding.bound_at if binding else None,
            binding.revision if binding else None,
        )
