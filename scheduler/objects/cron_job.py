"""Typed view of CronJobs, and the times that a schedule names."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from ..errors import BadRequest
from .meta import ObjectMeta
from .pod import View
from .pod_owner import CRON_JOB, OwnerKind
from .stored import StoredObject

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Annotation of a Job: the time that it was made for."""
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class JobReference(View, frozen=True):
    """core/v1 ObjectReference to a Job."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""


class JobMeta(View, frozen=True):
    """What Jobs take over of their template's metadata."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class JobTemplate(View, frozen=True):
    """batch/v1 JobTemplateSpec; the spec stays JSON, because Jobs keep all of it."""

    metadata: JobMeta = JobMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")


class CronJobSpec(View, frozen=True):
    """batch/v1 CronJobSpec."""

    schedule: str = ""
    time_zone: str = ""
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    successful_jobs_history_limit: int = 3
    failed_jobs_history_limit: int = 1
    job_template: JobTemplate = JobTemplate()


class CronJobStatus(View, frozen=True):
    """batch/v1 CronJobStatus."""

    active: tuple[JobReference, ...] = ()
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(msgspec.Struct, frozen=True):
    """A CronJob as its controller sees it."""

    meta: ObjectMeta
    spec: CronJobSpec
    status: CronJobStatus = CronJobStatus()
    revision: int = 0

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        return CRON_JOB


class _Body(msgspec.Struct):
    spec: CronJobSpec = CronJobSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(CronJobStatus)


def cron_job_view(stored: StoredObject) -> CronJob:
    """Return the typed view of a stored CronJob."""
    return CronJob(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else CronJobStatus(),
        revision=stored.revision,
    )


class Schedule:
    """Five fields of cron, or a word for them, in a time zone.

    Where clocks change, as Debian's cron has it: what is set for an hour that is left out runs
    right after it, what is set for one that comes twice runs once, and what runs every hour goes on
    every hour.

    Args:
        text: "*/5 * * * *", "@daily".
        zone: IANA name, "" for UTC.

    Raises:
        BadRequest: says what cannot be understood.
    """

    def __init__(self, text: str, zone: str = "") -> None:
        self._text = _WORDS.get(text.strip().lower(), text).replace("?", "*")
        try:
            self._zone = ZoneInfo(zone) if zone else ZoneInfo("UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadRequest(f"unknown time zone {zone[:64]}") from None
        try:
            CronSim(self._text, datetime.now(UTC))
        except CronSimError as error:
            raise BadRequest(f"{error}: five fields of cron, or {', '.join(_WORDS)}") from None

    def after(self, moment: datetime) -> datetime | None:
        """Return the first time later than a moment, None where there is none in fifty years."""
        found = next(CronSim(self._text, moment.astimezone(self._zone)), None)
        return found.astimezone(UTC) if found is not None else None

    def latest(self, moment: datetime, since: datetime) -> datetime | None:
        """Return the last time that is not later than a moment, None where it is not after `since`.

        Args:
            moment: whole seconds.
        """
        just_after = (moment + timedelta(minutes=1)).astimezone(self._zone)
        for found in CronSim(self._text, just_after, reverse=True):
            at = found.astimezone(UTC)
            if at <= since:
                return None
            if at <= moment:
                return at
        return None


@lru_cache(maxsize=1024)
def schedule(text: str, zone: str) -> Schedule:
    """Return a schedule, made once.

    Raises:
        BadRequest: it cannot be understood.
    """
    return Schedule(text, zone)
