"""Cohorts as rows, and who still lives in one.

A cohort is a row of `cohorts`; each write that bound some of its pods is a row of
`cohort_bindings`. The first write that concerns a pod alone gives it rows of its own in `objects`
and `bindings`, and marks it as gone from its cohort.
"""
# ruff: noqa: S608 - statements are built from constants of this package alone

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..objects.cohort import Berths, Cohort, Lodging, Reports, Stencil, place_of
from ..objects.meta import ObjectMeta
from ..objects.stored import Body, ObjectKey, StoredObject
from .postgres import Connection, Row
from .rows import encode_json

_decode_meta = msgspec.json.Decoder(ObjectMeta).decode
_decode_requests = msgspec.json.Decoder(dict[str, int]).decode

COHORT_TYPES: Mapping[str, str] = {
    "uid": "uuid",
    "namespace": "text",
    "prefix": "text",
    "start": "integer",
    "size": "integer",
    "created_revision": "bigint",
    "metadata": "jsonb",
    "digest": "bytea",
    "status": "jsonb",
    "gone": "bytea",
}
BERTHS_TYPES: Mapping[str, str] = {
    "cohort": "uuid",
    "revision": "bigint",
    "last_revision": "bigint",
    "bound_at": "timestamptz",
    "epoch": "bigint",
    "cpu_milli": "bigint",
    "memory_bytes": "bigint",
    "requests": "jsonb",
    "decision": "bigint",
    "ordinals": "integer[]",
    "nodes": "text[]",
}
REPORTS_TYPES: Mapping[str, str] = {
    "cohort": "uuid",
    "revision": "bigint",
    "last_revision": "bigint",
    "ordinals": "integer[]",
    "phase": "text",
    "pieces": "text[]",
    "fields": "integer[]",
    "own": "text[]",
}
JOINED = frozenset({"ordinals", "nodes", "own"})
"""Long arrays, written as one text with commas, which none of the values has: the driver would
look at every element for itself."""
LITERAL = frozenset({"pieces", "fields"})
"""Arrays of any values, written as array literals: rows' arrays differ in length."""
_COHORTS = f"SELECT {', '.join(COHORT_TYPES)} FROM cohorts"
_BERTHS = f"SELECT {', '.join(BERTHS_TYPES)} FROM cohort_bindings WHERE cohort = ANY ($1::uuid[])"
_REPORTS = f"SELECT {', '.join(REPORTS_TYPES)} FROM cohort_reports WHERE cohort = ANY ($1::uuid[])"

DIGEST = list(COHORT_TYPES).index("digest")

# Cohorts of a prefix share no place, so a place, if it is anybody's, is that of the last cohort
# which begins at or before it; before the first one comes the last of all, for places wrap.
BEFORE = (
    f"{_COHORTS} WHERE uid IN (SELECT c.uid"
    " FROM unnest($1::text[], $2::text[], $3::integer[]) AS k (s, p, place), LATERAL ("
    "(SELECT uid, 1 AS turn FROM cohorts WHERE namespace = k.s AND prefix = k.p"
    " AND start <= k.place ORDER BY start DESC LIMIT 1) UNION ALL "
    "(SELECT uid, 2 FROM cohorts WHERE namespace = k.s AND prefix = k.p"
    " AND start > k.place ORDER BY start DESC LIMIT 1)"
    " ORDER BY turn LIMIT 1) AS c)"
)
BY_UID = f"{_COHORTS} WHERE uid = ANY ($1::uuid[])"
OF_NAMESPACE = f"{_COHORTS} WHERE namespace = $1"
ALL = _COHORTS


Place = tuple[str, str, int]  # namespace, prefix, place


@dataclass(frozen=True, slots=True)
class CohortsWanted:
    """Cohorts that a batch of writes names.

    Args:
        places: the last ones of names to be given out; no other cohort than the one before such
            a place can have one of the names.
        uids: of cohorts whose pods are to be bound.
    """

    places: frozenset[Place] = frozenset()
    uids: frozenset[str] = frozenset()

    def but(self, known: Collection[str]) -> "CohortsWanted":
        """Return the same without cohorts that are known."""
        return CohortsWanted(self.places, self.uids.difference(known)) if known else self


NO_COHORTS = CohortsWanted()


