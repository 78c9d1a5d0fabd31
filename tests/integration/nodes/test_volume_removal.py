"""Volumes that are being deleted: their data go, on each host for itself."""

import asyncio
import json

import pytest

from scheduler.informer import Informer
from scheduler.nodes.volume_removal import VolumeRemoval
from scheduler.objects.meta import now_seconds
from scheduler.objects.storage import DATA, DRIVER, HOSTNAME, VOLUMES
from scheduler.objects.stored import ObjectKey
from tests.store_values import create, replace


class Disks:
    """A host with lasting volumes."""

    def __init__(self):
        self.asked = asyncio.Event()
        self.hangs = False
        self.busy = False
        self.removed = []

    async def remove_volume(self, name):
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        assert not self.busy
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        self.removed.append(name)


def body(host, handle):
    term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [host]}]}
    spec = {
        "persistentVolumeReclaimPolicy": "Delete",
        "csi": {"driver": DRIVER, "volumeHandle": handle},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    return json.dumps({"spec": spec}).encode()


async def add(store, name, host):
    """Create a volume that is being deleted and waits for its data to go."""
    made = await store.write(create(VOLUMES, name, body=body(host, f"data-{name}")))
    doomed = replace(made, finalizers=(DATA,), deletion_timestamp=now_seconds())
    await store.write(doomed)


async def gone(store, name):
    async with asyncio.timeout(15):
        while await store.get(ObjectKey(VOLUMES, "", name)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def hosts(store):
    found = {"h1": Disks(), "h2": Disks()}
    for name in found:
        await store.write(create("nodes", name, labels={HOSTNAME: name}))
    nodes = Informer(store, "nodes", lambda stored: stored)
    async with store.leadership("test").hold() as epoch, asyncio.TaskGroup() as group:
        tasks = [group.create_task(nodes.run())]
        await nodes.synced()
        removal = VolumeRemoval(store, epoch, nodes, found.get)
        tasks.append(group.create_task(removal.run()))
        yield found
        for task in tasks:
            task.cancel()


async def test_a_host_that_hangs_keeps_only_its_own_volumes(store, hosts):
    hosts["h1"].hangs = True
    await add(store, "a", "h1")
    await hosts["h1"].asked.wait()
    await add(store, "b", "h2")
    await gone(store, "b")
    assert hosts["h2"].removed == ["data-b"]
    assert await store.get(ObjectKey(VOLUMES, "", "a"))


async def test_volumes_of_one_host_go_one_after_another(store, hosts):
    for name in ("a", "b", "c"):
        await add(store, name, "h1")
    for name in ("a", "b", "c"):
        await gone(store, name)
    assert sorted(hosts["h1"].removed) == ["data-a", "data-b", "data-c"]
