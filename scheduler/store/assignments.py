"""What Placements decided: which pod goes where. Kept as long as the Placement is."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from .database import Database
from .tables import assignments

_PIECE = 10_000  # rows a statement


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """One pod of a Placement ("namespace/name", or a template's name and a number) and its node."""

    pod: str
    node: str


async def record(database: Database, placement: str, found: Sequence[Assignment]) -> None:
    """Replace what is kept of a Placement, in one transaction."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(assignments).where(assignments.c.placement == placement))
        for start in range(0, len(found), _PIECE):
            piece = found[start : start + _PIECE]
            numbers = sa.func.generate_series(start, start + len(piece) - 1)
            pods = sa.func.unnest(sa.literal([a.pod for a in piece], sa.ARRAY(sa.Text)))
            nodes = sa.func.unnest(sa.literal([a.node for a in piece], sa.ARRAY(sa.Text)))
            rows = sa.select(
                sa.literal(placement, assignments.c.placement.type), numbers, pods, nodes
            )
            names = ["placement", "ordinal", "pod", "node"]
            await connection.execute(sa.insert(assignments).from_select(names, rows))


async def of_placement(
    database: Database, placement: str, after: int, limit: int
) -> tuple[Sequence[Assignment], int]:
    """Return up to `limit` assignments beyond the first `after`, and how many there are."""
    mine = assignments.c.placement == placement
    some = (
        sa.select(assignments.c.pod, assignments.c.node)
        .where(mine, assignments.c.ordinal >= after)
        .order_by(assignments.c.ordinal)
        .limit(limit)
    )
    async with database.lent() as connection:
        total = await connection.scalar(sa.select(sa.func.count()).where(mine))
        rows = (await connection.execute(some)).all()
    return [Assignment(pod, node) for pod, node in rows], total or 0
