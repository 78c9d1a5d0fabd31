"""Deployment (apps/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, Scale
from .causes import forbidden, invalid, one_of
from .fields import child, default_text, ensure, number, setdefault, text
from .printing import AGE, NAME, age, name
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

_STRATEGIES = ("Recreate", "RollingUpdate")


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "replicas", 1)
    setdefault(spec, "revisionHistoryLimit", 10)
    setdefault(spec, "progressDeadlineSeconds", 600)
    strategy = ensure(spec, "strategy")
    default_text(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = ensure(strategy, "rollingUpdate")
        setdefault(rolling, "maxUnavailable", "25%")
        setdefault(rolling, "maxSurge", "25%")
    default_template(obj)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    counts = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    yield from not_negative_causes(spec, *counts)
    deadline = number(spec, "progressDeadlineSeconds", 600)
    if deadline <= number(spec, "minReadySeconds"):
        why = "must be greater than minReadySeconds"
        yield invalid("spec.progressDeadlineSeconds", deadline, why)
    yield from selector_causes(spec)
    yield from _strategy_causes(child(spec, "strategy"))
    yield from template_causes(spec, selector_of(spec))


def _strategy_causes(strategy: JsonObject) -> Iterable[Cause]:
    kind, path = text(strategy, "type"), "spec.strategy.rollingUpdate"
    yield from one_of("spec.strategy.type", kind, _STRATEGIES)
    rolling = child(strategy, "rollingUpdate")
    if kind == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    yield from percentage_causes(surge, f"{path}.maxSurge")
    yield from percentage_causes(unavailable, f"{path}.maxUnavailable")
    yield from at_most_all_causes(unavailable, f"{path}.maxUnavailable")
    if is_zero(surge) and is_zero(unavailable):
        why = "may not be 0 when `maxSurge` is 0"
        yield invalid(f"{path}.maxUnavailable", unavailable, why)


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    return immutable_causes(old, new, "selector")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    return (
        name(obj),
        f"{number(status, 'readyReplicas')}/{number(spec, 'replicas')}",
        number(status, "updatedReplicas"),
        number(status, "availableReplicas"),
        age(obj, now),
        *template_cells(template_spec(obj), selector_text(spec)),
    )


KIND = Kind(
    kind="Deployment",
    plural="deployments",
    group="apps",
    message="apps.v1.Deployment",
    short_names=("deploy",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Ready", description="Pods that are ready, of those wanted."),
            Column("Up-to-date", "integer", description="Pods of the present template."),
            Column("Available", "integer", description="Pods ready for minReadySeconds."),
            AGE,
            *TEMPLATE_COLUMNS,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    warnings=template_warnings,
    scale=Scale(),
)
