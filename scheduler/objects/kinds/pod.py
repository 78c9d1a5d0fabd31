"""Pod (core/v1)."""

import copy
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Portion, Printer, text_at
from ..meta import now_seconds
from .apparmor_annotations import fill_profiles, idle_annotations
from .causes import forbidden, invalid
from .fields import child, children, number, text
from .label_keys import merge_label_keys
from .placement_validation import narrowing_causes
from .pod_defaults import default_pod, qos_class
from .pod_support import warnings
from .pod_validation import not_ephemeral_causes, pod_spec_causes
from .printing import AGE, NAME, NONE, age, duration, name, or_none, parse_time

_LATEST = 2**63
_MUTABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    return pod_spec_causes(child(obj, "spec"), "spec")


def _validate_creation(obj: JsonObject) -> Iterable[Cause]:
    return not_ephemeral_causes(child(obj, "spec"), "spec")


def _validate_ephemeral(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    """Ephemeral containers may only be added (Kubernetes ValidatePodEphemeralContainersUpdate)."""
    after = children(child(new, "spec"), "ephemeralContainers")
    for container in children(child(old, "spec"), "ephemeralContainers"):
        if container not in after:
            yield forbidden(
                "spec.ephemeralContainers",
                f'existing ephemeral containers "{text(container, "name")}" may not be removed or '
                "changed",
            )


def _warnings(obj: JsonObject) -> Iterable[str]:
    yield from warnings(child(obj, "spec"), "spec")
    yield from idle_annotations(obj)


def _complete(obj: JsonObject) -> None:
    merge_label_keys(obj)
    fill_profiles(obj)


def _initial_status(obj: JsonObject) -> JsonObject:
    spec = child(obj, "spec")
    status: JsonObject = {"phase": "Pending", "qosClass": qos_class(spec)}
    if children(spec, "schedulingGates"):
        gated: JsonObject = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": None,
            "lastTransitionTime": now_seconds().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        status["conditions"] = [gated]
    return status


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = child(old, "spec"), child(new, "spec")
    kept = children(after, "tolerations")
    missing = [t for t in children(before, "tolerations") if t not in kept]
    gates = [text(gate, "name") for gate in children(before, "schedulingGates")]
    if any(text(gate, "name") not in gates for gate in children(after, "schedulingGates")):
        yield forbidden("spec.schedulingGates", "only deletion is allowed, but found new gates")
    if missing:
        yield forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds"
            if _only_seconds(missing, kept)
            else "existing tolerations may not be removed",
        )
    deadline = before.get("activeDeadlineSeconds")
    if deadline is not None and number(after, "activeDeadlineSeconds", _LATEST) > number(
        before, "activeDeadlineSeconds"
    ):
        why = "must be less than or equal to previous value"
        yield invalid("spec.activeDeadlineSeconds", after.get("activeDeadlineSeconds"), why)
    gated = bool(gates)
    if gated:
        yield from narrowing_causes(before, after, "spec")
    if _comparable(before, gated=gated) != _comparable(after, gated=gated):
        yield forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)",
        )
    grace = number(after, "terminationGracePeriodSeconds")
    if grace != number(before, "terminationGracePeriodSeconds") and grace < 0:
        yield invalid("spec.terminationGracePeriodSeconds", grace, "must not be negative")


def _only_seconds(missing: list[JsonObject], kept: list[JsonObject]) -> bool:
    def without(toleration: JsonObject) -> JsonObject:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}

    others = [without(toleration) for toleration in kept]
    return all(without(toleration) in others for toleration in missing)


def _comparable(spec: JsonObject, *, gated: bool) -> JsonObject:
    """Return the spec without what may change; node selection is judged apart while gated."""
    bare = copy.deepcopy({k: v for k, v in spec.items() if k not in _MUTABLE})
    bare.pop("schedulingGates", None)
    if gated:
        bare.pop("nodeSelector", None)
        child(bare, "affinity").pop("nodeAffinity", None)
        if not child(bare, "affinity"):
            bare.pop("affinity", None)
    for container in (*children(bare, "containers"), *children(bare, "initContainers")):
        container.pop("image", None)
    return bare


def _ready(statuses: list[JsonObject], total: int) -> str:
    return f"{sum(1 for status in statuses if status.get('ready'))}/{total}"


def _restarts(statuses: list[JsonObject], now: datetime) -> str:
    total = sum(number(status, "restartCount") for status in statuses)
    ends = [
        parse_time(child(child(status, "lastState"), "terminated").get("finishedAt"))
        for status in statuses
    ]
    last = max((end for end in ends if end is not None), default=None)
    if not total or last is None:
        return str(total)
    return f"{total} ({duration((now - last).total_seconds())} ago)"


