"""Reads objects and the log from SQL; every answer is of one snapshot of the database.

It works on the driver's connections: what SQLAlchemy's pool adds to a read is about 0.1 ms, but
its statements would add 0.12 ms more to a get, which alone takes 0.05 to 0.13 ms (bench/store.py).
"""
# ruff: noqa: S608 - statements are built from constants of this package alone

from collections.abc import Collection, Sequence

import msgspec

from ..errors import Expired
from ..objects.cohort import MOST, Lodging, place_of
from ..objects.stored import Body, ObjectKey, StoredObject
from . import cohorts
from .cohorts import NO_COHORTS, CohortsWanted
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
# What cohorts hold of a node, by write that bound pods there.
_COHORT_OCCUPANCY = (
    "SELECT b.cpu_milli, b.memory_bytes, b.requests, count(*)"
    " FROM cohort_bindings b JOIN cohorts c ON c.uid = b.cohort,"
    " unnest(b.ordinals, b.nodes) AS p (ordinal, node)"
    " WHERE b.nodes @> ARRAY[$1::text] AND p.node = $1"
    " AND (c.gone IS NULL OR get_bit(c.gone, p.ordinal) = 0)"
    " GROUP BY b.cohort, b.revision"
)
_CREATED_COHORTS = (
    "SELECT uid, created_revision + size - 1 FROM cohorts"
    f" WHERE created_revision > $1 - {MOST} AND created_revision + size - 1 > $1"
    " ORDER BY created_revision LIMIT $2"
)
_BOUND_COHORTS = (
    "SELECT cohort, last_revision FROM cohort_bindings"
    " WHERE last_revision > $1 ORDER BY last_revision LIMIT $2"
)
_REPORTED_COHORTS = (
    "SELECT cohort, last_revision FROM cohort_reports"
    " WHERE last_revision > $1 ORDER BY last_revision LIMIT $2"
)
_NAMES = (
    "SELECT k.s, k.p, o.name FROM unnest($1::text[], $2::text[]) AS k (s, p)"
    " JOIN objects o ON o.resource = 'pods' AND o.namespace = k.s"
    """ AND o.name > k.p COLLATE "C" AND o.name < (k.p || '{') COLLATE "C" """
    " AND length(o.name) = length(k.p) + 5"
)
_COHORTS_AT_ONCE = 16
_SPECS = "SELECT digest, body FROM specs WHERE digest = ANY ($1::bytea[])"
_CHUNK = 4096


