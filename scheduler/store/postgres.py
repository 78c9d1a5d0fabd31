"""The part of asyncpg this package uses, typed, and how its connections are set up.

asyncpg ships no type information, so its surface is declared here once. JSONB travels as the
JSON text's bytes in both directions: the driver neither decodes nor encodes it.
"""
# ruff: noqa: ANN401, ASYNC109, D102 - the surface is asyncpg's, its documentation too
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import asyncpg
from asyncpg.exceptions import _base as asyncpg_base

from ..errors import ConfigurationError, Unavailable

OLDEST_SERVER = 140000
CONNECT_TIMEOUT = 5.0
COMMAND_TIMEOUT = 30.0

#: What a broken or absent server raises; everything else is an answer from it.
CONNECTION_ERRORS: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.InvalidTransactionStateError,  # 25: timed out, or a standby that cannot write
    asyncpg.TransactionRollbackError,  # 40
    asyncpg.InsufficientResourcesError,  # 53: disk full, too many connections
    asyncpg.OperatorInterventionError,  # 57: shutting down, starting up, cancelled
    asyncpg.PostgresSystemError,  # 58
    asyncpg.InternalClientError,  # the driver lost track of the connection's state
)
#: Of CONNECTION_ERRORS, what a server says that has done nothing of what it was asked.
REFUSALS: tuple[type[BaseException], ...] = (
    asyncpg.InvalidTransactionStateError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InsufficientResourcesError,
)
#: Of DATA_ERRORS, that a key is taken.
TAKEN = asyncpg.UniqueViolationError
#: What a server that is there but not for us raises: class 28, 3D.
SETUP_ERRORS: tuple[type[BaseException], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
#: What one value that PostgreSQL cannot hold raises (NUL in JSON, number out of range, …).
DATA_ERRORS: tuple[type[BaseException], ...] = (
    asyncpg.DataError,
    asyncpg_base.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.StatementTooComplexError,
    UnicodeEncodeError,
)

Row = Sequence[Any]
Listener = Callable[["Connection", int, str, str], None]


class Connection(Protocol):
    """asyncpg.Connection, the methods used here."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...
    async def executemany(
        self, command: str, args: Sequence[Row], *, timeout: float | None = None
    ) -> None: ...
    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Row]: ...
    async def fetchrow(
        self, query: str, *args: Any, timeout: float | None = None
    ) -> Row | None: ...
    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...
    async def copy_records_to_table(
        self, table_name: str, *, records: Sequence[Row], columns: Sequence[str]
    ) -> str: ...
    def cursor(self, query: str, *args: Any, prefetch: int) -> AsyncIterator[Row]: ...
    async def add_listener(self, channel: str, callback: Listener) -> None: ...
    def add_termination_listener(self, callback: Callable[["Connection"], None]) -> None: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float | None = None) -> None: ...


def driver_url(url: str) -> str:
    """Return the URL asyncpg takes for one written for SQLAlchemy or libpq."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def safe_url(url: str) -> str:
    """Return the URL without its password, for messages."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", url)


def _encode_jsonb(text: bytes) -> bytes:
    return b"\x01" + text


def _decode_jsonb(wire: bytes) -> bytes:
    return wire[1:]


async def prepare_connection(connection: Any) -> None:
    """Check the server's version and let JSONB travel as bytes."""
    version = connection.get_server_version()
    if version.major * 10000 < OLDEST_SERVER:
        raise ConfigurationError(
            f"PostgreSQL {version.major}.{version.minor} is too old: Ironfree needs 14 or newer; "
            "point DATABASE_URL at a newer server or leave it unset for the embedded one"
        )
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_encode_jsonb,
        decoder=_decode_jsonb,
        format="binary",
    )


_SETTINGS = {
    "application_name": "ironfree",
    "timezone": "UTC",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "15s",
    "jit": "off",
}


async def connect_plain(url: str) -> Any:
    """Open a connection as SQLAlchemy expects it, without our codecs."""
    return await asyncpg.connect(
        driver_url(url),
        timeout=int(CONNECT_TIMEOUT),
        server_settings={"application_name": "ironfree"},
    )


async def connect_unprepared(url: str) -> Any:
    """Open a connection for the engine, which lets `prepare_connection` follow."""
    async with asyncio.timeout(CONNECT_TIMEOUT):
        return await _connect(url)


async def _connect(url: str) -> Any:
    return await asyncpg.connect(
        driver_url(url), command_timeout=COMMAND_TIMEOUT, server_settings=_SETTINGS
    )


async def connect(
    url: str,
    *,
    timeout: float = CONNECT_TIMEOUT,
    prepare: Callable[[Connection], Awaitable[None]] | None = None,
) -> Connection:
    """Open one connection.

    Args:
        url: postgresql:// URL.
        timeout: seconds, for all of it.
        prepare: run on the connection before it is returned.

    Raises:
        CONNECTION_ERRORS: no answer.
        ConfigurationError: the server is too old.
    """
    async with asyncio.timeout(timeout):
        connection = await _connect(url)
        try:
            await prepare_connection(connection)
            if prepare is not None:
                await prepare(cast(Connection, connection))
        except BaseException:
            connection.terminate()
            raise
    return cast(Connection, connection)


def unavailable(error: BaseException) -> Unavailable:
    """Return the error a client sees when PostgreSQL does not answer."""
    reason = str(error) or type(error).__name__
    return Unavailable(f"the database does not answer ({reason}); try again", retry_after=1)
