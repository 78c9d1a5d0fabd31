"""Makes the Jobs of CronJobs when it is time (batch/v1). The decision is cron_plan.plan."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import msgspec
from msgspec.structs import replace

from ..errors import AlreadyExists, BadRequest, Forbidden, Invalid
from ..objects.cron_job import SCHEDULED, CronJob
from ..objects.deletion import DeletionRequest
from ..objects.job import Job, job_view
from ..objects.json import JsonObject
from ..objects.kind import KindRegistry
from ..objects.kinds.fields import child
from ..objects.meta import ObjectMeta, new_uid
from ..objects.pod_owner import CRON_JOB, JOB
from ..objects.stored import Body, ObjectKey
from ..store.operations import Create
from .clock import Clock
from .cron_plan import CronPlan, job_name, plan, reference
from .deletion_writes import deletion
from .event_log import EventLog, note
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import OWNER, Informers
from .pod_control import Certainty
from .settings import ControllerSettings
from .status_writes import write_status
from .work_queue import WorkQueue, follow


class CronJobController:
    """Runs the plans of all CronJobs."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._job_kind = registry.by_resource(JOB.resource)
        self._crons = informers.cron_jobs
        self._jobs = informers.jobs
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "cronjob-controller")
        self._certainty = Certainty(store, informers.jobs)
        self._queue = WorkQueue[ObjectKey](CRON_JOB.resource, clock)

    async def run(self) -> None:
        """Make Jobs, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._crons, self._queue))
            group.create_task(self._follow_jobs())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_jobs(self) -> None:
        async for deltas in self._jobs.subscribe():
            for delta in deltas:
                for job in (delta.old, delta.new):
                    owner = job.meta.controller_owner() if job is not None else None
                    if owner is not None and owner.kind == CRON_JOB.kind:
                        where = (CRON_JOB.resource, delta.key.namespace, owner.name)
                        self._queue.add(ObjectKey(*where))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._certainty.of(key):
            cron = self._crons.get(key.namespace, key.name)
            if cron is None:
                return None
            found = self._jobs.by_index(OWNER, cron.meta.uid)
            jobs = [job for job in found if job.meta.namespace == key.namespace]
            try:
                planned = plan(cron, jobs, self._clock.now())
            except BadRequest as error:
                await self._tell(cron, "UnparseableSchedule", error.message, warning=True)
                return None
            return await self._carry_out(cron, planned)

    async def _carry_out(self, cron: CronJob, planned: CronPlan) -> timedelta | None:
        if planned.words is not None:
            reason, message = planned.words
            await self._tell(cron, reason, message, warning=reason == "MissSchedule")
        await self._delete(cron, planned.deletes)
        status = planned.status
        if planned.at is not None:
            made = await self._make(cron, planned.at)
            if made is not None:
                gone = {job.meta.uid for job in planned.deletes}
                kept = (each for each in status.active if each.uid not in gone)
                named = {each.uid: each for each in (*kept, reference(made))}
                status = replace(
                    status,
                    active=tuple(sorted(named.values(), key=lambda each: each.name)),
                    last_schedule_time=planned.at,
                )
        if status != cron.status:
            await self._crons.reached(await write_status(self._store, CRON_JOB, cron.meta, status))
        return planned.look_again

    async def _make(self, cron: CronJob, at: datetime) -> Job | None:
        """Make the Job of a time, or find it there; None where its name is another's."""
        try:
            write = self._job(cron, at)
            stored = await self._store.write(write)
        except AlreadyExists:
            where = ObjectKey(JOB.resource, cron.meta.namespace, job_name(cron, at))
            found = await self._store.get(where)
            owner = found.meta.controller_owner() if found is not None else None
            if found is None or owner is None or owner.uid != cron.meta.uid:
                words = f"Error creating job: {where.name} exists and is not this CronJob's"
                await self._tell(cron, "FailedCreate", words, warning=True)
                return None
            stored = found
        except (Invalid, Forbidden) as error:
            words = f"Error creating job: {error.message}"
            await self._tell(cron, "FailedCreate", words, warning=True)
            return None
        await self._jobs.reached(stored.revision)
        await self._tell(cron, "SuccessfulCreate", f"Created job {stored.meta.name}")
        return job_view(stored)

    def _job(self, cron: CronJob, at: datetime) -> Create:
        """Return the write that makes a Job as if a client had.

        Raises:
            Invalid: no Job can be made from the template.
        """
        template, kind = cron.spec.job_template, self._job_kind
        body: JsonObject = {"spec": msgspec.json.decode(template.spec)}
        kind.default(body)
        causes = tuple(kind.validate(body))
        if causes:
            said = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
            raise Invalid(f"no job can be made from the template: {said}", causes=causes)
        annotations = {**template.metadata.annotations, SCHEDULED: at.isoformat()}
        labels = template.metadata.labels
        if not labels:
            labels = _labels(cast(JsonObject, body["spec"]))
        meta = ObjectMeta(
            name=job_name(cron, at),
            namespace=cron.meta.namespace,
            uid=new_uid(),
            generation=1,
            creation_timestamp=self._clock.now(),
            labels=labels,
            annotations=annotations,
            owner_references=(CRON_JOB.reference(cron.meta),),
        )
        if kind.identify is not None:
            kind.identify(meta, body)
        encoded = msgspec.json.encode(body, order="deterministic")
        return Create(kind.resource, meta, Body(encoded))

    async def _delete(self, cron: CronJob, jobs: Sequence[Job]) -> None:
        now = self._clock.now()
        stored = [job.stored for job in jobs if job.stored is not None]
        alive = [each for each in stored if each.meta.deletion_timestamp is None]
        writes = [deletion(each, DeletionRequest(), now) for each in alive]
        results = await self._store.write_many([write for write in writes if write is not None])
        await self._jobs.reached(latest_revision(results))
        raise_failures(results)
        for each in alive:
            await self._tell(cron, "SuccessfulDelete", f"Deleted job {each.meta.name}")

    async def _tell(self, cron: CronJob, reason: str, words: str, *, warning: bool = False) -> None:
        await self._events.tell(note(CRON_JOB.kind, cron.meta, reason, words, warning=warning))


def _labels(spec: JsonObject) -> dict[str, str]:
    """Return the labels of a Job's pods, which it takes over where it has none."""
    labels = child(child(child(spec, "template"), "metadata"), "labels")
    return {key: str(value) for key, value in labels.items()}