class BodyMissing(RuntimeError):
    """A row's interned body was not there: deleted meanwhile, which no snapshot would show."""


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
                    break
                found = await self.bodies_of(connection, [row[4]])
                if found is not None:
                    return stored(row, found)
        if not cohorts.places_of((key,)):
            return None
        async with self._database.snapshot() as connection:
            return (await self.present(connection, [key]))[0][key]

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
            if resource == "pods":
                query, args = (
                    (cohorts.OF_NAMESPACE, [namespace]) if namespace else (cohorts.ALL, [])
                )
                lodgings = await self._lodgings(connection, query, args)
                objects += [pod for lodging in lodgings for pod in lodging.pods()]
                if lodgings:
                    objects.sort(key=_place)
        return Listing(revision, tuple(objects))

    async def occupancy(self, node: str) -> Occupancy:
        """Return what pods hold of a node, which need not exist."""
        if "\0" in node:
            return Occupancy(await self.revision(), {})
        return await patiently(self._patience, lambda: self._occupancy(node))

    async def _occupancy(self, node: str) -> Occupancy:
        async with self._database.snapshot() as connection:
            row = await connection.fetchrow(_OCCUPANCY, node)
            lodged = await connection.fetch(_COHORT_OCCUPANCY, node)
        assert row is not None
        revision, (cpu, memory, pods), others, ports = row
        amounts = [("cpu", cpu), ("memory", memory), ("pods", pods), *(others or ())]
        requests = {name: int(amount) for name, amount in amounts if amount}
        for *one, count in lodged:
            for name, amount in cohorts.requests_of(*one).items():
                requests[name] = requests.get(name, 0) + amount * count
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

        The batch is complete up to its revision; ask again from there until that is the head's.
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
        if resources is None or "pods" in resources:
            until, lodged = await self._cohort_changes(connection, since)
            changes += lodged
            revision = min(revision, until or revision)
        changes.sort(key=lambda change: change.revision)
        return Batch(revision, tuple(c for c in changes if c.revision <= revision))

    async def _cohort_changes(self, connection: Connection, since: int) -> tuple[int, list[Change]]:
        """Return the last states of pods of cohorts that changed after `since`.

        Returns:
            Up to which revision they are complete, 0 for all; and the changes.
        """
        until = 0
        uids: set[str] = set()
        for query in (_CREATED_COHORTS, _BOUND_COHORTS, _REPORTED_COHORTS):
            rows = await connection.fetch(query, since, _COHORTS_AT_ONCE)
            uids.update(str(uid) for uid, _ in rows)
            if len(rows) == _COHORTS_AT_ONCE:
                last = int(rows[-1][1])
                until = min(until or last, last)
        if not uids:
            return 0, []
        found = await self._lodgings(connection, cohorts.BY_UID, [list(uids)])
        pods = (pod for lodging in found for pod in lodging.pods() if pod.revision > since)
        return until, [_change(pod, since, gone=False) for pod in pods]

    async def present(
        self,
        connection: Connection,
        keys: Collection[ObjectKey],
        cohorts_wanted: CohortsWanted = NO_COHORTS,
    ) -> tuple[dict[ObjectKey, StoredObject | None], list[Lodging]]:
        """Return the objects of those keys inside the caller's transaction, None where absent.

        Returns:
            The objects, and the cohorts that were asked for or that pods of those keys live in.
        """
        present: dict[ObjectKey, StoredObject | None] = dict.fromkeys(keys)
        rows = await connection.fetch(
            _GET_MANY,
            [key.resource for key in keys],
            [key.namespace for key in keys],
            [key.name for key in keys],
        )
        for obj in await self._objects(connection, rows):
            present[obj.key] = obj
        absent = cohorts.places_of(key for key, found in present.items() if found is None)
        places = {*absent.values(), *cohorts_wanted.places}
        lodgings = await self._wanted(connection, places, cohorts_wanted.uids)
        if lodgings:
            register = cohorts.Register(lodgings)
            present.update({key: register.pod(place) for key, place in absent.items()})
        return present, lodgings

    async def places(
        self, connection: Connection, prefixes: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], set[int]]:
        """Return the places of names that pods with rows of their own have, by prefix."""
        found: dict[tuple[str, str], set[int]] = {}
        columns = [list(column) for column in zip(*prefixes, strict=True)]
        for namespace, prefix, name in await connection.fetch(_NAMES, *columns):
            place = place_of(name[len(prefix) :])
            if place is not None:
                found.setdefault((namespace, prefix), set()).add(place)
        return found

    async def _wanted(
        self,
        connection: Connection,
        places: Collection[cohorts.Place],
        uids: Collection[str],
    ) -> list[Lodging]:
        rows: dict[object, Row] = {}
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            found = await connection.fetch(cohorts.BEFORE, *columns)
            rows.update({row[0]: row for row in found})
        if uids:
            found = await connection.fetch(cohorts.BY_UID, list(uids))
            rows.update({row[0]: row for row in found})
        return await self._furnished(connection, list(rows.values()))

    async def _lodgings(
        self, connection: Connection, query: str, args: Sequence[object]
    ) -> list[Lodging]:
        return await self._furnished(connection, await connection.fetch(query, *args))

    async def _furnished(self, connection: Connection, rows: list[Row]) -> list[Lodging]:
        if not rows:
            return []
        bodies = await self.bodies_of(connection, [row[cohorts.DIGEST] for row in rows])
        if bodies is None:
            raise BodyMissing("a cohort's interned body is missing from specs")
        return await cohorts.furnished(connection, rows, bodies)

    async def _objects(self, connection: Connection, rows: list[Row]) -> list[StoredObject]:
        """Return the rows' objects; the connection must hold a snapshot, or be of a commit."""
        bodies = await self.bodies_of(connection, [row[4] for row in rows])
        if bodies is None:
            raise BodyMissing("an object's interned body is missing from specs")
        return [stored(row, bodies) for row in rows]

    async def bodies_of(
        self, connection: Connection, digests: Sequence[bytes | None]
    ) -> dict[bytes, Body] | None:
        """Return interned bodies, those known and those of specs.

        Returns:
            None when one has been deleted meanwhile.
        """
        found: dict[bytes, Body] = {}
        missing: list[bytes] = []
        for digest in set(digests):
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


def _place(obj: StoredObject) -> tuple[str, str]:
    return obj.meta.namespace, obj.meta.name


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
