"""One leader at a time, and proof that a deposed one cannot write.

The leader holds a session advisory lock on its own connection; PostgreSQL frees it when the
connection goes or has been silent for 10 seconds. Every new leader takes the next epoch; writes
carry their leader's epoch and are Fenced when it is no longer head.epoch, inside the same
transaction. So two leaders may believe in themselves for a moment, but only the newer one can
write (compare fencing tokens: M. Kleppmann, "How to do distributed locking", 2016).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import LeadershipLost
from .database import Database, cause, driver, is_connection_error
from .postgres import CONNECTION_ERRORS
from .tables import head, leaders

_LOCK = 0x4C454144
_BEAT = 1.0  # seconds between proofs that the connection lives
_BEAT_TIMEOUT = 4.0
_SILENCE = 10  # seconds after which PostgreSQL ends the session of a leader that hangs

_TAKE_LOCK = sa.select(sa.func.pg_try_advisory_lock(_LOCK))
_next = sa.update(head).values(epoch=head.c.epoch + 1).returning(head.c.epoch).cte("next")
_BEGIN_EPOCH = (
    sa.insert(leaders)
    .from_select(
        ["epoch", "identity", "since"],
        sa.select(
            _next.c.epoch,
            sa.bindparam("identity", type_=leaders.c.identity.type),
            sa.bindparam("since", type_=leaders.c.since.type),
        ),
    )
    .returning(leaders.c.epoch)
)


class Leadership:
    """A candidate for leadership."""

    def __init__(self, database: Database, identity: str) -> None:
        self._database = database
        self._identity = identity

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[int, None]:
        """Wait until this candidate leads, then run the body with the epoch.

        Raises:
            LeadershipLost: the connection that holds the lock went away; the body was cancelled.
        """
        connection = await self._campaign()
        try:
            epoch = await self._begin_epoch(connection)
        except BaseException:
            await _abandon(connection)
            raise
        body = asyncio.current_task()
        assert body is not None
        lost: list[BaseException] = []

        def depose(error: BaseException) -> None:
            if not lost:
                lost.append(error)
                body.cancel()

        beat = asyncio.create_task(_beat(connection, depose))
        try:
            yield epoch
        except asyncio.CancelledError:
            if lost and body.uncancel() == 0:
                raise LeadershipLost(
                    f'"{self._identity}" no longer leads: {lost[0]}; its work was stopped'
                ) from lost[0]
            raise
        finally:
            beat.cancel()
            await asyncio.wait([beat])
            await _release(connection)

    async def _campaign(self) -> AsyncConnection:
        """Return a connection that holds the lock, however long that takes."""
        pause = 0.1
        while True:
            connection: AsyncConnection | None = None
            try:
                connection = await self._database.detached()
                # A process that is stopped or cut off keeps its session, and with it the lock.
                await connection.execute(sa.text(f"SET idle_session_timeout = '{_SILENCE}s'"))
                # Only PostgreSQL can tell.
                while not await connection.scalar(_TAKE_LOCK):  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            except (exc.DBAPIError, *CONNECTION_ERRORS) as error:
                await _abandon(connection)
                if not is_connection_error(error):
                    raise
                await asyncio.sleep(pause)
                pause = min(2.0, pause * 2)
            except BaseException:
                await _abandon(connection)
                raise
            else:
                return connection

    async def _begin_epoch(self, connection: AsyncConnection) -> int:
        values = {"identity": self._identity, "since": datetime.now(UTC)}
        try:
            return (await connection.execute(_BEGIN_EPOCH, values)).scalar_one()
        except (exc.DBAPIError, *CONNECTION_ERRORS) as error:
            if not is_connection_error(error):
                raise
            raise LeadershipLost(f'"{self._identity}" lost the database: {cause(error)}') from error


async def _beat(connection: AsyncConnection, depose: Callable[[BaseException], None]) -> None:
    """Prove that the connection lives until it does not."""
    session = await driver(connection)
    try:
        while True:
            await asyncio.sleep(_BEAT)
            await session.fetchval("SELECT 1", timeout=_BEAT_TIMEOUT)
    except CONNECTION_ERRORS as error:
        depose(error)


async def _abandon(connection: AsyncConnection | None) -> None:
    """End the session without a word, which frees the lock."""
    if connection is not None:
        if not connection.invalidated:
            (await driver(connection)).terminate()
        await connection.close()


async def _release(connection: AsyncConnection) -> None:
    """End the session and wait until the server has, so that the lock is free."""
    session = await driver(connection)
    try:
        await session.close(timeout=2)
    except CONNECTION_ERRORS:
        session.terminate()
    await connection.close()
