"""Pulls over a cluster: bounded, one first, fair, nothing left behind."""

import asyncio

import pytest

from scheduler.errors import HostUnreachable, ImageUnavailable
from scheduler.images import PullProgress
from scheduler.nodes.pull_measures import PullMeasures
from scheduler.nodes.pull_pacing import PacingLimits, PullPacer, Source

LAYER = PullProgress(2, 1, 10, 5)
START = PullProgress(2, 0, 10, 5)


class Cluster:
    """Pulls that end when the test says so."""

    def __init__(self, **limits):
        self.measures = PullMeasures()
        self.pacer = PullPacer(PacingLimits(**limits), self.measures)
        self.under_way = {}
        self.heard = {}
        self.broken_off = []
        self._changed = asyncio.Condition()

    def want(self, node, image, credentials=None):
        source = Source(image, image.partition("/")[0], credentials)

        async def run(heard):
            key = (node, image)
            end = asyncio.get_running_loop().create_future()
            self.under_way[key], self.heard[key] = end, heard
            try:
                await end
            except asyncio.CancelledError:
                self.broken_off.append(key)
                raise
            finally:
                del self.under_way[key]

        return asyncio.create_task(self.pacer.pull(node, source, run, lambda _: None))

    async def settled(self):
        """Let everything go as far as it goes by itself (the loop has nothing ready)."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def ends(self, node, image, error=None):
        end = self.under_way[node, image]
        if error is None:
            end.set_result(None)
        else:
            end.set_exception(error)
        await self.settled()

    @property
    def now(self):
        return sorted(self.under_way)


@pytest.fixture
async def make():
    made = []

    def build(**limits):
        made.append(Cluster(**limits))
        return made[-1]

    yield build
    for cluster in made:
        assert not cluster.under_way
        assert not any(cluster.measures.pulling.values())
        assert not any(cluster.measures.waiting.values())


async def finish(cluster, tasks):
    """End every pull well until all are done."""
    while not all(task.done() for task in tasks):
        for node, image in cluster.now:
            await cluster.ends(node, image)
        await cluster.settled()
    for task in tasks:
        await task


async def test_one_host_pulls_first_and_the_others_follow(make):
    cluster = make()
    tasks = [cluster.want(f"h{i}", "r/app") for i in range(5)]
    await cluster.settled()
    assert cluster.now == [("h0", "r/app")]
    await cluster.ends("h0", "r/app")
    assert cluster.now == [(f"h{i}", "r/app") for i in range(1, 5)]
    await finish(cluster, tasks)
    late = [cluster.want(f"h{i}", "r/app") for i in range(5, 8)]
    await cluster.settled()
    assert len(cluster.now) == 3, "the image is known to be good"
    await finish(cluster, late)
    assert cluster.measures.outcomes == {("r", "pulled"): 8}


async def test_a_layer_is_enough_for_the_others(make):
    cluster = make()
    tasks = [cluster.want(f"h{i}", "r/app") for i in range(3)]
    await cluster.settled()
    cluster.heard["h0", "r/app"](START)
    await cluster.settled()
    assert len(cluster.now) == 1
    cluster.heard["h0", "r/app"](LAYER)
    await cluster.settled()
    assert len(cluster.now) == 3
    await finish(cluster, tasks)


async def test_after_two_hosts_have_failed_nobody_else_tries(make):
    cluster = make()
    tasks = [cluster.want(f"h{i}", "r/app") for i in range(5)]
    await cluster.settled()
    await cluster.ends("h0", "r/app", ImageUnavailable("no such manifest"))
    assert cluster.now == [("h1", "r/app")]
    await cluster.ends("h1", "r/app", ImageUnavailable("no such manifest"))
    assert cluster.now == []
    for task in tasks:
        with pytest.raises(ImageUnavailable, match="no such manifest"):
            await task
    again = [cluster.want(f"h{i}", "r/app") for i in (3, 4)]
    await cluster.settled()
    assert cluster.now == [("h3", "r/app")], "the next time begins anew"
    await finish(cluster, again)


async def test_a_host_that_goes_away_says_nothing_of_the_image(make):
    cluster = make()
    tasks = [cluster.want(f"h{i}", "r/app") for i in range(4)]
    for i in range(3):
        await cluster.settled()
        assert cluster.now == [(f"h{i}", "r/app")]
        await cluster.ends(f"h{i}", "r/app", HostUnreachable("gone"))
        with pytest.raises(HostUnreachable):
            await tasks[i]
    await finish(cluster, tasks[3:])


async def test_hosts_and_registries_are_bounded_and_nobody_waits_for_another(make):
    cluster = make(per_host=2, per_registry=3)
    tasks = [cluster.want("h0", f"r/app{i}") for i in range(4)]
    tasks += [cluster.want("h1", f"r/app{i}") for i in range(4, 8)]
    tasks += [cluster.want("h1", "q/app")]
    await cluster.settled()
    assert cluster.now == [("h0", "r/app0"), ("h0", "r/app1"), ("h1", "q/app"), ("h1", "r/app4")]
    await cluster.ends("h0", "r/app1")
    assert ("h0", "r/app2") in cluster.now, "in order of arrival"
    await finish(cluster, tasks)


async def test_a_pull_that_stands_still_gives_its_place_on_the_host_back(make):
    cluster = make(per_host=1, per_registry=1, patience=0.02)
    slow = cluster.want("h0", "slow/app")
    waiting = [cluster.want("h0", "r/app"), cluster.want("h1", "slow/other")]
    async with asyncio.timeout(10):
        while ("h0", "r/app") not in cluster.under_way:  # noqa: ASYNC110 - only time tells
            await asyncio.sleep(0.01)
    assert ("h1", "slow/other") not in cluster.under_way, "its registry's place it keeps"
    cluster.heard["h0", "slow/app"](START)
    await finish(cluster, [slow, *waiting])


async def test_pods_of_one_host_share_a_pull_until_the_last_has_gone(make):
    cluster = make()
    tasks = [cluster.want("h0", "r/app") for _ in range(3)]
    other = cluster.want("h1", "r/app")
    await cluster.settled()
    assert cluster.now == [("h0", "r/app")]
    for task in tasks[:2]:
        task.cancel()
    await cluster.settled()
    assert cluster.broken_off == []
    tasks[2].cancel()
    await cluster.settled()
    assert cluster.broken_off == [("h0", "r/app")]
    assert cluster.now == [("h1", "r/app")], "the next one is the first now"
    assert await asyncio.gather(*tasks, return_exceptions=True)
    again = cluster.want("h0", "r/app")
    await cluster.settled()
    assert not again.done()
    await finish(cluster, [other, again])


async def test_who_is_given_up_while_waiting_leaves_nothing(make):
    cluster = make(per_host=1)
    first, second = cluster.want("h0", "r/one"), cluster.want("h0", "r/two")
    await cluster.settled()
    second.cancel()
    await cluster.settled()
    with pytest.raises(asyncio.CancelledError):
        await second
    third = cluster.want("h0", "r/two")
    await finish(cluster, [first, third])


async def test_who_is_given_up_as_its_turn_comes_gives_it_back(make):
    cluster = make(per_host=1)
    first = cluster.want("h0", "r/one")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    second = cluster.want("h0", "r/two")
    await finish(cluster, [second])


async def test_other_credentials_are_another_pull(make):
    cluster = make()
    tasks = [cluster.want("h0", "r/app"), cluster.want("h1", "r/app", credentials="me")]
    await cluster.settled()
    assert len(cluster.now) == 2
    await finish(cluster, tasks)


async def test_many_pulls_all_end_within_the_bounds(make):
    cluster = make(per_host=2, per_registry=7)
    tasks = [cluster.want(f"h{i % 13}", f"{'rq'[i % 2]}/app{i % 5}") for i in range(200)]
    busiest = 0
    await cluster.settled()
    while not all(task.done() for task in tasks):
        for registry in "rq":
            now = [node for node, image in cluster.now if image.startswith(registry)]
            assert len(now) <= 7
            busiest = max(busiest, len(now))
        assert all(sum(n == node for n, _ in cluster.now) <= 2 for node, _ in cluster.now)
        node, image = cluster.now[len(cluster.now) // 2]
        await cluster.ends(node, image)
    await asyncio.gather(*tasks)
    assert busiest > 1
