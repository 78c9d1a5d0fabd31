"""ResourceQuota (v1): how much its namespace may use of what.

The store counts (store/quota_ledger.py): the status is made there with each write that bears on it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import BadRequest, Cause
from .. import quantity
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import label_key_complaints
from ..resource_quota import (
    BEST_EFFORT,
    CROSS_NAMESPACE,
    DOES_NOT_EXIST,
    EXISTS,
    IN,
    NOT_BEST_EFFORT,
    NOT_IN,
    NOT_TERMINATING,
    PRIORITY_CLASS,
    TERMINATING,
)
from ..resources import is_extended
from ..storage import CLAIMS
from .causes import invalid, required
from .fields import child, children, text, texts
from .printing import AGE, NAME, age, name

_INTEGERS = frozenset(
    {
        "configmaps",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
        CLAIMS,
    }
)
_OF_PODS = frozenset(
    {"cpu", "limits.cpu", "limits.memory", "memory", "pods", "requests.cpu", "requests.memory"}
)
_STORAGE = frozenset(
    {
        "ephemeral-storage",
        "limits.ephemeral-storage",
        "requests.ephemeral-storage",
        "requests.storage",
    }
)
_STANDARD = _INTEGERS | _OF_PODS | _STORAGE
_HUGE_PAGES = ("hugepages-", "requests.hugepages-")
_PLAIN = (BEST_EFFORT, CROSS_NAMESPACE, NOT_BEST_EFFORT, NOT_TERMINATING, TERMINATING)
_SCOPES = frozenset({*_PLAIN, PRIORITY_CLASS})
_APART = ((BEST_EFFORT, NOT_BEST_EFFORT), (TERMINATING, NOT_TERMINATING))


def _default(obj: JsonObject) -> None:
    hard = child(child(obj, "spec"), "hard")
    for key, amount in hard.items():
        hard[key] = quantity.canonical(str(amount))


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    for key, amount in child(spec, "hard").items():
        yield from _hard_causes(key, str(amount), f"spec.hard[{key}]")
    scopes = texts(spec, "scopes")
    for scope in scopes:
        yield from _scope_causes(scope, spec, "spec.scopes", "spec.scopes")
    yield from _conflicts(scopes, "spec.scopes")
    where = "spec.scopeSelector.matchExpressions"
    expressions = children(child(spec, "scopeSelector"), "matchExpressions")
    for expression in expressions:
        scope = text(expression, "scopeName")
        yield from _scope_causes(scope, spec, where, f"{where}.scopeName")
        yield from _operator_causes(expression, where)
    yield from _conflicts([text(each, "scopeName") for each in expressions], where)


def _hard_causes(key: str, amount: str, path: str) -> Iterator[Cause]:
    complaints = label_key_complaints(key)
    for complaint in complaints:
        yield invalid(path, key, complaint)
    if not complaints and "/" not in key and not _is_standard(key):
        yield invalid(path, key, "must be a standard resource for quota")
    try:
        nanos = quantity.nano(amount)
    except BadRequest as error:
        yield invalid(path, amount, error.message)
        return
    if nanos < 0:
        yield invalid(path, amount, "must be greater than or equal to 0")
    if (key in _INTEGERS or is_extended(key)) and nanos % 10**9:
        yield invalid(path, amount, "must be an integer")


def _is_standard(key: str) -> bool:
    return key in _STANDARD or key.startswith(_HUGE_PAGES)


def _scope_causes(scope: str, spec: JsonObject, path: str, name_path: str) -> Iterator[Cause]:
    if scope not in _SCOPES:
        yield invalid(name_path, scope, "unsupported scope")
        return
    allowed = frozenset({"pods"}) if scope == BEST_EFFORT else _OF_PODS
    for key in sorted(child(spec, "hard")):
        if _is_standard(key) and key not in allowed:
            yield invalid(path, scope, f"unsupported scope applied to resource {key}")


def _operator_causes(expression: JsonObject, path: str) -> Iterator[Cause]:
    operator, values = text(expression, "operator"), texts(expression, "values")
    if text(expression, "scopeName") in _PLAIN and operator != EXISTS:
        why = f"must be 'Exists' when scope is any of {', '.join(_PLAIN)}"
        yield invalid(f"{path}.operator", operator, why)
    elif operator in (IN, NOT_IN):
        if not values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{path}.values", why)
    elif operator in (EXISTS, DOES_NOT_EXIST):
        if values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield invalid(f"{path}.values", ",".join(values), why)
    else:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def _conflicts(scopes: Iterable[str], path: str) -> Iterator[Cause]:
    given = set(scopes)
    for pair in _APART:
        if given.issuperset(pair):
            yield invalid(path, ",".join(pair), "conflicting scopes")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = (texts(child(each, "spec"), "scopes") for each in (old, new))
    if set(before) != set(after):
        yield invalid("spec.scopes", ",".join(after), "field is immutable")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    status = child(obj, "status")
    hard, used = child(status, "hard"), child(status, "used")
    requests: list[str] = []
    limits: list[str] = []
    for key in sorted(hard):
        column = limits if key.startswith("limits.") else requests
        column.append(f"{key}: {used.get(key, '0')}/{hard[key]}")
    return name(obj), ", ".join(requests), ", ".join(limits), age(obj, now)


KIND = Kind(
    kind="ResourceQuota",
    plural="resourcequotas",
    message="core.v1.ResourceQuota",
    short_names=("quota",),
    printer=Printer(
        (
            NAME,
            Column("Request", description="What is used of what may be, but for limits."),
            Column("Limit", description="What is used of the limits that may be given."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
)
