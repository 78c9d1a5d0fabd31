"""Decision records: why pods went where they went, or nowhere. Kept for months."""

import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ..objects.cohort import PLACES, Cohort, place_of
from .database import Database
from .rows import encode_json
from .tables import decisions


class Alternative(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that was considered, and its weighted score by plugin."""

    node: str
    score: float
    by_plugin: dict[str, float] = {}


class Rejection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why some nodes were not feasible: plugin, its reason, how many nodes."""

    plugin: str
    reason: str
    nodes: int


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about a group of identical pods.

    Args:
        id: from `decision_id`; bindings refer to it.
        pod: name of one of the pods (with a count of one, the pod).
        digest: of the pods' body; b"" when unknown.
        pods: how many the decision was about.
        outcome: "placed", "unschedulable", or a solver's status word.
        node: where, when all went to one node.
        members: names of all the pods, where there are several; or one `span`.
    """

    id: int
    made_at: datetime
    namespace: str
    pod: str
    digest: bytes = b""
    pods: int = 1
    outcome: str = "placed"
    node: str = ""
    alternatives: tuple[Alternative, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    message: str = ""
    epoch: int = 0
    members: tuple[str, ...] = ()


_INSERT = insert(decisions).on_conflict_do_nothing()
_alternatives = msgspec.json.Decoder(tuple[Alternative, ...])
_rejections = msgspec.json.Decoder(tuple[Rejection, ...])


def decision_id() -> int:
    """Return a new id: milliseconds since 1970 shifted by 21 bits, and random bits."""
    return (time.time_ns() // 1_000_000) << 21 | secrets.randbits(21)


async def record(database: Database, records: Sequence[DecisionRecord]) -> None:
    """Insert records; repeating an insert does nothing."""
    if records:
        async with database.lent() as connection:
            await connection.execute(_INSERT, [_row(record) for record in records])


async def of_pod(
    database: Database, namespace: str, pod: str, limit: int = 20, *, decision: int | None = None
) -> list[DecisionRecord]:
    """Return the latest decisions about a pod of that name, newest first.

    Args:
        decision: the id of the only one that is wanted.
    """
    about = sa.or_(decisions.c.pod == pod, decisions.c.members.contains([pod]), _in_span(pod))
    query = (
        sa.select(decisions)
        .where(decisions.c.namespace == namespace, about)
        .order_by(decisions.c.id.desc())
        .limit(limit)
    )
    if decision is not None:
        query = query.where(decisions.c.id == decision)
    async with database.lent() as connection:
        return [_record(row) for row in (await connection.execute(query)).mappings()]


def span(cohort: Cohort, first: int, count: int) -> str:
    """Return what stands in `members` for so many pods of a cohort, from an ordinal on."""
    return f"{cohort.prefix}*{(cohort.start + first) % PLACES}*{count}"


def _in_span(pod: str) -> sa.ColumnElement[bool]:
    """Match records whose only member is a span with the pod's name in it."""
    place = place_of(pod[-5:])
    if place is None:
        return sa.false()
    only = decisions.c.members[1]
    start, count = (sa.cast(sa.func.split_part(only, "*", part), sa.Integer) for part in (2, 3))
    within = sa.func.mod(place - start + PLACES, PLACES) < count
    prefix = only.startswith(f"{pod[:-5]}*", autoescape=True)
    return sa.case((prefix, within), else_=sa.false())


def _row(record: DecisionRecord) -> dict[str, object]:
    """Return the columns, which are named as the fields."""
    return {
        **msgspec.structs.asdict(record),
        "alternatives": encode_json(record.alternatives),
        "rejections": encode_json(record.rejections),
        "message": record.message.replace("\0", ""),
        "members": list(record.members),
    }


def _record(row: sa.RowMapping) -> DecisionRecord:
    values = dict[str, Any](row)
    values["alternatives"] = _alternatives.decode(row["alternatives"])
    values["rejections"] = _rejections.decode(row["rejections"])
    values["members"] = tuple(row["members"])
    return DecisionRecord(**values)
