"""A host whose engine answers but does nothing: what is sent to it, and when again."""

import asyncio

import pytest

from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.nodes.circuit import TRIPS, Circuit, CircuitState
from scheduler.nodes.memory import Backoff


class Engine:
    """Answers as told; knows how often it was asked, and how often at once."""

    def __init__(self) -> None:
        self.stuck = False
        self.calls = self.under_way = self.most = 0
        self.told: list[str] = []
        self.closed = asyncio.Event()
        self.circuit = Circuit(self.changed, Backoff(0.01, 0.04))

    def changed(self, failure) -> None:
        self.told.append(str(failure))
        if failure is None:
            self.closed.set()

    async def call(self) -> str:
        self.calls += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if self.stuck:
                raise HostUnreachable("stuck")
            return "done"
        finally:
            self.under_way -= 1

    async def send(self) -> str:
        return await self.circuit.send(self.call)

    async def trip(self) -> None:
        self.stuck = True
        for _ in range(TRIPS):
            with pytest.raises(HostUnreachable):
                await self.send()


async def test_it_opens_after_failures_in_a_row_and_says_why_once():
    engine = Engine()
    engine.stuck = True
    for _ in range(TRIPS - 1):
        with pytest.raises(HostUnreachable):
            await engine.send()
    engine.stuck = False
    assert await engine.send() == "done"
    assert engine.circuit.state is CircuitState.CLOSED
    await engine.trip()
    assert engine.circuit.state is CircuitState.OPEN
    assert engine.told == ["stuck"]


async def test_an_open_circuit_lets_one_call_at_a_time_through_until_one_is_answered():
    engine = Engine()
    await engine.trip()
    engine.calls = engine.most = 0
    waiting = [asyncio.create_task(engine.send()) for _ in range(20)]
    failed, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert len(failed) == engine.calls == engine.most == 1
    engine.stuck = False
    await engine.closed.wait()
    assert engine.circuit.state is CircuitState.CLOSED
    answers = await asyncio.gather(*rest, *failed, return_exceptions=True)
    assert answers.count("done") == 20 - sum(isinstance(a, HostUnreachable) for a in answers)
    assert engine.told == ["stuck", "None"]


async def test_who_waits_does_not_wait_for_its_turn_once_the_circuit_is_closed():
    engine = Engine()
    await engine.trip()
    engine.stuck, engine.most = False, 0
    await asyncio.gather(*(engine.send() for _ in range(20)))
    assert engine.most > 1


async def test_a_no_is_an_answer():
    engine = Engine()
    await engine.trip()

    async def refuse() -> None:
        raise EngineRejected("no", 500)

    with pytest.raises(EngineRejected):
        await engine.circuit.send(refuse)
    assert engine.circuit.state is CircuitState.CLOSED


async def test_who_is_cancelled_while_it_waits_leaves_the_turn_to_others():
    engine = Engine()
    await engine.trip()
    first, second = (asyncio.create_task(engine.send()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    engine.stuck = False
    assert await second == "done"
    assert first.cancelled()
