"""Rolls Deployments out (apps/v1): makes, scales and tidies up their ReplicaSets.

The decision is deployment_plan.plan, one step at a time; each change of a ReplicaSet brings the
next step.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import AlreadyExists, NotFound
from ..objects.deletion import DeletionRequest
from ..objects.deployment import Deployment, DeploymentStatus
from ..objects.json import JsonObject
from ..objects.kinds.fields import ensure
from ..objects.meta import ObjectMeta, new_uid
from ..objects.pod_owner import DEPLOYMENT, REPLICA_SET
from ..objects.replication import Replication, replication_view
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from .clock import Clock
from .deletion_writes import deletion
from .deployment_plan import (
    REVISION,
    Change,
    Claims,
    DeploymentPlan,
    NewReplicaSet,
    claims,
    is_of,
    plan,
)
from .event_log import EventLog, note
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import ORPHAN, OWNER, SELECTOR, Informers, pair, places
from .owned_pods import OwnedPods
from .pod_control import Certainty, still_there, with_owners
from .settings import ControllerSettings
from .template_hash import HASH
from .work_queue import WorkQueue, follow

_NONE = b'{"replicas":0}'


class DeploymentController:
    """Runs the plans of all Deployments."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._deployments = informers.deployments
        self._sets = informers.replications[REPLICA_SET]
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "deployment-controller")
        self._certainty = Certainty(store, self._sets)
        self._queue = WorkQueue[ObjectKey](DEPLOYMENT.resource, clock)

    def enrol(self, pods: OwnedPods) -> None:
        """Hear of the pods of ReplicaSets: those of old ones hold up a Recreate."""
        pods.enrol(REPLICA_SET, self._pods_changed)

    def _pods_changed(self, key: ObjectKey) -> None:
        found = self._sets.get(key.namespace, key.name)
        owner = found.meta.controller_owner() if found is not None else None
        if owner is not None and owner.kind == DEPLOYMENT.kind:
            deployment = self._deployments.get(key.namespace, owner.name)
            if deployment is not None and deployment.recreates:
                self._queue.add(DEPLOYMENT.key(deployment.meta))

    async def run(self) -> None:
        """Roll out, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._deployments, self._queue))
            group.create_task(self._follow_sets())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_sets(self) -> None:
        async for deltas in self._sets.subscribe():
            for delta in deltas:
                for each in (delta.old, delta.new):
                    if each is not None:
                        self._concerns(each)

    def _concerns(self, each: Replication) -> None:
        owner, namespace = each.meta.controller_owner(), each.meta.namespace
        if owner is not None:
            if owner.kind == DEPLOYMENT.kind:
                self._queue.add(ObjectKey(DEPLOYMENT.resource, namespace, owner.name))
            return
        labels = [pair(namespace, *label) for label in each.meta.labels.items()]
        for place in (*labels, pair(namespace, "", "")):
            for deployment in self._deployments.by_index(SELECTOR, place):
                if deployment.selector.matches(each.meta.labels):
                    self._queue.add(DEPLOYMENT.key(deployment.meta))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._certainty.of(key):
            deployment = self._deployments.get(key.namespace, key.name)
            if deployment is None:
                return None
            found = claims(deployment, self._candidates(deployment))
            await self._claim(deployment, found)
            if deployment.recreates:  # what its ReplicaSets say they have made is known then
                await self._pods.reached(max((s.revision for s in found.owned), default=0))
            planned = plan(deployment, found.owned, self._pods_left, self._clock.now())
            return await self._carry_out(deployment, planned)

    def _candidates(self, deployment: Deployment) -> list[Replication]:
        namespace, uid = deployment.meta.namespace, deployment.meta.uid
        owned = (s for s in self._sets.by_index(OWNER, uid) if s.meta.namespace == namespace)
        where = places(namespace, deployment.selector)
        if where:
            strays = [each for place in where for each in self._sets.by_index(ORPHAN, place)]
        else:
            within = (s for s in self._sets.items.values() if s.meta.namespace == namespace)
            strays = [each for each in within if each.meta.controller_owner() is None]
        return [*owned, *strays]

    def _pods_left(self, uids: Collection[str]) -> bool:
        for uid in uids:
            single, crowds = self._pods.in_crowds(OWNER, uid)
            if crowds or any(not pod.terminal for pod in single):
                return True
        return False

    async def _claim(self, deployment: Deployment, found: Claims) -> None:
        if found.adopt:
            await still_there(self._store, deployment)
        reference, uid = DEPLOYMENT.reference(deployment.meta), deployment.meta.uid
        changes: list[Replace] = []
        for each in found.adopt:
            owners = (*each.meta.owner_references, reference)
            changes.append(with_owners(_seen(each), owners))
        for each in found.release:
            owners = tuple(o for o in each.meta.owner_references if o.uid != uid)
            changes.append(with_owners(_seen(each), owners))
        await self._write(changes)

    async def _write(self, changes: Sequence[Replace | Remove]) -> None:
        results = await self._store.write_many(changes)
        await self._sets.reached(latest_revision(results))
        raise_failures(results)

    async def _carry_out(self, deployment: Deployment, planned: DeploymentPlan) -> timedelta | None:
        status = planned.status
        if planned.create is not None and not await self._create(deployment, planned.create):
            collisions = deployment.status.collision_count + 1
            status = replace(deployment.status, collision_count=collisions)
            await self._write_status(deployment, status, 0)
            return timedelta(0)
        await self._change(deployment, planned.changes)
        now = self._clock.now()
        gone = [deletion(_seen(each), DeletionRequest(), now) for each in planned.deletes]
        await self._write([write for write in gone if write is not None])
        await self._write_status(deployment, status, planned.revision)
        return planned.look_again

    async def _create(self, deployment: Deployment, new: NewReplicaSet) -> bool:
        """Make a ReplicaSet; return False where another template's has its name."""
        write = replica_set(deployment, new)
        write = replace(write, meta=replace(write.meta, creation_timestamp=self._clock.now()))
        try:
            made = await self._store.write(write)
        except AlreadyExists:
            key = ObjectKey(REPLICA_SET.resource, write.meta.namespace, new.name)
            there = await self._store.get(key)
            if there is None:
                return True
            owner = there.meta.controller_owner()
            ours = owner is not None and owner.uid == deployment.meta.uid
            if ours and is_of(replication_view(there), deployment.template):
                await self._sets.reached(there.revision)
                return True
            return False
        await self._sets.reached(made.revision)
        await self._tell_scaled(deployment, new.name, 0, new.replicas)
        return True

    async def _change(self, deployment: Deployment, changes: Sequence[Change]) -> None:
        await self._write([changed(_seen(change.of), change) for change in changes])
        for change in changes:
            before = change.of.spec.replicas
            if before != change.replicas:
                name = change.of.meta.name
                await self._tell_scaled(deployment, name, before, change.replicas)

    async def _tell_scaled(self, deployment: Deployment, name: str, old: int, new: int) -> None:
        way = "up" if new > old else "down"
        words = f"Scaled {way} replica set {name} from {old} to {new}"
        told = note(DEPLOYMENT.kind, deployment.meta, "ScalingReplicaSet", words)
        await self._events.tell(told)

    async def _write_status(
        self, deployment: Deployment, status: DeploymentStatus, revision: int
    ) -> None:
        """Write the status, and the revision of the template as annotation."""
        said = deployment.meta.annotations
        if revision:
            said = {**said, REVISION: str(revision)}
        if status == deployment.status and said == deployment.meta.annotations:
            return
        stored = await self._store.get(DEPLOYMENT.key(deployment.meta))
        if stored is None or stored.meta.uid != deployment.meta.uid:
            return
        annotations = dict(stored.meta.annotations)
        if revision:
            annotations[REVISION] = str(revision)
        meta = replace(stored.meta, annotations=annotations)
        encoded = msgspec.json.encode(status)
        if encoded == stored.status and meta == stored.meta:
            return
        try:
            written = await self._store.write(
                Replace(stored.resource, meta, stored.body, encoded, stored.revision)
            )
        except NotFound:
            return
        await self._deployments.reached(written.revision)


