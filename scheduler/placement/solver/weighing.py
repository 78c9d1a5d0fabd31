"""Lexicographic objectives as one weighed sum, which guides the search and proves nothing.

A later objective weighs so little that what it can gain with one copy, or one node, is a small part
of the least that an earlier one tells apart. Bounds are computed per objective, not from this.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Reals
from .objectives import HostCost, Placed, Preferred
from .problem import Problem

_TOP = 100.0
_PART = 0.02
_RANGE = 1e-3  # of the largest value, below which values are not told apart


@dataclass(frozen=True, slots=True)
class Weights:
    """Per copy and per node.

    Args:
        value: (C,) ≥ 0 of a copy anywhere.
        cost: (N,) ≥ 0 of using a node.
        prefer: (C, K) of a copy in a group, of either sign.
        scales: the factor of each objective, 0 where it is not part of the sum.
    """

    value: Reals
    cost: Reals
    prefer: Reals
    scales: tuple[float, ...]


def weigh(given: Problem) -> Weights:
    """Return the weighed sum of the objectives that are linear in copies and nodes."""
    value = np.zeros(given.count.size)
    cost = np.zeros(given.group.size)
    prefer = np.zeros((given.count.size, given.feasible.shape[1]))
    unit = _TOP
    scales: list[float] = []
    for objective in given.objectives:
        scale = 0.0
        if isinstance(objective, Placed):
            scale, unit = _scale(objective.value, unit)
            value += scale * objective.value
        elif isinstance(objective, HostCost):
            scale, unit = _scale(objective.cost, unit)
            cost += scale * objective.cost
        elif isinstance(objective, Preferred):
            worths = [each.worth.reshape(-1) for each in objective.companies]
            sizes = np.abs(np.concatenate([objective.weight.reshape(-1), *worths]))
            scale, unit = _scale(sizes, unit)
            prefer += scale * objective.weight
        scales.append(scale)
    return Weights(value, cost, prefer, tuple(scales))


def _scale(sizes: Reals, unit: float) -> tuple[float, float]:
    """Return the factor that makes the largest size `unit`, and the unit of the next objective."""
    largest = float(sizes.max(initial=0.0))
    if largest <= 0:
        return 0.0, unit
    least = max(float(sizes[sizes > 0].min()), _RANGE * largest)
    return unit / largest, unit * least / largest * _PART
