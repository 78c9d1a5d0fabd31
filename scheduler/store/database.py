"""The engine: SQLAlchemy's pool of asyncpg connections, and what it makes of their errors.

Statements away from the hot path are SQLAlchemy Core on the tables. Whole listings, the change
log and the writer's batches stay on asyncpg itself (`driver`). Two users have a connection of
their own instead of a lent one: the writer, whose session has planner settings for its batches,
and the follower, whose LISTEN lasts; leadership takes one out of the pool (`detached`), for its
lock lasts as long as the session.
"""
# ruff: noqa: ANN401 - what listeners get is the driver's

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..errors import ConfigurationError, StatusError, Unavailable
from .postgres import (
    CONNECTION_ERRORS,
    SETUP_ERRORS,
    Connection,
    connect_unprepared,
    prepare_connection,
    safe_url,
    unavailable,
)
from .tables import head

_WAIT = 10.0  # seconds for a free connection
_T = TypeVar("_T")

REVISION = sa.select(head.c.revision)


class Database:
    """A pool of up to `size` connections, opened as needed, the last one used first.

    Every statement commits by itself, but for those inside `snapshot` and `transaction`. A
    connection that met an error, or was left half-way, is dropped: cheaper to replace than to
    clean up. Who has to wait does so before the pool, whose own queue costs many times more.
    """

    def __init__(self, url: str, size: int) -> None:
        self._engine = _engine(url, size)
        self._slots = asyncio.Semaphore(size)

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[AsyncConnection, None]:
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
        try:
            connection = await self._engine.connect()
            try:
                yield connection
            except StatusError:
                raise
            except BaseException:
                await connection.invalidate()
                raise
            finally:
                await connection.close()
        except (exc.DBAPIError, *CONNECTION_ERRORS) as error:
            if is_connection_error(error):
                raise unavailable(cause(error)) from error
            raise
        finally:
            self._slots.release()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Connection, None]:
        """Lend a driver's connection inside a transaction that sees one snapshot of the database.

        Raises:
            Unavailable: as `lent`.
        """
        async with self.lent() as lent:
            connection = await driver(lent)
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield connection
            except StatusError:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("ROLLBACK")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection, None]:
        """Lend a connection inside a transaction, committed at the end."""
        async with self.lent() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            yield connection
            await connection.commit()

    async def detached(self) -> AsyncConnection:
        """Open a connection of the caller's own; closing it ends its session.

        Raises:
            CONNECTION_ERRORS, DBAPIError: no answer.
        """
        async with self._slots:
            connection = await self._engine.connect()
            assert connection.sync_connection is not None
            connection.sync_connection.detach()
        return connection

    async def close(self) -> None:
        """Drop the idle connections."""
        await self._engine.dispose()


async def driver(connection: AsyncConnection) -> Connection:
    """Return the asyncpg connection beneath; a detached one has it only by its adapter."""
    adapter = cast(Any, (await connection.get_raw_connection()).dbapi_connection)
    return cast(Connection, adapter.driver_connection)


def cause(error: BaseException) -> BaseException:
    """Return the driver's error where SQLAlchemy wrapped one."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def is_connection_error(error: BaseException) -> bool:
    """Tell whether a broken or absent server raised it, with or without SQLAlchemy around it."""
    return isinstance(cause(error), CONNECTION_ERRORS)


def _engine(url: str, size: int) -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect_unprepared(url),
        pool_size=size,
        max_overflow=0,
        pool_timeout=_WAIT,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        json_serializer=_as_it_is,
        hide_parameters=True,
    )
    pool = engine.sync_engine.pool
    # After SQLAlchemy's own listener, whose codec of JSONB this replaces.
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(pool, "checkout", _check)
    event.listen(pool, "close", _drop)
    return engine


def _as_it_is(value: bytes) -> bytes:
    return value  # JSONB travels as bytes, see postgres


def _prepare(connection: Any, _record: object) -> None:
    connection.run_async(prepare_connection)


def _check(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that died while idle; unlike a ping this takes no round trip."""
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError


def _drop(connection: Any, _record: object) -> None:
    """Do not say goodbye: a server that is away would let us wait."""
    connection.driver_connection.terminate()


async def open_database(url: str, size: int) -> Database:
    """Return a migrated database.

    Raises:
        Unavailable: no answer.
        ConfigurationError: the server refuses us, or its schema is not ours.
    """
    database = Database(url, size)
    try:
        async with database.lent() as connection:
            await connection.execute(REVISION)
    except (exc.DBAPIError, *SETUP_ERRORS, ValueError) as error:
        reason = cause(error)
        if isinstance(reason, asyncpg.UndefinedTableError):
            raise ConfigurationError(
                f"the database {safe_url(url)} has not been set up; run `ironfree migrate`"
            ) from error
        if isinstance(reason, (*SETUP_ERRORS, ValueError)):
            raise ConfigurationError(f"cannot use {safe_url(url)}: {reason}") from error
        raise
    return database


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
