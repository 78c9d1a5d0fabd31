"""ConfigMap (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import config_key_complaints
from .fields import child
from .printing import AGE, NAME, age, name

MAX_BYTES = 1024 * 1024


def key_causes(obj: JsonObject, field: str) -> Iterable[Cause]:
    """Yield a cause per bad key of a data map (IsConfigMapKey)."""
    for key in child(obj, field):
        for complaint in config_key_complaints(key):
            yield Cause(f"{field}[{key[:253]}]", f'Invalid value: "{key[:253]}": {complaint}')


def size_causes(obj: JsonObject, *fields: str) -> Iterable[Cause]:
    """Yield a cause when the values together are larger than 1 MiB."""
    total = sum(len(str(value)) for field in fields for value in child(obj, field).values())
    if total > MAX_BYTES * (4 / 3 if fields == ("data",) else 1):
        yield Cause(
            fields[0], f"Too long: may not be more than {MAX_BYTES} bytes", "FieldValueTooLong"
        )


def immutable_causes(old: JsonObject, new: JsonObject, *fields: str) -> Iterable[Cause]:
    """Yield a cause per field that changed although the object says immutable."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield Cause(
            "immutable",
            "Forbidden: field is immutable when `immutable` is set",
            "FieldValueForbidden",
        )
    for field in fields:
        if (old.get(field) or {}) != (new.get(field) or {}):
            yield Cause(
                field,
                "Forbidden: field is immutable when `immutable` is set",
                "FieldValueForbidden",
            )


def _validate(obj: JsonObject) -> Iterable[Cause]:
    yield from key_causes(obj, "data")
    yield from key_causes(obj, "binaryData")
    for key in child(obj, "data").keys() & child(obj, "binaryData").keys():
        yield Cause(
            f"data[{key}]", f'Invalid value: "{key}": duplicate of key present in binaryData'
        )
    yield from size_causes(obj, "data", "binaryData")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    return immutable_causes(old, new, "data", "binaryData")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), len(child(obj, "data")) + len(child(obj, "binaryData")), age(obj, now))


KIND = Kind(
    kind="ConfigMap",
    plural="configmaps",
    message="core.v1.ConfigMap",
    short_names=("cm",),
    printer=Printer((NAME, Column("Data", "integer", description="Number of keys."), AGE), _cells),
    validate=_validate,
    validate_update=_validate_update,
    has_status=False,
)
