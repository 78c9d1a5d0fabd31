"""A running set of controllers on a clock that tests move."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler.controllers.controllers import Controllers
from scheduler.controllers.fenced_store import FencedStore
from scheduler.controllers.informers import Informers
from scheduler.controllers.settings import ControllerSettings
from scheduler.meter import Meter
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, ObjectKey, intern_body
from scheduler.objects.wire import document
from scheduler.store.operations import Bind, Create, Remove, Replace

START = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock:
    """Stands still until told; `pass_time` runs what has become due, in order."""

    def __init__(self):
        self._now = START
        self._elapsed = 0.0
        self._timers = []

    def now(self):
        return self._now

    def elapsed(self):
        return self._elapsed

    def call_later(self, seconds, callback):
        timer = _Timer(self._elapsed + seconds, callback)
        self._timers.append(timer)
        return timer

    def jump(self, seconds):
        """Be set to another time of day; no time passes."""
        self._now += timedelta(seconds=seconds)

    def pass_time(self, seconds):
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds
        due = sorted((t for t in self._timers if t.due <= self._elapsed), key=lambda t: t.due)
        self._timers = [t for t in self._timers if t.due > self._elapsed]
        for timer in due:
            timer.run()


class _Timer:
    def __init__(self, due, callback):
        self.due = due
        self._callback = callback

    def cancel(self):
        self._callback = None

    def run(self):
        if self._callback is not None:
            self._callback()


class Hosts(dict):
    def host(self, node_name):
        return self.get(node_name)


class Cluster:
    """A store with its controllers, and the gestures of clients, agents and the scheduler."""

    def __init__(self, store, clock, epoch):
        self.store = store
        self.clock = clock
        self.epoch = epoch

    async def create(self, resource, name, namespace="default", body=None, status=None, **meta):
        kind = REGISTRY.by_resource(resource)
        made = ObjectMeta(
            name=name,
            namespace=namespace if kind.namespaced else "",
            uid=meta.pop("uid", None) or str(uuid.uuid4()),
            generation=1 if kind.has_status else 0,
            creation_timestamp=self.clock.now(),
            **meta,
        )
        if body and kind.identify is not None:
            kind.identify(made, body)
        encoded = msgspec.json.encode(body or {}, order="deterministic")
        return await self.store.write(
            Create(
                resource,
                made,
                intern_body(encoded) if kind.interned else Body(encoded),
                msgspec.json.encode(status) if status else b"",
            )
        )

    async def pod(self, name, labels=None, **fields):
        return await self.create(
            "pods",
            name,
            body={"spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            status={"phase": "Pending"},
            labels=labels or {},
            **fields,
        )

    async def replication(self, name, replicas, labels=None, spec=None, **meta):
        labels = labels or {"app": name}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i:1"}], **(spec or {})},
        }
        wanted = {"replicas": replicas, "selector": labels, "template": template}
        return await self.create("replicationcontrollers", name, body={"spec": wanted}, **meta)

    async def node(self, name, ready="True"):
        conditions = [{"type": "Ready", "status": ready, "reason": "KubeletReady"}]
        made = await self.create(
            "nodes", name, body={"spec": {}}, status={"conditions": conditions}
        )
        await self.heartbeat(name)
        return made

    async def heartbeat(self, name):
        stamp = {"holderIdentity": name, "renewTime": uuid.uuid4().hex}
        key = ObjectKey("leases.coordination.k8s.io", "kube-node-lease", name)
        present = await self.store.get(key)
        body = Body(msgspec.json.encode({"spec": stamp}))
        if present is None:
            meta = ObjectMeta(name=name, namespace=key.namespace, uid=str(uuid.uuid4()))
            return await self.store.write(Create(key.resource, meta, body))
        return await self.store.write(Replace(key.resource, present.meta, body, b"", None))

    async def bind(self, pod, node):
        made = Bind(pod.key, pod.meta.uid, node, await self.store.revision(), {"pods": 1})
        return await self.store.write(made)

    async def change(self, key, status=None, body=None, **meta):
        """Change an object as a client would, again when another one was faster."""
        while True:
            stored = await self.store.get(key)
            fields = document(stored, REGISTRY.by_resource(key.resource))
            fields["spec"] = {**fields.get("spec", {}), **(body or {})}
            fields["spec"].pop("nodeName", None)
            encoded = msgspec.json.encode({"spec": fields["spec"]}, order="deterministic")
            changed = stored.body
            if body:
                changed = intern_body(encoded) if stored.body.digest else Body(encoded)
            old = msgspec.json.decode(stored.status or b"{}")
            with contextlib.suppress(Exception):
                return await self.store.write(
                    Replace(
                        key.resource,
                        msgspec.structs.replace(stored.meta, **meta),
                        changed,
                        msgspec.json.encode({**old, **status}) if status else stored.status,
                        stored.revision,
                    )
                )

    async def delete(self, key, finalizer=""):
        """Do what the API does with a DELETE request."""
        stored = await self.store.get(key)
        if not finalizer and key.resource != "namespaces":
            return await self.store.write(Remove(key))
        return await self.change(
            key,
            deletion_timestamp=self.clock.now(),
            finalizers=(*stored.meta.finalizers, *([finalizer] if finalizer else [])),
        )

    async def pods(self, namespace="default"):
        return (await self.store.list("pods", namespace)).objects

    async def until(self, condition, *resources):
        """Wait until an async condition gives something true, asked again after every change."""
        async with contextlib.aclosing(
            self.store.watch(resources or None, await self.store.revision())
        ) as changes:
            found = await condition()
            while not found:
                await anext(changes)
                found = await condition()
            return found

    async def running(self, count, **labels):
        """Wait until exactly so many pods live, and return them."""

        async def alive():
            pods = [
                pod
                for pod in await self.pods()
                if pod.meta.deletion_timestamp is None
                and all(pod.meta.labels.get(k) == v for k, v in labels.items())
            ]
            return (pods or [True]) if len(pods) == count else None

        return await self.until(alive, "pods")

    async def gone(self, key):
        async def absent():
            return await self.store.get(key) is None

        await self.until(absent)

    async def document(self, key):
        stored = await self.store.get(key)
        return document(stored, REGISTRY.by_resource(key.resource)) if stored else None


@pytest.fixture
def settings():
    return ControllerSettings(terminated_pods=3)


@pytest.fixture
def hosts():
    """A host directory that a test fills."""
    return Hosts()


@pytest.fixture
async def cluster(store, settings, hosts):
    """Controllers under leadership, and a namespace."""
    clock = ManualClock()
    async with store.leadership("test").hold() as epoch:
        made = Cluster(store, clock, epoch)
        for name in ("default", "kube-node-lease"):
            await made.create("namespaces", name, status={"phase": "Active"})
        informers = Informers.open(store, REGISTRY)
        tasks = [
            asyncio.create_task(informers.run()),
            asyncio.create_task(
                Controllers(
                    FencedStore(store, epoch), REGISTRY, informers, Meter(hosts), settings, clock
                ).run()
            ),
        ]
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
