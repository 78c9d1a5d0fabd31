"""NodeResourcesBalancedAllocation: nodes whose resources the pod makes be used more evenly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Counts,
    Mask,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
)
from scheduler.objects.json import JsonObject
from scheduler.objects.resources import PODS

from .scored_resources import (
    DEFAULT_RESOURCES,
    ScoredResource,
    loads,
    present,
    read_fields,
    read_resources,
)

_ARGS = "NodeResourcesBalancedAllocation"
_MOST = 100
_UNCHANGED = 75

Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class NodeResourcesBalancedAllocation:
    """Kubernetes NodeResourcesBalancedAllocation (of kube-scheduler 1.36 and later).

    A node's balance is 100 · (1 - standard deviation of the shares of its resources in use). The
    score is how the pod changes it, from 50 to 100: 75 when it stays as it is. Real requests count
    here, nothing is assumed; a pod that requests none of the resources is not scored.

    Args:
        resources: which; each counts the same.
    """

    resources: tuple[ScoredResource, ...] = DEFAULT_RESOURCES
    name: str = "NodeResourcesBalancedAllocation"
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = True

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeResourcesBalancedAllocationArgs).

        Raises:
            ConfigurationError: a resource twice, or with a weight other than 1.
        """
        resources = read_resources(read_fields(args, _ARGS, ("resources",)), _ARGS)
        seen: set[str] = set()
        for number, resource in enumerate(resources):
            spot = f"{_ARGS}.resources[{number}]"
            if resource.name in seen:
                raise ConfigurationError(f'{spot}.name: Duplicate value: "{resource.name}"')
            if resource.weight != 1:
                raise ConfigurationError(
                    f"{spot}.weight: Invalid value: {resource.weight}: must be 1"
                )
            seen.add(resource.name)
        return cls(resources)

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Score the change of balance that the next copy makes."""
        asked = pod.requests.amounts.keys() - {PODS}
        if not any(resource.name in asked for resource in self.resources):
            return None
        before: list[Fractions] = []
        after: list[Fractions] = []
        there: list[Mask | None] = []
        for load in loads(self.resources, pod, snapshot, rows, copies, assumed=False):
            offered = present(load)
            whole = load.capacity if offered is None else np.maximum(load.capacity, 1)
            before.append(_share(load.before, whole))
            after.append(_share(load.after, whole))
            there.append(offered)
        if len(there) < 2:
            return np.full(rows.size, _UNCHANGED, dtype=np.int64)
        if all(mask is None for mask in there):
            return _score(_balance(after) - _balance(before))
        change = np.zeros(rows.size, dtype=np.int64)
        for where, chosen in _alike(there, rows.size):
            if len(chosen) > 1:
                change[where] = _balance([after[n][where] for n in chosen])
                change[where] -= _balance([before[n][where] for n in chosen])
        return _score(change)


def _score(change: Counts) -> Counts:
    """Return 50 + (50 + change) // 2."""
    change += _MOST + _MOST // 2
    change >>= 1
    return change


def _share(used: Counts, whole: Counts) -> Fractions:
    share = used / whole
    return np.minimum(share, 1.0, out=share)


def _alike(there: Sequence[Mask | None], size: int) -> list[tuple[Mask, list[int]]]:
    """Group the nodes by which of the resources they offer."""
    every = np.ones(size, dtype=np.bool_)
    masks = np.array([every if mask is None else mask for mask in there])
    codes = (masks * (1 << np.arange(len(there)))[:, None]).sum(axis=0)
    return [
        (codes == code, [n for n in range(len(there)) if code >> n & 1])
        for code in np.unique(codes).tolist()
    ]


def _balance(fractions: Sequence[Fractions]) -> Counts:
    """Return 0-100 per node with kube-scheduler's own steps, so that it rounds the same."""
    balance = _deviation(fractions)
    np.subtract(1.0, balance, out=balance)
    balance *= float(_MOST)
    return balance.astype(np.int64)


def _deviation(fractions: Sequence[Fractions]) -> Fractions:
    if len(fractions) == 2:
        half = fractions[0] - fractions[1]
        half /= 2.0
        return np.abs(half, out=half)
    mean = fractions[0].copy()
    for fraction in fractions[1:]:
        mean += fraction
    mean /= float(len(fractions))
    squares = np.zeros_like(mean)
    for fraction in fractions:
        squares += (fraction - mean) * (fraction - mean)
    squares /= float(len(fractions))
    return np.sqrt(squares, out=squares)
