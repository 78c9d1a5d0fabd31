"""Decision records: why pods went where they went, or nowhere. Kept for months."""
# ruff: noqa: S608 - statements are built from constants of this package alone

import secrets
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec

from .pool import Pool
from .postgres import Row
from .rows import encode_json


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


_COLUMNS = (
    "id, made_at, epoch, namespace, pod, digest, pods, outcome, node,"
    " alternatives, rejections, message"
)
_INSERT = (
    f"INSERT INTO decisions ({_COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::timestamptz[],"
    " $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::int[], $8::text[], $9::text[],"
    " $10::jsonb[], $11::jsonb[], $12::text[]) ON CONFLICT DO NOTHING"
)
_OF_POD = (
    f"SELECT {_COLUMNS} FROM decisions WHERE namespace = $1 AND pod = $2 ORDER BY id DESC LIMIT $3"
)
_BY_ID = f"SELECT {_COLUMNS} FROM decisions WHERE id = ANY ($1::bigint[]) ORDER BY id DESC"
_alternatives = msgspec.json.Decoder(tuple[Alternative, ...])
_rejections = msgspec.json.Decoder(tuple[Rejection, ...])


def decision_id() -> int:
    """Return a new id: milliseconds since 1970 shifted by 21 bits, and random bits."""
    return (time.time_ns() // 1_000_000) << 21 | secrets.randbits(21)


async def record(pool: Pool, records: Sequence[DecisionRecord]) -> None:
    """Insert records; repeating an insert does nothing."""
    if not records:
        return
    rows = [
        (
            r.id,
            r.made_at,
            r.epoch,
            r.namespace,
            r.pod,
            r.digest,
            r.pods,
            r.outcome,
            r.node,
            encode_json(r.alternatives),
            encode_json(r.rejections),
            r.message.replace("\0", ""),
        )
        for r in records
    ]
    async with pool.lent() as connection:
        await connection.execute(_INSERT, *[list(column) for column in zip(*rows, strict=True)])


async def of_pod(pool: Pool, namespace: str, pod: str, limit: int = 20) -> list[DecisionRecord]:
    """Return the latest decisions recorded under a pod's name, newest first."""
    async with pool.lent() as connection:
        return [_record(row) for row in await connection.fetch(_OF_POD, namespace, pod, limit)]


async def by_id(pool: Pool, ids: Sequence[int]) -> list[DecisionRecord]:
    """Return the decisions of those ids, newest first."""
    async with pool.lent() as connection:
        return [_record(row) for row in await connection.fetch(_BY_ID, list(ids))]


def _record(row: Row) -> DecisionRecord:
    number, made_at, epoch, namespace, pod, digest, pods, outcome, node, *rest = row
    alternatives, rejections, message = rest
    return DecisionRecord(
        id=number,
        made_at=made_at,
        epoch=epoch,
        namespace=namespace,
        pod=pod,
        digest=digest,
        pods=pods,
        outcome=outcome,
        node=node,
        alternatives=_alternatives.decode(alternatives),
        rejections=_rejections.decode(rejections),
        message=message,
    )
