"""HorizontalPodAutoscaler (autoscaling/v1): the view on v2 that knows of processor time only.

What v1 cannot say (other metrics, behavior, conditions) is left out here, and kept by an update.
Upstream hides it in annotations instead.
"""

from ..json import Json, JsonObject
from ..kind import Conversion, Kind
from . import horizontal_pod_autoscaler as v2
from .fields import child, children, text

_SHARED_SPEC = ("scaleTargetRef", "minReplicas", "maxReplicas")
_SHARED_STATUS = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
_PERCENT = "targetCPUUtilizationPercentage"
_CURRENT = "currentCPUUtilizationPercentage"
_VERSION = "autoscaling/v1"


def _outward(stored: JsonObject) -> JsonObject:
    spec, status = child(stored, "spec"), child(stored, "status")
    shown: JsonObject = {key: spec[key] for key in _SHARED_SPEC if key in spec}
    wanted = _cpu(spec, "metrics", "target")
    if wanted is not None:
        shown[_PERCENT] = wanted
    found: JsonObject = {**stored, "apiVersion": _VERSION, "spec": shown}
    if status:
        numbers: JsonObject = {key: status[key] for key in _SHARED_STATUS if key in status}
        current = _cpu(status, "currentMetrics", "current")
        if current is not None:
            numbers[_CURRENT] = current
        found["status"] = numbers
    return found


def _cpu(obj: JsonObject, metrics: str, field: str) -> Json:
    """Return the first percentage of requested processor time, None where there is none."""
    for metric in children(obj, metrics):
        resource = child(metric, "resource")
        if text(metric, "type") == "Resource" and text(resource, "name") == "cpu":
            percent = child(resource, field).get("averageUtilization")
            if percent is not None:
                return percent
    return None


def _inward(given: JsonObject, present: JsonObject | None) -> JsonObject:
    spec, before = child(given, "spec"), child(present or {}, "spec")
    kept = {key: value for key, value in before.items() if key not in _SHARED_SPEC}
    wanted: JsonObject = {**kept, **{key: spec[key] for key in _SHARED_SPEC if key in spec}}
    percent = spec.get(_PERCENT)
    if percent != _cpu(before, "metrics", "target"):
        others = [each for each in children(before, "metrics") if _cpu_of(each) is None]
        first = [v2.cpu_metric(percent)] if isinstance(percent, int) else []
        metrics: list[Json] = [*first, *others]
        wanted["metrics"] = metrics
    found: JsonObject = {**given, "apiVersion": v2.KIND.group_version, "spec": wanted}
    if isinstance(given.get("status"), dict):
        status = child(given, "status")
        known: JsonObject = {key: status[key] for key in _SHARED_STATUS if key in status}
        found["status"] = {**child(present or {}, "status"), **known}
    return found


def _cpu_of(metric: JsonObject) -> Json:
    return _cpu({"metrics": [metric]}, "metrics", "target")


KIND = Kind(
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    group="autoscaling",
    version="v1",
    message="autoscaling.v1.HorizontalPodAutoscaler",
    short_names=v2.KIND.short_names,
    categories=v2.KIND.categories,
    printer=v2.KIND.printer,
    conversion=Conversion(v2.KIND, _outward, _inward),
)
