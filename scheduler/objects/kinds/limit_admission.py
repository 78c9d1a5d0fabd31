"""What LimitRanges do to new pods and claims: what they fill in, and what they refuse.

Pure. Source: Kubernetes' LimitRanger admission plugin, its messages and its annotation.
"""

from collections.abc import Iterable, Iterator, Mapping

from .. import quantity
from ..json import JsonObject
from ..limit_range import CLAIM, CONTAINER, POD, LimitItem, LimitRange, Quantities
from .fields import child, children, ensure, text

FILLED = "kubernetes.io/limit-ranger"
"""The annotation that says what was filled in."""

Nanos = Mapping[str, int]  # by resource, in billionths of its unit


def fill_limits(pod: JsonObject, ranges: Iterable[LimitRange]) -> None:
    """Give a pod's containers the limits and requests that they lack, in place.

    Args:
        pod: a whole object, after its own defaults.
    """
    filled: list[str] = []
    items = [item for each in ranges for item in each.items if item.type == CONTAINER]
    for item in items:
        for field, what in (("containers", "container"), ("initContainers", "init container")):
            for container in children(child(pod, "spec"), field):
                resources = ensure(container, "resources")
                for key, given in (("requests", item.default_request), ("limits", item.default)):
                    names = _fill(resources, key, given)
                    name = text(container, "name")
                    filled += [f"{each} {key[:-1]} for {what} {name}" for each in names]
    if filled:
        annotations = ensure(ensure(pod, "metadata"), "annotations")
        annotations[FILLED] = "LimitRanger plugin set: " + "; ".join(filled)


def _fill(resources: JsonObject, key: str, given: Quantities) -> list[str]:
    """Add amounts that are not there; return of what."""
    lacking = [name for name in sorted(given) if name not in child(resources, key)]
    if lacking:
        present = ensure(resources, key)
        present.update({name: quantity.canonical(str(given[name])) for name in lacking})
    return lacking


def pod_refusals(spec: JsonObject, ranges: Iterable[LimitRange]) -> Iterator[str]:
    """Yield why a pod's spec is not within the limits.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    containers = [*children(spec, "containers"), *children(spec, "initContainers")]
    for each in ranges:
        for item in each.items:
            if item.type == CONTAINER:
                for container in containers:
                    resources = child(container, "resources")
                    requests = quantity.nanos(child(resources, "requests"))
                    yield from _refusals(item, requests, quantity.nanos(child(resources, "limits")))
            elif item.type == POD:
                yield from _refusals(item, total(spec, "requests"), total(spec, "limits"))


def claim_refusals(spec: JsonObject, ranges: Iterable[LimitRange]) -> Iterator[str]:
    """Yield why a claim's spec is not within the limits.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    requests = quantity.nanos(child(child(spec, "resources"), "requests"))
    for each in ranges:
        for item in each.items:
            if item.type == CLAIM:
                for name in sorted(item.min):
                    yield from _least(item, name, requests, {})
                for name in sorted(item.max):  # a request counts as a claim's limit
                    yield from _most(item, name, {}, requests, "request")


def total(spec: JsonObject, key: str) -> dict[str, int]:
    """Add up a pod as its scheduling does: sidecars run beside, other init containers before.

    What the pod asks for as a whole counts instead of the sum.

    Args:
        key: "requests" or "limits".
    """
    summed: dict[str, int] = {}
    for container in children(spec, "containers"):
        _add(summed, quantity.nanos(child(child(container, "resources"), key)))
    beside: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in children(spec, "initContainers"):
        needed = quantity.nanos(child(child(container, "resources"), key))
        if text(container, "restartPolicy") == "Always":
            _add(summed, needed)
            _add(beside, needed)
            needed = beside
        else:
            _add(needed, beside)
        peak.update({name: max(amount, peak.get(name, 0)) for name, amount in needed.items()})
    summed.update({name: max(peak[name], summed.get(name, 0)) for name in peak})
    return {**summed, **quantity.nanos(child(child(spec, "resources"), key))}


def _add(into: dict[str, int], other: Nanos) -> None:
    for name, amount in other.items():
        into[name] = into.get(name, 0) + amount


def _refusals(item: LimitItem, requests: Nanos, limits: Nanos) -> Iterator[str]:
    for name in sorted(item.min):
        yield from _least(item, name, requests, limits)
    for name in sorted(item.max):
        yield from _most(item, name, requests, limits)
    for name in sorted(item.max_limit_request_ratio):
        yield from _ratio(item, name, requests.get(name, 0), limits.get(name, 0))


def _least(item: LimitItem, name: str, requests: Nanos, limits: Nanos) -> Iterator[str]:
    said = f"minimum {name} usage per {item.type} is {_shown(item.min[name])}"
    least = quantity.nano(str(item.min[name]))
    if name not in requests:
        yield f"{said}. No request is specified"
    elif requests[name] < least:
        yield f"{said}, but request is {_amount(name, requests[name])}"
    elif name in limits and limits[name] < least:
        yield f"{said}, but limit is {_amount(name, limits[name])}"


def _most(
    item: LimitItem, name: str, requests: Nanos, limits: Nanos, word: str = "limit"
) -> Iterator[str]:
    said = f"maximum {name} usage per {item.type} is {_shown(item.max[name])}"
    most = quantity.nano(str(item.max[name]))
    if name not in limits:
        yield f"{said}. No {word} is specified"
    elif limits[name] > most:
        yield f"{said}, but {word} is {_amount(name, limits[name])}"
    elif requests.get(name, 0) > most:
        yield f"{said}, but request is {_amount(name, requests[name])}"


def _ratio(item: LimitItem, name: str, request: int, limit: int) -> Iterator[str]:
    most = item.max_limit_request_ratio[name]
    said = f"{name} max limit to request ratio per {item.type} is {_shown(most)}"
    if not request:
        yield f"{said}, but no request is specified or request is 0"
    elif not limit:
        yield f"{said}, but no limit is specified or limit is 0"
    elif limit * 10**9 > quantity.nano(str(most)) * request:
        yield f"{said}, but provided ratio is {limit / request:f}"


def _shown(amount: str | int | float) -> str:
    return quantity.canonical(str(amount))


def _amount(name: str, nanos: int) -> str:
    """Return an amount as people write it: bytes in binary units where they are whole."""
    if name != "cpu" and nanos % 10**9 == 0:
        return quantity.format_binary(nanos // 10**9)
    return quantity.canonical(f"{nanos}n")
