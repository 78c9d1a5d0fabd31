"""Reads objects and the log from SQL; every answer is of one snapshot of the database.

It works on the driver's connections: what SQLAlchemy's pool adds to a read is about 0.1 ms, but
its statements would add 0.12 ms more to a get, which alone takes 0.05 to 0.13 ms (bench/store.py).
"""
# ruff: noqa: S608 - statements are built from constants of this package alone

import msgspec

from ..errors import Expired
from ..objects.stored import Body, ObjectKey, StoredObject
from .database import REVISION, Database, driver, patiently
from .operations import Batch, Change, ChangeType, Listing, Occupancy
from .postgres import Connection, Row
from .rows import COLUMNS, Bodies, stored

_JOINED = "objects o LEFT JOIN bindings b ON b.pod_uid = o.uid"
_GET = f"SELECT {COLUMNS} FROM {_JOINED} WHERE o.resource = $1 AND o.namespace = $2 AND o.name = $3"
_GET_MANY = (
    f"SELECT {COLUMNS} FROM unnest($1::text[], $2::text[], $3::text[]) AS k (r, s, n)"
    " JOIN objects o ON o.resource = k.r AND o.namespace = k.s AND o.name = k.n"
    " LEFT JOIN bindings b ON b.pod_uid = o.uid"
)
_LIST = f"SELECT {COLUMNS} FROM {_JOINED} WHERE o.resource = $1"
_ORDER = " ORDER BY o.namespace, o.name"
# A pod's revision is the greater of its two rows', so each changed object is in one of the two.
_CHANGED = (
    f"SELECT {COLUMNS} FROM {_JOINED} WHERE o.revision > $1"
    " AND (b.revision IS NULL OR b.revision < o.revision)"
    " AND ($3::text[] IS NULL OR o.resource = ANY ($3::text[]))"
    " ORDER BY o.revision LIMIT $2"
)
_BOUND = (
    f"SELECT {COLUMNS} FROM bindings b JOIN objects o ON o.uid = b.pod_uid"
    " WHERE b.revision > $1 AND o.revision < b.revision"
    " AND ($3::text[] IS NULL OR o.resource = ANY ($3::text[]))"
    " ORDER BY b.revision LIMIT $2"
)
_DELETED = (
    "SELECT resource, revision, created_revision, metadata, digest, body, status,"
    " node, bound_at, bound_revision FROM tombstones WHERE revision > $1"
    " AND ($3::text[] IS NULL OR resource = ANY ($3::text[]))"
    " ORDER BY revision LIMIT $2"
)
# One statement is one snapshot. `requests` is null, or holds everything but cpu and memory.
_OCCUPANCY = (
    "WITH held AS MATERIALIZED (SELECT cpu_milli, memory_bytes, requests FROM bindings"
    " WHERE node = $1 AND NOT released)"
    " SELECT revision,"
    " (SELECT ARRAY[coalesce(sum(cpu_milli), 0), coalesce(sum(memory_bytes), 0),"
    " coalesce(sum(coalesce((requests ->> 'pods')::numeric, 1)), 0)] FROM held),"
    " (SELECT array_agg(ROW(key, amount)) FROM (SELECT key, sum(value::numeric) AS amount"
    " FROM held, jsonb_each_text(requests) WHERE key <> 'pods' GROUP BY key) other),"
    " (SELECT array_agg(ROW(host_ip, protocol, port)) FROM host_ports WHERE node = $1)"
    " FROM head"
)
_SPECS = "SELECT digest, body FROM specs WHERE digest = ANY ($1::bytea[])"
_CHUNK = 4096


