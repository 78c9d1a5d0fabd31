"""Diving: from a fractional master to whole nodes, a part at a time, pricing in between."""

from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Reals
from .columns import Pool
from .deadline import Deadline
from .linear import Basis
from .master import Master, Relaxed
from .pricing import Pricer

_ROUNDS = 60
_SECONDS = 20.0
_PAYS = 1e-9


@dataclass(slots=True)
class Rest:
    """What a dive has fixed and what is left to decide: (T,) nodes and (C,) copies."""

    pool: Pool
    number: Counts
    left: Counts
    chosen: dict[int, int] = field(default_factory=dict[int, int])

    def take(self, column: int, node_type: int, times: int, prices: Reals | None) -> int:
        """Use a column up to `times`; with prices, only as often as all that pays is wanted."""
        classes, copies = self.pool.content(column)
        times = min(times, int(self.number[node_type]))
        if prices is not None:
            most = np.where(prices[classes] > _PAYS, self.left[classes] // copies, times)
            times = min(times, int(most.min()))
        elif not self.left[classes].any():
            return 0
        if times <= 0:
            return 0
        self.chosen[column] = self.chosen.get(column, 0) + times
        self.number[node_type] -= times
        self.left[classes] = np.maximum(self.left[classes] - times * copies, 0)
        return times

    def take_whole(self, relaxed: Relaxed) -> int:
        """Use every column as often as the master does, less the fraction; return how often."""
        whole = np.floor(relaxed.x + 1e-6).astype(np.int64)
        types, taken = self.pool.types, 0
        for j in np.argsort(-whole, kind="stable")[: int((whole > 0).sum())].tolist():
            taken += self.take(j, int(types[j]), int(whole[j]), relaxed.prices)
        return taken


def dive(
    pool: Pool,
    pricer: Pricer,
    number: Counts,
    left: Counts,
    deadline: Deadline,
    basis: Basis | None = None,
) -> dict[int, int]:
    """Return how many nodes get which column; together never more nodes than there are.

    Each round takes the whole part of every column, then rounds up the most integral ones, and
    goes on with what is left. The contents may hold more copies than are wanted.

    Args:
        number: (T,) nodes to fill, left: (C,) copies to place.
        basis: where a master of the same pool ended.
    """
    rest = Rest(pool, number.copy(), left.copy())
    master = Master(pool, basis)
    for _ in range(_ROUNDS):
        if deadline.over or not rest.number.any() or not rest.left.any():
            break
        relaxed = master.relax(rest.number, rest.left, deadline.limit(_SECONDS))
        if relaxed is None:
            break
        open_types = np.flatnonzero(rest.number)
        if pricer.quick(pool, relaxed.prices, relaxed.rents, open_types, rest.left):
            relaxed = master.relax(rest.number, rest.left, deadline.limit(_SECONDS)) or relaxed
        if relaxed.value <= 0 or not (relaxed.x > 1e-6).any():
            break
        _fix(relaxed, pool.types, rest)
    return rest.chosen


def _fix(relaxed: Relaxed, types: Counts, rest: Rest) -> None:
    """Take whole parts; then at least one and about a quarter of the fractional columns."""
    taken = rest.take_whole(relaxed)
    fraction = relaxed.x - np.floor(relaxed.x + 1e-6)
    some = np.flatnonzero(fraction > 1e-6)
    order = some[np.argsort(-fraction[some], kind="stable")].tolist()
    mass = float(fraction[some].sum())
    quota = max(0 if taken else 1, int(np.ceil(mass * (0.1 if taken else 0.25))))
    for prices in (relaxed.prices, None):
        for j in order:
            if quota <= 0 or (fraction[j] < 0.5 and taken):
                break
            done = rest.take(j, int(types[j]), 1, prices)
            quota -= done
            taken += done
        if taken:
            return
