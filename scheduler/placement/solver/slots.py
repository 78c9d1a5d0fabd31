"""Packing room instead of copies: columns whose room any smaller class may take, and their dive.

For large problems with many classes of similar size: the master knows which class may take whose
room (`exchange`), prices are smoothed (in-out: Wentges 1997), and contents are found exactly among
the classes that no other undercuts.
"""

from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import Pool
from .deadline import Deadline
from .exchange import Exchange
from .linear import Basis
from .slot_master import Relaxed, SlotMaster
from .slot_pricing import SlotPricer

_SECONDS = 20.0
_ROUNDS = 60  # of a dive
_GENERATION = 300  # rounds of pricing
_STEPS = (0.3, 1.0)  # from the best prices known to the master's
_CLOSE = 1e-4
_GAIN, _PATIENCE = 1e-5, 3  # rounds that gain no more than that, until prices are asked exactly
_PART = 0.25  # of the fractional columns, fixed at once
_SHORT = 0.05  # of a rent
_NONE = 1e-6


@dataclass(slots=True)
class Slots:
    """Columns of room and the best prices known for it.

    Args:
        center: (C,) prices to begin with.
        bound: what the master cannot exceed.
    """

    pool: Pool
    exchange: Exchange
    center: Reals
    bound: float
    seed: int = 1
    pricer: SlotPricer = field(init=False)
    relaxed: Relaxed | None = None
    basis: Basis | None = None
    _best: float = float("inf")

    def __post_init__(self) -> None:
        self.pricer = SlotPricer(self.pool, self.exchange.kinds, self.seed)

    @property
    def close(self) -> bool:
        """Whether the master is as good as what it cannot exceed, so that no price proves more."""
        return self.relaxed is not None and self.bound <= (1.0 + _CLOSE) * self.relaxed.value

    def generate(self, deadline: Deadline) -> None:
        """Add contents until the master is close to what prices prove, or time is over.

        Prices of the master are asked quickly while that helps, then exactly.
        """
        shape = self.pool.shape
        master = SlotMaster(self.pool, self.exchange, np.zeros(0, dtype=np.bool_), self.basis)
        nothing = np.zeros_like(shape.count)
        every = np.arange(shape.number.size)
        last, idle = 0.0, 0
        for _ in range(_GENERATION):
            if deadline.over:
                break
            relaxed = master.relax(shape.number, shape.count, nothing, deadline.limit(_SECONDS))
            if relaxed is None:
                break
            self.relaxed, self.basis = relaxed, master.basis
            if self.close:
                break
            idle = idle + 1 if relaxed.value <= last * (1.0 + _GAIN) else 0
            last = max(last, relaxed.value)
            added = self.pricer.quick(relaxed.prices, every) if idle < _PATIENCE else 0
            if added <= every.size // 4:
                added += self._exact(relaxed, every, deadline)
                idle = 0
            if not added:
                break

    def _exact(self, relaxed: Relaxed, types: Counts, deadline: Deadline) -> int:
        """Price between the best prices known and the master's; return how many were new."""
        shape, added = self.pool.shape, 0
        for step in _STEPS:
            prices = self.center + step * (relaxed.prices - self.center)
            some, earned = self.pricer.exact(prices, types, deadline)
            added += some
            if deadline.over:
                break
            bound = float(shape.count @ np.maximum(shape.value - prices, 0.0))
            bound += float(shape.number @ np.maximum(earned - shape.cost, 0.0))
            self.bound = min(self.bound, bound)
            if bound < self._best:
                self._best, self.center = bound, prices
            if added > types.size // 4:
                break
        return added

    def dive(self, number: Counts, wanted: Counts, deadline: Deadline) -> dict[int, int]:
        """Return how many nodes get which column.

        Args:
            number: (T,) nodes to fill, wanted: (C,) copies to place.
        """
        master = SlotMaster(self.pool, self.exchange, self._ruled_out(number))
        rest, room = number.copy(), np.zeros_like(wanted)
        chosen: dict[int, int] = {}
        for _ in range(_ROUNDS):
            relaxed = master.relax(rest, wanted, room, deadline.limit(_SECONDS))
            if relaxed is None or not rest.any() or deadline.over:
                break
            if self.pricer.quick(relaxed.prices, np.flatnonzero(rest)):
                relaxed = master.relax(rest, wanted, room, deadline.limit(_SECONDS)) or relaxed
            if not (relaxed.x > _NONE).any():
                break
            types = self.pool.types
            for j, meant in _fixed(relaxed.x).items():
                t = int(types[j])
                times = min(meant, int(rest[t]))
                if times:
                    classes, copies = self.pool.content(j)
                    chosen[j] = chosen.get(j, 0) + times
                    room[classes] += times * copies
                    rest[t] -= times
        return chosen

    def _ruled_out(self, number: Counts) -> Mask:
        """Return (J,) columns of types without nodes, and those far short of their rent."""
        types = self.pool.types
        out = number[types] == 0
        if self.relaxed is not None:
            columns, classes, copies = self.pool.entries()
            earned = np.bincount(columns, self.relaxed.prices[classes] * copies, types.size)
            out |= earned < (1.0 - _SHORT) * self.relaxed.rents[types]
        return np.asarray(out, dtype=np.bool_)


def _fixed(x: Reals) -> dict[int, int]:
    """Take whole parts, and the most integral columns up to a part of what is left."""
    whole = np.floor(x + _NONE).astype(np.int64)
    fraction = np.maximum(x - whole, 0.0)
    some = whole > 0
    mass = float(fraction.sum())
    quota = int(np.ceil(mass * _PART))
    order = np.argsort(-fraction, kind="stable")[:quota]
    order = order[fraction[order] > (0.5 if some.any() else _NONE)]
    whole[order] += 1
    return {
        int(j): int(whole[j]) for j in np.argsort(-whole, kind="stable")[: int((whole > 0).sum())]
    }