def _init_word(spec: JsonObject, inits: list[JsonObject]) -> str:
    """Return what the first init container that is not over does, "" when all are."""
    sidecars = {
        text(c, "name")
        for c in children(spec, "initContainers")
        if text(c, "restartPolicy") == "Always"
    }
    total = len(children(spec, "initContainers"))
    for index, container in enumerate(inits):
        state = child(container, "state")
        waiting, terminated = child(state, "waiting"), child(state, "terminated")
        if terminated and number(terminated, "exitCode") == 0:
            continue
        if text(container, "name") in sidecars and container.get("started"):
            continue
        if terminated:
            return f"Init:{text(terminated, 'reason') or _exit_word(terminated)}"
        if text(waiting, "reason") not in {"", "PodInitializing"}:
            return f"Init:{text(waiting, 'reason')}"
        return f"Init:{index}/{total}"
    return ""


def _initialized(status: JsonObject) -> bool:
    return any(
        c.get("type") == "Initialized" and c.get("status") == "True"
        for c in children(status, "conditions")
    )


def _status_word(obj: JsonObject, statuses: list[JsonObject]) -> str:
    """Return the Status column (Kubernetes printPod)."""
    status = child(obj, "status")
    word = text(status, "reason") or text(status, "phase")
    gated = any(
        c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated"
        for c in children(status, "conditions")
    )
    if gated:
        word = "SchedulingGated"
    running = False
    init = _init_word(child(obj, "spec"), children(status, "initContainerStatuses"))
    initializing = bool(init) and not _initialized(status)
    if initializing:
        word = init
    for container in () if initializing else reversed(statuses):
        state = child(container, "state")
        waiting, terminated = child(state, "waiting"), child(state, "terminated")
        if text(waiting, "reason"):
            word = text(waiting, "reason")
        elif terminated:
            word = text(terminated, "reason") or _exit_word(terminated)
        elif container.get("ready") and "running" in state:
            running = True
    if word == "Completed" and running:
        word = "Running"
    if child(obj, "metadata").get("deletionTimestamp"):
        word = "Unknown" if text(status, "reason") == "NodeLost" else "Terminating"
    return word or "Unknown"


def _exit_word(terminated: JsonObject) -> str:
    signal = number(terminated, "signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{number(terminated, 'exitCode')}"


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    statuses = children(status, "containerStatuses")
    inits = children(status, "initContainerStatuses")
    sidecars = [
        text(c, "name")
        for c in children(spec, "initContainers")
        if text(c, "restartPolicy") == "Always"
    ]
    both = [*(s for s in inits if text(s, "name") in sidecars), *statuses]
    gates = children(spec, "readinessGates")
    met = {text(c, "type") for c in children(status, "conditions") if c.get("status") == "True"}
    return (
        name(obj),
        _ready(both, len(children(spec, "containers")) + len(sidecars)),
        _status_word(obj, statuses),
        _restarts(both if _initialized(status) else inits or both, now),
        age(obj, now),
        or_none(text(status, "podIP")),
        or_none(text(spec, "nodeName")),
        or_none(text(status, "nominatedNodeName")),
        f"{sum(text(g, 'conditionType') in met for g in gates)}/{len(gates)}" if gates else NONE,
    )


KIND = Kind(
    kind="Pod",
    plural="pods",
    message="core.v1.Pod",
    short_names=("po",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Ready", description="Containers that are ready, of all."),
            Column("Status", description="What it is doing, in one word."),
            Column("Restarts", description="How often its containers were restarted."),
            AGE,
            Column("IP", priority=1, description="Its address."),
            Column("Node", priority=1, description="The node it is bound to."),
            Column("Nominated Node", priority=1, description="The node being cleared for it."),
            Column("Readiness Gates", priority=1, description="Gates that are met, of all."),
        ),
        _cells,
    ),
    default=default_pod,
    complete=_complete,
    initial_status=_initial_status,
    validate=_validate,
    validate_creation=_validate_creation,
    validate_update=_validate_update,
    warnings=_warnings,
    fields={
        path: text_at(path)
        for path in (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        )
    },
    interned=True,
    portions={"ephemeralcontainers": Portion("ephemeralContainers", _validate_ephemeral)},
    subresources=("attach", "binding", "eviction", "exec", "log", "portforward"),
)
