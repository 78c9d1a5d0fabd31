"""NodeResourcesFit: requests fit into what is left, and nodes are packed or spread by request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Change,
    Counts,
    Normalise,
    PodClass,
    Rejection,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject, get_object

_STRATEGIES = ("MostAllocated", "LeastAllocated")
_SCORED = ("cpu", "memory")  # each with weight 1
_EXACT_AS_FLOAT = 2**46


@dataclass(frozen=True)
class NodeResourcesFit:
    """Kubernetes NodeResourcesFit.

    Filter: for every resource the pod asks for, the requests of all pods stay within allocatable;
    a resource it does not ask for is not looked at. Score: MostAllocated or LeastAllocated over
    cpu and memory with kube-scheduler's integer arithmetic and its assumptions for containers that
    request nothing (100m, 200 MiB).

    Args:
        strategy: "MostAllocated" packs, "LeastAllocated" spreads.
    """

    strategy: str = "MostAllocated"
    name: str = "NodeResourcesFit"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_RESOURCES | Change.POD_REMOVED
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = True

    def __post_init__(self) -> None:
        if self.strategy not in _STRATEGIES:
            raise ConfigurationError(
                f"NodeResourcesFit.strategy is {self.strategy!r}; "
                f"it must be one of {', '.join(_STRATEGIES)}"
            )

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeResourcesFitArgs)."""
        strategy = get_object(args, "scoringStrategy", "NodeResourcesFit").get("type")
        return cls(str(strategy or "LeastAllocated"))

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Say how many copies fit on each node."""
        room: Counts | None = None
        for name, amount in pod.requests.amounts.items():
            row = snapshot.resource_row.get(name)
            if row is None:
                room = np.zeros(snapshot.size, dtype=np.int64)
                break
            fits = (snapshot.allocatable[row] - snapshot.requested[row]) // amount
            room = fits if room is None else np.minimum(room, fits, out=room)
        if room is None:
            return None
        return Verdict(np.maximum(room, 0, out=room), lambda: self._reasons(pod, snapshot))

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Average the share of cpu and memory in use (or free) once the next copy is there."""
        asked = (pod.requests.assumed_cpu, pod.requests.assumed_memory)
        nth = copies + 1 if copies.any() else 1
        total: Counts | None = None
        weights: Counts | None = None
        for number, name in enumerate(_SCORED):
            column = snapshot.allocatable[snapshot.resource_row[name]]
            capacity = snapshot.at(column, rows)
            used = snapshot.at(snapshot.assumed[number], rows) + asked[number] * nth
            share = self._share(used, capacity)
            total = share if total is None else total + share
            if not capacity.all():
                absent = (capacity == 0).astype(np.int64)
                weights = absent if weights is None else weights + absent
        assert total is not None
        if weights is None:
            return total >> 1
        return total // np.maximum(len(_SCORED) - weights, 1)

    def _share(self, used: Counts, capacity: Counts) -> Counts:
        """Return 0-100 per node, 0 without capacity (mostRequestedScore, leastRequestedScore)."""
        if self.strategy == "MostAllocated":
            part = np.minimum(used, capacity)
        else:
            part = np.maximum(capacity - used, 0)
        return _hundredths(part, capacity)

    def _reasons(self, pod: PodClass, snapshot: Snapshot) -> Sequence[Rejection]:
        """Name every resource that is short, "pods" in its own words (InsufficientResource)."""
        reasons: list[Rejection] = []
        for name, amount in pod.requests.amounts.items():
            row = snapshot.resource_row.get(name)
            reason = "Too many pods" if name == "pods" else f"Insufficient {name}"
            if row is None:
                reasons.append(Rejection(reason, snapshot.every(), resolvable=False))
                continue
            offered = snapshot.allocatable[row]
            short = amount > offered - snapshot.requested[row]
            hopeless = short & (amount > offered)
            reasons.append(Rejection(reason, short & ~hopeless))
            reasons.append(Rejection(reason, hopeless, resolvable=False))
        return reasons


def _hundredths(part: Counts, whole: Counts) -> NDArray[np.int64]:
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
