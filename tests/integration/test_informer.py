import asyncio
import contextlib
from uuid import uuid4

import pytest

from scheduler.informer import Informer
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, ObjectKey, StoredObject
from scheduler.store.operations import Create, Remove, Replace


def node(name: str, **labels: str) -> Create:
    meta = ObjectMeta(name=name, uid=str(uuid4()), labels=labels)
    return Create("nodes", meta, Body(b'{"spec":{}}'))


def colour(stored: StoredObject) -> tuple[str, ...]:
    return tuple(v for k, v in stored.meta.labels.items() if k == "colour")


@pytest.fixture
async def informer(store):
    informer = Informer(store, "nodes", lambda stored: stored, {"colour": colour})
    task = asyncio.create_task(informer.run())
    await informer.synced()
    yield informer
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_items_follow_every_write(store, informer):
    created = await store.write(node("a", colour="red"))
    await informer.reached(created.revision)
    assert informer.get("", "a") == created
    removed = await store.write(Remove(ObjectKey("nodes", "", "a")))
    await informer.reached(removed.revision)
    assert informer.get("", "a") is None


async def test_an_index_follows_its_values(store, informer):
    red = await store.write(node("a", colour="red"))
    meta = ObjectMeta(name="a", uid=red.meta.uid, labels={"colour": "blue"})
    blue = await store.write(Replace("nodes", meta, red.body, b"", red.revision))
    await informer.reached(blue.revision)
    assert [n.meta.name for n in informer.by_index("colour", "blue")] == ["a"]
    assert not informer.by_index("colour", "red")


async def test_a_subscription_starts_with_what_is_there_and_then_what_happens(store, informer):
    first = await store.write(node("a"))
    await informer.reached(first.revision)
    subscription = informer.subscribe()
    assert [(d.key.name, d.old) for d in await subscription.next()] == [("a", None)]
    await store.write(node("b"))
    (delta,) = await subscription.next()
    assert (delta.key.name, delta.old is None, delta.new is None) == ("b", True, False)
    await store.write(Remove(ObjectKey("nodes", "", "b")))
    (delta,) = await subscription.next()
    assert delta.old is not None
    assert delta.new is None
