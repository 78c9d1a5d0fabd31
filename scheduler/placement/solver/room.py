"""How evenly nodes are used or could be at best, and what is left where nobody has room. Pure."""

import numpy as np

from .arrays import Counts, Mask, Reals
from .objectives import Balanced, Stranded
from .problem import Problem

_HALVINGS = 60


def imbalance(given: Problem, objective: Balanced, content: Counts) -> float:
    """Return Σ over resources of the mean square of the used share, nodes weighed by size.

    Args:
        content: (C, N) copies.
    """
    there = np.maximum(objective.allocatable, 1).astype(np.float64)
    used = objective.allocatable - given.free + given.demand @ content
    squares: Reals = np.where(objective.allocatable > 0, used * (used / there), 0.0).sum(axis=1)
    return float((squares / np.maximum(objective.allocatable.sum(axis=1), 1)).sum())


def least_imbalance(given: Problem, objective: Balanced, *, whole: bool) -> float:
    """Return what the imbalance of no plan is below.

    Each resource by itself, as if it could be poured: the dual of min Σ u²/a where Σ u is what is
    used in all and u ≥ what is used already; its value is a bound at any price (Boyd and
    Vandenberghe, "Convex Optimization", 5.2).

    Args:
        whole: whether all copies are placed.
    """
    if (given.demand < 0).any():
        return 0.0
    total = 0.0
    wanted: Counts = given.demand @ given.count if whole else np.zeros_like(given.free[:, 0])
    for there, free, more in zip(objective.allocatable, given.free, wanted, strict=True):
        counts: Mask = there > 0
        elsewhere = bool(free[~counts].any())  # where it does not count
        size: Reals = there[counts].astype(np.float64)
        total += _poured(size, size - free[counts], 0.0 if elsewhere else float(more))
    return total


def stranded(given: Problem, objective: Stranded, content: Counts) -> float:
    """Return what is free where typical pods have no room.

    Args:
        content: (C, N) copies.
    """
    free, wasted = given.free - given.demand @ content, 0.0
    for c in np.flatnonzero(objective.popularity):
        fits = np.all(free >= given.demand[:, c, None], axis=0)
        fits &= given.feasible[c][given.group]
        wasted += float(objective.popularity[c]) * float(free[objective.resource][~fits].sum())
    return wasted


def _poured(size: Reals, used: Reals, more: float) -> float:
    """Return the dual's value at about its best price, which is twice the share poured up to."""
    if not size.size:
        return 0.0
    everything = float(used.sum()) + more
    low, high = 0.0, max(float((used / size).max()), everything / float(size.sum()))
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if float(np.maximum(used, share * size).sum()) < everything:
            low = share
        else:
            high = share
    level = np.maximum(used, low * size)
    squares = float((level * level / size).sum())
    return (squares + 2 * low * (everything - float(level.sum()))) / float(size.sum())
