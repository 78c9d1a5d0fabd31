"""Job (batch/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..job import CONTROLLER_UID, JOB_NAME
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..meta import ObjectMeta
from ..selectors import NOTHING
from .causes import forbidden, invalid, one_of, required
from .fields import child, children, default_text, ensure, indexed, number, setdefault, text
from .printing import AGE, NAME, age, duration, name, parse_time
from .template import (
    TEMPLATE_COLUMNS,
    default_template,
    immutable_causes,
    not_negative_causes,
    selector_text,
    template_causes,
    template_cells,
    template_spec,
    template_warnings,
)

MODES = ("NonIndexed", "Indexed")
_POLICIES = ("TerminatingOrFailed", "Failed")
_ACTIONS = ("FailJob", "Ignore", "Count")
_RESTARTS = ("OnFailure", "Never")
_UNSUPPORTED = (
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "successPolicy",
    "manualSelector",
    "scheduling",
)
_OURS = "kubernetes.io/job-controller"
_COUNTS = (
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_MOST_INDEXES = 100_000
_GENERATED = {"controller-uid", "job-name", CONTROLLER_UID, JOB_NAME}


def default_job(obj: JsonObject) -> None:
    """Fill a Job, or the template of one."""
    spec = ensure(obj, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    setdefault(spec, "parallelism", 1)
    setdefault(spec, "backoffLimit", 6)
    setdefault(spec, "suspend", False)
    default_text(spec, "completionMode", "NonIndexed")
    replaced = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    default_text(spec, "podReplacementPolicy", replaced)
    default_template(obj)


def identify(meta: ObjectMeta, body: JsonObject) -> None:
    """Have a new Job select the pods that carry its uid, and its pods carry uid and name."""
    spec = ensure(body, "spec")
    spec["selector"] = {"matchLabels": {CONTROLLER_UID: meta.uid}}
    labels = ensure(ensure(ensure(spec, "template"), "metadata"), "labels")
    for key in ("controller-uid", CONTROLLER_UID):
        labels[key] = meta.uid
    for key in ("job-name", JOB_NAME):
        labels[key] = meta.name


def _carry_over(old: JsonObject, new: JsonObject) -> None:
    """Keep what `identify` has put there."""
    before, after = child(old, "spec"), ensure(new, "spec")
    setdefault(after, "selector", before.get("selector"))
    kept = child(child(child(before, "template"), "metadata"), "labels")
    labels = ensure(ensure(ensure(after, "template"), "metadata"), "labels")
    for key in _GENERATED & kept.keys():
        labels.setdefault(key, kept[key])


def _validate(obj: JsonObject) -> Iterable[Cause]:
    return job_causes(child(obj, "spec"), "spec")


def job_causes(spec: JsonObject, path: str) -> Iterable[Cause]:
    """Yield what is wrong with a JobSpec."""
    yield from not_negative_causes(spec, *_COUNTS, path=path)
    mode = text(spec, "completionMode")
    yield from one_of(f"{path}.completionMode", mode, MODES)
    yield from one_of(f"{path}.podReplacementPolicy", text(spec, "podReplacementPolicy"), _POLICIES)
    for field in _UNSUPPORTED:
        if spec.get(field):
            yield forbidden(f"{path}.{field}", "not supported by Ironfree (docs/workloads.md)")
    if text(spec, "managedBy") not in {"", _OURS}:
        yield forbidden(f"{path}.managedBy", f'only "{_OURS}" controls Jobs here')
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{path}.completions", f"when completion mode is {mode}")
        for field in ("completions", "parallelism"):
            if number(spec, field) > _MOST_INDEXES:
                why = (
                    f"must be less than or equal to {_MOST_INDEXES} when completion mode is {mode}"
                )
                yield invalid(f"{path}.{field}", number(spec, field), why)
    yield from _failure_policy_causes(spec, path)
    yield from template_causes(spec, NOTHING, _RESTARTS, path)
    if not text(child(child(spec, "template"), "spec"), "restartPolicy"):
        yield required(f"{path}.template.spec.restartPolicy", "OnFailure or Never")


def _failure_policy_causes(spec: JsonObject, path: str) -> Iterable[Cause]:
    policy, where = child(spec, "podFailurePolicy"), f"{path}.podFailurePolicy"
    if not policy:
        return
    restart = text(child(child(spec, "template"), "spec"), "restartPolicy")
    if restart != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid(f"{path}.template.spec.restartPolicy", restart, why)
    if text(spec, "podReplacementPolicy") != "Failed":
        why = 'only "Failed" is supported when podFailurePolicy is specified'
        yield invalid(f"{path}.podReplacementPolicy", text(spec, "podReplacementPolicy"), why)
    for at, rule in indexed(policy, "rules", where):
        yield from one_of(f"{at}.action", text(rule, "action"), _ACTIONS)
        codes, conditions = child(rule, "onExitCodes"), children(rule, "onPodConditions")
        if bool(codes) == bool(conditions):
            yield Cause(at, "Invalid value: specify one of onExitCodes and onPodConditions")
        if codes:
            operator = text(codes, "operator")
            yield from one_of(f"{at}.onExitCodes.operator", operator, ("In", "NotIn"))
            if not codes.get("values"):
                yield required(f"{at}.onExitCodes.values", "at least one value is required")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    yield from immutable_causes(
        old, new, "selector", "template", "completionMode", "podFailurePolicy"
    )
    before, after = child(old, "spec"), child(new, "spec")
    elastic = text(after, "completionMode") == "Indexed" and after.get("completions") == (
        after.get("parallelism")
    )
    if not elastic and before.get("completions") != after.get("completions"):
        yield Cause("spec.completions", "Invalid value: field is immutable")


def _state(obj: JsonObject) -> str:
    """Return the Status column (kubectl's printJob)."""
    status = child(obj, "status")
    true = [text(c, "type") for c in children(status, "conditions") if c.get("status") == "True"]
    for kind in ("Complete", "Failed"):
        if kind in true:
            return kind
    if child(obj, "metadata").get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in true:
            return kind
    return "Running"


def _completions(spec: JsonObject, status: JsonObject) -> str:
    done = number(status, "succeeded")
    if spec.get("completions") is not None:
        return f"{done}/{number(spec, 'completions')}"
    parallelism = number(spec, "parallelism", 1)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(status: JsonObject, now: datetime) -> str:
    start = parse_time(status.get("startTime"))
    if start is None:
        return ""
    end = parse_time(status.get("completionTime")) or now
    return duration((end - start).total_seconds())


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    return (
        name(obj),
        _state(obj),
        _completions(spec, status),
        _duration(status, now),
        age(obj, now),
        *template_cells(template_spec(obj), selector_text(spec)),
    )


KIND = Kind(
    kind="Job",
    plural="jobs",
    group="batch",
    message="batch.v1.Job",
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Status", description="How far it is, in one word."),
            Column("Completions", description="Pods that have succeeded, of those wanted."),
            Column("Duration", description="From its start to its completion."),
            AGE,
            *TEMPLATE_COLUMNS,
        ),
        _cells,
    ),
    default=default_job,
    identify=identify,
    carry_over=_carry_over,
    validate=_validate,
    validate_update=_validate_update,
    warnings=template_warnings,
    fields={"status.successful": text_at("status.succeeded")},
)
