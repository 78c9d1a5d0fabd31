"""The database goes away while cohorts are written: nothing is lost, nothing is doubled."""

import asyncio

import pytest

from scheduler.store.operations import BindCohort, CreateCohort, each_change
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.lost_commits import route_commits
from tests.store_load import furnish
from tests.store_values import cohort, key

KILL = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid = $1
"""


@pytest.mark.parametrize("committed", [True, False])
async def test_a_session_killed_while_committing(database_url, monkeypatch, committed):
    """Every transaction's first commit loses its session, after or before PostgreSQL did it."""
    killer, killed = await connect(database_url), set()

    async def through(connection, revision, commit):
        if revision in killed:
            return await commit()
        killed.add(revision)
        if committed:
            await commit()
        await killer.fetch(KILL, connection.get_server_pid())
        if committed:
            raise ConnectionResetError("lost before the answer")
        return await commit()

    async with Store.open(database_url) as store, Store.open(database_url) as other:
        await furnish(store)
        route_commits(monkeypatch, through)
        start = await store.revision()
        (made,) = await store.create_cohorts((CreateCohort(cohort(5)),))
        assert made.created_revision == start + 1
        op = BindCohort(
            "default", made.uid, (0, 2, 4), ("a", "b", "a"), start + 5, {"cpu": 10, "pods": 1}
        )
        (done,) = await store.write_cohorts((op,))
        assert (done.refused, done.revision) == ({}, start + 8)
        monkeypatch.undo()
        assert killed == {start + 5, start + 8}
        again = await store.write_cohorts((op,))
        assert set(again[0].refused) == {0, 2, 4}
        assert await store.revision() == start + 8
        for each in (store, other):
            seen = await changes(each, start, start + 8)
            assert [change.revision for change in seen] == list(range(start + 1, start + 9))
            assert [change.object.meta.name for change in seen] == [
                made.name(n) for n in (0, 1, 2, 3, 4, 0, 2, 4)
            ]
        assert (await other.bound_on("a")).requests == {"cpu": 20, "pods": 2}
        pods = (await other.list("pods")).objects
        assert [pod.revision - start for pod in sorted(pods, key=lambda pod: pod.meta.uid)] == [
            6,
            2,
            7,
            4,
            8,
        ]
        assert await killer.fetchval("SELECT count(*) FROM cohorts") == 1
        assert await killer.fetchval("SELECT count(*) FROM cohort_bindings") == 1
        assert await other.get(key("pods", made.name(4), "default")) in pods
    await killer.close()


async def changes(store, since, until):
    """Return what a watch tells, one pod at a time; the ring has it all."""
    found = []
    async with asyncio.timeout(10):
        async for batch in store.watch({"pods"}, since):
            found += each_change(batch.changes)
            if batch.revision >= until:
                break
    return found
