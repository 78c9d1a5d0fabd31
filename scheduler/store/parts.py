"""What a commit adds and changes, a statement a table, each for a whole batch.

A statement stands alone, inside a transaction, or is one of several that are sent as one: then it
is gated by a row that is there only if all of them are to be done (see statements).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cohorts import BERTHS_TYPES, COHORT_TYPES, JOINED, LITERAL, REPORTS_TYPES, cohort_row
from .rows import BINDING_TYPES, OBJECT_TYPES
from .verdict import Verdict

Row = Sequence[Any]

COPY_FROM = 32
"""Below this many rows the fixed cost of COPY is more than it saves."""


@dataclass(frozen=True)
class Part:
    """A statement on one table.

    Args:
        name: of the table, or of what is done to it.
        types: of the rows' columns, by name.
        before, after: the statement, but for the rows.
        copied: COPY does the same for many rows.
    """

    name: str
    types: Mapping[str, str]
    before: str
    after: str = ""
    copied: bool = False

    def sql(self, first: int = 1, gate: str = "") -> str:
        """Return the statement.

        Args:
            first: number of its first parameter; each is the array of a column.
            gate: a relation of one row or none.
        """
        arrays = (
            f"${number}::{'text' if name in JOINED or name in LITERAL else kind}[]"
            for number, (name, kind) in enumerate(self.types.items(), first)
        )
        source = f"unnest({', '.join(arrays)}) AS u ({', '.join(self.types)})"
        gated = f"{gate}, {source}" if gate else source
        return f"{self.before} FROM {gated}{self.after}"


@dataclass(frozen=True)
class Rows:
    """A part and what it is done with."""

    part: Part
    rows: Sequence[Row]

    @property
    def many(self) -> bool:
        """Whether COPY is the better way."""
        return self.part.copied and len(self.rows) >= COPY_FROM

    def columns(self) -> list[list[Any]]:
        """Return the parameters."""
        return columns(self.rows)


def columns(rows: Iterable[Row]) -> list[list[Any]]:
    """Return the columns of rows, of which there is one at least."""
    return [list(column) for column in zip(*rows, strict=True)]


def _value(name: str, kind: str) -> str:
    if name in JOINED:
        return f"coalesce((string_to_array(',' || u.{name}, ','))[2:]::{kind}, '{{}}')"
    return f"u.{name}::{kind}"


def inserted(table: str, types: Mapping[str, str], after: str = "", *, copied: bool) -> Part:
    """Return the part that adds rows to a table; types: of its columns."""
    values = ", ".join(_value(name, kind) for name, kind in types.items())
    before = f"INSERT INTO {table} ({', '.join(types)}) SELECT {values}"
    return Part(table, types, before, after, copied)


_SPECS = inserted(
    "specs", {"digest": "bytea", "body": "jsonb"}, " ON CONFLICT DO NOTHING", copied=False
)
_OBJECTS = inserted("objects", OBJECT_TYPES, copied=True)
_UPDATED = Part(
    "updated",
    OBJECT_TYPES,
    "UPDATE objects o SET revision = u.revision, metadata = u.metadata, digest = u.digest,"
    " body = u.body, status = u.status",
    " WHERE o.resource = u.resource AND o.namespace = u.namespace AND o.name = u.name",
)
_BINDINGS = inserted("bindings", BINDING_TYPES, copied=True)
_PORT_TYPES = {
    "node": "text",
    "host_ip": "text",
    "protocol": "text",
    "port": "integer",
    "pod_uid": "uuid",
}
_PORTS = inserted("host_ports", _PORT_TYPES, copied=False)
_COHORTS = inserted("cohorts", COHORT_TYPES, copied=True)
_BERTHS = inserted("cohort_bindings", BERTHS_TYPES, copied=False)
_REPORTS = inserted("cohort_reports", REPORTS_TYPES, copied=False)


def parts(verdict: Verdict, known: set[bytes]) -> list[Rows]:
    """Return what a verdict adds and changes, in an order in which it can be done.

    No two of them touch the same row.

    Args:
        known: digests that are in specs for sure.
    """
    bodies = [(d, body.json) for d, body in verdict.bodies.items() if d not in known]
    ports = [(node, *port, uid) for node, port, uid in verdict.ports]
    each: tuple[tuple[Part, Sequence[Row]], ...] = (
        (_SPECS, bodies),
        (_OBJECTS, verdict.inserts),
        (_UPDATED, verdict.updates),
        (_BINDINGS, verdict.bindings),
        (_PORTS, ports),
        (_COHORTS, [cohort_row(lodging) for lodging in verdict.cohorts]),
        (_BERTHS, verdict.berths),
        (_REPORTS, verdict.reports),
    )
    return [Rows(part, rows) for part, rows in each if rows]
