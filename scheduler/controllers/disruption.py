"""Keeps the status of PodDisruptionBudgets: how many of their pods may be made to go now."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..informer import Delta, each_delta
from ..objects.disruption import (
    RESOURCE,
    DisruptionBudget,
    allowed_condition,
    encoded_status,
)
from ..objects.json import JsonObject
from ..objects.kind import KindRegistry, field_at
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.pod import Pod
from ..objects.stored import ObjectKey
from ..objects.wire import document
from ..store.operations import Replace
from .clock import Clock
from .disruption_plan import DisruptionPlan, counts_owners, plan, unmanaged
from .event_log import EventLog, note
from .fenced_store import FencedStore
from .informers import NAMESPACE, Informers, OwnedInformer
from .settings import ControllerSettings
from .work_queue import WorkQueue

_MOST_OWNERS = 5  # a pod's, that one's, and so on
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def _key(meta: ObjectMeta) -> ObjectKey:
    return ObjectKey(RESOURCE, meta.namespace, meta.name)


class Disruption:
    """Looks at a budget whenever a pod or an owner of its namespace changes."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._informers = informers
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "controllermanager")
        self._queue = WorkQueue[ObjectKey]("disruption", clock)
        self._covered: dict[ObjectKey, set[ObjectKey]] = {}  # budget → pods

    async def run(self) -> None:
        """Keep the numbers, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_budgets())
            group.create_task(self._follow_pods())
            for resource, informer in self._informers.all().items():
                kind = self._registry.by_resource(resource)
                if kind.scale is not None:
                    group.create_task(self._follow_owners(informer))
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_budgets(self) -> None:
        async for deltas in self._informers.budgets.subscribe():
            asking = [each for each in deltas if _speaks_for_others(each)]
            spaces = {each.key.namespace for each in asking if each.new is not None}
            pods = self._informers.pods.in_namespaces(spaces)
            for delta in asking:
                self._cover(delta, pods.get(delta.key.namespace, ()))
            for delta in deltas:
                self._queue.add(delta.key)

    def _cover(self, delta: Delta[DisruptionBudget], pods: Iterable[tuple[ObjectKey, Pod]]) -> None:
        """Find a budget's pods among those of its namespace."""
        budget = delta.new
        if budget is None:
            self._covered.pop(delta.key, None)
        else:
            self._covered[delta.key] = {key for key, pod in pods if budget.covers(pod)}

    async def _follow_pods(self) -> None:
        async for deltas in self._informers.pods.subscribe_whole():
            if self._covered:
                for delta in each_delta(deltas):
                    self._concerns(delta)

    def _concerns(self, delta: Delta[Pod]) -> None:
        for budget in self._of_namespace(delta.key.namespace):
            key = _key(budget.meta)
            pods = self._covered.setdefault(key, set())
            if delta.new is not None and budget.covers(delta.new):
                pods.add(delta.key)
                self._queue.add(key)
            elif delta.key in pods:
                pods.discard(delta.key)
                self._queue.add(key)

    async def _follow_owners(self, informer: OwnedInformer) -> None:
        changes = informer.subscribe()
        while True:
            for namespace in {delta.key.namespace for delta in await changes.next()}:
                for budget in self._of_namespace(namespace):
                    if counts_owners(budget):
                        self._queue.add(_key(budget.meta))

    def _of_namespace(self, namespace: str) -> Iterable[DisruptionBudget]:
        return self._informers.budgets.by_index(NAMESPACE, namespace)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        budget = self._informers.budgets.get(key.namespace, key.name)
        if budget is None or budget.meta.deletion_timestamp is not None:
            return None
        known = self._informers.pods.items
        pods = [known[pod] for pod in sorted(self._covered.get(key, ())) if pod in known]
        scales = await self._scales(pods) if counts_owners(budget) else {}
        if isinstance(scales, str):
            await self._fail(budget, scales)
            return None
        found = plan(budget, pods, scales, self._clock.now())
        await self._write(budget, found)
        await self._tell(budget, pods, found)
        return found.look_again

    async def _scales(self, pods: Sequence[Pod]) -> dict[str, int] | str:
        """Return by uid what the pods' controllers want, or why that cannot be known."""
        scales: dict[str, int] = {}
        seen: set[str] = set()
        for pod in pods:
            owner = pod.meta.controller_owner()
            if owner is None or owner.uid in seen:
                continue
            seen.add(owner.uid)
            found = await self._scale(pod, owner)
            if found is None:
                return f'found no controllers for pod "{pod.meta.name}"'
            scales[found[0]] = found[1]
        return scales

    async def _scale(self, pod: Pod, owner: OwnerReference) -> tuple[str, int] | None:
        """Return uid and scale of the outermost controller above a pod, None if none has one."""
        found: tuple[str, int] | None = None
        for _ in range(_MOST_OWNERS):
            kind = self._registry.by_gvk(owner.api_version, owner.kind)
            if kind is None or kind.scale is None:
                break
            namespace = pod.meta.namespace if kind.namespaced else ""
            stored = await self._store.get(ObjectKey(kind.resource, namespace, owner.name))
            if stored is None or stored.meta.uid != owner.uid:
                break
            replicas = field_at(document(stored, kind), kind.scale.replicas)
            found = (owner.uid, replicas if isinstance(replicas, int) else 0)
            above = stored.meta.controller_owner()
            if above is None:
                break
            owner = above
        return found

    async def _write(self, budget: DisruptionBudget, found: DisruptionPlan) -> None:
        condition = allowed_condition(found.status, self._clock.now())
        await self._replace(budget, encoded_status(found.status, [condition], budget.stored.status))

    async def _fail(self, budget: DisruptionBudget, why: str) -> None:
        """Allow nothing while the numbers cannot be known (upstream's failSafe)."""
        status = replace(budget.status, disruptions_allowed=0)
        condition: JsonObject = allowed_condition(status, self._clock.now(), why)
        condition["observedGeneration"] = budget.meta.generation
        words = f"Failed to calculate the number of expected pods: {why}"
        told = note(
            "PodDisruptionBudget",
            budget.meta,
            "CalculateExpectedPodCountFailed",
            words,
            warning=True,
        )
        if await self._replace(budget, encoded_status(status, [condition], budget.stored.status)):
            await self._events.tell(told)

    async def _replace(self, budget: DisruptionBudget, status: bytes) -> bool:
        """Write a status unless it is there already; a conflict brings the budget back here."""
        stored = budget.stored
        if _object.decode(stored.status or b"{}") == _object.decode(status):
            return False
        written = await self._store.write(
            Replace(RESOURCE, stored.meta, stored.body, status, stored.revision)
        )
        await self._informers.budgets.reached(written.revision)
        return True

    async def _tell(
        self, budget: DisruptionBudget, pods: Sequence[Pod], found: DisruptionPlan
    ) -> None:
        if not pods:
            text = "No matching pods found"
            await self._events.tell(note("PodDisruptionBudget", budget.meta, "NoPods", text))
        for pod in pods:
            if pod.meta.name in found.stayed:
                text = (
                    f"Pod was expected by PDB {budget.meta.namespace}/{budget.meta.name} to be "
                    "deleted but it wasn't"
                )
                told = note("Pod", pod.meta, "NotDeleted", text, warning=True)
                await self._events.tell(told)
        alone = unmanaged(pods) if counts_owners(budget) else []
        if alone:
            text = (
                f"Pods selected by this PodDisruptionBudget (selector: {budget.selector}) were "
                "found to be unmanaged: nobody says how many of them there should be, so a "
                'percentage of them means nothing; set ".spec.minAvailable" to a number of pods'
            )
            told = note("PodDisruptionBudget", budget.meta, "UnmanagedPods", text, warning=True)
            await self._events.tell(told)


def _speaks_for_others(delta: Delta[DisruptionBudget]) -> bool:
    """Tell whether a budget is new or gone, or covers other pods than before."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.selector != new.selector
