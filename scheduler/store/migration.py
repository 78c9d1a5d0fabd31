"""Brings a database's schema to the version this code needs, with Alembic."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .postgres import connect_plain

# One migration at a time, whoever starts it: the key of a PostgreSQL advisory lock.
_LOCK = 0x49524F4E


def migrations_path() -> Path:
    """Return the directory of the migrations: inside an installed wheel, or the source tree's."""
    packaged = Path(__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"


def engine(url: str) -> AsyncEngine:
    """Return an engine without a pool, for migrations and other rare work."""
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect_plain(url), poolclass=NullPool
    )


def configuration() -> Config:
    """Return Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    return config


async def upgrade(url: str, revision: str = "head") -> None:
    """Migrate upwards; does nothing when the schema is current. Safe to run from many processes."""
    await _migrate(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Migrate downwards, for tests and for going back a release."""
    await _migrate(url, lambda config: command.downgrade(config, revision))


async def _migrate(url: str, action: Callable[[Config], None]) -> None:
    def run(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        action(config)

    database = engine(url)
    try:
        async with database.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            await connection.run_sync(run)
    finally:
        await database.dispose()
