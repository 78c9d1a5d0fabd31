"""When a CronJob makes its next Job, and which of its Jobs go. Pure.

Kubernetes' cron job controller: of the times that were missed only the latest counts, unless it is
longer ago than startingDeadlineSeconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..objects.cron_job import SCHEDULED, CronJob, CronJobStatus, JobReference, schedule
from ..objects.job import COMPLETE, Job
from ..objects.pod_owner import JOB

FORBID, REPLACE = "Forbid", "Replace"


@dataclass(frozen=True, slots=True)
class CronPlan:
    """What to write for one CronJob.

    Args:
        status: to be, before a Job is made.
        at: the time to make a Job for now, if any.
        deletes: Jobs to delete: in the way of the new one, or beyond the history's limits.
        look_again: when the next time comes.
        words: why no Job is made although it is time: reason and message of an Event.
    """

    status: CronJobStatus
    at: datetime | None = None
    deletes: tuple[Job, ...] = ()
    look_again: timedelta | None = None
    words: tuple[str, str] | None = None


def plan(cron: CronJob, jobs: Sequence[Job], now: datetime) -> CronPlan:
    """Return what a CronJob is to do.

    Args:
        jobs: all it owns.
        now: UTC, whole seconds.

    Raises:
        BadRequest: the schedule, which was stored unchecked, cannot be understood.
    """
    active = [job for job in jobs if job.status.finished is None and SCHEDULED in _said(job)]
    status = _status(cron, jobs, active)
    surplus = surplus_jobs(cron, jobs)
    if cron.meta.deletion_timestamp is not None or cron.spec.suspend:
        return CronPlan(status, deletes=surplus)
    times = schedule(cron.spec.schedule, cron.spec.time_zone)
    following = times.after(now)
    wait = None if following is None else following - now
    since = cron.status.last_schedule_time or cron.meta.creation_timestamp or now
    at = times.latest(now, since)
    if at is None:
        return CronPlan(status, deletes=surplus, look_again=wait)
    deadline = cron.spec.starting_deadline_seconds
    if deadline is not None and at + timedelta(seconds=deadline) < now:
        said = (
            "MissSchedule",
            f"Missed scheduled time to start a job: {at:%a, %d %b %Y %H:%M:%S %z}",
        )
        return CronPlan(status, deletes=surplus, look_again=wait, words=said)
    if active and cron.spec.concurrency_policy == FORBID:
        words = (
            "Not starting job because prior execution is running and concurrency policy is Forbid"
        )
        said = ("JobAlreadyActive", words)
        return CronPlan(status, deletes=surplus, look_again=wait, words=said)
    replaced = active if cron.spec.concurrency_policy == REPLACE else []
    return CronPlan(status, at, (*surplus, *replaced), wait)


def job_name(cron: CronJob, at: datetime) -> str:
    """Return the name of the Job of a time: the same for the same time, so that it is made once."""
    return f"{cron.meta.name}-{int(at.timestamp()) // 60}"


def reference(job: Job) -> JobReference:
    """Return how a CronJob's status names a Job."""
    return JobReference(JOB.kind, job.meta.namespace, job.meta.name, job.meta.uid, JOB.api_version)


def _status(cron: CronJob, jobs: Iterable[Job], active: Iterable[Job]) -> CronJobStatus:
    done = [
        job.status.completion_time
        for job in jobs
        if job.status.completion_time is not None and job.status.condition(COMPLETE)
    ]
    before = cron.status.last_successful_time
    return CronJobStatus(
        active=tuple(sorted((reference(job) for job in active), key=lambda each: each.name)),
        last_schedule_time=cron.status.last_schedule_time,
        last_successful_time=max([*done, *([before] if before is not None else [])], default=None),
    )


def surplus_jobs(cron: CronJob, jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the oldest Jobs that are over, beyond the limits of the history."""
    good: list[Job] = []
    bad: list[Job] = []
    for job in sorted(jobs, key=_age):
        over = job.status.finished
        if over is not None and job.meta.deletion_timestamp is None:
            (good if over.type == COMPLETE else bad).append(job)
    spec = cron.spec
    return (
        *good[: max(0, len(good) - spec.successful_jobs_history_limit)],
        *bad[: max(0, len(bad) - spec.failed_jobs_history_limit)],
    )


def _said(job: Job) -> dict[str, str]:
    return job.meta.annotations


def _age(job: Job) -> tuple[float, str]:
    at = job.status.start_time or job.meta.creation_timestamp
    return (at.timestamp() if at is not None else 0.0, job.meta.name)
