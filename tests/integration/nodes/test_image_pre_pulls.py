"""Hosts get images before pods come, and the status says how far that is."""

import asyncio
import json

import msgspec
import pytest

from scheduler.informer import Informer
from scheduler.nodes import image_pre_pulls
from scheduler.objects.image_pre_pull import RESOURCE, Phase, image_pre_pull
from scheduler.store.operations import Remove
from tests.store_values import create, replace

IMAGES = ["r.io/a:v1", "r.io/b:v1"]


@pytest.fixture
async def wishes(works, monkeypatch):
    """The ImagePrePulls there are; hosts are looked at often."""
    monkeypatch.setattr(image_pre_pulls, "_LOOK", 0.05)
    monkeypatch.setattr(image_pre_pulls, "_IDLE", 0.05)
    informer = Informer(works.store, RESOURCE, image_pre_pull)
    running = asyncio.create_task(informer.run())
    await informer.synced()
    yield informer
    running.cancel()
    await asyncio.wait({running})


async def wish(works, name="w", **spec):
    spec = {"images": IMAGES, "imagePullPolicy": "IfNotPresent", "namespace": "default", **spec}
    body = msgspec.json.encode({"spec": spec})
    return await works.store.write(create(RESOURCE, name, body=body))


async def until(works, wishes, test, name="w"):
    found = await works.until(wishes, "", name, lambda w: w is not None and test(w.status))
    return found.status


async def test_hosts_of_a_selector_get_every_image_and_later_hosts_too(works, wishes):
    labels = {"pool": "a"}
    one = await works.add("one", labels, pullable=set(IMAGES))
    other = await works.add("other", pullable=set(IMAGES))
    made = await wish(works, selector={"matchLabels": labels})
    status = await until(works, wishes, lambda s: s.phase == Phase.READY)
    assert (status.nodes, status.ready, status.pulling, status.failed) == (1, 1, 0, 0)
    assert one.images >= set(IMAGES)
    assert other.calls.count("pull") == 0
    two = await works.add("two", labels, pullable=set(IMAGES))
    status = await until(works, wishes, lambda s: s.ready == 2)
    assert status.phase == Phase.READY
    assert two.images >= set(IMAGES)
    await works.store.write(Remove(made.key))
    assert one.calls.count("pull") == 2


async def test_what_cannot_be_had_is_told_and_the_rest_is_there(works, wishes):
    engine = await works.add("one", pullable=set(IMAGES[:1]))
    await wish(works)
    status = await until(works, wishes, lambda s: s.failed == 1 and not s.pulling)
    assert (status.phase, status.nodes, status.ready) == (Phase.FAILING, 1, 0)
    assert "manifest for r.io/b:v1 not found" in status.message
    assert status.failures[0].startswith("one: r.io/b:v1: ")
    assert IMAGES[0] in engine.images


async def test_a_host_that_does_not_answer_is_not_ready(works, wishes):
    await works.add("one", pullable=set(IMAGES))
    await wish(works)
    await until(works, wishes, lambda s: s.ready == 1)
    await works.engines["one"].stop()
    status = await until(works, wishes, lambda s: s.ready == 0)
    assert (status.phase, status.nodes) == (Phase.FAILING, 1)
    assert "does not answer" in status.message


async def test_secrets_of_its_namespace_are_used(works, wishes):
    account = {"username": "me", "password": "hush hush", "serveraddress": "r.io"}
    engine = await works.add("one", pullable=set(IMAGES), accounts=[account])
    auths = {"auths": {"r.io": {"username": "me", "password": "hush hush"}}}
    content = {".dockerconfigjson": json.dumps(auths).encode()}
    await works.secret("login", "kubernetes.io/dockerconfigjson", **content)
    await wish(works, imagePullSecrets=[{"name": "login"}])
    await until(works, wishes, lambda s: s.phase == Phase.READY)
    assert engine.logins == [account, account]


async def test_a_wish_may_change_and_go(works, wishes):
    engine = await works.add("one", pullable={IMAGES[0]})
    engine.silent_pulls = True
    made = await wish(works, images=IMAGES[1:])
    await engine.hanging.acquire()
    await until(works, wishes, lambda s: s.pulling == 1)
    engine.silent_pulls = False
    changed = {"spec": {"images": IMAGES[:1], "imagePullPolicy": "Always"}}
    body = type(made.body)(msgspec.json.encode(changed))
    stored = await works.store.get(made.key)
    await works.store.write(replace(stored, body=body, expected=None, generation=2))
    status = await until(works, wishes, lambda s: s.phase == Phase.READY)
    assert status.observed_generation == 2
    assert IMAGES[0] in engine.images
    await works.eventually(lambda: not engine._under_way["pull"])


async def test_always_pulls_once_and_a_present_image_is_not_pulled(works, wishes):
    engine = await works.add("one", pullable={"app:v1"})
    await wish(works, "present", images=["app:v1"])
    await until(works, wishes, lambda s: s.phase == Phase.READY, "present")
    assert engine.calls.count("pull") == 0
    await wish(works, "always", images=["app:v1"], imagePullPolicy="Always")
    await until(works, wishes, lambda s: s.phase == Phase.READY, "always")
    assert engine.calls.count("pull") == 1


async def test_no_host_at_all_is_told(works, wishes):
    await wish(works, selector={"matchLabels": {"no": "where"}})
    status = await until(works, wishes, lambda s: s.message)
    assert (status.nodes, status.message) == (0, "no host matches spec.selector")
