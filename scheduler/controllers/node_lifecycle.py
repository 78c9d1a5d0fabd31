"""Notices silent nodes: Ready becomes Unknown, taints follow, their pods stop being ready.

Silence is measured from when a heartbeat was noticed here, so a restart of the scheduler gives
every node a full grace period, and neither the clocks of hosts nor jumps of our own matter.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import NotFound
from ..informer import Informer
from ..objects.json import Json, JsonObject
from ..objects.node import Node, with_taints
from ..objects.pod import Condition, Pod, PodStatus
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .clock import Clock
from .event_log import EventLog, note
from .fenced_store import FencedStore, raise_failures
from .informers import LEASES, NODE, Informers, Named
from .node_plan import NodePlan, Silence, is_healthy, plan
from .replication_plan import is_ready
from .settings import ControllerSettings
from .work_queue import WorkQueue

LEASE_NAMESPACE = "kube-node-lease"
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)
_pod_status = msgspec.json.Decoder(PodStatus)


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    """A node's last sign of life.

    Args:
        seen: when it was noticed here, in elapsed seconds.
        ever: whether there was one at all.
    """

    seen: float
    ever: bool


class NodeLifecycle:
    """Runs the plans of all nodes."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._nodes = informers.nodes
        self._pods = informers.pods
        self._leases: Informer[Named] = informers.others[LEASES]
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "node-controller")
        self._queue = WorkQueue[str]("node lifecycle", clock)
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._healthy: set[str] = set()

    async def run(self) -> None:
        """Watch over the nodes, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_nodes())
            group.create_task(self._follow_leases())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_nodes(self) -> None:
        async for deltas in self._nodes.subscribe():
            for delta in deltas:
                self._look(delta.key.name, delta.old, delta.new)

    def _look(self, name: str, old: Node | None, new: Node | None) -> None:
        any_healthy = bool(self._healthy)
        if new is None:
            self._heartbeats.pop(name, None)
            self._healthy.discard(name)
        else:
            if old is None or old.meta.uid != new.meta.uid:
                known = self._leases.get(LEASE_NAMESPACE, name) is not None
                self._heartbeats[name] = _Heartbeat(self._clock.elapsed(), known)
            elif is_healthy(new) and not is_healthy(old):
                self._heartbeats[name] = _Heartbeat(self._clock.elapsed(), ever=True)
            (self._healthy.add if is_healthy(new) else self._healthy.discard)(name)
        self._queue.add(name)
        if any_healthy != bool(self._healthy):
            for key in self._nodes.items:
                self._queue.add(key.name)

    async def _follow_leases(self) -> None:
        async for deltas in self._leases.subscribe():
            for delta in deltas:
                name = delta.key.name
                if delta.new is None or delta.key.namespace != LEASE_NAMESPACE:
                    continue
                if delta.old is not None or name not in self._heartbeats:
                    self._heartbeats[name] = _Heartbeat(self._clock.elapsed(), ever=True)
                else:
                    self._heartbeats[name] = with_fields(self._heartbeats[name], ever=True)

    async def _reconcile(self, name: str) -> timedelta | None:
        node = self._nodes.get("", name)
        if node is None:
            return None
        heartbeat = self._heartbeats.setdefault(name, _Heartbeat(self._clock.elapsed(), ever=False))
        started = heartbeat.ever or node.status.condition("Ready") is not None
        settings = self._settings
        grace = timedelta(seconds=settings.node_grace if started else settings.node_startup_grace)
        lasted = timedelta(seconds=self._clock.elapsed() - heartbeat.seen)
        silence = Silence(lasted, heartbeat.ever)
        planned = plan(node, silence, self._clock.now(), grace, bool(self._healthy))
        if planned.status != node.status or planned.taints != node.spec.taints:
            await self._write(node, planned)
            return planned.look_again  # the write's own delta brings the rest
        if planned.pods_unready:
            await self._unready(node)
        return planned.look_again

    async def _write(self, node: Node, planned: NodePlan) -> None:
        stored = await self._store.get(ObjectKey("nodes", "", node.meta.name))
        if stored is None or stored.meta.uid != node.meta.uid:
            return
        tainted = planned.taints != node.spec.taints
        meta = stored.meta
        if tainted and meta.generation:
            meta = replace(meta, generation=meta.generation + 1)
        op = Replace(
            "nodes",
            meta,
            with_taints(stored.body, planned.taints) if tainted else stored.body,
            _with_conditions(stored.status, planned.status.conditions)
            if planned.status != node.status
            else stored.status,
            node.revision,
        )
        try:
            await self._store.write(op)
        except NotFound:
            return
        before, after = node.status.condition("Ready"), planned.status.condition("Ready")
        if after is not None and after.status == "Unknown" and before != after:
            words = f"Node {node.meta.name} status is now: NodeNotReady"
            await self._events.tell(note("Node", node.meta, "NodeNotReady", words))

    async def _unready(self, node: Node) -> None:
        """Set the Ready condition of the node's pods to False (MarkPodsNotReady)."""
        pods = [pod for pod in self._pods.by_index(NODE, node.meta.name) if is_ready(pod)]
        if not pods:
            return
        read = await asyncio.gather(
            *(self._store.get(ObjectKey("pods", p.meta.namespace, p.meta.name)) for p in pods)
        )
        writes = [
            _unready_write(stored, self._clock)
            for pod, stored in zip(pods, read, strict=True)
            if stored is not None and stored.meta.uid == pod.meta.uid and stored.status
        ]
        results = await self._store.write_many(writes)
        await self._tell_pods(pods)
        raise_failures(results)

    async def _tell_pods(self, pods: Sequence[Pod]) -> None:
        notes = [
            note("Pod", p.meta, "NodeNotReady", "Node is not ready", warning=True) for p in pods
        ]
        await self._events.tell(*notes)


def _unready_write(stored: StoredObject, clock: Clock) -> Replace:
    conditions = tuple(
        replace(c, status="False", last_transition_time=clock.now()) if c.type == "Ready" else c
        for c in _pod_status.decode(stored.status).conditions
    )
    status = _with_conditions(stored.status, conditions)
    return Replace("pods", stored.meta, stored.body, status, stored.revision)


def _with_conditions(status: bytes, conditions: Sequence[Condition]) -> bytes:
    value = _object.decode(status or b"{}")
    listed: Json = msgspec.to_builtins(conditions)
    value["conditions"] = listed
    return msgspec.json.encode(value)
