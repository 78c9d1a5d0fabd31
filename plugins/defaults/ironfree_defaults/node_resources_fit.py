"""NodeResourcesFit: requests fit into what is left, and nodes are packed or spread by request."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Change,
    Counts,
    Mask,
    Normalise,
    PodClass,
    Rejection,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject
from scheduler.objects.names import label_key_complaints
from scheduler.objects.resources import PODS, is_extended
from scheduler.objects.selectors import aggregate, quoted

from .scored_resources import (
    DEFAULT_RESOURCES,
    Load,
    ScoredResource,
    hundredths,
    loads,
    present,
    read_fields,
    read_integer,
    read_list,
    read_resources,
)

_ARGS = "NodeResourcesFit"
_LARGER_NODES = Change.NODE_ADDED | Change.NODE_RESOURCES
_FULL = 100  # utilisation of a node that is full, in hundredths
_MOST_POINTS = 10  # what a point of a shape may score at most; tenths of a node's score


class Strategy(StrEnum):
    """How the use of a resource becomes a score."""

    LEAST_ALLOCATED = "LeastAllocated"
    MOST_ALLOCATED = "MostAllocated"
    REQUESTED_TO_CAPACITY_RATIO = "RequestedToCapacityRatio"


@dataclass(frozen=True)
class NodeResourcesFit:
    """Kubernetes NodeResourcesFit.

    Filter: for every resource the pod asks for, the requests of all pods stay within allocatable;
    a resource it does not ask for is not looked at. Where it asks for more than the node offers in
    all, no eviction helps. Score: the weighted mean over resources with kube-scheduler's integer
    arithmetic and its assumptions for containers that request nothing (100m, 200 MiB).

    Args:
        strategy: packs, spreads, or follows a shape.
        resources: which are scored, and how much each counts.
        shape: for RequestedToCapacityRatio, the score by utilisation, 0 to 100 each (101 numbers).
        ignored: extended resources that the filter does not look at.
        ignored_groups: the same by what is before the slash.
    """

    strategy: Strategy = Strategy.MOST_ALLOCATED
    resources: tuple[ScoredResource, ...] = DEFAULT_RESOURCES
    shape: tuple[int, ...] = ()
    ignored: frozenset[str] = frozenset()
    ignored_groups: frozenset[str] = frozenset()
    name: str = "NodeResourcesFit"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_RESOURCES | Change.POD_REMOVED
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = True

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeResourcesFitArgs).

        Raises:
            ConfigurationError: an argument kube-scheduler would not start with; names the field.
        """
        fields = read_fields(
            args, _ARGS, ("ignoredResources", "ignoredResourceGroups", "scoringStrategy")
        )
        ignored = _names(fields, "ignoredResources")
        groups = _names(fields, "ignoredResourceGroups")
        if fields.get("scoringStrategy") is None:
            return cls(Strategy.LEAST_ALLOCATED, ignored=ignored, ignored_groups=groups)
        where = f"{_ARGS}.scoringStrategy"
        given = read_fields(
            fields["scoringStrategy"], where, ("type", "resources", "requestedToCapacityRatio")
        )
        try:
            strategy = Strategy(str(given.get("type") or ""))
        except ValueError:
            known = ", ".join(map(quoted, Strategy))
            raise ConfigurationError(
                f"{where}.type: Unsupported value: {quoted(str(given.get('type') or ''))}: "
                f"supported values: {known}"
            ) from None
        shape: tuple[int, ...] = ()
        ratio = given.get("requestedToCapacityRatio")
        where_ratio = f"{where}.requestedToCapacityRatio"
        if ratio is None and strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
            raise ConfigurationError(
                f"{where_ratio}: Required value: must be specified when type is {strategy}"
            )
        if ratio is not None:
            shape = _shape(read_fields(ratio, where_ratio, ("shape",)), where_ratio)
        return cls(strategy, read_resources(given, where), shape, ignored, groups)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Say how many copies fit on each node."""
        room: Counts | None = None
        for name, amount in pod.requests.amounts.items():
            if self.ignores(name):
                continue
            row = snapshot.resource_row.get(name)
            if row is None:
                room = np.zeros(snapshot.size, dtype=np.int64)
                break
            fits = snapshot.allocatable[row] - snapshot.requested[row]
            if amount != 1:
                fits //= amount
            room = fits if room is None else np.minimum(room, fits, out=room)
        if room is None:
            return None
        return Verdict(np.maximum(room, 0, out=room), lambda: self._reasons(pod, snapshot))

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Average what each resource scores once the next copy is there.

        A resource that a node does not offer is left out of that node's average.
        """
        total: Counts | int = 0
        weights: Counts | int = 0
        for load in loads(self.resources, pod, snapshot, rows, copies, assumed=True):
            weight = load.resource.weight
            share = self._share(load)
            total = total + (share if weight == 1 else share * weight)
            if self.strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
                weights = weights + (share > 0) * weight
            else:
                there = present(load)
                weights = weights + (weight if there is None else there * weight)
        if isinstance(total, int):
            return None
        if self.strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
            whole = np.maximum(weights, 1)
            return (2 * total + whole) // (2 * whole)  # rounds halves up, as math.Round
        if isinstance(weights, int):
            return total >> 1 if weights == 2 else total // weights
        return total // np.maximum(weights, 1)

    def _share(self, load: Load) -> Counts:
        """Return 0-100 per node, 0 without capacity (kube-scheduler's resource scorers)."""
        capacity = load.capacity
        match self.strategy:
            case Strategy.LEAST_ALLOCATED:
                return hundredths(np.maximum(capacity - load.after, 0), capacity)
            case Strategy.MOST_ALLOCATED:
                return hundredths(np.minimum(load.after, capacity), capacity)
            case Strategy.REQUESTED_TO_CAPACITY_RATIO:
                used = hundredths(np.minimum(load.after, capacity), capacity)
                share = np.array(self.shape, dtype=np.int64)[used]
                there = present(load)
                return share if there is None else share * there

    def ignores(self, resource: str) -> bool:
        """Tell whether the filter never looks at a resource."""
        if not (self.ignored or self.ignored_groups) or not is_extended(resource):
            return False
        return resource in self.ignored or resource.partition("/")[0] in self.ignored_groups

    def _reasons(self, pod: PodClass, snapshot: Snapshot) -> Sequence[Rejection]:
        """Name every resource that is short, "pods" in its own words (InsufficientResource).

        A node that is too small for one of them is beyond help with all its reasons.
        """
        short_of: list[tuple[str, Mask]] = []
        hopeless = snapshot.none()
        for name, amount in pod.requests.amounts.items():
            if self.ignores(name):
                continue
            row = snapshot.resource_row.get(name)
            if row is None:
                hopeless[:] = True
                short_of.append((f"Insufficient {name}", snapshot.every()))
                continue
            offered = snapshot.allocatable[row]
            short = amount > offered - snapshot.requested[row]
            if name == PODS:
                short_of.append(("Too many pods", short))
            else:
                hopeless |= short & (amount > offered)
                short_of.append((f"Insufficient {name}", short))
        reasons: list[Rejection] = []
        for reason, short in short_of:
            reasons.append(Rejection(reason, short & ~hopeless))
            reasons.append(Rejection(reason, short & hopeless, False, _LARGER_NODES))
        return reasons


