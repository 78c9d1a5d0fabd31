"""Lends connections for reading.

asyncpg's own pool resets a connection with a round trip at every return and cannot give back a
broken one; here a connection that met an error, or was left half-way, is dropped instead.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from ..errors import ConfigurationError, StatusError, Unavailable
from .postgres import (
    CONNECTION_ERRORS,
    SETUP_ERRORS,
    Connection,
    connect,
    safe_url,
    unavailable,
)

_WAIT = 10.0  # seconds for a free connection
_T = TypeVar("_T")


class Pool:
    """Up to `size` connections, opened as needed, the last one used first."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(size)

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection.

        Raises:
            Unavailable: no answer, now or inside the body, or every connection stays in use.
        """
        try:
            async with asyncio.timeout(_WAIT):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Unavailable("every database connection is busy; try again", retry_after=1) from (
                error
            )
        connection: Connection | None = None
        try:
            connection = await self._connection()
            yield connection
        except StatusError:
            self._put_back(connection)
            raise
        except CONNECTION_ERRORS as error:
            _drop(connection)
            raise unavailable(error) from error
        except BaseException:
            _drop(connection)  # cancelled half-way: cheaper to replace than to clean up
            raise
        else:
            self._put_back(connection)
        finally:
            self._slots.release()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection inside a transaction that sees one snapshot of the database."""
        async with self.lent() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield connection
            except StatusError:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("ROLLBACK")

    def close(self) -> None:
        """Drop the idle connections."""
        while self._idle:
            self._idle.pop().terminate()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await connect(self._url)

    def _put_back(self, connection: Connection | None) -> None:
        if connection is not None and not connection.is_closed():
            self._idle.append(connection)


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        connection.terminate()


async def open_pool(url: str, size: int) -> Pool:
    """Return a pool on a migrated database.

    Raises:
        Unavailable: no answer.
        ConfigurationError: the server refuses us, or its schema is not ours.
    """
    pool = Pool(url, size)
    try:
        async with pool.lent() as connection:
            await connection.fetchval("SELECT revision FROM head")
    except asyncpg.UndefinedTableError as error:
        raise ConfigurationError(
            f"the database {safe_url(url)} has not been set up; run `ironfree migrate`"
        ) from error
    except (*SETUP_ERRORS, ValueError) as error:
        raise ConfigurationError(f"cannot use {safe_url(url)}: {error}") from error
    return pool


async def patiently(patience: float, read: Callable[[], Awaitable[_T]]) -> _T:
    """Read again while the database is away, for `patience` seconds."""
    deadline = time.monotonic() + patience
    pause = 0.02
    while True:
        try:
            return await read()
        except Unavailable:
            if time.monotonic() + pause > deadline:
                raise
            await asyncio.sleep(pause)
            pause = min(0.5, pause * 2)
