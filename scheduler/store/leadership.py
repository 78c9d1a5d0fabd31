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

from ..errors import LeadershipLost
from .postgres import CONNECTION_ERRORS, Connection, connect

_LOCK = 0x4C454144
_BEAT = 1.0  # seconds between proofs that the connection lives
_BEAT_TIMEOUT = 4.0
_SILENCE = 10  # seconds after which PostgreSQL ends the session of a leader that hangs


class Leadership:
    """A candidate for leadership."""

    def __init__(self, url: str, identity: str) -> None:
        self._url = url
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
            connection.terminate()
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

    async def _campaign(self) -> Connection:
        """Return a connection that holds the lock, however long that takes."""
        pause = 0.1
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._url)
                # A process that is stopped or cut off keeps its session, and with it the lock.
                await connection.execute(f"SET idle_session_timeout = '{_SILENCE}s'")
                # Only PostgreSQL can tell.
                while not await connection.fetchval(  # noqa: ASYNC110
                    f"SELECT pg_try_advisory_lock({_LOCK})"
                ):
                    await asyncio.sleep(0.5)
            except CONNECTION_ERRORS:
                if connection is not None:
                    connection.terminate()
                await asyncio.sleep(pause)
                pause = min(2.0, pause * 2)
            except BaseException:
                if connection is not None:
                    connection.terminate()
                raise
            else:
                return connection

    async def _begin_epoch(self, connection: Connection) -> int:
        try:
            epoch = await connection.fetchval(
                "WITH next AS (UPDATE head SET epoch = epoch + 1 RETURNING epoch)"
                " INSERT INTO leaders SELECT epoch, $1, $2 FROM next RETURNING epoch",
                self._identity,
                datetime.now(UTC),
            )
        except CONNECTION_ERRORS as error:
            raise LeadershipLost(f'"{self._identity}" lost the database: {error}') from error
        return int(epoch)


async def _beat(connection: Connection, depose: Callable[[BaseException], None]) -> None:
    """Prove that the connection lives until it does not."""
    try:
        while True:
            await asyncio.sleep(_BEAT)
            await connection.fetchval("SELECT 1", timeout=_BEAT_TIMEOUT)
    except CONNECTION_ERRORS as error:
        depose(error)


async def _release(connection: Connection) -> None:
    try:
        await connection.close(timeout=2)
    except CONNECTION_ERRORS:
        connection.terminate()
