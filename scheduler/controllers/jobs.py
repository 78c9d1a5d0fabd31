"""Runs Jobs (batch/v1): makes their pods, counts those that end, and says when they are over.

The decision is job_plan.plan. The status is written on the revision that the plan was made from,
because it holds the counts: whatever else changed the Job meanwhile makes it plan again.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import Forbidden, Invalid, StatusError
from ..objects.cohort import ALIKE_FROM
from ..objects.deletion import DeletionRequest
from ..objects.event import Note
from ..objects.job import COMPLETE, INDEX, TRACKING, Job, JobStatus
from ..objects.json import Json, JsonObject
from ..objects.kind import KindRegistry
from ..objects.kinds.fields import children, text
from ..objects.pod import Pod
from ..objects.pod_owner import JOB
from ..objects.stored import ObjectKey
from ..store.operations import Replace
from .clock import Clock
from .deletion_writes import deletion
from .event_log import note
from .fenced_store import FencedStore, raise_failures
from .informers import OWNER, TRACKED, Informers
from .job_plan import JobPlan, plan
from .owned_pods import OwnedPods
from .pod_control import PodControl
from .pod_template import PodMold, PodSeries
from .settings import ControllerSettings
from .work_queue import WorkQueue, follow

_FIELD = f"metadata.annotations['{INDEX}']"
_VARIABLE = "JOB_COMPLETION_INDEX"


class JobController:
    """Runs the plans of all Jobs."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = informers.jobs
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._control = PodControl(store, registry, informers, settings, clock, "job-controller")
        self._queue = WorkQueue[ObjectKey](JOB.resource, clock)

    def enrol(self, pods: OwnedPods) -> None:
        """Hear of pods."""
        pods.enrol(JOB, self._queue.add)

    async def run(self) -> None:
        """Run Jobs, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._jobs, self._queue))
            group.create_task(self._control.waits.follow(self._queue.add))
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._control.certainty.of(key):
            job = self._jobs.get(key.namespace, key.name)
            await self._let_go(key, job)
            if job is None:
                self._control.forget(key)
                return None
            return await self._carry_out(job, self._plan(job))

    async def _let_go(self, key: ObjectKey, job: Job | None) -> None:
        """Let pods go whose Job is no more: nobody counts them."""
        tracked = self._pods.by_index(TRACKED, f"{key.namespace}/{key.name}")
        owners = ((pod, pod.meta.controller_owner()) for pod in tracked)
        uid = job.meta.uid if job is not None else ""
        lost = [
            pod for pod, owner in owners if owner and owner.kind == JOB.kind and owner.uid != uid
        ]
        if lost and await self._is_gone(key, lost):
            await self._control.let_go(lost, TRACKING)

    async def _is_gone(self, key: ObjectKey, pods: Sequence[Pod]) -> bool:
        """Tell whether no pod's owner is there, though the informer may not know it yet."""
        found = await self._store.get(key)
        owners = (pod.meta.controller_owner() for pod in pods)
        return found is None or all(o is None or o.uid != found.meta.uid for o in owners)

    def _plan(self, job: Job) -> JobPlan:
        now, burst, namespace = self._clock.now(), self._settings.burst, job.meta.namespace
        single, crowds = self._pods.in_crowds(OWNER, job.meta.uid)
        pods = [pod for pod in single if pod.meta.namespace == namespace]
        found = plan(job, pods, now, burst, crowds)
        if not found.needs_each:
            return found
        every = self._pods.by_index(OWNER, job.meta.uid)
        return plan(job, [p for p in every if p.meta.namespace == namespace], now, burst)

    async def _carry_out(self, job: Job, planned: JobPlan) -> timedelta | None:
        if planned.expired:
            await self._expire(job)
            return None
        failure: StatusError | None = None
        status = planned.status
        await self._control.delete(job, planned.deletes, TRACKING)
        try:
            if planned.creates:
                await self._create(job, planned)
        except (Invalid, Forbidden) as error:
            failure = error
            status = replace(status, active=status.active - planned.creates)
        await self._write_status(job, status)
        await self._control.let_go(planned.release, TRACKING)
        if failure is not None:
            await self._control.tell_failure(job, failure)
        return planned.look_again

    async def _create(self, job: Job, planned: JobPlan) -> None:
        shape = await self._control.shape(job)
        finalizers = (*shape.meta.finalizers, TRACKING)
        shape = PodMold(replace(shape.meta, finalizers=finalizers), shape.body, shape.status)
        owner, now = JOB.reference(job.meta), self._clock.now()
        if not job.indexed and planned.creates >= ALIKE_FROM:
            series = PodSeries(shape, owner, job.meta.namespace, set(), now)
            await self._control.create_alike(job, series, planned.creates)
            return
        taken = {pod.meta.name for pod in self._pods.by_index(OWNER, job.meta.uid)}
        series = PodSeries(shape, owner, job.meta.namespace, taken, now)
        if job.indexed:
            name, indexes = job.meta.name, planned.indexes
            writes = [series.next(numbered(shape, name, at), f"{at}-") for at in indexes]
        else:
            writes = [series.next() for _ in range(planned.creates)]
        await self._control.create(job, writes)

    async def _expire(self, job: Job) -> None:
        stored = job.stored
        assert stored is not None
        if stored.meta.deletion_timestamp is None:
            request = DeletionRequest(propagation="Foreground")
            write = deletion(stored, request, self._clock.now())
            raise_failures(await self._store.write_many([write] if write is not None else []))

    async def _write_status(self, job: Job, status: JobStatus) -> None:
        stored = job.stored
        assert stored is not None
        if status == job.status:
            return
        encoded = msgspec.json.encode(status)
        written = await self._store.write(
            Replace(stored.resource, stored.meta, stored.body, encoded, job.revision)
        )
        await self._jobs.reached(written.revision)
        if job.status.finished is None and status.finished is not None:
            await self._control.events.tell(_ended(job, status))


def _ended(job: Job, status: JobStatus) -> Note:
    over = status.finished
    assert over is not None
    if over.type == COMPLETE:
        return note(JOB.kind, job.meta, "Completed", "Job completed")
    return note(JOB.kind, job.meta, over.reason, over.message, warning=True)


def numbered(shape: PodMold, job: str, index: int) -> PodMold:
    """Return the mold of the pod that works at one completion of an Indexed Job."""
    said = {INDEX: str(index)}

    def change(spec: JsonObject) -> None:
        if not text(spec, "hostname"):
            spec["hostname"] = f"{job}-{index}"
        for container in (*children(spec, "initContainers"), *children(spec, "containers")):
            present = children(container, "env")
            if not any(text(each, "name") == _VARIABLE for each in present):
                reference: Json = {"fieldRef": {"apiVersion": "v1", "fieldPath": _FIELD}}
                container["env"] = [*present, {"name": _VARIABLE, "valueFrom": reference}]

    meta = replace(
        shape.meta,
        labels={**shape.meta.labels, **said},
        annotations={**shape.meta.annotations, **said},
    )
    return shape.varied(change, meta)
