"""PodDisruptionBudget (policy/v1)."""

import re
from collections.abc import Iterable
from datetime import datetime

from ...errors import BadRequest, Cause
from ..json import Json, JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..selectors import from_label_selector
from .causes import invalid, one_of
from .fields import child, number, text
from .printing import AGE, NAME, age, name

_PERCENT = re.compile(r"[0-9]+%\Z", re.ASCII)
_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_LIMITS = ("minAvailable", "maxUnavailable")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    if all(spec.get(field) is not None for field in _LIMITS):
        yield Cause("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set")
    for field in _LIMITS:
        yield from _limit(spec.get(field), f"spec.{field}")
    try:
        from_label_selector(spec.get("selector"))
    except BadRequest as error:
        yield Cause("spec.selector", f"Invalid value: {error.message}")
    policy = text(spec, "unhealthyPodEvictionPolicy")
    if policy:
        yield from one_of("spec.unhealthyPodEvictionPolicy", policy, _POLICIES)


def _limit(value: Json, path: str) -> Iterable[Cause]:
    """Check a number of pods or a percentage (IsPositiveIntOrPercent, IsNotMoreThan100Percent)."""
    if isinstance(value, int) and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")
    if not isinstance(value, str):
        return
    if not _PERCENT.match(value):
        yield invalid(
            path,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        )
    elif len(value) > 8 or int(value[:-1]) > 100:
        yield invalid(path, value, "must not be greater than 100%")


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}


def _shown(value: Json) -> str:
    return "N/A" if value is None else str(value)


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec = child(obj, "spec")
    return (
        name(obj),
        _shown(spec.get("minAvailable")),
        _shown(spec.get("maxUnavailable")),
        number(child(obj, "status"), "disruptionsAllowed"),
        age(obj, now),
    )


KIND = Kind(
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    message="policy.v1.PodDisruptionBudget",
    group="policy",
    short_names=("pdb",),
    printer=Printer(
        (
            NAME,
            Column("Min Available", description="Pods that must stay healthy."),
            Column("Max Unavailable", description="Pods that may be missing."),
            Column("Allowed Disruptions", "integer", description="Pods that may go now."),
            AGE,
        ),
        _cells,
    ),
    initial_status=_initial_status,
    validate=_validate,
)
