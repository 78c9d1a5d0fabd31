"""Choosing among known contents at once: an integer programme on those that pay best."""

import numpy as np

from .arrays import Counts
from .columns import Pool
from .deadline import Deadline
from .master import Master
from .pricing import Pricer

_ROUNDS = 5  # of pricing before
_MOST = 1500  # columns
_PART, _SECONDS = 0.1, 3.0


def choose(
    pool: Pool, pricer: Pricer, number: Counts, left: Counts, deadline: Deadline
) -> dict[int, int]:
    """Return how many nodes get which column, nothing if there was no time.

    Args:
        number: (T,) nodes to fill, left: (C,) copies to place.
    """
    master, relaxed = Master(pool), None
    for _ in range(_ROUNDS):
        relaxed = master.relax(number, left, deadline.limit(_SECONDS))
        if relaxed is None or deadline.over:
            return {}
        open_types = np.flatnonzero(number)
        if not pricer.quick(pool, relaxed.prices, relaxed.rents, open_types, left):
            break
    if relaxed is None:
        return {}
    seconds = deadline.part(_PART, _SECONDS).limit(_SECONDS)
    return master.choose(number, left, relaxed, _MOST, seconds)
