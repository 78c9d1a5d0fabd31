"""A leader's node agents over simulated hosts, on a real store."""

import asyncio
import base64
import contextlib
import random
from dataclasses import replace as replace_settings

import msgspec
import pytest
from ironfree_docker import DockerDriver
from ironfree_simulated import SimulatedDriver
from msgspec.structs import replace as replace_fields

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.errors import Conflict
from scheduler.informer import Informer
from scheduler.nodes import image_builds
from scheduler.nodes.directory import NodeAgents
from scheduler.nodes.docker_host import RESOURCE, docker_host_view
from scheduler.nodes.settings import NodeSettings
from scheduler.objects.cohort import PLACES
from scheduler.objects.deletion import DeletionRequest, delete
from scheduler.objects.image_build import FINAL, ImageBuildStatus, image_build
from scheduler.objects.image_build import RESOURCE as BUILDS
from scheduler.objects.image_manifest import RESOURCE as MANIFESTS
from scheduler.objects.image_manifest import image_manifest
from scheduler.objects.meta import now_seconds
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.objects.stored import ObjectKey, intern_body
from scheduler.store.operations import Bind, BindCohort, CreateCohort, Remove
from tests.store_values import cohort, create, replace

FAST = NodeSettings(
    ping=0.1,
    ping_timeout=1.0,
    resync=0.5,
    settle=0.01,
    lease=0.3,
    storage=3600.0,  # a Node that changes meanwhile refuses the bindings of tests
    reconnect_initial=0.02,
    reconnect_limit=0.1,
)


class Cluster:
    """What a test does to the store and the hosts, and what it waits for."""

    def __init__(self, store, epoch, driver):
        self.store = store
        self.epoch = epoch
        self.driver = driver
        self.pods = Informer(store, "pods", pod_view)
        self.nodes = Informer(store, "nodes", node_view)
        self.hosts = Informer(store, RESOURCE, docker_host_view)
        self.agents = None
        self._running = None

    async def start_agents(self, shared=None, **changes):
        """Start agents, as a leader does; with other settings than usual if they are given."""
        settings = replace_settings(FAST, **changes)
        drivers = {"simulated": self.driver}
        self.agents = NodeAgents(self.store, drivers, self.epoch, settings, shared)
        self._running = asyncio.create_task(self.agents.run())

    async def stop_agents(self):
        """Stop them wherever they are, as a kill does."""
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    async def add_host(self, name, **spec):
        spec = {"driver": "simulated", "address": f"simulated://{name}", **spec}
        body = msgspec.json.encode({"spec": spec})
        return await self.store.write(create(RESOURCE, name, body=body))

    async def delete_host(self, name):
        """Do what the API does for DELETE."""
        stored = await self.store.get(ObjectKey(RESOURCE, "", name))
        meta = delete(stored, DeletionRequest(), now_seconds())
        deleted = {"deletion_timestamp": meta.deletion_timestamp}
        await self.store.write(replace(stored, expected=None, **deleted))

    async def ready(self, name):
        """Wait until the host's Node is ready and the host can be used."""
        node = await self.until(self.nodes, "", name, lambda n: n is not None)
        async with asyncio.timeout(10):
            while self.agents.host(name) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return node

    async def add_pod(self, name, node, *, wait_for_node=True, **spec):
        """Create a pod and bind it."""
        if wait_for_node:
            await self.ready(node)
        spec.setdefault("containers", [{"name": "web", "image": "web:1"}])
        body = intern_body(msgspec.json.encode({"spec": spec}, order="deterministic"))
        made = await self.store.write(
            create("pods", name, "default", body, status=b'{"phase":"Pending","qosClass":"Burst"}')
        )
        while True:
            revision = await self.store.revision()
            bind = Bind(made.key, made.meta.uid, node, revision, {"pods": 1}, epoch=self.epoch)
            with contextlib.suppress(Conflict):  # its agent has written the Node meanwhile
                await self.store.write(bind)
                return made

    async def add_cohort(self, nodes, **spec):
        """Create a cohort of a pod for each of the nodes, and bind them together."""
        spec.setdefault("containers", [{"name": "web", "image": "web:1"}])
        body = intern_body(msgspec.json.encode({"spec": spec}, order="deterministic"))
        wanted = replace_fields(
            cohort(len(nodes), random.randrange(PLACES), body=body),
            status=b'{"phase":"Pending","qosClass":"Burst"}',
        )
        (made,) = await self.store.create_cohorts([CreateCohort(wanted, self.epoch)])
        revision = await self.store.revision()
        op = BindCohort(
            made.namespace,
            made.uid,
            tuple(range(made.size)),
            tuple(nodes),
            revision,
            {"pods": 1},
            epoch=self.epoch,
        )
        (outcome,) = await self.store.write_cohorts([op])
        assert outcome.refused == {}
        return made

    async def delete_pod(self, name, grace=None):
        """Do what the API does for DELETE."""
        stored = await self.store.get(ObjectKey("pods", "default", name))
        meta = delete(stored, DeletionRequest(grace), now_seconds())
        if meta is None:
            await self.store.write(Remove(stored.key))
        else:
            await self.store.write(
                replace(
                    stored,
                    expected=None,
                    deletion_timestamp=meta.deletion_timestamp,
                    deletion_grace_period_seconds=meta.deletion_grace_period_seconds,
                )
            )

    async def until(self, informer, namespace, name, test):
        """Wait until an object passes a test (None: it is gone)."""
        subscription = informer.subscribe()
        try:
            async with asyncio.timeout(15):
                while not test(informer.get(namespace, name)):
                    await subscription.next()
        except TimeoutError:
            pytest.fail(f"{name} stays {informer.get(namespace, name)}")
        return informer.get(namespace, name)

    async def pod(self, name, test):
        return await self.until(self.pods, "default", name, test)

    async def running(self, name):
        return await self.pod(name, lambda p: p is not None and p.status.phase == "Running")

    async def host(self, name, test):
        return await self.until(self.hosts, "", name, test)

    async def eventually(self, test):
        """Wait for something that no object tells."""
        async with asyncio.timeout(15):
            while not test():  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0.01)

    async def events(self, *reasons):
        """Wait until there are events of all reasons, and return every event."""
        async with asyncio.timeout(15):
            while True:
                found = [
                    msgspec.json.decode(e.body.json)
                    for e in (await self.store.list("events")).objects
                ]
                if set(reasons) <= {event["reason"] for event in found}:
                    return found
                await asyncio.sleep(0.02)


