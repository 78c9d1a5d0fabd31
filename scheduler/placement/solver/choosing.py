"""Choosing among known contents at once: an integer programme on those that pay best."""

from collections import Counter

import numpy as np

from .arrays import Counts
from .columns import Pool
from .deadline import Deadline
from .dive import Rest
from .master import Master, Relaxed
from .pricing import Pricer

_ROUNDS = 5  # of pricing before
_MOST = 600  # columns
_FEW = 50  # nodes, for which the programme decides on all
_PART, _SECONDS = 0.1, 3.0


def choose(
    pool: Pool, pricer: Pricer, number: Counts, left: Counts, deadline: Deadline
) -> dict[int, int]:
    """Return how many nodes get which column, nothing if there was no time.

    What the master takes as a whole is taken; the programme decides on the rest.

    Args:
        number: (T,) nodes to fill, left: (C,) copies to place.
    """
    rest, master = Rest(pool, number.copy(), left.copy()), Master(pool)
    relaxed = _priced(master, pricer, rest, deadline)
    if relaxed is None:
        return {}
    if number.sum() > _FEW:
        rest.take_whole(relaxed)
        relaxed = _priced(master, pricer, rest, deadline)
        if relaxed is None:
            return {}
    seconds = deadline.part(_PART, _SECONDS).limit(_SECONDS)
    chosen = master.choose(rest.number, rest.left, relaxed, _MOST, seconds)
    return Counter(rest.chosen) + Counter(chosen)


def _priced(master: Master, pricer: Pricer, rest: Rest, deadline: Deadline) -> Relaxed | None:
    """Return the master's solution for the rest, after some rounds of pricing."""
    relaxed = None
    for _ in range(_ROUNDS):
        relaxed = master.relax(rest.number, rest.left, deadline.limit(_SECONDS))
        if relaxed is None or deadline.over:
            return None
        open_types = np.flatnonzero(rest.number)
        prices, rents = relaxed.prices, relaxed.rents
        if not pricer.quick(master.pool, prices, rents, open_types, rest.left):
            break
    return relaxed
