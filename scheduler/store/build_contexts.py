"""What clients upload for ImageBuilds: archives in parts, kept until the build has ended."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from ..errors import Unavailable
from .database import Database
from .tables import build_contexts

_PART = 1 << 20  # bytes
_SEED = 4_970_112  # of the locks of builds, apart from other advisory locks
_ROOM = 7_803_246_101_223  # the lock of who counts what is kept


@asynccontextmanager
async def hold(database: Database, build: str) -> AsyncGenerator[bool, None]:
    """Keep other processes from taking a context for a build; yields whether none does so now.

    The lock is a session's, so it goes with the process that has it.
    """
    key = sa.func.hashtextextended(build, _SEED)
    async with database.lent() as connection:
        mine = await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key)))
        try:
            yield bool(mine)
        finally:
            if mine:
                await connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


async def keep(database: Database, build: str, content: AsyncIterator[bytes], most: int) -> int:
    """Replace what is kept for a build, in one transaction; returns how many bytes that are.

    Raises:
        Unavailable: all that is kept would be more than `most` bytes.
    """
    mine = build_contexts.c.build == build
    async with database.transaction() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ROOM)))
        await connection.execute(sa.delete(build_contexts).where(mine))
        kept = sa.select(sa.func.sum(sa.func.octet_length(build_contexts.c.content)))
        room = most - (await connection.scalar(kept) or 0)
        size, number, pending = 0, 0, bytearray()

        async def write(part: bytes) -> None:
            row = {"build": build, "part": number, "content": part}
            await connection.execute(sa.insert(build_contexts), row)

        async for chunk in content:
            pending += chunk
            size += len(chunk)
            if size > room:
                raise Unavailable(
                    f"there is no room for this context: those of all builds may have {most} "
                    "bytes; wait until some have ended, or delete their ImageBuilds"
                )
            while len(pending) >= _PART:
                await write(bytes(pending[:_PART]))
                del pending[:_PART]
                number += 1
        if pending:
            await write(bytes(pending))
    return size


async def parts(database: Database, build: str) -> AsyncIterator[bytes]:
    """Yield what is kept for a build, a part at a time."""
    number = 0
    while True:
        wanted = sa.select(build_contexts.c.content).where(
            build_contexts.c.build == build, build_contexts.c.part == number
        )
        async with database.lent() as connection:
            content = await connection.scalar(wanted)
        if content is None:
            return
        yield bytes(content)
        number += 1


async def drop(database: Database, build: str) -> None:
    """Delete what is kept for a build."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(build_contexts).where(build_contexts.c.build == build))
