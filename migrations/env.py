"""Alembic's entry: runs on the connection it is given, or on DATABASE_URL from a command line."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from scheduler.store.migration import engine
from scheduler.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    database = engine(os.environ["DATABASE_URL"])
    async with database.begin() as connection:
        await connection.run_sync(run)
    await database.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_alone())
