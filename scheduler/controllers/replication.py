"""Keeps every ReplicationController at its number of pods (core/v1).

The decision is replication_plan.plan; here it is carried out. A controller's key runs with one
worker at a time and ends only when the informer knows what was written, so that a pod that has
been created is never created again.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, StatusError, Unavailable
from ..informer import Delta
from ..objects.cohort import Cohort
from ..objects.deletion import DeletionRequest
from ..objects.kind import KindRegistry
from ..objects.kinds.pod_security import PRIVILEGED, complaint, level_of
from ..objects.kinds.priority import priority_view
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.pod import Pod
from ..objects.replication import Replication, ReplicationStatus
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Remove, Replace
from .clock import Clock
from .deletion_writes import deletion
from .event_log import EventLog, note
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import ORPHAN, OWNER, SELECTOR, Informers, pair
from .pod_template import PodMold, PodSeries, mold
from .replication_plan import (
    KIND,
    ReplicationPlan,
    active,
    owner_reference,
    plan,
    selects,
    suffices,
    with_failure,
)
from .settings import ControllerSettings
from .work_queue import WorkQueue

RESOURCE = "replicationcontrollers"
PRIORITIES = "priorityclasses.scheduling.k8s.io"
_READS = 64
_NAMED_EVENTS = 10
_ALIKE_FROM = 32  # pods that are worth a cohort
_NAMINGS = 8  # tries at finding free names for one


class ReplicationController:
    """Runs the plans of all ReplicationControllers."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._pod_kind = registry.by_resource("pods")
        self._informers = informers
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "replication-controller")
        self._queue = WorkQueue[ObjectKey]("replication", clock)
        self._molds: dict[ObjectKey, tuple[object, PodMold]] = {}
        self._doubtful: set[ObjectKey] = set()

    async def run(self) -> None:
        """Keep the numbers, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_controllers())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_controllers(self) -> None:
        async for deltas in self._informers.replications.subscribe():
            for delta in deltas:
                self._queue.add(delta.key)

    async def _follow_pods(self) -> None:
        async for deltas in self._informers.pods.subscribe_samples():
            for delta in deltas:
                self._concerns(delta)

    def _concerns(self, delta: Delta[Pod]) -> None:
        for pod in (delta.old, delta.new):
            owner = pod.meta.controller_owner() if pod is not None else None
            if owner is not None and owner.kind == KIND:
                self._queue.add(ObjectKey(RESOURCE, delta.key.namespace, owner.name))
        pod = delta.new
        if pod is None or not self._informers.replications.items:
            return
        if pod.meta.controller_owner() is not None or not active(pod):
            return
        for label, value in pod.meta.labels.items():
            place = pair(delta.key.namespace, label, value)
            for controller in self._informers.replications.by_index(SELECTOR, place):
                if selects(controller.selector, pod.meta.labels):
                    self._queue.add(_key(controller.meta))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        controller = self._informers.replications.get(key.namespace, key.name)
        if controller is None:
            self._molds.pop(key, None)
            self._doubtful.discard(key)
            return None
        if key in self._doubtful:
            # a write may have been made without our knowing
            await self._informers.pods.reached(await self._store.revision())
            self._doubtful.discard(key)
        planned = self._plan(controller)
        try:
            return await self._carry_out(key, controller, planned)
        except Unavailable:
            self._doubtful.add(key)
            raise

    def _plan(self, controller: Replication) -> ReplicationPlan:
        now, burst = self._clock.now(), self._settings.burst
        informer, uid = self._informers.pods, controller.meta.uid
        namespace = controller.meta.namespace
        orphans = self._orphans(controller)
        single, crowds = informer.in_crowds(OWNER, uid)
        pods = [*(pod for pod in single if pod.meta.namespace == namespace), *orphans]
        crowds = [crowd for crowd in crowds if crowd.sample.meta.namespace == namespace]
        if suffices(controller, pods, crowds):
            return plan(controller, pods, now, burst, crowds)
        owned = (pod for pod in informer.by_index(OWNER, uid) if pod.meta.namespace == namespace)
        return plan(controller, (*owned, *orphans), now, burst)

    def _orphans(self, controller: Replication) -> list[Pod]:
        pods: list[Pod] = []
        first = min(controller.selector.items(), default=None)
        if first is not None:
            place = pair(controller.meta.namespace, *first)
            pods += self._informers.pods.by_index(ORPHAN, place)
        return pods

    async def _carry_out(
        self, key: ObjectKey, controller: Replication, planned: ReplicationPlan
    ) -> timedelta | None:
        failure: StatusError | None = None
        reason = ""
        reached = 0
        try:
            reached = max(
                await self._adopt(controller, planned.adopt),
                await self._release(controller, planned.orphan),
                await self._delete(controller, planned.deletes),
            )
            if planned.creates:
                reached = max(reached, await self._create(key, controller, planned))
        except (Invalid, Forbidden) as error:
            failure, reason = error, "FailedCreate"
        await self._informers.pods.reached(reached)
        message = failure.message if failure is not None else ""
        status = with_failure(planned.status, reason, message, self._clock.now())
        await self._write_status(controller, status)
        if failure is not None and not await self._namespace_ends(controller):
            failed = note(KIND, controller.meta, reason, f"Error creating: {message}", warning=True)
            await self._events.tell(failed)
            raise failure
        return planned.look_again

    async def _namespace_ends(self, controller: Replication) -> bool:
        found = await self._store.get(ObjectKey("namespaces", "", controller.meta.namespace))
        return found is None or found.meta.deletion_timestamp is not None

    async def _create(
        self, key: ObjectKey, controller: Replication, planned: ReplicationPlan
    ) -> int:
        shape = await self._mold(key, controller)
        await self._admit(controller, shape)
        owner = owner_reference(controller)
        count, successions = planned.creates, planned.successions
        if count - len(successions) >= _ALIKE_FROM:
            series = PodSeries(shape, owner, controller.meta.namespace, set(), self._clock.now())
            return await self._create_alike(controller, series, count - len(successions))
        taken = {pod.meta.name for pod in self._informers.pods.by_index(OWNER, owner.uid)}
        series = PodSeries(shape, owner, controller.meta.namespace, taken, self._clock.now())
        writes = [series.succeed(each.uid, each.node) for each in successions]
        writes += [series.next() for _ in range(count - len(successions))]
        results = await self._store.write_many(writes)
        made = [r.meta.name for r in results if isinstance(r, StoredObject)]
        await self._tell(controller, "SuccessfulCreate", "Created pod: ", made)
        reached = latest_revision(results)
        await self._informers.pods.reached(reached)
        raise_failures(results)
        return reached

    async def _admit(self, controller: Replication, shape: PodMold) -> None:
        """Hold the pods to their namespace's Pod Security level, as the API holds a client's.

        Raises:
            Forbidden: its "enforce" label forbids them.
        """
        namespace = controller.meta.namespace
        found = await self._store.get(ObjectKey("namespaces", "", namespace))
        level = level_of(found.meta.labels if found is not None else {}, "enforce")
        refusal = "" if level == PRIVILEGED else complaint(shape.spec, level)
        if refusal:
            raise Forbidden(f"pods of {controller.meta.name} are forbidden: violates {refusal}")

    async def _create_alike(self, controller: Replication, series: PodSeries, count: int) -> int:
        """Create many pods at once; a cohort whose names are taken is tried under others."""
        reached, named, wished = 0, list[str](), count
        for _ in range(_NAMINGS):
            left = 0
            wanted = series.alike(count)
            results = await self._store.create_cohorts(wanted)
            failures = [r for r in results if isinstance(r, StatusError)]
            for cohort, result in zip(wanted, results, strict=True):
                if isinstance(result, AlreadyExists):
                    left += cohort.size
                elif isinstance(result, Cohort):
                    reached = max(reached, result.created_revision + result.size - 1)
                    named += [result.name(n) for n in range(min(result.size, _NAMED_EVENTS + 1))]
            await self._informers.pods.reached(reached)
            raise_failures([f for f in failures if not isinstance(f, AlreadyExists)])
            count = left
            if not count:
                break
        words = "Created pod: "
        await self._tell(controller, "SuccessfulCreate", words, named, wished - count)
        if count:
            raise Conflict(
                f"{_key(controller.meta)}: {count} pods have no names yet, for nearly all that "
                "begin alike are taken; it is tried again"
            )
        return reached

    async def _mold(self, key: ObjectKey, controller: Replication) -> PodMold:
        template = controller.spec.template
        if template is None:
            raise Invalid(f"ReplicationController {key.namespace}/{key.name} has no template")
        listing = await self._store.list(PRIORITIES)
        version = (bytes(template.spec), template.metadata, [o.revision for o in listing.objects])
        known = self._molds.get(key)
        if known is not None and known[0] == version:
            return known[1]
        classes = {o.meta.name: priority_view(o) for o in listing.objects}
        made = mold(template, self._pod_kind, classes, self._settings.toleration_seconds)
        self._molds[key] = (version, made)
        return made

    async def _delete(self, controller: Replication, pods: Sequence[Pod]) -> int:
        writes: list[Remove | Replace] = []
        for stored in await self._read(pods):
            write = deletion(stored, DeletionRequest(), self._clock.now())
            if write is not None and stored.meta.deletion_timestamp is None:
                writes.append(write)
        results = await self._store.write_many(writes)
        gone = [r.meta.name for r in results if isinstance(r, StoredObject)]
        await self._tell(controller, "SuccessfulDelete", "Deleted pod: ", gone)
        await self._informers.pods.reached(latest_revision(results))
        raise_failures(results)
        return latest_revision(results)

    async def _adopt(self, controller: Replication, pods: Sequence[Pod]) -> int:
        if not pods:
            return 0
        fresh = await self._store.get(_key(controller.meta))
        if fresh is None or fresh.meta.uid != controller.meta.uid:
            raise Conflict(f"{_key(controller.meta)} is gone and adopts no pods")
        if fresh.meta.deletion_timestamp is not None:
            raise Conflict(f"{_key(controller.meta)} is being deleted and adopts no pods")
        reference = owner_reference(controller)
        return await self._replace_owners(
            [
                (stored, (*stored.meta.owner_references, reference))
                for stored in await self._read(pods)
                if stored.meta.controller_owner() is None
                and stored.meta.deletion_timestamp is None
                and selects(controller.selector, stored.meta.labels)
            ]
        )

    async def _release(self, controller: Replication, pods: Sequence[Pod]) -> int:
        uid = controller.meta.uid
        return await self._replace_owners(
            [
                (stored, tuple(o for o in stored.meta.owner_references if o.uid != uid))
                for stored in await self._read(pods)
                if not selects(controller.selector, stored.meta.labels)
            ]
        )

    async def _replace_owners(
        self, changes: Sequence[tuple[StoredObject, tuple[OwnerReference, ...]]]
    ) -> int:
        if not changes:
            return 0
        results = await self._store.write_many(
            [
                Replace(
                    "pods",
                    replace(stored.meta, owner_references=owners),
                    stored.body,
                    stored.status,
                    stored.revision,
                )
                for stored, owners in changes
            ]
        )
        await self._informers.pods.reached(latest_revision(results))
        raise_failures(results)
        return latest_revision(results)

    async def _read(self, pods: Sequence[Pod]) -> list[StoredObject]:
        """Return the pods as stored now, without those replaced by others of the same name."""
        found: list[StoredObject] = []
        for start in range(0, len(pods), _READS):
            part = pods[start : start + _READS]
            keys = (ObjectKey("pods", pod.meta.namespace, pod.meta.name) for pod in part)
            read = await asyncio.gather(*(self._store.get(key) for key in keys))
            found += [
                stored
                for pod, stored in zip(part, read, strict=True)
                if stored is not None and stored.meta.uid == pod.meta.uid
            ]
        return found

    async def _write_status(self, controller: Replication, status: ReplicationStatus) -> None:
        if status == controller.status:
            return
        encoded = msgspec.json.encode(status)
        stored = await self._store.get(_key(controller.meta))
        if stored is None or stored.meta.uid != controller.meta.uid or stored.status == encoded:
            return
        try:
            await self._store.write(
                Replace(RESOURCE, stored.meta, stored.body, encoded, stored.revision)
            )
        except NotFound:
            return

    async def _tell(
        self,
        controller: Replication,
        reason: str,
        words: str,
        names: Sequence[str],
        count: int | None = None,
    ) -> None:
        """Name the first pods one by one and count the rest, as Kubernetes' correlator does.

        Args:
            count: of all, if these are not all their names.
        """
        named, rest = names[:_NAMED_EVENTS], names[_NAMED_EVENTS:]
        uncounted = 0 if count is None else count - len(names)
        await self._events.tell(
            *(note(KIND, controller.meta, reason, words + name) for name in named)
        )
        if rest:
            combined = f"(combined from similar events): {words}{rest[0]}"
            times = len(rest) + uncounted
            await self._events.tell(note(KIND, controller.meta, reason, combined), times=times)


def _key(meta: ObjectMeta) -> ObjectKey:
    return ObjectKey(RESOURCE, meta.namespace, meta.name)