@pytest.fixture
async def cluster(store):
    for namespace in ("default", "kube-system", "kube-node-lease"):
        await store.write(create("namespaces", namespace))
    async with store.leadership("test").hold() as epoch:
        made = Cluster(store, epoch, SimulatedDriver())
        async with asyncio.TaskGroup() as group:
            informers = [made.pods, made.nodes, made.hosts]
            tasks = [group.create_task(informer.run()) for informer in informers]
            for informer in informers:
                await informer.synced()
            await made.start_agents()
            yield made
            await made.stop_agents()
            for task in tasks:
                task.cancel()


class Works(Cluster):
    """A cluster of fake engines, and what is told of images."""

    def __init__(self, store, epoch, directory):
        super().__init__(store, epoch, DockerDriver())
        self.directory = directory
        self.builds = Informer(store, BUILDS, image_build)
        self.manifests = Informer(store, MANIFESTS, image_manifest)
        self.engines = {}

    async def add(self, name, labels=None, **engine):
        made = FakeEngine(images={"app:v1"}, id=name, name=name, **engine)
        self.engines[name] = made
        address = await made.serve(self.directory / f"{name}.sock")
        await self.add_host(name, address=address, labels=labels or {})
        await self.ready(name)
        return made

    async def build(self, name, image="new:v1", status=None, **spec):
        body = msgspec.json.encode({"spec": {"image": image, "deadlineSeconds": 60, **spec}})
        status = msgspec.json.encode(status or ImageBuildStatus())
        return await self.store.write(create(BUILDS, name, "default", body, status=status))

    async def until_build(self, name, test):
        return (await self.until(self.builds, "default", name, test)).status

    async def ended(self, name):
        return await self.until_build(name, lambda b: b is not None and b.status.phase in FINAL)

    async def secret(self, name, kind, **data):
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        body = msgspec.json.encode({"type": kind, "data": encoded})
        await self.store.write(create("secrets", name, "default", body))


@pytest.fixture
async def works(store, tmp_path, monkeypatch):
    """A leader's node agents over fake engines."""
    monkeypatch.setattr(image_builds, "_LOOK", 0.05)
    monkeypatch.setattr(image_builds, "_LOG", 0.05)
    for namespace in ("default", "kube-system", "kube-node-lease"):
        await store.write(create("namespaces", namespace))
    async with store.leadership("test").hold() as epoch:
        made = Works(store, epoch, tmp_path)
        async with asyncio.TaskGroup() as group:
            informers = [made.pods, made.nodes, made.hosts, made.builds, made.manifests]
            tasks = [group.create_task(informer.run()) for informer in informers]
            for informer in informers:
                await informer.synced()
            await made.start_agents()
            yield made
            await made.stop_agents()
            for task in tasks:
                task.cancel()
        for engine in made.engines.values():
            await engine.stop()
