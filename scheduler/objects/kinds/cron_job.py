"""CronJob (batch/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import BadRequest, Cause
from ..cron_job import schedule
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .causes import invalid, one_of, required
from .fields import child, children, default_text, ensure, setdefault, text
from .job import default_job, job_causes
from .pod_support import warnings
from .printing import AGE, NAME, NONE, age, name, since
from .template import TEMPLATE_COLUMNS, not_negative_causes, selector_text, template_cells

_POLICIES = ("Allow", "Forbid", "Replace")
_LONGEST_NAME = 52
_COUNTS = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def _template(obj: JsonObject) -> JsonObject:
    return child(child(obj, "spec"), "jobTemplate")


def _pod_spec(obj: JsonObject) -> JsonObject:
    return child(child(child(_template(obj), "spec"), "template"), "spec")


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "concurrencyPolicy", "Allow")
    setdefault(spec, "suspend", False)
    setdefault(spec, "successfulJobsHistoryLimit", 3)
    setdefault(spec, "failedJobsHistoryLimit", 1)
    template = child(spec, "jobTemplate")
    if template:
        default_job(template)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from not_negative_causes(spec, *_COUNTS)
    yield from one_of("spec.concurrencyPolicy", text(spec, "concurrencyPolicy"), _POLICIES)
    yield from _schedule_causes(spec)
    if len(name(obj)) > _LONGEST_NAME:
        why = f"must be no more than {_LONGEST_NAME} characters"
        yield invalid("metadata.name", name(obj), why)
    yield from job_causes(child(_template(obj), "spec"), "spec.jobTemplate.spec")


def _schedule_causes(spec: JsonObject) -> Iterable[Cause]:
    given, zone = text(spec, "schedule"), spec.get("timeZone")
    if not given:
        yield required("spec.schedule")
    elif "TZ" in given:
        yield invalid("spec.schedule", given, "cannot use TZ or CRON_TZ in schedule, use timeZone")
    else:
        try:
            schedule(given, "")
        except BadRequest as error:
            yield invalid("spec.schedule", given, error.message)
    if isinstance(zone, str):
        try:
            schedule("@daily", zone)
        except BadRequest as error:
            yield invalid("spec.timeZone", zone, error.message)
        if not zone or zone.lower() == "local":
            yield invalid("spec.timeZone", zone, "must be the name of a time zone")


def _warnings(obj: JsonObject) -> Iterable[str]:
    return warnings(_pod_spec(obj), "spec.jobTemplate.spec.template.spec")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    last = status.get("lastScheduleTime")
    return (
        name(obj),
        text(spec, "schedule"),
        text(spec, "timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(children(status, "active")),
        since(last, now) if last else NONE,
        age(obj, now),
        *template_cells(_pod_spec(obj), selector_text(child(_template(obj), "spec"))),
    )


KIND = Kind(
    kind="CronJob",
    plural="cronjobs",
    group="batch",
    message="batch.v1.CronJob",
    short_names=("cj",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Schedule", description="When Jobs are made, in the fields of cron."),
            Column("Timezone", description="Whose clock it is."),
            Column("Suspend", description="Whether none are made for now."),
            Column("Active", "integer", description="Jobs that are not over."),
            Column("Last Schedule", description="Since the last Job's time."),
            AGE,
            *TEMPLATE_COLUMNS,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    warnings=_warnings,
)
