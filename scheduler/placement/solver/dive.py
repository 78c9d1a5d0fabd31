"""Diving: from a fractional master to whole nodes, a part at a time, pricing in between."""

import numpy as np

from .columns import Pool
from .deadline import Deadline
from .master import relax
from .pricing import Pricer
from .result import Counts, Reals

_ROUNDS = 40


def dive(
    pool: Pool, pricer: Pricer, worth: Reals, deadline: Deadline, seed: int = 0
) -> dict[int, int]:
    """Return how many nodes get which column; together they never exceed nodes, they may demand.

    Each round takes the whole part of every column, then rounds up the most integral ones as long
    as nothing much is wasted, and goes on with what is left.
    """
    shape = pool.shape
    number, left = shape.number.copy(), shape.count.copy()
    chosen: dict[int, int] = {}
    random = np.random.default_rng(seed)
    for _ in range(_ROUNDS):
        if deadline.over or not number.any() or not (left * worth).any():
            break
        relaxed = relax(pool, worth, number, left, deadline.limit(10.0))
        if relaxed is None:
            break
        open_types = np.flatnonzero(number)
        if pricer.quick(pool, relaxed.prices, relaxed.rents, open_types, left):
            relaxed = relax(pool, worth, number, left, deadline.limit(10.0)) or relaxed
        if relaxed.value <= 0 or not (relaxed.x > 1e-6).any():
            break
        x = relaxed.x
        if seed:
            x = x * (1.0 + 0.02 * random.standard_normal(x.size))
        _fix(pool, x, number, left, chosen)
    return chosen


def _fix(pool: Pool, x: Reals, number: Counts, left: Counts, chosen: dict[int, int]) -> None:
    """Take whole parts; then at least one and about a quarter of the fractional columns."""
    types = pool.types
    whole = np.floor(x + 1e-6).astype(np.int64)
    taken = 0
    for j in np.argsort(-whole, kind="stable")[: int((whole > 0).sum())].tolist():
        taken += _take(pool, j, int(whole[j]), int(types[j]), number, left, chosen, True)
    fraction = x - whole
    some = np.flatnonzero(fraction > 1e-6)
    order = some[np.argsort(-fraction[some], kind="stable")]
    mass = float(fraction[some].sum())
    quota = max(0 if taken else 1, int(np.ceil(mass * (0.1 if taken else 0.25))))
    for strict in (True, False):
        for j in order.tolist():
            if quota <= 0:
                return
            if fraction[j] < 0.5 and taken:
                break
            done = _take(pool, j, 1, int(types[j]), number, left, chosen, strict)
            quota -= done
            taken += done
        if taken:
            return


def _take(
    pool: Pool,
    column: int,
    times: int,
    node_type: int,
    number: Counts,
    left: Counts,
    chosen: dict[int, int],
    strict: bool,
) -> int:
    """Use a column up to `times`, at most as often as nodes and (if strict) demand allow."""
    classes, copies = pool.content(column)
    times = min(times, int(number[node_type]))
    if strict:
        times = min(times, int((left[classes] // copies).min()))
    elif not left[classes].any():
        return 0
    if times <= 0:
        return 0
    chosen[column] = chosen.get(column, 0) + times
    number[node_type] -= times
    left[classes] = np.maximum(left[classes] - times * copies, 0)
    return times
