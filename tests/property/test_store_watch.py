"""Many writers and watchers on one database: no gap, no disorder, nothing lost, one history."""

import asyncio
import random
import sys
from contextlib import AsyncExitStack

import pytest

from scheduler.store.operations import Bind, BindCohort, CreateCohort, ReportCohort
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.store_load import Follower, Load, follow_long, furnish, parse

RESOURCES = ("pods", "configmaps")
KINDS = (Bind, CreateCohort, BindCohort, ReportCohort)
STORES = 3


async def wander(follower, stores, rng, end):
    """Follow by hops: through other stores, sometimes slowly, sometimes away for a while."""

    async def pause():
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.01)

    while (target := end()) is None or follower.position < target:
        ahead = await follower.store.revision()
        goal = target if target is not None else max(follower.position, ahead - rng.randrange(40))
        await follower.until(goal, store=rng.choice(stores), pause=pause)
        await asyncio.sleep(rng.random() * 0.03)


def one_history(acknowledged, start, end):
    """Every revision belongs to exactly one acknowledged write."""
    assert sorted(acknowledged) == list(range(start + 1, end + 1))


@pytest.mark.parametrize("seed", range(4))
async def test_many_stores_and_watchers(database_url, seed):
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(
                Store.open(database_url, ring_changes=rng.choice((5, 50, 100_000)))
            )
            for _ in range(STORES)
        ]
        await furnish(stores[0])
        start = await stores[0].revision()
        loads = [Load(store, f"{seed}-{i}") for store in stores for i in range(4)]
        followers = [Follower(store, [r]) for store in stores for r in RESOURCES for _ in range(2)]
        finish = None
        async with asyncio.TaskGroup() as watching:
            for number, follower in enumerate(followers):
                await follower.begin()
                if number % 2:
                    watching.create_task(follow_long(follower, lambda: finish))
                else:
                    roaming = random.Random(f"{seed}-{number}")
                    watching.create_task(wander(follower, stores, roaming, lambda: finish))
            async with asyncio.TaskGroup() as writing:
                for load in loads:
                    writing.create_task(load.run(60))
            # One more change of each resource, so that every watch has something to wake it, and
            # of each kind: which of them rivals leave to be done depends on who is quick.
            finish = await stores[0].revision()
            last = Load(stores[0], f"{seed}-last")
            while not last.has_made(RESOURCES, KINDS):
                await last.step()
            loads.append(last)
        acknowledged = {}
        for load in loads:
            assert load.doubtful == 0
            assert acknowledged.keys().isdisjoint(load.acknowledged)
            acknowledged |= load.acknowledged
        one_history(acknowledged, start, await stores[0].revision())
        for follower in followers:
            assert follower.missed(acknowledged, start) == []
            await follower.agrees()


async def test_processes_that_are_killed(database_url):
    """What a killed process acknowledged is there; the history has no hole."""
    async with Store.open(database_url) as store:
        await furnish(store)
        start = await store.revision()
        followers = [Follower(store, [resource]) for resource in RESOURCES]
        finish = None
        acknowledged = {}
        own = Load(store, "own")
        async with asyncio.TaskGroup() as watching:
            for follower in followers:
                await follower.begin()
                watching.create_task(follow_long(follower, lambda: finish))
            writing = watching.create_task(own.run(None))
            for seed in range(2):
                for revision, kind, where in await killed_writer(database_url, seed):
                    assert revision not in acknowledged
                    acknowledged[revision] = (kind, where)
            writing.cancel()
            await asyncio.wait([writing])
            finish = await store.revision()
            last = Load(store, "last")
            while not last.has_made(RESOURCES, ()):
                await last.step()
        acknowledged |= own.acknowledged | last.acknowledged
        end = await store.revision()
        assert max(acknowledged) <= end
        for follower in followers:
            assert follower.missed(acknowledged, start) == []
            await follower.agrees()
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM bindings WHERE revision > $1", end) == 0
    await connection.close()


async def killed_writer(url, seed):
    """Run a writing process, kill it in the middle of its work; return what it acknowledged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store_load", url, str(seed), stdout=asyncio.subprocess.PIPE
    )
    try:
        lines = [await process.stdout.readline() for _ in range(200)]
    finally:
        process.kill()
        lines += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    return [parse(line.decode()) for line in lines if line.endswith(b"\n")]
