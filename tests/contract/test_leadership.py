"""Leadership: one at a time, lost with its connection."""

import asyncio

import pytest

from scheduler.errors import Fenced, LeadershipLost
from scheduler.store.postgres import connect
from tests.store_values import create

_KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks"
    " WHERE locktype = 'advisory' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


async def test_the_second_waits_for_the_first(store):
    order = []
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def lead(name):
        async with store.leadership(name).hold() as epoch:
            order.append((name, epoch))
            entered.set()
            await leave.wait()

    first = asyncio.create_task(lead("first"))
    await entered.wait()
    second = asyncio.create_task(lead("second"))
    await asyncio.sleep(0.1)
    assert order == [("first", 1)]
    leave.set()
    await asyncio.gather(first, second)
    assert order == [("first", 1), ("second", 2)]


async def test_a_lost_connection_stops_the_leader(store, database_url):
    killer = await connect(database_url)
    old = 0

    async def lead():
        nonlocal old
        async with store.leadership("one").hold() as old:
            await killer.execute(_KILL)
            await asyncio.Event().wait()

    with pytest.raises(LeadershipLost, match='"one" no longer leads'):
        await lead()
    async with store.leadership("two").hold() as new:
        with pytest.raises(Fenced):
            await store.write(create("nodes", "a", epoch=old))
        await store.write(create("nodes", "a", epoch=new))
    rows = await killer.fetch("SELECT epoch, identity FROM leaders ORDER BY epoch")
    assert [tuple(row) for row in rows] == [(old, "one"), (new, "two")]
    await killer.close()


async def test_errors_and_cancellation_of_the_body_are_its_own(store):
    with pytest.raises(ZeroDivisionError):
        async with store.leadership("one").hold():
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def lead():
        async with store.leadership("one").hold():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(lead())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