def _seen(each: Replication) -> StoredObject:
    """Return a ReplicaSet as it was when the plan was made: what changed since is a Conflict."""
    assert each.stored is not None
    return each.stored


def replica_set(deployment: Deployment, new: NewReplicaSet) -> Create:
    """Return the write that makes a Deployment's ReplicaSet of its template."""
    template, spec = deployment.template, deployment.spec
    labels = {**template.metadata.labels, HASH: new.hash}
    metadata: JsonObject = msgspec.to_builtins(replace(template.metadata, labels=labels))
    selector: JsonObject = msgspec.json.decode(spec.selector)
    ensure(selector, "matchLabels")[HASH] = new.hash
    body: JsonObject = {
        "replicas": new.replicas,
        "selector": selector,
        "template": {"metadata": metadata, "spec": msgspec.json.decode(template.spec)},
    }
    if spec.min_ready_seconds:
        body["minReadySeconds"] = spec.min_ready_seconds
    meta = ObjectMeta(
        name=new.name,
        namespace=deployment.meta.namespace,
        uid=new_uid(),
        generation=1,
        labels=labels,
        annotations=dict(new.annotations),
        owner_references=(DEPLOYMENT.reference(deployment.meta),),
    )
    encoded = msgspec.json.encode({"spec": body}, order="deterministic")
    return Create(REPLICA_SET.resource, meta, Body(encoded), _NONE)


def changed(stored: StoredObject, change: Change) -> Replace:
    """Return the write that changes a ReplicaSet as it is stored."""
    before: JsonObject = msgspec.json.decode(stored.body.json)
    spec: JsonObject = {**ensure(before, "spec"), "replicas": change.replicas}
    if change.min_ready_seconds or "minReadySeconds" in spec:
        spec["minReadySeconds"] = change.min_ready_seconds
    meta = replace(stored.meta, annotations=dict(change.annotations))
    body = stored.body
    if spec != before["spec"]:
        body = Body(msgspec.json.encode({**before, "spec": spec}, order="deterministic"))
        meta = replace(meta, generation=meta.generation + 1)
    return Replace(stored.resource, meta, body, stored.status, stored.revision)
