"""How much work on hosts goes on at once, and whose turn it is."""

import asyncio

import pytest

from scheduler.nodes.pacing import Pacer

LONG = 3600.0


class Work:
    """Begins, and ends when told."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self):
        self.begun.set()
        await self.end.wait()


def start(group, pacer, *, first=False):
    """Begin to wait for a turn, in order."""
    work = Work()
    return work, group.create_task(pacer.send(work, first=first))


async def turns():
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_only_so_much_goes_on_at_once_and_in_order():
    pacer = Pacer(2, LONG)
    async with asyncio.TaskGroup() as group:
        works = [start(group, pacer)[0] for _ in range(4)]
        await turns()
        assert [w.begun.is_set() for w in works] == [True, True, False, False]
        works[1].end.set()
        await works[2].begun.wait()
        assert not works[3].begun.is_set()
        for work in works:
            work.end.set()
    assert works[3].begun.is_set()


async def test_what_goes_on_with_something_is_before_what_begins():
    pacer = Pacer(1, LONG)
    async with asyncio.TaskGroup() as group:
        running, _ = start(group, pacer)
        begins, _ = start(group, pacer)
        goes_on, _ = start(group, pacer, first=True)
        await turns()
        running.end.set()
        await goes_on.begun.wait()
        assert not begins.begun.is_set()
        goes_on.end.set()
        await begins.begun.wait()
        begins.end.set()


async def test_work_that_waits_for_its_host_keeps_no_other_waiting():
    pacer = Pacer(1, 0.01)
    async with asyncio.TaskGroup() as group:
        hung, _ = start(group, pacer)
        other, _ = start(group, pacer)
        await other.begun.wait()
        assert not hung.end.is_set()
        third, _ = start(group, pacer)
        hung.end.set()  # it has left before, and makes no further room
        other.end.set()
        await third.begun.wait()
        third.end.set()


async def test_who_gives_up_leaves_the_turn_to_the_next():
    pacer = Pacer(1, LONG)
    async with asyncio.TaskGroup() as group:
        running, _ = start(group, pacer)
        waiting, given_up = start(group, pacer)
        in_the_same_moment, late = start(group, pacer)
        last, _ = start(group, pacer)
        await turns()
        given_up.cancel()
        await asyncio.wait({given_up})
        running.end.set()
        await asyncio.sleep(0)  # it is the third's turn, which has not heard of it yet
        late.cancel()
        await last.begun.wait()
        assert not waiting.begun.is_set()
        last.end.set()
    del in_the_same_moment


async def test_a_failure_makes_room_too():
    pacer = Pacer(1, LONG)

    async def fail():
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await pacer.send(fail, first=False)


async def test_a_late_process_is_slower_to_let_others_in_for_what_hangs(monkeypatch):
    loop = asyncio.get_running_loop()
    pacer = Pacer(1, 60.0)
    real, behind = loop.time, [0.0]
    async with asyncio.TaskGroup() as group:
        hung, _ = start(group, pacer)
        other, _ = start(group, pacer)
        await turns()
        monkeypatch.setattr(loop, "time", lambda: real() + behind[0])
        for _ in range(19):
            behind[0] += 61.0  # as if a minute had gone by in one step of the loop
            await turns()
            assert not other.begun.is_set()
        behind[0] += 61.0
        await turns()
        assert other.begun.is_set(), "in the end what hangs keeps nobody waiting"
        monkeypatch.undo()
        hung.end.set()
        other.end.set()