async def furnished(
    connection: Connection, rows: Sequence[Row], bodies: Mapping[bytes, Body]
) -> list[Lodging]:
    """Return the cohorts of rows with their bindings.

    Args:
        connection: in a transaction that holds a snapshot, or of a commit.
        rows: of a query of this module; bodies: must have their digests.
    """
    found = {row[0]: _lodging(row, bodies) for row in rows}
    if found:
        for row in await connection.fetch(_BERTHS, list(found)):
            found[row[0]].add(_berths(row))
        for row in await connection.fetch(_REPORTS, list(found)):
            found[row[0]].say(_reports(row))
    return list(found.values())


def _lodging(row: Row, bodies: Mapping[bytes, Body]) -> Lodging:
    uid, namespace, prefix, start, size, created, metadata, digest, status, gone = row
    cohort = Cohort(
        str(uid),
        namespace,
        prefix,
        start,
        size,
        created,
        _decode_meta(metadata),
        bodies[digest],
        status or b"",
    )
    return Lodging(cohort, int.from_bytes(gone or b"", "little"))


def _berths(row: Row) -> Berths:
    _, revision, _, bound_at, epoch, cpu, memory, requests, decision, ordinals, nodes = row
    amounts = requests_of(cpu, memory, requests)
    return Berths(revision, bound_at, tuple(ordinals), tuple(nodes), amounts, decision, epoch)


def _reports(row: Row) -> Reports:
    _, revision, _, ordinals, phase, pieces, fields, own = row
    width = len(own) // len(ordinals)
    values = (tuple(own[at : at + width]) for at in range(0, len(own), width))
    each = tuple(values) if width else ((),) * len(ordinals)
    return Reports(revision, tuple(ordinals), phase, Stencil(tuple(pieces), tuple(fields)), each)


def reports_row(uid: str, reports: Reports) -> tuple[Any, ...]:
    """Return the row of reports, in the order of REPORTS_TYPES; see JOINED, LITERAL."""
    own = [value for values in reports.own for value in values]
    return (
        uid,
        reports.revision,
        reports.revision + len(reports.ordinals) - 1,
        joined(reports.ordinals),
        reports.phase,
        literal(reports.stencil.pieces),
        literal(reports.stencil.fields),
        joined(own),
    )


def joined(values: Sequence[object]) -> str | None:
    """Return the value of a column of JOINED."""
    return ",".join(map(str, values)) if values else None


def literal(values: Sequence[object]) -> str:
    """Return the value of a column of LITERAL (PostgreSQL, "Array Input and Output Syntax")."""
    escaped = (str(value).replace("\\", r"\\").replace('"', r"\"") for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def requests_of(cpu_milli: int, memory_bytes: int, others: bytes | None) -> dict[str, int]:
    """Return what one pod requests, of the columns of a binding."""
    rest = _decode_requests(others) if others else {}
    core = {"cpu": cpu_milli, "memory": memory_bytes}
    return {"pods": 1, **rest, **{name: amount for name, amount in core.items() if amount}}


def cohort_row(lodging: Lodging) -> tuple[Any, ...]:
    """Return the row of a cohort, in the order of COHORT_TYPES."""
    cohort = lodging.cohort
    return (
        cohort.uid,
        cohort.namespace,
        cohort.prefix,
        cohort.start,
        cohort.size,
        cohort.created_revision,
        encode_json(cohort.meta),
        cohort.body.digest,
        cohort.status or None,
        lodging.gone_bits(),
    )


def places_of(keys: Iterable[ObjectKey]) -> dict[ObjectKey, Place]:
    """Return the places of the pods among those keys that may live in a cohort."""
    return {
        key: (key.namespace, key.name[:-5], place)
        for key in keys
        if key.resource == "pods" and (place := place_of(key.name[-5:])) is not None
    }


class Register:
    """Finds whose places are; knows at least the cohorts of BEFORE for those asked for."""

    def __init__(self, lodgings: Iterable[Lodging]) -> None:
        self._found: dict[tuple[str, str], list[Lodging]] = {}
        for lodging in sorted(lodgings, key=_start):
            cohort = lodging.cohort
            self._found.setdefault((cohort.namespace, cohort.prefix), []).append(lodging)

    def pod(self, place: Place) -> StoredObject | None:
        """Return the lodged pod whose name has a place."""
        namespace, prefix, number = place
        found = self._found.get((namespace, prefix))
        if found is None:
            return None
        lodging = found[bisect_right(found, number, key=_start) - 1]
        ordinal = lodging.cohort.at(number)
        if ordinal is None or not lodging.lives(ordinal):
            return None
        return lodging.pod(ordinal)


def _start(lodging: Lodging) -> int:
    return lodging.cohort.start
