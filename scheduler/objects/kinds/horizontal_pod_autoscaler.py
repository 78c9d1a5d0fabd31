"""HorizontalPodAutoscaler (autoscaling/v2)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import BadRequest, Cause
from .. import quantity
from ..json import Json, JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import path_segment_complaints
from .causes import forbidden, invalid, one_of, required
from .fields import (
    child,
    children,
    default_text,
    ensure,
    indexed,
    number,
    setdefault,
    text,
)
from .printing import AGE, NAME, NONE, UNKNOWN, age, name

_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800
_SELECT = ("Max", "Min", "Disabled")
_POLICIES = ("Pods", "Percent")
_TARGETS = ("Utilization", "Value", "AverageValue")
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_SHOWN = 2  # metrics in a cell
_DEFAULT_UTILIZATION = 80
_UP: list[Json] = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_DOWN: list[Json] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def cpu_metric(percent: int) -> JsonObject:
    """Return the metric that wants so much of the requested processor used."""
    target: JsonObject = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "minReplicas", 1)
    if not children(spec, "metrics"):
        metrics: list[Json] = [cpu_metric(_DEFAULT_UTILIZATION)]
        spec["metrics"] = metrics
    if not isinstance(spec.get("behavior"), dict):
        return
    behavior = child(spec, "behavior")
    for field, policies in (("scaleUp", _UP), ("scaleDown", _DOWN)):
        rules = ensure(behavior, field)
        default_text(rules, "selectPolicy", "Max")
        if rules.get("policies") is None:
            rules["policies"] = [dict(each) for each in policies if isinstance(each, dict)]
    setdefault(child(behavior, "scaleUp"), "stabilizationWindowSeconds", 0)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    least, most = number(spec, "minReplicas", 1), number(spec, "maxReplicas")
    if least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    if most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _reference_causes(child(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for where, metric in indexed(spec, "metrics", "spec"):
        yield from _metric_causes(metric, where)
    for field in ("scaleUp", "scaleDown"):
        rules = child(child(spec, "behavior"), field)
        if rules:
            yield from _rules_causes(rules, f"spec.behavior.{field}")


def _reference_causes(reference: JsonObject, where: str) -> Iterable[Cause]:
    for field in ("kind", "name"):
        value = text(reference, field)
        if not value:
            yield required(f"{where}.{field}")
        for complaint in path_segment_complaints(value):
            yield invalid(f"{where}.{field}", value, complaint)


def _metric_causes(metric: JsonObject, where: str) -> Iterable[Cause]:
    kind = text(metric, "type")
    if not kind:
        yield required(f"{where}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        yield from one_of(f"{where}.type", kind, _SOURCES)
        return
    wanted = _SOURCES[kind]
    for field in _SOURCES.values():
        if field != wanted and metric.get(field) is not None:
            why = "must populate the given metric source only"
            yield forbidden(f"{where}.{field}", why)
    if metric.get(wanted) is None:
        yield required(f"{where}.{wanted}", "must populate information for the given metric source")
        return
    source, path = child(metric, wanted), f"{where}.{wanted}"
    yield from _target_causes(child(source, "target"), f"{path}.target")
    if kind in {"Resource", "ContainerResource"}:
        yield from _resource_causes(source, path)
        if kind == "ContainerResource" and not text(source, "container"):
            yield required(f"{path}.container", "must specify a container")
        return
    if not text(child(source, "metric"), "name"):
        yield required(f"{path}.metric.name", "must specify a metric name")
    if kind == "Object":
        yield from _reference_causes(child(source, "describedObject"), f"{path}.describedObject")


def _resource_causes(source: JsonObject, path: str) -> Iterable[Cause]:
    if not text(source, "name"):
        yield required(f"{path}.name", "must specify a resource name")
    target, where = child(source, "target"), f"{path}.target.averageUtilization"
    utilization, value = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and value is None:
        yield required(where, "must set either a target raw value or a target utilization")
    if utilization is not None and value is not None:
        why = "may not set both a target raw value and a target utilization"
        yield forbidden(f"{path}.target.averageValue", why)


def _target_causes(target: JsonObject, path: str) -> Iterable[Cause]:
    kind = text(target, "type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    else:
        yield from one_of(f"{path}.type", kind, _TARGETS)
    for field in ("value", "averageValue"):
        given = target.get(field)
        if given is not None and _amount(given) <= 0:
            yield invalid(f"{path}.{field}", given, "must be positive")
    if target.get("averageUtilization") is not None and number(target, "averageUtilization") < 1:
        yield invalid(
            f"{path}.averageUtilization",
            number(target, "averageUtilization"),
            "must be greater than 0",
        )


def _amount(value: Json) -> int:
    """Return a quantity in billionths, 0 where it cannot be read."""
    try:
        return quantity.nano(str(value))
    except BadRequest:
        return 0


def _rules_causes(rules: JsonObject, path: str) -> Iterable[Cause]:
    window = number(rules, "stabilizationWindowSeconds")
    where = f"{path}.stabilizationWindowSeconds"
    if window < 0:
        yield invalid(where, window, "must be greater than or equal to zero")
    if window > _LONGEST_WINDOW:
        yield invalid(where, window, f"must be less than or equal to {_LONGEST_WINDOW}")
    yield from one_of(f"{path}.selectPolicy", text(rules, "selectPolicy"), _SELECT)
    tolerance = rules.get("tolerance")
    if tolerance is not None and _amount(tolerance) < 0:
        yield invalid(f"{path}.tolerance", tolerance, "must be greater than or equal to 0")
    if not children(rules, "policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for at, policy in indexed(rules, "policies", path):
        yield from one_of(f"{at}.type", text(policy, "type"), _POLICIES)
        if number(policy, "value") <= 0:
            yield invalid(f"{at}.value", number(policy, "value"), "must be greater than zero")
        period = number(policy, "periodSeconds")
        if period <= 0:
            yield invalid(f"{at}.periodSeconds", period, "must be greater than zero")
        if period > _LONGEST_PERIOD:
            why = f"must be less than or equal to {_LONGEST_PERIOD}"
            yield invalid(f"{at}.periodSeconds", period, why)


def _warnings(obj: JsonObject) -> Iterable[str]:
    for where, metric in indexed(child(obj, "spec"), "metrics", "spec"):
        if text(metric, "type") in {"Pods", "Object", "External"}:
            yield (
                f"{where}.type: Ironfree measures cpu and memory only; without another metric "
                "nothing is scaled"
            )


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"currentReplicas": 0, "desiredReplicas": 0}


def _targets(spec: JsonObject, status: JsonObject) -> str:
    shown = [_target(metric, status) for metric in children(spec, "metrics")]
    if not shown:
        return NONE
    more = f" + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _target(metric: JsonObject, status: JsonObject) -> str:
    """Return a metric as kubectl prints it: "cpu: 12%/80%"."""
    kind = text(metric, "type")
    source = child(metric, _SOURCES.get(kind, ""))
    own = text(source, "name")
    target, current = child(source, "target"), _current(kind, source, status)
    if target.get("averageUtilization") is not None:
        present = current.get("averageUtilization")
        said = UNKNOWN if present is None else f"{present}%"
        wanted = f"{target['averageUtilization']}%"
    else:
        said = str(current.get("averageValue") or current.get("value") or UNKNOWN)
        wanted = str(target.get("averageValue") or target.get("value") or "")
    said = f"{said}/{wanted}"
    return f"{own}: {said}" if own else said


def _current(kind: str, source: JsonObject, status: JsonObject) -> JsonObject:
    for each in children(status, "currentMetrics"):
        found = child(each, _SOURCES.get(kind, ""))
        same = all(text(found, key) == text(source, key) for key in ("name", "container"))
        if text(each, "type") == kind and same:
            return child(found, "current")
    return {}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    reference = child(spec, "scaleTargetRef")
    least = spec.get("minReplicas")
    return (
        name(obj),
        f"{text(reference, 'kind')}/{text(reference, 'name')}",
        _targets(spec, status),
        "<unset>" if least is None else str(least),
        number(spec, "maxReplicas"),
        number(status, "currentReplicas"),
        age(obj, now),
    )


KIND = Kind(
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    group="autoscaling",
    version="v2",
    message="autoscaling.v2.HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Reference", description="What it scales."),
            Column("Targets", description="Present and wanted use."),
            Column("MinPods", description="The fewest replicas it sets."),
            Column("MaxPods", "integer", description="The most replicas it sets."),
            Column("Replicas", "integer", description="Replicas when it last looked."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    warnings=_warnings,
)
