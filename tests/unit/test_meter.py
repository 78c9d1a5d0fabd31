"""What containers use: how often hosts are asked, and what is made of it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from scheduler import meter
from scheduler.errors import HostUnreachable
from scheduler.meter import Meter
from scheduler.streams import ContainerUsage

START = datetime(2026, 1, 1, tzinfo=UTC)


class Host:
    """Containers that use so many cores; every look is a second later."""

    def __init__(self, **cores):
        self.cores, self.looks, self.fails = cores, 0, False

    async def usage(self):
        self.looks += 1
        if self.fails:
            raise HostUnreachable("gone")
        await asyncio.sleep(0)
        return {
            name: ContainerUsage(
                START + timedelta(seconds=self.looks), round(self.looks * used * 1e9), 1 << 20
            )
            for name, used in self.cores.items()
        }


class Directory(dict):
    def host(self, name):
        return self.get(name)


@pytest.fixture
def clock(monkeypatch):
    """The loop's time as the meter sees it, and no pauses."""
    now = [1000.0]

    class Loop:
        def time(self):
            return now[0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(meter.asyncio, "get_running_loop", Loop)
    monkeypatch.setattr(meter.asyncio, "sleep", sleep)
    return now


async def test_a_rate_takes_two_looks_and_then_one_a_window(clock):
    host = Host(a=0.25, b=2)
    measured = Meter(Directory(n=host))
    for _ in range(3):
        rates = (await measured.rates(["n", "n"]))["n"]
        assert {name: rate.nanocores for name, rate in rates.items()} == {"a": 250e6, "b": 2e9}
        assert rates["a"].memory_bytes == 1 << 20
    assert host.looks == 2
    clock[0] += meter.WINDOW
    await measured.rates(["n"])
    assert host.looks == 3
    host.cores["new"] = 1
    clock[0] += meter.WINDOW
    assert (await measured.rates(["n"]))["n"].keys() == {"a", "b", "new"}
    assert host.looks == 5, "what is new has to be seen twice"
    clock[0] += 3600
    await measured.rates(["n"])
    assert host.looks == 7, "what was seen long ago says nothing"


async def test_many_who_ask_at_once_share_an_answer():
    host = Host(a=1)
    measured = Meter(Directory(n=host))
    await asyncio.gather(*(measured.rates(["n"]) for _ in range(20)))
    assert host.looks == 2


async def test_hosts_that_do_not_answer_are_left_out(clock):
    deaf = Host(a=1)
    deaf.fails = True
    measured = Meter(Directory(n=Host(a=1), deaf=deaf, other=object()))
    assert (await measured.rates(["n", "deaf", "other", "gone"])).keys() == {"n"}


async def test_a_container_that_was_started_anew_has_no_rate(clock):
    host = Host(a=1)
    measured = Meter(Directory(n=host))
    await measured.rates(["n"])
    host.cores["a"] = 0.1
    clock[0] += meter.WINDOW
    assert (await measured.rates(["n"]))["n"] == {}
