"""Migrations: they make what the code expects, and can be undone and done again."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from scheduler.store.migration import configuration, downgrade, engine, upgrade
from scheduler.store.postgres import connect
from scheduler.store.tables import metadata
from tests.conftest import of_database

_EVERYTHING = (
    "SELECT c.relkind::text, c.relname::text FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = 'public'"
    " UNION ALL SELECT 'f', p.proname::text FROM pg_proc p JOIN pg_namespace n"
    " ON n.oid = p.pronamespace WHERE n.nspname = 'public'"
)


async def empty(postgres_url, name):
    connection = await connect(postgres_url)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return of_database(postgres_url, name)


def differences(connection):
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return compare_metadata(context, metadata)


async def tables_differ(url):
    database = engine(url)
    async with database.connect() as connection:
        found = await connection.run_sync(differences)
    await database.dispose()
    return found


async def test_each_step_up_and_down_and_up_again(postgres_url, worker_id):
    url = await empty(postgres_url, f"migrate_{worker_id}")
    script = ScriptDirectory.from_config(configuration())
    steps = [step.revision for step in script.walk_revisions()][::-1]
    assert len(script.get_heads()) == 1
    connection = await connect(url)
    shapes = []
    for step in steps:
        shapes.append(sorted(map(tuple, await connection.fetch(_EVERYTHING))))
        await upgrade(url, step)
    assert await tables_differ(url) == []
    for step, shape in list(zip(["base", *steps], shapes, strict=False))[::-1]:
        await downgrade(url, step)
        found = sorted(map(tuple, await connection.fetch(_EVERYTHING)))
        bookkeeping = {("r", "alembic_version"), ("i", "alembic_version_pkc")}
        assert set(found) - bookkeeping == set(shape) - bookkeeping
    await upgrade(url)
    assert await tables_differ(url) == []
    await connection.close()


async def test_a_drift_would_be_noticed(postgres_url, worker_id):
    url = await empty(postgres_url, f"drift_{worker_id}")
    await upgrade(url)
    connection = await connect(url)
    await connection.execute("ALTER TABLE decisions DROP COLUMN message")
    await connection.execute("DROP INDEX bindings_revision_idx")
    await connection.close()
    assert len(await tables_differ(url)) == 2


async def test_many_processes_may_migrate_at_once(postgres_url, worker_id):
    url = await empty(postgres_url, f"together_{worker_id}")
    await asyncio.gather(*(upgrade(url) for _ in range(4)))
    assert await tables_differ(url) == []
