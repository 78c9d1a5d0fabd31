"""The master over room: how many nodes get which content, and which class takes whose room."""

from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import Pool
from .exchange import Exchange
from .linear import Basis, Programme, solve


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A solution of the master.

    Args:
        x: (J,) nodes per column, placed: (C,) copies, moved: (E,) room given to smaller classes.
        prices: (C,) of room for a copy, rents: (T,) of a node.
        value: of the LP.
    """

    x: Reals
    placed: Reals
    moved: Reals
    prices: Reals
    rents: Reals
    value: float


@dataclass(slots=True)
class SlotMaster:
    """max value·y - cost·x with y + what larger gives away - what it gets ≤ room in Σ copies·x.

    Args:
        ruled_out: (J,) bool, columns not to be looked at; those added later all are.
    """

    pool: Pool
    exchange: Exchange
    ruled_out: Mask
    basis: Basis | None = None

    def relax(self, number: Counts, wanted: Counts, room: Counts, seconds: float) -> Relaxed | None:
        """Solve for `number` (T,) nodes, `wanted` (C,) copies and `room` (C,) that is there."""
        used = np.ones(len(self.pool), dtype=np.bool_)
        used[: self.ruled_out.size] = ~self.ruled_out
        programme = self._programme(number, wanted, room, used)
        answer = solve(programme, seconds)
        if answer.x is None:
            return None
        self.basis = answer.basis
        height, pairs = wanted.size, self.exchange.larger.size
        found = np.clip(answer.x, 0.0, programme.upper)
        x = np.zeros(used.size)
        x[used] = found[height + pairs :]
        return Relaxed(
            x=x,
            placed=found[:height],
            moved=found[height : height + pairs],
            prices=answer.duals[number.size :],
            rents=answer.duals[: number.size],
            value=float(programme.objective @ answer.x),
        )

    def _programme(self, number: Counts, wanted: Counts, room: Counts, used: Mask) -> Programme:
        shape, types = self.pool.shape, self.pool.types[used]
        columns, classes, copies = self.pool.entries()
        some = used[columns]
        columns, classes, copies = (np.cumsum(used) - 1)[columns[some]], classes[some], copies[some]
        kinds, height = number.size, wanted.size
        larger, smaller = self.exchange.larger, self.exchange.smaller
        pairs = np.arange(larger.size)
        first, each, ones = height + pairs.size, np.arange(height), np.ones(pairs.size)
        every = first + np.arange(types.size)
        row_parts = [types, kinds + classes, kinds + each, kinds + larger, kinds + smaller]
        column_parts = [every, first + columns, each, height + pairs, height + pairs]
        parts = [np.ones(types.size), -copies, np.ones(height), ones, -ones]
        exchanged = np.full(pairs.size, wanted.sum() + room.sum())
        return Programme(
            objective=np.concatenate([shape.value, np.zeros(pairs.size), -shape.cost[types]]),
            upper=np.concatenate([wanted, exchanged, number[types]], dtype=np.float64),
            most=np.concatenate([number, room], dtype=np.float64),
            rows=np.concatenate(row_parts),
            columns=np.concatenate(column_parts),
            coefficients=np.concatenate(parts, dtype=np.float64),
            basis=self.basis and self.basis.extended(first + types.size),
        )
