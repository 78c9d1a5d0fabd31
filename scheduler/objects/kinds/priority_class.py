"""PriorityClass (scheduling.k8s.io/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .fields import default_text, number, text
from .printing import AGE, NAME, age, name

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_CLASSES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


def _default(obj: JsonObject) -> None:
    default_text(obj, "preemptionPolicy", "PreemptLowerPriority")
    obj.setdefault("value", 0)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    value, class_name = number(obj, "value"), name(obj)
    if class_name.startswith("system-"):
        if SYSTEM_CLASSES.get(class_name) != value:
            yield Cause(
                "metadata.name",
                "Forbidden: priority class names with 'system-' prefix are reserved for system use "
                "only",
                "FieldValueForbidden",
            )
    elif value > HIGHEST_USER_PRIORITY:
        yield Cause(
            "value",
            "Forbidden: maximum allowed value of a user defined priority is "
            f"{HIGHEST_USER_PRIORITY}",
            "FieldValueForbidden",
        )
    policy = text(obj, "preemptionPolicy")
    if policy not in {"PreemptLowerPriority", "Never"}:
        yield Cause(
            "preemptionPolicy",
            f'Unsupported value: "{policy}": supported values: "Never", "PreemptLowerPriority"',
            "FieldValueNotSupported",
        )


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if old.get("value") != new.get("value"):
        yield Cause("value", "Forbidden: may not be changed in an update.", "FieldValueForbidden")
    if old.get("preemptionPolicy") != new.get("preemptionPolicy"):
        yield Cause(
            "preemptionPolicy",
            f'Invalid value: "{text(new, "preemptionPolicy")}": field is immutable',
        )


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (
        name(obj),
        number(obj, "value"),
        bool(obj.get("globalDefault")),
        age(obj, now),
        text(obj, "preemptionPolicy"),
    )


KIND = Kind(
    kind="PriorityClass",
    plural="priorityclasses",
    message="scheduling.v1.PriorityClass",
    group="scheduling.k8s.io",
    short_names=("pc",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Value", "integer", description="Priority of pods with this class."),
            Column("Global-Default", "boolean", description="Used by pods without a class."),
            AGE,
            Column("PreemptionPolicy", priority=0, description="Whether its pods preempt others."),
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    has_status=False,
)
