"""What may run once at most is succeeded only when it is gone, be it behind a partition."""

import asyncio
import contextlib

import msgspec
import pytest

from scheduler.controllers.clock import SystemClock
from scheduler.controllers.controllers import Controllers
from scheduler.controllers.fenced_store import FencedStore
from scheduler.controllers.informers import Informers
from scheduler.controllers.settings import ControllerSettings
from scheduler.errors import Conflict
from scheduler.meter import Meter
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.pod import AT_MOST_ONCE
from scheduler.objects.stored import Body, ObjectKey
from scheduler.objects.wire import document
from scheduler.store.operations import Bind, Remove
from tests.store_values import create, replace


class Controlled:
    """Hosts with their agents, and controllers; whoever needs a node is bound by the test."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.store = cluster.store

    def machine(self, name):
        return self.cluster.driver.machine(name)

    async def create(self, resource, **spec):
        template = {
            "metadata": {"labels": {"app": "web"}, "annotations": {AT_MOST_ONCE: "true"}},
            "spec": {
                "containers": [{"name": "web", "image": "web:1"}],
                "restartPolicy": "Never" if resource == "jobs.batch" else "Always",
                "tolerations": [{"operator": "Exists", "tolerationSeconds": 0, **LOST}],
            },
        }
        body = {"spec": {"template": template, **spec}}
        kind = REGISTRY.by_resource(resource)
        made = create(resource, "web", "default", b"{}")
        made = msgspec.structs.replace(made, meta=msgspec.structs.replace(made.meta, generation=1))
        if kind.identify is not None:
            kind.identify(made.meta, body)
        kind.default(body)
        encoded = msgspec.json.encode(body, order="deterministic")
        return await self.store.write(msgspec.structs.replace(made, body=Body(encoded)))

    async def status(self, stored):
        found = await self.store.get(stored.key)
        return document(found, REGISTRY.by_resource(found.resource)).get("status", {})

    async def until(self, look):
        """Wait until an async look is true, looking after every change."""
        async with (
            contextlib.aclosing(self.store.watch(None, await self.store.revision())) as changes,
            asyncio.timeout(20),
        ):
            while not (found := await look()):
                await anext(changes)
            return found

    async def pods(self):
        return (await self.store.list("pods", "default")).objects

    async def bound(self, node):
        """Bind the one pod that has no node; return it once it runs."""

        async def unbound():
            return [pod for pod in await self.pods() if pod.binding is None]

        (pod,) = await self.until(unbound)
        while True:
            at = await self.store.revision()
            bind = Bind(pod.key, pod.meta.uid, node, at, {"pods": 1}, epoch=self.cluster.epoch)
            with contextlib.suppress(Conflict):  # its agent has written the Node meanwhile
                await self.store.write(bind)
                break
        await self.cluster.running(pod.meta.name)
        return pod

    async def change_image(self, stored, image):
        """Do what kubectl set image does."""
        found = await self.store.get(stored.key)
        body = msgspec.json.decode(found.body.json)
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image
        encoded = Body(msgspec.json.encode(body, order="deterministic"))
        generation = found.meta.generation + 1
        await self.store.write(replace(found, body=encoded, expected=None, generation=generation))

    async def terminating(self, uid):
        async def look():
            return [p for p in await self.pods() if p.meta.uid == uid and p.meta.deletion_timestamp]

        await self.until(look)


LOST = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


@pytest.fixture
async def controlled(cluster):
    informers = Informers.open(cluster.store, REGISTRY)
    store = FencedStore(cluster.store, cluster.epoch)
    settings = ControllerSettings(node_grace=1.0, orphan_quarantine=0.1)
    meter = Meter(cluster.agents)
    controllers = Controllers(store, REGISTRY, informers, meter, settings, SystemClock())
    tasks = [asyncio.create_task(part.run()) for part in (informers, controllers)]
    for name in ("h1", "h2"):
        await cluster.add_host(name)
        await cluster.ready(name)
    yield Controlled(cluster)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("end", ["heal", "force", "remove"])
async def test_a_job_makes_no_second_pod_beside_one_behind_a_partition(controlled, end):
    job = await controlled.create("jobs.batch")
    first = await controlled.bound("h1")
    controlled.machine("h1").partition()

    async def noted():
        status = await controlled.status(job)
        return status.get("terminating") == 1 and status

    status = await controlled.until(noted)
    assert (status.get("active", 0), status.get("failed", 0)) == (0, 0)
    (only,) = await controlled.pods()
    assert only.meta.uid == first.meta.uid
    assert len(controlled.machine("h1").observe()) == 1, "it runs on behind the partition"
    if end == "heal":
        controlled.machine("h1").heal()
    elif end == "force":
        await controlled.cluster.delete_pod(first.meta.name, grace=0)
    else:
        await controlled.store.write(Remove(ObjectKey("nodes", "", "h1")))
    await controlled.bound("h2")
    if end == "heal":
        assert controlled.machine("h1").observe() == ()
    assert (await controlled.status(job))["failed"] == 1


@pytest.mark.parametrize("fault", ["none", "partition"])
async def test_a_deployment_is_rolled_only_once_the_old_pod_is_gone(controlled, fault):
    selector = {"matchLabels": {"app": "web"}}
    deployment = await controlled.create("deployments.apps", replicas=1, selector=selector)
    first = await controlled.bound("h1")
    machine = controlled.machine("h1")
    if fault == "partition":
        machine.partition()
        await controlled.terminating(first.meta.uid)
    await controlled.change_image(deployment, "web:2")

    async def seen():
        status = await controlled.status(deployment)
        sets = (await controlled.store.list("replicasets.apps", "default")).objects
        old = msgspec.json.decode(sets[0].body.json)["spec"]
        return status["observedGeneration"] == 2 and old["replicas"] == 0

    if fault == "partition":
        await controlled.until(seen)
        (only,) = await controlled.pods()
        assert only.meta.uid == first.meta.uid
        assert len(machine.observe()) == 1
        machine.heal()
    second = await controlled.bound("h2")
    assert machine.observe() == ()
    assert second.meta.uid != first.meta.uid
