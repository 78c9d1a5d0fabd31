"""The restricted master: how many nodes of each type get which known content, as an LP.

max Σ value·y + Σ bonus·x - Σ cost·x with y ≤ Σ copies·x (contents may hold more than is wanted),
Σ x ≤ nodes of the type, y ≤ copies wanted.
"""

from dataclasses import dataclass, replace

import numpy as np

from .arrays import Counts, Reals
from .columns import Pool
from .linear import Basis, Programme, solve
from .shapes import Shapes


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


class Master:
    """Solves the restricted master again and again, each time from where the last one ended."""

    def __init__(self, pool: Pool, basis: Basis | None = None) -> None:
        self.pool = pool
        self.basis = basis

    def relax(self, number: Counts, left: Counts, seconds: float) -> Relaxed | None:
        """Solve for `number` (T,) nodes and `left` (C,) copies; None if there was no time."""
        shape = self.pool.shape
        programme = self._programme(shape, number, left)
        answer = solve(programme, seconds)
        if answer.x is None:
            return None
        self.basis = answer.basis
        x = np.clip(answer.x[left.size :], 0.0, programme.upper[left.size :])
        rents, prices = answer.duals[: number.size], answer.duals[number.size :]
        return Relaxed(x, prices, rents, float(programme.objective @ answer.x))

    def choose(
        self, number: Counts, left: Counts, relaxed: Relaxed, most: int, seconds: float
    ) -> dict[int, int]:
        """Return how many nodes get which column: the best found of those that pay best.

        Args:
            relaxed: whose prices say so; contents that are newer are not looked at.
            most: columns.
        """
        shape, types = self.pool.shape, self.pool.types[: relaxed.x.size]
        columns, classes, copies = self.pool.entries()
        earned = np.bincount(columns, relaxed.prices[classes] * copies, len(self.pool))
        short = (shape.cost + relaxed.rents)[types] - earned[: types.size]
        kept = np.argsort(short, kind="stable")[:most]
        programme = self._programme(shape, number, left)
        upper = programme.upper.copy()
        upper[left.size :] = 0.0
        upper[left.size + kept] = programme.upper[left.size + kept]
        whole = np.ones(upper.size, dtype=np.bool_)
        whole[: left.size] = False
        x = solve(replace(programme, upper=upper, integer=whole, basis=None), seconds).x
        if x is None:
            return {}
        times = np.rint(x[left.size :]).astype(np.int64)
        return {int(j): int(times[j]) for j in np.flatnonzero(times)}

    def _programme(self, shape: Shapes, number: Counts, left: Counts) -> Programme:
        types = self.pool.types
        columns, classes, copies = self.pool.entries()
        kinds, height = number.size, left.size
        gain = -shape.cost[types]
        if shape.bonus is not None:
            extra = shape.bonus[types[columns], classes] * copies
            gain = gain + np.bincount(columns, extra, types.size)
        alive = (number > 0)[types]
        some = alive[columns] & (left > 0)[classes]
        return Programme(
            objective=np.concatenate([shape.value, gain]),
            upper=np.concatenate([left, number[types]]).astype(np.float64),
            most=np.concatenate([number.astype(np.float64), np.zeros(height)]),
            rows=np.concatenate([types[alive], kinds + classes[some], kinds + np.arange(height)]),
            columns=np.concatenate(
                [height + np.flatnonzero(alive), height + columns[some], np.arange(height)]
            ),
            coefficients=np.concatenate(
                [np.ones(int(alive.sum())), -copies[some].astype(np.float64), np.ones(height)]
            ),
            basis=self.basis and self.basis.extended(height + types.size),
        )
