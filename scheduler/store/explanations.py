"""Explanations: what every rule said of every node when a decision was made. Kept with decisions.

The payload is the placement room's business; here it is bytes. The names of the nodes, which are
the same for thousands of decisions, are stored once.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from .database import Database
from .tables import explanations, node_lists

_INSERT = insert(explanations).on_conflict_do_nothing()
_INSERT_NODES = insert(node_lists).on_conflict_do_nothing()


class ExplanationRecord(msgspec.Struct, frozen=True):
    """One decision in full.

    Args:
        decision: id of its decision record.
        nodes: names by row.
        payload: what was said of them.
    """

    decision: int
    made_at: datetime
    nodes: tuple[str, ...]
    payload: bytes


async def record(database: Database, records: Sequence[ExplanationRecord]) -> None:
    """Insert explanations; repeating an insert does nothing."""
    if not records:
        return
    lists = {id(each.nodes): each.nodes for each in records}  # a tuple of thousands hashes slowly
    packed = await asyncio.to_thread(lambda: {key: _packed(nodes) for key, nodes in lists.items()})
    async with database.transaction() as connection:
        await connection.execute(
            _INSERT_NODES,
            [{"digest": digest, "payload": payload} for digest, payload in packed.values()],
        )
        await connection.execute(
            _INSERT,
            [
                {
                    "decision": each.decision,
                    "made_at": each.made_at,
                    "nodes": packed[id(each.nodes)][0],
                    "payload": each.payload,
                }
                for each in records
            ],
        )


async def of_decision(database: Database, decision: int) -> ExplanationRecord | None:
    """Return the explanation of a decision, None where none was kept."""
    query = (
        sa.select(explanations.c.made_at, explanations.c.payload, node_lists.c.payload)
        .join(node_lists, node_lists.c.digest == explanations.c.nodes)
        .where(explanations.c.decision == decision)
    )
    async with database.lent() as connection:
        row = (await connection.execute(query)).first()
    if row is None:
        return None
    nodes = zlib.decompress(row[2]).decode()
    return ExplanationRecord(decision, row[0], tuple(nodes.split("\n")) if nodes else (), row[1])


def _packed(nodes: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Return the digest of a list of names, and the list compressed."""
    names = "\n".join(nodes).encode()
    return hashlib.blake2b(names, digest_size=16).digest(), zlib.compress(names, 6)
