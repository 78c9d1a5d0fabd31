"""DaemonSet (apps/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .causes import invalid, one_of
from .fields import child, default_text, ensure, number, setdefault, text
from .printing import AGE, NAME, age, name, selector
from .template import (
    TEMPLATE_COLUMNS,
    at_most_all_causes,
    default_template,
    immutable_causes,
    is_zero,
    not_negative_causes,
    percentage_causes,
    selector_causes,
    selector_of,
    selector_text,
    template_causes,
    template_cells,
    template_spec,
    template_warnings,
)

_STRATEGIES = ("RollingUpdate", "OnDelete")


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "revisionHistoryLimit", 10)
    strategy = ensure(spec, "updateStrategy")
    default_text(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = ensure(strategy, "rollingUpdate")
        setdefault(rolling, "maxUnavailable", 1)
        setdefault(rolling, "maxSurge", 0)
    default_template(obj)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from not_negative_causes(spec, "minReadySeconds", "revisionHistoryLimit")
    yield from selector_causes(spec)
    yield from _strategy_causes(child(spec, "updateStrategy"))
    yield from template_causes(spec, selector_of(spec))
    if child(child(spec, "template"), "spec").get("activeDeadlineSeconds") is not None:
        path = "spec.template.spec.activeDeadlineSeconds"
        yield Cause(path, "Forbidden: activeDeadlineSeconds in DaemonSet is not Supported")


def _strategy_causes(strategy: JsonObject) -> Iterable[Cause]:
    yield from one_of("spec.updateStrategy.type", text(strategy, "type"), _STRATEGIES)
    if text(strategy, "type") != "RollingUpdate":
        return
    rolling, path = child(strategy, "rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    for field in ("maxSurge", "maxUnavailable"):
        yield from percentage_causes(rolling.get(field), f"{path}.{field}")
        yield from at_most_all_causes(rolling.get(field), f"{path}.{field}")
    if not is_zero(surge) and not is_zero(unavailable):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    if is_zero(surge) and is_zero(unavailable):
        yield Cause(f"{path}.maxUnavailable", "Required value: cannot be 0 when maxSurge is 0")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    return immutable_causes(old, new, "selector")


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    pod_spec = template_spec(obj)
    return (
        name(obj),
        number(status, "desiredNumberScheduled"),
        number(status, "currentNumberScheduled"),
        number(status, "numberReady"),
        number(status, "updatedNumberScheduled"),
        number(status, "numberAvailable"),
        selector(pod_spec, "nodeSelector"),
        age(obj, now),
        *template_cells(pod_spec, selector_text(spec)),
    )


KIND = Kind(
    kind="DaemonSet",
    plural="daemonsets",
    group="apps",
    message="apps.v1.DaemonSet",
    short_names=("ds",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Desired", "integer", description="Nodes that are to have a pod."),
            Column("Current", "integer", description="Nodes of those that have one."),
            Column("Ready", "integer", description="Nodes whose pod is ready."),
            Column("Up-to-date", "integer", description="Nodes whose pod is of the template."),
            Column("Available", "integer", description="Nodes whose pod is available."),
            Column("Node Selector", description="Labels that nodes need."),
            AGE,
            *TEMPLATE_COLUMNS,
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
    warnings=template_warnings,
)
