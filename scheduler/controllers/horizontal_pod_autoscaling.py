"""Keeps the numbers of replicas that HorizontalPodAutoscalers ask for.

The decision is hpa_plan.plan. Usage is read for the pods of one autoscaler at a time, at most once
a period for each; what hosts are asked is bounded by the meter.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

from msgspec.structs import replace

from ..errors import Conflict, NotFound
from ..informer import Informer
from ..meter import Meter, measured
from ..objects.apply import Writer, record_update
from ..objects.horizontal_pod_autoscaler import KIND, RESOURCE, HorizontalPodAutoscaler
from ..objects.json import JsonObject
from ..objects.kind import Kind, KindRegistry
from ..objects.kinds.fields import child, ensure
from ..objects.meta import ObjectMeta
from ..objects.pod import Pod
from ..objects.pod_owner import (
    DEPLOYMENT,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    OwnerKind,
)
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey, StoredObject
from ..objects.wire import decompose, document
from ..store.operations import Replace
from .clock import Clock
from .event_log import EventLog
from .fenced_store import FencedStore
from .hpa_behavior import Memory
from .hpa_metrics import Replica
from .hpa_plan import HpaPlan, Rescale, Target, not_rescaled, plan, rescaled, unreachable
from .informers import OWNER, TARGET, Informers, target_of
from .settings import ControllerSettings
from .status_writes import write_status
from .work_queue import WorkQueue

_KIND = OwnerKind("autoscaling/v2", KIND, RESOURCE)
_SCALED = (REPLICATION_CONTROLLER, REPLICA_SET, DEPLOYMENT, STATEFUL_SET)
_MANAGER = "kube-controller-manager"  # as upstream's controller signs in managedFields
_RACES = 5


class _Spec(Protocol):
    @property
    def replicas(self) -> int: ...


class _Scaled(Protocol):
    """What has a number of pods."""

    @property
    def meta(self) -> ObjectMeta: ...

    @property
    def spec(self) -> _Spec: ...

    @property
    def selector(self) -> Selector: ...


class HorizontalPodAutoscaling:
    """Looks at each autoscaler once a period, and when its spec changes."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        meter: Meter,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._hpas = informers.autoscalers
        self._pods = informers.pods
        self._sets = informers.replications[REPLICA_SET]
        self._scaled: Mapping[str, Informer[_Scaled]] = {
            kind.resource: cast("Informer[_Scaled]", informers.all()[kind.resource])
            for kind in _SCALED
        }
        self._meter = meter
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "horizontal-pod-autoscaler")
        self._queue = WorkQueue[ObjectKey]("autoscaling", clock)
        self._memories: dict[str, Memory] = {}  # by uid

    async def run(self) -> None:
        """Scale, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow(self) -> None:
        async for deltas in self._hpas.subscribe():
            for delta in deltas:
                old, new = delta.old, delta.new
                if new is None:
                    self._memories.pop(old.meta.uid if old is not None else "", None)
                elif old is None or old.meta.generation != new.meta.generation:
                    self._queue.add(delta.key)

    async def _reconcile(self, key: ObjectKey) -> None:
        hpa = self._hpas.get(key.namespace, key.name)
        if hpa is None or hpa.meta.deletion_timestamp is not None:
            return
        self._queue.add_after(key, self._settings.autoscaling_period)
        found = await self._plan(hpa, self._memories.get(hpa.meta.uid, Memory()))
        if found.rescale is not None:
            found = await self._rescale(hpa, found, found.rescale)
        self._memories[hpa.meta.uid] = found.memory
        await self._events.tell(*found.notes)
        if found.status != hpa.status:
            seen = hpa.stored
            revision = await write_status(self._store, _KIND, hpa.meta, found.status, seen)
            await self._hpas.reached(revision)

    async def _plan(self, hpa: HorizontalPodAutoscaler, memory: Memory) -> HpaPlan:
        kind = self._kind(hpa)
        scaled = self._target(hpa, kind)
        if kind is None or scaled is None:
            return unreachable(hpa, _absent(hpa, kind), memory, self._clock.now())
        pods = self._pods_of(scaled, kind)
        rates = await self._meter.rates(pod.node for pod in pods if pod.node)
        usage = ((pod, rates.get(pod.node)) for pod in pods)
        replicas = [Replica(pod, measured(pod, found) if found else None) for pod, found in usage]
        rivals = len(self._hpas.by_index(TARGET, target_of(hpa)[0])) - 1
        target = Target(scaled.spec.replicas, not scaled.selector.nothing, max(0, rivals))
        return plan(hpa, target, replicas, memory, self._clock.now())

    def _kind(self, hpa: HorizontalPodAutoscaler) -> Kind | None:
        """Return the kind of an autoscaler's target, in whatever version it is named."""
        wanted = hpa.spec.scale_target_ref
        served = (k for k in self._registry.kinds if k.resource in self._scaled)
        return next((k for k in served if (k.group, k.kind) == (wanted.group, wanted.kind)), None)

    def _target(self, hpa: HorizontalPodAutoscaler, kind: Kind | None) -> _Scaled | None:
        if kind is None:
            return None
        name = hpa.spec.scale_target_ref.name
        return self._scaled[kind.resource].get(hpa.meta.namespace, name)

    def _pods_of(self, scaled: _Scaled, kind: Kind) -> list[Pod]:
        owners = [scaled.meta.uid]
        if kind.resource == DEPLOYMENT.resource:
            owners = [each.meta.uid for each in self._sets.by_index(OWNER, scaled.meta.uid)]
        return [pod for uid in owners for pod in self._pods.by_index(OWNER, uid)]

    async def _rescale(
        self, hpa: HorizontalPodAutoscaler, planned: HpaPlan, change: Rescale
    ) -> HpaPlan:
        kind = self._kind(hpa)
        assert kind is not None
        key = ObjectKey(kind.resource, hpa.meta.namespace, hpa.spec.scale_target_ref.name)
        try:
            revision = await self._write(kind, key, change)
        except (Conflict, NotFound) as error:
            return not_rescaled(hpa, planned, error.message, self._clock.now())
        await self._scaled[kind.resource].reached(revision)
        await self._events.tell(rescaled(hpa, change))
        memory = planned.memory.scaled(change.current, change.desired, self._clock.now())
        return HpaPlan(planned.status, memory, notes=planned.notes)

    async def _write(self, kind: Kind, key: ObjectKey, change: Rescale) -> int:
        """Write the number of replicas; return the revision.

        Raises:
            Conflict: somebody else has changed it.
        """
        for attempt in range(_RACES):
            write = self._change(kind, await self._store.get(key), change)
            try:
                return (await self._store.write(write)).revision
            except Conflict:
                if attempt == _RACES - 1:
                    raise
        raise AssertionError("unreachable")

    def _change(self, kind: Kind, stored: StoredObject | None, change: Rescale) -> Replace:
        if stored is None:
            raise Conflict("the target has been deleted")
        old = document(stored, kind)
        if child(old, "spec").get("replicas", 1) != change.current:
            raise Conflict("the number of replicas has been changed by somebody else")
        new = document(stored, kind)
        ensure(new, "spec")["replicas"] = change.desired
        writer = Writer(_MANAGER, kind.group_version, self._clock.now(), "scale")
        parts = decompose(_recorded(old, new, kind, writer), kind)
        meta = replace(parts.meta, generation=stored.meta.generation + 1)
        return Replace(kind.resource, meta, parts.body, stored.status, stored.revision)


def _recorded(old: JsonObject, new: JsonObject, kind: Kind, writer: Writer) -> JsonObject:
    """Note in managedFields who set the number, where the object keeps such notes."""
    if not child(old, "metadata").get("managedFields"):
        return new
    return record_update(old, new, kind.message, writer)


def _absent(hpa: HorizontalPodAutoscaler, kind: Kind | None) -> str:
    wanted = hpa.spec.scale_target_ref
    if kind is None:
        return f'no kind "{wanted.kind}" of group "{wanted.group}" can be scaled'
    return f'{kind.resource} "{wanted.name}" not found'
