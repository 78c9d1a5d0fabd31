"""What connections are made of: bounded waiting, and limits on silence."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.api.idleness import Idleness
from scheduler.api.inbox import Inbox
from scheduler.api.tasks import end


@given(st.lists(st.binary(max_size=700_000), max_size=8))
def test_an_inbox_keeps_order_and_bounds_what_waits(parts):
    async def scenario():
        inbox, waiting, most = Inbox(), 0, 0

        async def bring():
            nonlocal waiting, most
            for part in parts:
                await inbox.put(part)
                waiting += len(part)
                most = max(most, waiting)
            await inbox.put(None)

        bringing = asyncio.create_task(bring())
        taken = []
        while (data := await inbox.get()) is not None:
            waiting -= len(data)
            taken.append(data)
        await bringing
        return taken, most

    taken, most = asyncio.run(scenario())
    assert taken == [part for part in parts if part]
    assert most < (1 << 20) + 700_000


async def test_a_closed_inbox_lets_go_of_who_brings():
    inbox = Inbox()
    await inbox.put(bytes(2 << 20))
    bringing = asyncio.create_task(inbox.put(b"more"))
    await asyncio.sleep(0)
    assert not bringing.done()
    inbox.close()
    await bringing
    await inbox.put(b"nobody wants this")


async def test_silence_ends_a_connection_and_talk_does_not():
    with pytest.raises(TimeoutError):
        async with Idleness(0.05):
            await asyncio.Event().wait()
    loop = asyncio.get_running_loop()
    async with Idleness(0.2) as idle:
        begun = loop.time()
        while loop.time() - begun < 0.5:
            await asyncio.sleep(0.01)
            idle.interrupt()


async def test_tasks_end_whatever_they_raise():
    async def fails():
        raise OSError

    async def waits():
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(fails()), asyncio.create_task(waits())]
    await asyncio.sleep(0)
    await end(*tasks)
    assert all(task.done() for task in tasks)