class Reader:
    """Reads from the database; keeps the interned bodies it has met.

    Every read is repeated while the database is away, for `patience` seconds, then Unavailable.
    """

    def __init__(self, database: Database, bodies: Bodies, *, patience: float) -> None:
        self._database = database
        self._bodies = bodies
        self._patience = patience

    async def get(self, key: ObjectKey) -> StoredObject | None:
        """Return one object, or None."""
        if "\0" in key.name + key.namespace:
            return None  # PostgreSQL takes no such text, so nothing can be called that
        return await patiently(self._patience, lambda: self._get(key))

    async def _get(self, key: ObjectKey) -> StoredObject | None:
        async with self._database.lent() as lent:
            connection = await driver(lent)
            while True:
                row = await connection.fetchrow(_GET, key.resource, key.namespace, key.name)
                if row is None:
                    return None
                found = await self._bodies_of(connection, [row])
                if found is not None:
                    return stored(row, found)

    async def listing(self, resource: str, namespace: str = "") -> Listing:
        """Return all objects of a resource, of one namespace or of all, at one revision."""
        if "\0" in namespace:
            return Listing(await self.revision(), ())
        return await patiently(self._patience, lambda: self._listing(resource, namespace))

    async def _listing(self, resource: str, namespace: str) -> Listing:
        async with self._database.snapshot() as connection:
            revision = int(await connection.fetchval("SELECT revision FROM head"))
            query, args = _LIST, [resource]
            if namespace:
                query, args = f"{_LIST} AND o.namespace = $2", [resource, namespace]
            objects: list[StoredObject] = []
            rows: list[Row] = []
            async for row in connection.cursor(query + _ORDER, *args, prefetch=_CHUNK):
                rows.append(row)
                if len(rows) == _CHUNK:
                    objects += await self._objects(connection, rows)
                    rows = []
            objects += await self._objects(connection, rows)
        return Listing(revision, tuple(objects))

    async def occupancy(self, node: str) -> Occupancy:
        """Return what pods hold of a node, which need not exist."""
        if "\0" in node:
            return Occupancy(await self.revision(), {})
        return await patiently(self._patience, lambda: self._occupancy(node))

    async def _occupancy(self, node: str) -> Occupancy:
        async with self._database.lent() as lent:
            row = await (await driver(lent)).fetchrow(_OCCUPANCY, node)
        assert row is not None
        revision, (cpu, memory, pods), others, ports = row
        amounts = [("cpu", cpu), ("memory", memory), ("pods", pods), *(others or ())]
        requests = {name: int(amount) for name, amount in amounts if amount}
        return Occupancy(revision, requests, tuple(tuple(port) for port in ports or ()))

    async def revision(self) -> int:
        """Return the last committed revision."""
        return await patiently(self._patience, self._revision)

    async def _revision(self) -> int:
        async with self._database.lent() as connection:
            return (await connection.execute(REVISION)).scalar_one()

    async def changes(
        self, since: int, resources: frozenset[str] | None = None, limit: int = _CHUNK
    ) -> Batch:
        """Return changes after `since`, collapsed to the last state of each object.

        The batch is complete up to its revision; ask again from there until it has no changes.
        Every deletion comes, also of objects created after `since` (nothing is said of their
        creation).

        Raises:
            Expired: `since` has been compacted, or lies in the future.
        """

        async def read() -> Batch:
            async with self._database.snapshot() as connection:
                return await self._changes(connection, since, resources, limit)

        return await patiently(self._patience, read)

    async def _changes(
        self, connection: Connection, since: int, resources: frozenset[str] | None, limit: int
    ) -> Batch:
        head = await connection.fetchrow("SELECT revision, compacted FROM head")
        assert head is not None
        revision, compacted = int(head[0]), int(head[1])
        if not compacted <= since <= revision:
            raise Expired(
                f"too old resource version: {since} ({compacted})"
                if since < compacted
                else f"resource version {since} is in the future (now {revision}); list again"
            )
        if since == revision:
            return Batch(revision)
        names = None if resources is None else list(resources)
        changes: list[Change] = []
        for query in (_CHANGED, _BOUND, _DELETED):
            rows = await connection.fetch(query, since, limit, names)
            objects = await self._objects(connection, rows)
            if len(rows) == limit:
                revision = min(revision, objects[-1].revision)
            changes += [_change(obj, since, gone=query is _DELETED) for obj in objects]
        changes.sort(key=lambda change: change.revision)
        return Batch(revision, tuple(c for c in changes if c.revision <= revision))

    async def present(
        self, connection: Connection, keys: list[ObjectKey]
    ) -> dict[ObjectKey, StoredObject | None]:
        """Return the objects of those keys inside the caller's transaction, None where absent."""
        present: dict[ObjectKey, StoredObject | None] = dict.fromkeys(keys)
        rows = await connection.fetch(
            _GET_MANY,
            [key.resource for key in keys],
            [key.namespace for key in keys],
            [key.name for key in keys],
        )
        for obj in await self._objects(connection, rows):
            present[obj.key] = obj
        return present

    async def _objects(self, connection: Connection, rows: list[Row]) -> list[StoredObject]:
        """Return the rows' objects; the transaction must hold a snapshot or the head lock."""
        bodies = await self._bodies_of(connection, rows)
        if bodies is None:
            raise RuntimeError("an object's interned body is missing from specs")
        return [stored(row, bodies) for row in rows]

    async def _bodies_of(self, connection: Connection, rows: list[Row]) -> dict[bytes, Body] | None:
        """Return the rows' interned bodies; None when one has been deleted meanwhile."""
        found: dict[bytes, Body] = {}
        missing: list[bytes] = []
        for digest in {row[4] for row in rows}:
            if digest is None:
                continue
            body = self._bodies.get(digest)
            if body is None:
                missing.append(digest)
            else:
                found[digest] = body
        if missing:
            for digest, body in await connection.fetch(_SPECS, missing):
                found[digest] = self._bodies.put(Body(body, digest))
            if not found.keys() >= set(missing):
                return None
        return found


def _change(obj: StoredObject, since: int, *, gone: bool) -> Change:
    if gone:
        return Change(ChangeType.DELETED, obj.revision, obj)
    kind = ChangeType.ADDED if obj.created_revision > since else ChangeType.MODIFIED
    return Change(kind, obj.revision, obj)


def with_prior(change: Change, prior: StoredObject | None) -> Change:
    """Return the change with the state before it, where that is known."""
    if prior is None or prior.meta.uid != change.object.meta.uid:
        return change
    return msgspec.structs.replace(change, prior=prior)
