"""LimitRange (v1): what pods and claims of its namespace may ask for, and ask by default."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import BadRequest, Cause
from .. import quantity
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..limit_range import CLAIM, CONTAINER, POD
from ..names import label_key_complaints
from .causes import duplicate, forbidden, invalid, required
from .fields import child, children, ensure, indexed, text
from .printing import NAME, name

_TYPES = (POD, CONTAINER, CLAIM)
_MAPS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def _default(obj: JsonObject) -> None:
    for item in children(child(obj, "spec"), "limits"):
        for field in _MAPS:
            amounts = child(item, field)
            for key, amount in amounts.items():
                amounts[key] = quantity.canonical(str(amount))
        if text(item, "type") == CONTAINER:
            _fill(item, "default", "max")
            _fill(item, "defaultRequest", "default")
            _fill(item, "defaultRequest", "min")


def _fill(item: JsonObject, field: str, source: str) -> None:
    """Take over from another map what one says nothing of."""
    for key, amount in child(item, source).items():
        ensure(item, field).setdefault(key, amount)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    seen: set[str] = set()
    for where, item in indexed(child(obj, "spec"), "limits", "spec"):
        kind = text(item, "type")
        if kind in seen:
            yield duplicate(f"{where}.type", kind)
        seen.add(kind)
        yield from _type_causes(kind, where)
        yield from _name_causes(item, where)
        if kind == POD:
            for field in ("default", "defaultRequest"):
                if child(item, field):
                    yield forbidden(f"{where}.{field}", "may not be specified when `type` is 'Pod'")
        if kind == CLAIM and not any("storage" in child(item, each) for each in ("min", "max")):
            why = "either minimum or maximum storage value is required, but neither was provided"
            yield required(where, why)
        yield from _order_causes(item, where)


def _type_causes(kind: str, where: str) -> Iterator[Cause]:
    if not kind:
        yield required(f"{where}.type")
    elif kind not in _TYPES and ("/" not in kind or label_key_complaints(kind)):
        why = "must be a standard limit type or fully qualified"
        yield invalid(f"{where}.type", kind, why)


def _name_causes(item: JsonObject, where: str) -> Iterator[Cause]:
    for field in _MAPS:
        for key, amount in child(item, field).items():
            for complaint in label_key_complaints(key):
                yield invalid(f"{where}.{field}[{key}]", key, complaint)
            if _nano(amount) < 0:
                yield invalid(f"{where}.{field}[{key}]", amount, "must be non-negative")


def _order_causes(item: JsonObject, where: str) -> Iterator[Cause]:
    """Yield a cause per amount that is on the wrong side of another one."""
    pairs = (
        ("min", "max", "max value"),
        ("min", "defaultRequest", "default request value"),
        ("min", "default", "default value"),
        ("defaultRequest", "max", "max value"),
        ("defaultRequest", "default", "default limit value"),
        ("default", "max", "max value"),
    )
    words = {"min": "min", "default": "default", "defaultRequest": "default request"}
    for less, more, said in pairs:
        small, large = child(item, less), child(item, more)
        for key in sorted(small.keys() & large.keys()):
            if _nano(small[key]) > _nano(large[key]):
                why = f"{words[less]} value {small[key]} is greater than {said} {large[key]}"
                yield invalid(f"{where}.{less}[{key}]", small[key], why)
    for key, ratio in child(item, "maxLimitRequestRatio").items():
        if _nano(ratio) < 10**9:
            path = f"{where}.maxLimitRequestRatio[{key}]"
            yield invalid(path, ratio, f"ratio {ratio} is less than 1")


def _nano(amount: object) -> int:
    try:
        return quantity.nano(str(amount))
    except BadRequest:
        return 0


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return name(obj), text(child(obj, "metadata"), "creationTimestamp")


KIND = Kind(
    kind="LimitRange",
    plural="limitranges",
    message="core.v1.LimitRange",
    short_names=("limits",),
    printer=Printer((NAME, Column("Created At", "date", description="When it was made.")), _cells),
    default=_default,
    validate=_validate,
    has_status=False,
)
