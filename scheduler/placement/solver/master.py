"""The restricted master: how many nodes of each type get which known content, as an LP.

max Σ value·y - Σ cost·x with y ≤ Σ copies·x (contents may hold more than is wanted), Σ x ≤ nodes.
"""

from dataclasses import dataclass

import numpy as np

from .columns import Pool
from .linear import Programme, solve
from .result import Counts, Mask, Reals


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A solution of the master.

    Args:
        x: (J,) nodes per column.
        prices: (C,) what one more copy in a content is worth.
        rents: (T,) what one more node is worth.
        value: of the LP.
    """

    x: Reals
    prices: Reals
    rents: Reals
    value: float


def relax(
    pool: Pool, worth: Reals, number: Counts, left: Counts, seconds: float
) -> Relaxed | None:
    """Solve for `number` (T,) nodes and `left` (C,) copies; None if there was no time.

    Args:
        worth: (C,) what placing a copy is worth.
    """
    shape, types = pool.shape, pool.types
    columns, classes, copies = pool.entries()
    width, kinds, height = types.size, number.size, left.size
    upper = number[types].astype(np.float64)
    alive = upper > 0
    some = alive[columns]
    held = np.flatnonzero(left > 0)
    programme = Programme(
        objective=np.concatenate([-shape.cost[types], worth[held]]),
        upper=np.concatenate([upper, left[held].astype(np.float64)]),
        most=np.concatenate([number.astype(np.float64), np.zeros(height)]),
        rows=np.concatenate(
            [types[alive], kinds + classes[some], kinds + held]
        ),
        columns=np.concatenate(
            [np.flatnonzero(alive), columns[some], width + np.arange(held.size)]
        ),
        coefficients=np.concatenate(
            [np.ones(int(alive.sum())), -copies[some].astype(np.float64), np.ones(held.size)]
        ),
    )
    answer = solve(programme, seconds)
    if answer.x is None:
        return None
    x = np.clip(answer.x[:width], 0.0, upper)
    value = float(programme.objective @ answer.x)
    return Relaxed(x, answer.duals[kinds:], answer.duals[:kinds], value)


def lagrangian(
    worth: Reals, left: Counts, number: Counts, prices: Reals, best: Reals
) -> float:
    """Return what no plan exceeds, whatever the prices.

    Args:
        prices: (C,) ≥ 0.
        best: (T,) the most that one node's content pays at these prices, its cost deducted.
    """
    return float(left @ np.maximum(worth - prices, 0.0) + number @ np.maximum(best, 0.0))


def active(x: Reals) -> Mask:
    """Return which columns are in use."""
    return x > 1e-9