def _names(args: JsonObject, key: str) -> frozenset[str]:
    names: set[str] = set()
    wrong: list[str] = []
    for number, name in enumerate(read_list(args, key, _ARGS)):
        spot = f"{_ARGS}.{key}[{number}]"
        if not isinstance(name, str):
            raise ConfigurationError(f"{spot} must be text")
        complaints = label_key_complaints(name)
        if key == "ignoredResourceGroups" and "/" in name:
            complaints.insert(0, "resource group name can't contain '/'")
        wrong += [f"{spot}: Invalid value: {quoted(name)}: {complaint}" for complaint in complaints]
        names.add(name)
    if wrong:
        raise ConfigurationError(aggregate(wrong))
    return frozenset(names)


def _shape(args: JsonObject, where: str) -> tuple[int, ...]:
    """Return the score at every utilisation 0 … 100 of a broken line through the points."""
    points: list[tuple[int, int]] = []
    for number, entry in enumerate(read_list(args, "shape", where)):
        spot = f"{where}.shape[{number}]"
        fields = read_fields(entry, spot, ("utilization", "score"))
        utilisation = read_integer(fields, "utilization", spot)
        score = read_integer(fields, "score", spot)
        for key, value, most in (
            ("utilization", utilisation, _FULL),
            ("score", score, _MOST_POINTS),
        ):
            if not 0 <= value <= most:
                raise ConfigurationError(
                    f"{spot}.{key}: Invalid value: {value}: not in valid range [0, {most}]"
                )
        if points and points[-1][0] >= utilisation:
            raise ConfigurationError(
                f"{spot}.utilization: Invalid value: {utilisation}: "
                "values must be sorted in increasing order"
            )
        points.append((utilisation, score * (100 // _MOST_POINTS)))
    if not points:
        raise ConfigurationError(
            f"{where}.shape: Required value: at least one point must be specified"
        )
    return tuple(_on_line(points, utilisation) for utilisation in range(_FULL + 1))


def _on_line(points: Sequence[tuple[int, int]], at: int) -> int:
    """Return the height of the line, its fraction cut off towards the point before."""
    left = points[0]
    for right in points:
        if at <= right[0]:
            if right is points[0]:
                break
            rise = (right[1] - left[1]) * (at - left[0])
            run = right[0] - left[0]
            return left[1] + (rise // run if rise >= 0 else -(-rise // run))
        left = right
    return left[1]
