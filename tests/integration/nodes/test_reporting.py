"""What agents write: never over another's change, counted, bounded."""

import asyncio
import contextlib

import msgspec
import pytest

from scheduler.errors import Fenced
from scheduler.informer import Informer
from scheduler.nodes.event_recorder import EventRecorder
from scheduler.nodes.settings import NodeSettings
from scheduler.nodes.status_writer import StatusWriter
from scheduler.objects.pod import PodStatus, pod_view
from tests.store_values import create, pod, replace


@contextlib.asynccontextmanager
async def running(*works):
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def pods(store):
    await store.write(create("namespaces", "default"))
    return Informer(store, "pods", pod_view)


async def until(store, key, test):
    async with asyncio.timeout(10):
        while True:
            stored = await store.get(key)
            if test(msgspec.json.decode(stored.status or b"{}")):
                return stored
            await asyncio.sleep(0.01)


async def test_a_status_is_merged_with_what_others_write_meanwhile(store, pods):
    made = await store.write(pod("web"))
    writer = StatusWriter(store, pods, None)
    async with running(pods.run()):
        await pods.synced()
        foreign = b'{"phase":"Pending","nominatedNodeName":"h2","qosClass":"BestEffort"}'
        writer.put(made.key, made.meta.uid, PodStatus(phase="Running", host_ip="192.0.2.1"))
        async with running(writer.run()):
            # The informer cannot have seen this yet, so the writer's first try is a conflict.
            await store.write(replace(made, expected=None, status=foreign))
            stored = await until(store, made.key, lambda s: s.get("phase") == "Running")
    status = msgspec.json.decode(stored.status)
    assert status["nominatedNodeName"] == "h2"
    assert status["qosClass"] == "BestEffort"
    assert status["hostIPs"] == [{"ip": "192.0.2.1"}]


async def test_only_the_latest_status_of_a_living_pod_is_written(store, pods):
    made = await store.write(pod("web"))
    writer = StatusWriter(store, pods, None)
    async with running(pods.run()):
        await pods.synced()
        for phase in ("Pending", "Failed", "Running"):
            writer.put(made.key, made.meta.uid, PodStatus(phase=phase))
        writer.put(made.key.__class__("pods", "default", "gone"), "u", PodStatus(phase="Running"))
        async with running(writer.run()):
            stored = await until(store, made.key, lambda s: s.get("phase") == "Running")
    assert stored.revision == made.revision + 1


async def test_a_deposed_leader_stops_writing(store, pods):
    made = await store.write(pod("web"))
    async with store.leadership("old").hold() as epoch:
        pass
    async with store.leadership("new").hold(), running(pods.run()):
        await pods.synced()
        writer = StatusWriter(store, pods, epoch)
        writer.put(made.key, made.meta.uid, PodStatus(phase="Running"))
        with pytest.raises(Fenced):
            await asyncio.wait_for(writer.run(), 10)


async def test_events_are_counted_not_repeated_and_bounded(store, pods):
    stored = await store.write(pod("web"))
    subject = pod_view(stored)
    settings = NodeSettings(events_per_second=0.0, events_burst=5)
    recorder = EventRecorder(store, None, settings)
    async with running(recorder.run()):

        async def seen():
            listing = await store.list("events")
            found = [msgspec.json.decode(e.body.json) for e in listing.objects]
            return {event["message"]: event["count"] for event in found}

        async def eventually(expected):
            async with asyncio.timeout(10):
                while await seen() != expected:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        recorder.record(subject, "h1", ("Warning", "BackOff", "again"), "web")
        await eventually({"again": 1})
        recorder.record(subject, "h1", ("Warning", "BackOff", "again"), "web")
        recorder.record(subject, "h1", ("Warning", "BackOff", "again"), "web")
        await eventually({"again": 3})
        for number in range(20):
            recorder.record(subject, "h1", ("Normal", "Flood", str(number)))
        await eventually({"again": 3, "0": 1, "1": 1})
        assert recorder.dropped == 18


async def test_a_node_tells_its_images_and_the_pressure_on_its_disk(cluster):
    await cluster.stop_agents()
    await cluster.start_agents(storage=0.2, pressure=0.1)
    await cluster.add_host("h1", options={"disk": "100Gi"}, evictionPressureTransitionSeconds=0)
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.image_size = 10 << 20
    await cluster.add_pod("web", "h1", priority=2_000_000_000)
    await cluster.running("web")

    def node(test):
        return cluster.until(cluster.nodes, "", "h1", lambda n: n is not None and test(n.status))

    await node(lambda s: any("web:1" in i.names for i in s.images))
    machine.filled = machine.shape.disk
    found = await node(lambda s: s.condition("DiskPressure").status == "True")
    assert found.status.condition("DiskPressure").reason == "KubeletHasDiskPressure"
    assert found.status.condition("Ready").status == "True"
    assert "web:1" in machine.pulled, "an image in use stays"
    machine.filled = 0
    await node(lambda s: s.condition("DiskPressure").status == "False")


async def test_an_image_that_cannot_be_pulled_comes_from_another_host(cluster):
    await cluster.stop_agents()
    await cluster.start_agents(share_images=True, storage=0.2)
    for name in "h1", "h2", "h3":
        await cluster.add_host(name)
        await cluster.ready(name)
    await cluster.add_pod("first", "h1")
    await cluster.running("first")
    await cluster.until(cluster.nodes, "", "h1", lambda n: n is not None and n.status.images)
    for name in "h2", "h3":
        cluster.driver.machine(name).withhold("web:1")
    never = [{"name": "web", "image": "web:1", "imagePullPolicy": "Never"}]
    await cluster.add_pod("second", "h2", containers=never)
    await cluster.running("second")
    await cluster.add_pod("third", "h3")
    await cluster.running("third")
    async with asyncio.timeout(15):
        while True:
            told = [event["message"] for event in await cluster.events("Pulled")]
            if sum("copied from another host" in each for each in told) == 2:
                break
            await asyncio.sleep(0.02)
