"""The resources that a scorer looks at: how a profile lists them, how much of each is in use.

Shared by NodeResourcesFit and NodeResourcesBalancedAllocation (kube-scheduler's
resourceAllocationScorer); scores nothing itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Counts, Mask, PodClass, Rows, Snapshot
from scheduler.objects.json import Json, JsonObject
from scheduler.objects.resources import CPU, MEMORY, PODS, is_scalar

_LARGEST_WEIGHT = 100
_EXACT_AS_FLOAT = 2**46
_TYPE_FIELDS = frozenset({"apiVersion", "kind"})


@dataclass(frozen=True, slots=True)
class ScoredResource:
    """A resource and how much its score counts among the others."""

    name: str
    weight: int = 1


DEFAULT_RESOURCES = (ScoredResource(CPU), ScoredResource(MEMORY))


@dataclass(frozen=True, slots=True)
class Load:
    """One resource on M rows, with kube-scheduler's units.

    Args:
        capacity: (M,) int64 allocatable.
        before: (M,) int64 requested by the pods there.
        after: (M,) int64 requested once one more copy is there.
    """

    resource: ScoredResource
    capacity: Counts
    before: Counts
    after: Counts


def loads(
    resources: Sequence[ScoredResource],
    pod: PodClass,
    snapshot: Snapshot,
    rows: Rows,
    copies: Counts,
    *,
    assumed: bool,
) -> Iterator[Load]:
    """Yield what is in use of each resource that counts for the pod, in the given order.

    A scalar resource counts only if the pod asks for it; what no node offers never counts.

    Args:
        copies: (M,) copies of the class on the rows that the snapshot does not know of.
        assumed: count cpu and memory with what is assumed of containers without requests.
    """
    for resource in resources:
        name = resource.name
        row = snapshot.resource_row.get(name)
        if row is None or name == PODS:
            continue
        each = pod.requests.amounts.get(name, 0)
        own = pod.requests.asked.get(name, 0) if assumed else each
        if not own and is_scalar(name):
            continue
        column = snapshot.requested[row]
        if assumed and name == CPU:
            each = pod.requests.assumed_cpu
            column = snapshot.assumed[0]
        elif assumed and name == MEMORY:
            each = pod.requests.assumed_memory
            column = snapshot.assumed[1]
        before = snapshot.at(column, rows)
        if each and copies.any():
            before = before + copies * each
        yield Load(resource, snapshot.at(snapshot.allocatable[row], rows), before, before + own)


def present(load: Load) -> Mask | None:
    """Return (M,) where the resource is offered at all, None where that is everywhere."""
    return None if load.capacity.all() else load.capacity != 0


def hundredths(part: Counts, whole: Counts) -> Counts:
    """Return part · 100 // whole, 0 where whole is 0.

    Floating point division is several times faster than int64's and exact below 2^46: a quotient
    of at most 100 that is no integer is further from one than its rounding error.
    """
    if not whole.all():
        whole = np.maximum(whole, 1)
    if whole.size and int(whole.max()) >= _EXACT_AS_FLOAT:
        return part * 100 // whole
    quotient = part.astype(np.float64)
    quotient *= 100.0
    quotient /= whole.astype(np.float64)
    return quotient.astype(np.int64)


def read_resources(args: JsonObject, where: str) -> tuple[ScoredResource, ...]:
    """Return args' `resources`, with kube-scheduler's defaults: cpu and memory, weight 1.

    Args:
        where: of args, for the message.

    Raises:
        ConfigurationError: an entry is malformed or its weight is not 1 to 100.
    """
    found: list[ScoredResource] = []
    for number, entry in enumerate(read_list(args, "resources", where)):
        spot = f"{where}.resources[{number}]"
        fields = read_fields(entry, spot, ("name", "weight"))
        name = fields.get("name") or ""
        if not isinstance(name, str):
            raise ConfigurationError(f"{spot}.name must be a resource's name")
        weight = read_integer(fields, "weight", spot) or 1
        if not 0 < weight <= _LARGEST_WEIGHT:
            raise ConfigurationError(
                f"{spot}.weight: Invalid value: {weight}: "
                f"resource weight of {name} not in valid range (0, {_LARGEST_WEIGHT}]"
            )
        found.append(ScoredResource(name, weight))
    return tuple(found) or DEFAULT_RESOURCES


def read_fields(value: Json, where: str, known: Iterable[str]) -> JsonObject:
    """Return an object of arguments; ConfigurationError if it has a field nobody reads."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be an object")
    unknown = value.keys() - set(known) - _TYPE_FIELDS
    if unknown:
        raise ConfigurationError(f"{where} has no field {min(unknown)!r}")
    return value


def read_list(args: JsonObject, key: str, where: str) -> list[Json]:
    """Return a member that is a list; an absent one or null is empty."""
    found = args.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ConfigurationError(f"{where}.{key} must be a list")
    return found


def read_integer(fields: JsonObject, key: str, where: str) -> int:
    """Return a member that is a whole number; an absent one or null is 0."""
    found = fields.get(key)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool):
        raise ConfigurationError(f"{where}.{key} must be a whole number")
    return found
