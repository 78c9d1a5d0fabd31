"""Which hosts count as alive."""

import asyncio

import pytest

from scheduler.errors import DriverError, HostUnreachable
from scheduler.nodes.pulse import Pulse
from scheduler.nodes.settings import NodeSettings

FAST = NodeSettings(ping=0.02, ping_timeout=0.02, ping_failures=2)


class Engine:
    """Answers pings as told, in order; from then on it answers well."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.pings = self.given_up = self.alive = 0
        self.well = asyncio.Event()
        self.hung = asyncio.Event()

    async def ping(self):
        self.pings += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer == "hang":
            self.hung.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        elif answer is not None:
            raise answer

    def answered(self):
        self.alive += 1
        if not self.answers:
            self.well.set()


@pytest.fixture
async def pulse():
    made = Pulse(FAST)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.wait({running})


async def lost(pulse, engine):
    """Return why an engine was given up."""
    with pytest.raises(DriverError) as caught:
        async with asyncio.timeout(15):
            await pulse.watch("h", engine, engine.answered)
    return caught.value


@pytest.mark.parametrize("failure", ["hang", HostUnreachable("away")])
async def test_a_host_that_does_not_answer_twice_in_a_row_is_lost(pulse, failure):
    engine = Engine(None, failure, None, failure, failure, None)
    why = await lost(pulse, engine)
    assert isinstance(why, HostUnreachable)
    assert str(why) == "host h did not answer 2 pings"
    assert (engine.pings, engine.alive) == (5, 2)
    assert engine.given_up == engine.pings - 2 - (failure != "hang") * 3


async def test_nonsense_is_told_at_once(pulse):
    assert str(await lost(pulse, Engine(DriverError("nonsense")))) == "nonsense"


async def test_one_that_hangs_keeps_no_other_from_being_asked(pulse):
    hung, well = Engine("hang", "hang"), Engine(None, None, None)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(pulse.watch("w", well, well.answered))
        await lost(pulse, hung)
        async with asyncio.timeout(15):
            await well.well.wait()
        watching.cancel()
    assert well.given_up == 0


async def test_who_is_not_watched_any_more_is_not_asked(pulse):
    engine = Engine("hang")
    watching = asyncio.create_task(pulse.watch("h", engine, engine.answered))
    async with asyncio.timeout(15):
        await engine.hung.wait()
    watching.cancel()
    await asyncio.wait({watching})
    other = Engine(None, None)
    watching = asyncio.create_task(pulse.watch("o", other, other.answered))
    async with asyncio.timeout(15):
        await other.well.wait()
    watching.cancel()
    await asyncio.wait({watching})
    assert (engine.pings, engine.given_up) == (1, 1)
