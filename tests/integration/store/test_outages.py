"""PostgreSQL goes away: what was acknowledged is there, watches go on, errors are clear."""

import asyncio
import os
import signal
import time

import pytest

from scheduler.errors import ConfigurationError, Unavailable
from scheduler.objects.stored import StoredObject
from scheduler.store import statements, writer
from scheduler.store.commits import Commits
from scheduler.store.embedded import EmbeddedPostgres
from scheduler.store.migration import upgrade
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.conftest import of_database
from tests.lost_commits import lose_first_commit, route_commits
from tests.store_load import Follower, Load, follow_long, furnish
from tests.store_values import create, key

RESOURCES = ("pods", "configmaps")


def postmaster(server):
    return int((server.cluster / "postmaster.pid").read_text().splitlines()[0])


async def crash(server):
    """End the server as `pg_ctl stop -m immediate` does, and wait for the next one."""
    pid = postmaster(server)
    os.kill(pid, signal.SIGQUIT)
    while True:
        try:
            if postmaster(server) != pid:
                return
        except (OSError, IndexError, ValueError):
            pass
        await asyncio.sleep(0.01)


async def written(loads, count):
    """Wait for that many more acknowledged writes."""
    goal = sum(len(load.acknowledged) for load in loads) + count
    while sum(len(load.acknowledged) for load in loads) < goal:  # noqa: ASYNC110 - many sources
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stores", [1, 2])
async def test_crashes_of_postgres_lose_nothing(data_dir, stores):
    server = EmbeddedPostgres(data_dir)
    async with server.run() as url:
        await upgrade(url)
        async with Store.open(url) as store, Store.open(url) as other:
            await furnish(store)
            start = await store.revision()
            sides = (store, other)[:stores]
            loads = [Load(side, f"{i}-{stores}") for side in sides for i in range(6)]
            followers = [Follower(side, [r]) for side in (store, other) for r in RESOURCES]
            finish = None
            async with asyncio.TaskGroup() as group:
                for follower in followers:
                    await follower.begin()
                    group.create_task(follow_long(follower, lambda: finish))
                writing = [group.create_task(load.run(None)) for load in loads]
                for _ in range(3):
                    await written(loads, 100)
                    await crash(server)
                await written(loads, 100)
                for task in writing:
                    task.cancel()
                await asyncio.wait(writing)
                finish = await store.revision()
                last = Load(store, "last")
                while len({w.resource for _, w in last.acknowledged.values()}) < len(RESOURCES):
                    await last.step()
            loads.append(last)
            acknowledged = {}
            for load in loads:
                assert acknowledged.keys().isdisjoint(load.acknowledged)
                acknowledged |= load.acknowledged
            assert max(acknowledged) <= await store.revision()
            for follower in followers:
                assert follower.missed(acknowledged, start) == []
                await follower.agrees()


async def test_an_outage_shorter_than_patience_is_only_a_delay(data_dir):
    server = EmbeddedPostgres(data_dir)
    async with server.run() as url:
        await upgrade(url)
        async with Store.open(url) as store:
            await store.write(create("nodes", "before"))
            os.kill(postmaster(server), signal.SIGQUIT)
            made = await asyncio.gather(
                *(store.write(create("nodes", f"during-{i}")) for i in range(5))
            )
            assert all(isinstance(obj, StoredObject) for obj in made)
            assert len((await store.list("nodes")).objects) == 6


async def test_a_longer_outage_is_a_clear_error_and_then_over(data_dir):
    """The server is frozen: it accepts nothing and answers nothing."""
    async with EmbeddedPostgres(data_dir).run() as url:
        await upgrade(url)
        async with Store.open(url, patience=0.5) as store:
            await store.write(create("nodes", "before"))
        pid = postmaster(EmbeddedPostgres(data_dir))
        async with Store.open(url, patience=0.5) as store:
            connection = await connect(url)
            os.kill(pid, signal.SIGSTOP)
            try:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                begun = time.monotonic()
                with pytest.raises(Unavailable, match="database does not answer") as error:
                    await store.write(create("nodes", "during"))
                assert error.value.retry_after
                assert time.monotonic() - begun < 30
                with pytest.raises(Unavailable):
                    await store.get(key("nodes", "before"))
            finally:
                os.kill(pid, signal.SIGCONT)
            await connection.close()
            await store.write(create("nodes", "after"))
            assert await store.get(key("nodes", "before"))


async def test_opening_without_a_database_says_why(data_dir, postgres_url):
    with pytest.raises(Unavailable, match="does not answer"):
        await Store.open("postgresql://user:secret@127.0.0.1:1/x").__aenter__()
    missing = of_database(postgres_url, "missing")
    with pytest.raises(ConfigurationError, match='database "missing" does not exist'):
        await Store.open(missing).__aenter__()
    with pytest.raises(ConfigurationError, match="migrate"):
        await Store.open(postgres_url).__aenter__()


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("locked", [True, False])
async def test_a_connection_lost_while_committing(database_url, monkeypatch, committed, locked):
    """The writer finds out what became of its commit before it answers."""
    async with Store.open(database_url) as store:
        if not locked:  # only the first commit has to look at the head
            await store.write(create("nodes", "first"))
        lost = lose_first_commit(monkeypatch, committed=committed)
        start = await store.revision()
        follower = Follower(store, ["nodes"])
        await follower.begin()
        made = await store.write_many([create("nodes", "a"), create("nodes", "b")])
        assert [obj.revision for obj in made] == [start + 1, start + 2]
        assert await store.revision() == start + 2
        later = await store.write(create("nodes", "c"))
        assert lost == [start + 2]
        assert later.revision == start + 3
        await follower.agrees()


async def test_a_statement_that_comes_late_does_nothing(database_url, monkeypatch):
    """Its sender has been told that it was not done, and is about to repeat the write."""
    calls = []

    async def through(connection, revision, commit):
        calls.append(commit)
        if len(calls) == 1:
            raise ConnectionResetError("lost")
        assert not await calls[0]()
        return await commit()

    async with Store.open(database_url) as store:
        await store.write(create("nodes", "first"))
        route_commits(monkeypatch, through)
        monkeypatch.setattr(Commits, "disconnect", lambda _: None)  # the statement is under way
        await store.write(create("nodes", "a"))
        assert len(calls) == 2
        monkeypatch.undo()
        assert [obj.meta.name for obj in (await store.list("nodes")).objects] == ["a", "first"]


async def test_an_outcome_that_stays_unknown_is_said_to_be(database_url, monkeypatch):
    async def through(*_):
        raise ConnectionResetError("lost")

    async def refuse(*_):
        raise ConnectionRefusedError("still away")

    route_commits(monkeypatch, through)
    monkeypatch.setattr(statements, "committed", refuse)
    monkeypatch.setattr(writer, "PATIENCE", 0.2)
    async with Store.open(database_url, patience=0.1) as store:
        with pytest.raises(Unavailable, match="may or may not have been made"):
            await store.write(create("nodes", "a"))
