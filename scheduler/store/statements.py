"""The SQL of the writing transaction; every statement handles a whole batch."""
# ruff: noqa: S608 - statements are built from constants of this package alone

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from .bind import HostPort
from .cohorts import BERTHS_TYPES, COHORT_TYPES, JOINED, REPORTS_TYPES, cohort_row
from .postgres import Connection
from .rows import BINDING_TYPES, OBJECT_TYPES, encode_json
from .verdict import Verdict

CHANNEL = "ironfree"
_Row = Sequence[Any]


class Head(NamedTuple):
    """The locked head row."""

    revision: int
    epoch: int
    spec_generation: int


async def prepare(connection: Connection) -> None:
    """Make commits of this connection durable on return, and its plans those of a batch."""
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        await connection.execute("SET synchronous_commit = on")
    # A batch names its rows by key: always look them up, never scan a table for them.
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
        await connection.execute(f"SET {setting} = off")
    await connection.execute("SET plan_cache_mode = force_generic_plan")


async def lock_head(connection: Connection) -> Head:
    """Begin a transaction and take the lock that serialises commits."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    row = await connection.fetchrow("SELECT revision, epoch, spec_generation FROM head FOR UPDATE")
    assert row is not None
    return Head(*row)


async def commit(connection: Connection, revision: int, writer: str, transaction: int) -> None:
    """Advance the head, leave the writer's mark, wake listeners, commit: one round trip.

    Args:
        connection: in the transaction of lock_head.
        revision: the last one given out.
        writer: uuid of the writing process.
        transaction: its own count of transactions.
    """
    await connection.execute(
        f"UPDATE head SET revision = {revision:d};"
        f"INSERT INTO writers VALUES ('{UUID(writer)}', {transaction:d}, now())"
        " ON CONFLICT (id) DO UPDATE SET transaction = excluded.transaction, at = excluded.at;"
        f"NOTIFY {CHANNEL}, '{revision:d}'; COMMIT"
    )


async def committed(connection: Connection, writer: str, transaction: int) -> bool:
    """Tell whether a transaction that a lost connection left behind was committed.

    Takes the head lock first: while that transaction is still being decided, it holds the lock.
    """
    await connection.execute("BEGIN")
    try:
        await connection.execute("SELECT FROM head FOR UPDATE")
        last = await connection.fetchval(
            "SELECT transaction FROM writers WHERE id = $1::uuid", writer
        )
    finally:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
    return last == transaction


async def held_ports(connection: Connection, nodes: Sequence[str]) -> dict[str, set[HostPort]]:
    """Return the host ports in use on those nodes."""
    held: dict[str, set[HostPort]] = {}
    for node, address, protocol, port in await connection.fetch(
        "SELECT node, host_ip, protocol, port FROM host_ports WHERE node = ANY ($1::text[])", nodes
    ):
        held.setdefault(node, set()).add((address, protocol, port))
    return held


def _unnested(types: Mapping[str, str]) -> str:
    return ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(types.values(), 1))


_INSERT_OBJECTS = (
    f"INSERT INTO objects ({', '.join(OBJECT_TYPES)})"
    f" SELECT * FROM unnest({_unnested(OBJECT_TYPES)})"
)
_UPDATE_OBJECTS = (
    "UPDATE objects o SET revision = u.revision, metadata = u.metadata, digest = u.digest,"
    " body = u.body, status = u.status"
    f" FROM unnest({_unnested(OBJECT_TYPES)}) AS u ({', '.join(OBJECT_TYPES)})"
    " WHERE o.resource = u.resource AND o.namespace = u.namespace AND o.name = u.name"
)
_DELETE_OBJECTS = (
    "DELETE FROM objects o USING unnest($1::text[], $2::text[], $3::text[]) AS u (r, s, n)"
    " WHERE o.resource = u.r AND o.namespace = u.s AND o.name = u.n"
)
_INSERT_BINDINGS = (
    f"INSERT INTO bindings ({', '.join(BINDING_TYPES)})"
    f" SELECT * FROM unnest({_unnested(BINDING_TYPES)})"
)
_INSERT_SPECS = (
    "INSERT INTO specs (digest, body) SELECT * FROM unnest($1::bytea[], $2::jsonb[])"
    " ON CONFLICT DO NOTHING"
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
_INSERT_TOMBSTONES = (
    f"INSERT INTO tombstones ({', '.join(_TOMBSTONE_TYPES)})"
    f" SELECT * FROM unnest({_unnested(_TOMBSTONE_TYPES)})"
)
_INSERT_PORTS = (
    "INSERT INTO host_ports (node, host_ip, protocol, port, pod_uid)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::uuid[])"
)


def _split(types: Mapping[str, str]) -> str:
    """Return the parameters of one row, of which those of JOINED are split again."""
    return ", ".join(
        f"coalesce((string_to_array(',' || ${i}::text, ','))[2:]::{kind}, '{{}}')"
        if name in JOINED
        else f"${i}::{kind}"
        for i, (name, kind) in enumerate(types.items(), 1)
    )


_INSERT_BERTHS = (
    f"INSERT INTO cohort_bindings ({', '.join(BERTHS_TYPES)}) VALUES ({_split(BERTHS_TYPES)})"
)
_INSERT_REPORTS = (
    f"INSERT INTO cohort_reports ({', '.join(REPORTS_TYPES)}) VALUES ({_split(REPORTS_TYPES)})"
)
_GONE = (
    "UPDATE cohorts c SET gone = u.gone FROM unnest($1::uuid[], $2::bytea[]) AS u (uid, gone)"
    " WHERE c.uid = u.uid"
)


# Below this many rows the fixed cost of COPY is more than it saves.
_COPY_FROM = 32


async def _insert(
    connection: Connection,
    table: str,
    statement: str,
    columns: Collection[str],
    rows: Sequence[_Row],
) -> None:
    if len(rows) < _COPY_FROM:
        await connection.execute(statement, *_columns(rows))
    else:
        await connection.copy_records_to_table(table, records=rows, columns=list(columns))


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def apply(connection: Connection, verdict: Verdict, known: set[bytes]) -> None:
    """Write a verdict.

    Args:
        connection: in the transaction of lock_head.
        verdict: what to write.
        known: digests that are in specs for sure.
    """
    bodies = {d: body for d, body in verdict.bodies.items() if d not in known}
    if bodies:
        texts = [body.json for body in bodies.values()]
        await connection.execute(_INSERT_SPECS, list(bodies), texts)
    await _apply_removals(connection, verdict)
    if verdict.inserts:
        await _insert(connection, "objects", _INSERT_OBJECTS, OBJECT_TYPES, verdict.inserts)
    if verdict.updates:
        await connection.execute(_UPDATE_OBJECTS, *_columns(verdict.updates))
    if verdict.bindings:
        await _insert(connection, "bindings", _INSERT_BINDINGS, BINDING_TYPES, verdict.bindings)
    if verdict.ports:
        await connection.execute(
            _INSERT_PORTS,
            *_columns((node, *port, uid) for node, port, uid in verdict.ports),
        )
    await _apply_cohorts(connection, verdict)


async def _apply_cohorts(connection: Connection, verdict: Verdict) -> None:
    if verdict.cohorts:
        rows = [cohort_row(lodging) for lodging in verdict.cohorts]
        await connection.copy_records_to_table("cohorts", records=rows, columns=list(COHORT_TYPES))
    if verdict.berths:
        await connection.executemany(_INSERT_BERTHS, verdict.berths)
    if verdict.reports:
        await connection.executemany(_INSERT_REPORTS, verdict.reports)
    if verdict.left:
        left = [(lodging.cohort.uid, lodging.gone_bits()) for lodging in verdict.left]
        await connection.execute(_GONE, *_columns(left))
    if verdict.emptied:
        await connection.execute(
            "DELETE FROM cohorts WHERE uid = ANY ($1::uuid[])", verdict.emptied
        )


async def _apply_removals(connection: Connection, verdict: Verdict) -> None:
    if verdict.deletes:
        await connection.execute(
            _DELETE_OBJECTS,
            *_columns((key.resource, key.namespace, key.name) for key in verdict.deletes),
        )
    if verdict.tombstones:
        rows = list(_tombstone_rows(verdict))
        await _insert(connection, "tombstones", _INSERT_TOMBSTONES, _TOMBSTONE_TYPES, rows)
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
