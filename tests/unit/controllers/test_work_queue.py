"""Keys are looked at once at a time, and failures keep nobody else waiting."""

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import timedelta

import pytest

from scheduler.controllers.clock import SystemClock
from scheduler.controllers.work_queue import Backoff, WorkQueue
from scheduler.errors import Fenced

FAST = Backoff(first=0.0005, most=0.001)


@contextlib.asynccontextmanager
async def serving(queue, reconcile, workers=3):
    task = asyncio.create_task(queue.serve(reconcile, workers))
    yield task
    task.cancel()
    await asyncio.wait({task})


async def test_a_key_added_often_is_looked_at_once():
    queue, seen, done = WorkQueue("q", SystemClock()), Counter(), asyncio.Event()
    for _ in range(5):
        queue.add("a")
    queue.add("z")

    async def reconcile(key):
        seen[key] += 1
        if key == "z":
            done.set()

    async with serving(queue, reconcile, workers=1):
        await done.wait()
    assert seen == {"a": 1, "z": 1}


async def test_a_key_runs_once_at_a_time_and_again_when_added_meanwhile():
    queue = WorkQueue("q", SystemClock(), rest=0.0)
    inside, most, runs = 0, 0, 0
    gate, twice = asyncio.Event(), asyncio.Event()

    async def reconcile(_key):
        nonlocal inside, most, runs
        inside += 1
        runs += 1
        most = max(most, inside)
        if runs == 1:
            queue.add("a")
            queue.add("a")
            gate.set()
            await asyncio.sleep(0)
        else:
            twice.set()
        inside -= 1

    queue.add("a")
    async with serving(queue, reconcile):
        await gate.wait()
        await twice.wait()
    assert (most, runs) == (1, 2)


async def test_a_failing_key_comes_again_and_others_go_on(caplog):
    queue, seen, done = WorkQueue("q", SystemClock(), FAST), Counter(), asyncio.Event()

    async def reconcile(key):
        seen[key] += 1
        if key == "bad" and seen[key] < 4:
            raise RuntimeError("no luck")
        if key == "bad":
            done.set()

    queue.add("bad")
    queue.add("good")
    with caplog.at_level(logging.ERROR):
        async with serving(queue, reconcile, workers=1):
            await done.wait()
    assert seen == {"bad": 4, "good": 1}
    assert [r.exc_info is not None for r in caplog.records] == [True] * 3
    assert "bad failed 1 time(s): no luck" in caplog.text


async def test_what_a_look_returns_is_when_to_look_again():
    queue, runs, done = WorkQueue("q", SystemClock(), rest=0.0), 0, asyncio.Event()

    async def reconcile(_key):
        nonlocal runs
        runs += 1
        if runs == 3:
            done.set()
            return None
        return timedelta(milliseconds=1)

    queue.add("a")
    async with serving(queue, reconcile):
        await done.wait()


async def test_a_deposed_leader_stops():
    queue = WorkQueue("q", SystemClock())

    async def reconcile(_key):
        raise Fenced("epoch 2 leads")

    queue.add("a")
    with pytest.raises(ExceptionGroup) as caught:
        await queue.serve(reconcile, 2)
    assert caught.group_contains(Fenced)


def test_delays_grow_within_bounds():
    backoff = Backoff(first=1, most=8, jitter=0.5)
    for failures, base in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (5000, 8)):
        assert base <= backoff.delay(failures) <= base * 1.5


async def test_the_earliest_of_several_delays_counts():
    class Clock(SystemClock):
        def __init__(self):
            self.timers = []

        def call_later(self, seconds, callback):
            timer = super().call_later(1000, callback)
            self.timers.append((seconds, callback, timer))
            return timer

    clock = Clock()
    queue = WorkQueue("q", clock)
    queue.add_after("a", 50)
    queue.add_after("a", 80)
    queue.add_after("a", 10)
    live = [seconds for seconds, _, timer in clock.timers if not timer.cancelled()]
    assert live == [10]
    clock.timers[-1][2].cancel()
