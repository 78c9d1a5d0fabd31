"""Informers of pods under random load: cohorts, single pods, several stores, tiny rings."""

import asyncio
import contextlib
import json
import random

import pytest
from msgspec.structs import replace

from scheduler.informer import CohortDelta, Informer
from scheduler.objects.stored import Body
from scheduler.store.store import Store
from tests.store_load import Load, furnish

STORES, WRITES = 2, 90
INDEXERS = {
    "node": lambda obj: (obj.binding.node,) if obj.binding else (),
    "body": lambda obj: (obj.body.digest.hex(),),
}


def view(obj):
    """Return an object with its JSON as it always looks, whoever it was read from."""
    status = json.dumps(json.loads(obj.status or b"null")).encode()
    return replace(obj, status=status, body=Body(b"", obj.body.digest))


class Replay:
    """What a subscriber makes of its deltas, each of which must follow from those before."""

    def __init__(self, feed):
        self.feed = feed
        self.objects = {}

    def catch_up(self):
        for delta in self.feed.take():
            each = delta.each() if isinstance(delta, CohortDelta) else (delta,)
            for one in each:
                assert self.objects.get(one.key) == one.old
                if one.new is None:  # of a pod that came and went between two looks, too
                    self.objects.pop(one.key, None)
                else:
                    assert one.new.key == one.key
                    self.objects[one.key] = one.new


def indexed(objects, index, value):
    return {obj.key: obj for obj in objects.values() if value in INDEXERS[index](obj)}


def consistent(informer, objects):
    """Every way of looking at an informer shows the same pods."""
    assert dict(informer.items) == objects
    assert len(informer.items) == len(objects)
    values = {
        (name, v) for obj in objects.values() for name in INDEXERS for v in INDEXERS[name](obj)
    }
    for index, value in values | {("node", "a"), ("node", "b")}:
        expected = indexed(objects, index, value)
        found = list(informer.by_index(index, value))
        assert len(found) == len(expected)
        assert {obj.key: obj for obj in found} == expected
        single, crowds = informer.in_crowds(index, value)
        assert len(single) + sum(crowd.count for crowd in crowds) == len(expected)
        assert all(expected[crowd.sample.key] == crowd.sample for crowd in crowds)


async def watched(informer, replays, samples, seed):
    """Look at an informer now and then, at moments that differ."""
    roll = random.Random(seed)
    while True:
        await asyncio.sleep(roll.random() / 50)
        for replay in replays:
            replay.catch_up()
        assert all(replay.objects == dict(informer.items) for replay in replays)
        for delta in samples.take():
            assert delta.key.namespace == "default"


async def ended(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(6))
async def test_an_informer_ends_where_a_listing_is(database_url, seed):
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(
                Store.open(database_url, ring_changes=rng.choice((1, 4, 40, 100_000)))
            )
            for _ in range(STORES)
        ]
        await furnish(stores[0])
        informers = [Informer(s, "pods", view, INDEXERS) for s in stores * 2]
        running = [asyncio.create_task(informer.run()) for informer in informers]
        stack.push_async_callback(ended, running)
        replays = [
            [Replay(informer.subscribe()), Replay(informer.subscribe_whole())]
            for informer in informers
        ]
        looking = [
            asyncio.create_task(watched(informer, each, informer.subscribe_samples(), seed))
            for informer, each in zip(informers, replays, strict=True)
        ]
        loads = [Load(store, f"{seed}-{n}") for store in stores for n in range(3)]
        async with asyncio.TaskGroup() as writing:
            for load in loads:
                writing.create_task(load.run(WRITES // 2))
        # one comes late, and one starts over in the middle
        late = Informer(stores[0], "pods", view, INDEXERS)
        informers.append(late)
        replays.append([Replay(late.subscribe())])
        running.append(asyncio.create_task(late.run()))
        running[0].cancel()
        await asyncio.wait([running[0]])
        async with asyncio.TaskGroup() as writing:
            for load in loads:
                writing.create_task(load.run(WRITES // 2))
        running[0] = asyncio.create_task(informers[0].run())
        revision = await stores[0].revision()
        for informer in informers:
            async with asyncio.timeout(20):
                await informer.reached(revision)
        for task in looking:
            assert not task.done() or task.exception() is None
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        listed = {obj.key: view(obj) for obj in (await stores[0].list("pods")).objects}
        assert any(obj.lodged for obj in listed.values())
        for informer, each in zip(informers, replays, strict=True):
            consistent(informer, listed)
            for replay in each:
                replay.catch_up()
                assert replay.objects == listed
