"""Empties hosts before their maintenance windows open, and opens them again afterwards.

All it has to know is in the store: the window in the DockerHost, an annotation on the Node that it
cordoned and on the pods that it asked to leave, and how far it is in the DockerHost's status.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import cast

import msgspec
from msgspec.structs import replace

from ..objects.json import JsonObject
from ..objects.maintenance import CONDITION, DOCKER_HOSTS, MAINTENANCE, MaintainedHost
from ..objects.meta import ObjectMeta
from ..objects.node import Node, with_unschedulable
from ..objects.pod import Condition, Pod
from ..objects.replacement import Futile, awaited, futile, refusal, taken_back
from ..objects.replication import REPLACE_FIRST, REPLACE_ON
from ..objects.stored import ObjectKey
from ..store.operations import Replace
from .clock import Clock
from .event_log import EventLog, note
from .fenced_store import FencedStore, raise_failures
from .informers import NODE, OWNER, Informers, nodes_of
from .maintenance_plan import (
    BLOCKED,
    CALLED_OFF,
    DRAINED,
    DRAINING,
    SCHEDULED,
    MaintenancePlan,
    Outlook,
    outlook,
    patience,
    plan,
)
from .pod_eviction import PodEviction
from .settings import ControllerSettings
from .work_queue import WorkQueue

_EVENTS = {
    DRAINING: "MaintenanceDraining",
    DRAINED: "MaintenanceDrained",
    BLOCKED: "MaintenanceDrainBlocked",
    CALLED_OFF: "MaintenanceCalledOff",
    SCHEDULED: "MaintenanceEnded",
}
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


class Maintenance:
    """Looks at a host when its windows ask for it, and while it is drained at every change."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._hosts = informers.hosts
        self._nodes = informers.nodes
        self._pods = informers.pods
        self._owners = {kind.kind: each for kind, each in informers.replications.items()}
        self._settings = settings
        self._clock = clock
        self._eviction = PodEviction(store, informers, clock)
        self._events = EventLog(store, clock, "maintenance-controller")
        self._queue = WorkQueue[str]("maintenance", clock)
        self._draining: set[str] = set()

    async def run(self) -> None:
        """Keep to the windows, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_hosts())
            group.create_task(self._follow_nodes())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_hosts(self) -> None:
        async for deltas in self._hosts.subscribe():
            for delta in deltas:
                self._queue.add(delta.key.name)

    async def _follow_nodes(self) -> None:
        async for deltas in self._nodes.subscribe():
            for delta in deltas:
                host = self._hosts.get("", delta.key.name)
                if host is not None and _concerned(host):
                    self._queue.add(delta.key.name)

    async def _follow_pods(self) -> None:
        async for deltas in self._pods.subscribe_whole():
            for delta in deltas if self._draining else ():
                for name in self._draining.intersection(nodes_of(delta)):
                    self._queue.add(name)

    async def _reconcile(self, name: str) -> timedelta | None:
        host = self._hosts.get("", name)
        if host is None or host.meta.deletion_timestamp is not None or not _concerned(host):
            self._draining.discard(name)
            return None
        node, now = self._nodes.get("", name), self._clock.now()
        pods = tuple(self._pods.by_index(NODE, name))
        made = plan(host.maintenance, node, pods, now, self._hopeless(host, pods, now))
        (self._draining.add if made.draining else self._draining.discard)(name)
        if node is not None:
            await self._cordon(node, made)
        await self._mark(made.leave, name, "true")
        await self._mark([pod for pod, _ in made.give_up], name, "false")
        await self._mark(made.stay, "", "")
        for pod, why in made.give_up:
            words = f"evicted without a replacement: {why}"
            await self._events.tell(note("Pod", pod.meta, "NotReplacedFirst", words))
        refusals = {pod.meta.uid: await self._eviction.evict(pod) for pod in made.evict}
        refusals = {uid: why for uid, why in refusals.items() if why}
        ahead = outlook(made, refusals, host.maintenance.lead_seconds, now)
        await self._tell(host, ahead)
        return ahead.look_again if ahead is not None else None

    async def _cordon(self, node: Node, made: MaintenancePlan) -> None:
        """Let nothing new onto a node, or again, and note for which window."""
        told = node.meta.annotations.get(MAINTENANCE, "")
        if made.unschedulable is None and made.until == told:
            return
        stored = await self._store.get(ObjectKey("nodes", "", node.meta.name))
        if stored is None or stored.meta.uid != node.meta.uid:
            return
        meta, body = _annotated(stored.meta, {MAINTENANCE: made.until}), stored.body
        if made.unschedulable is not None:
            body = with_unschedulable(body, made.unschedulable)
            meta = replace(meta, generation=meta.generation + 1) if meta.generation else meta
        await self._store.write(Replace("nodes", meta, body, stored.status, node.revision))

    def _hopeless(
        self, host: MaintainedHost, pods: Iterable[Pod], now: datetime
    ) -> Mapping[str, str]:
        """Return why replacements that pods wait for will not come, by the pods' uids."""
        waiting: dict[str, list[Pod]] = {}
        for pod in pods:
            owner = pod.meta.controller_owner()
            if owner is not None and pod.active and awaited(pod):
                waiting.setdefault(owner.uid, []).append(pod)
        began, limit = host.condition, patience(host.maintenance)
        since = began.last_transition_time if began and began.status == "True" else None
        if since is not None and now - since >= limit:
            words = f"its replacement was not available within {limit.total_seconds():g} s"
            return {pod.meta.uid: words for each in waiting.values() for pod in each}
        found: dict[str, str] = {}
        for leaving in waiting.values():
            missing = self._futile(leaving[0])
            found |= {pod.meta.uid: missing.why for pod in taken_back(leaving, missing)}
        return found

    def _futile(self, pod: Pod) -> Futile:
        """Return which replacements of the pods of a pod's controller will not come."""
        reference = pod.meta.controller_owner()
        assert reference is not None
        owner = self._owners[reference.kind].get(pod.meta.namespace, reference.name)
        if owner is None or owner.meta.uid != reference.uid:
            return Futile(0)
        single, crowds = self._pods.in_crowds(OWNER, owner.meta.uid)
        owned = [*((p, 1) for p in single), *((c.sample, c.count) for c in crowds)]
        return futile(owner.spec.replicas, owned, refusal(owner.status.conditions))

    async def _mark(self, pods: Iterable[Pod], node: str, first: str) -> None:
        """Ask pods to leave a node, or, for "", to stay.

        Args:
            first: what REPLACE_FIRST says: "true" has them replaced, "false" not, "" nothing.
        """
        read = await asyncio.gather(
            *(self._store.get(ObjectKey("pods", p.meta.namespace, p.meta.name)) for p in pods)
        )
        writes: list[Replace] = []
        for pod, stored in zip(pods, read, strict=True):
            if stored is None or stored.meta.uid != pod.meta.uid:
                continue
            if stored.meta.deletion_timestamp is not None:
                continue
            said = {MAINTENANCE: node}
            if REPLACE_ON not in stored.meta.annotations:  # else it is a Rebalance's, too
                said[REPLACE_FIRST] = first
            meta = _annotated(stored.meta, said)
            writes.append(Replace("pods", meta, stored.body, stored.status, stored.revision))
        raise_failures(await self._store.write_many(writes))

    async def _tell(self, host: MaintainedHost, ahead: Outlook | None) -> None:
        """Put what is ahead on the DockerHost, and tell of what has changed."""
        old, condition = host.condition, None
        if ahead is not None:
            moved = old.last_transition_time if old and old.status == ahead.status else None
            condition = Condition(
                CONDITION,
                ahead.status,
                ahead.reason,
                ahead.message,
                last_transition_time=moved or self._clock.now(),
                observed_generation=host.meta.generation,
            )
        time = ahead.time if ahead is not None else None
        if condition == old and time == host.time:
            return
        stored = await self._store.get(host.stored.key)
        if stored is None or stored.meta.uid != host.meta.uid:
            return
        status = _object.decode(stored.status or b"{}")
        listed = status.get("conditions")
        kept = [
            each
            for each in (listed if isinstance(listed, list) else [])
            if not (isinstance(each, dict) and each.get("type") == CONDITION)
        ]
        if condition is not None:
            kept.append(cast(JsonObject, msgspec.to_builtins(condition)))
        status |= {"conditions": kept, "maintenanceTime": msgspec.to_builtins(time)}
        encoded = msgspec.json.encode({k: v for k, v in status.items() if v is not None})
        await self._store.write(
            Replace(DOCKER_HOSTS, stored.meta, stored.body, encoded, host.stored.revision)
        )
        await self._announce(host, ahead)

    async def _announce(self, host: MaintainedHost, ahead: Outlook | None) -> None:
        before = host.condition
        if ahead is None or (before is not None and before.reason == ahead.reason):
            return
        if ahead.reason == SCHEDULED and (before is None or before.status != "True"):
            return
        reason, warning = _EVENTS[ahead.reason], ahead.reason == BLOCKED
        await self._events.tell(
            note("DockerHost", host.meta, reason, ahead.message, warning=warning)
        )


def _concerned(host: MaintainedHost) -> bool:
    return bool(host.maintenance.windows) or host.condition is not None


def _annotated(meta: ObjectMeta, said: Mapping[str, str]) -> ObjectMeta:
    """Return metadata with these annotations; those that are "" are taken away."""
    every = {**meta.annotations, **said}
    return replace(meta, annotations={key: text for key, text in every.items() if text})
