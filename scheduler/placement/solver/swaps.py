"""Contents of many nodes made better at once, by exchanging one copy for another."""

import numpy as np

from .arrays import Counts, Reals
from .shapes import Shapes

_STEPS = 12
_PAIRS = 4_000_000  # (content, class out, class in) looked at together
_GAIN = 1e-9


def improve(shape: Shapes, types: Counts, contents: Counts, prices: Reals) -> Counts:
    """Return contents that pay at least as much, no single exchange of which pays more.

    Classes that take devices stay as they are, and so do classes kept apart from others.

    Args:
        types: (B,) types of nodes, contents: (B, C) copies, prices: (C,) what a copy pays.
    """
    contents = contents.copy()
    free = shape.capacity[types] - contents @ shape.demand
    plain = shape.units == 0
    if shape.apart is not None:
        plain &= ~np.any(shape.apart, axis=1)
    classes = np.flatnonzero(plain & (prices > 0))
    if not classes.size:
        return contents
    # One more column, of nothing: something is added and nothing goes.
    demand = np.concatenate([shape.demand[classes], np.zeros((1, free.shape[1]), dtype=np.int64)])
    paid = np.append(prices[classes], 0.0)
    more = demand[None, :-1] - demand[:, None]
    gain = paid[None, :-1] - paid[:, None]
    most = np.minimum(shape.fit, shape.count)[:, classes]
    rows = np.arange(types.size)
    for _ in range(_STEPS):
        better: list[Counts] = []
        for some in np.array_split(rows, max(1, rows.size * gain.size // _PAIRS)):
            held = np.append(contents[np.ix_(some, classes)] > 0, np.ones((some.size, 1), bool), 1)
            useful = (
                held[:, :, None] & (contents[np.ix_(some, classes)] < most[types[some]])[:, None]
            )
            for r in range(free.shape[1]):
                useful &= more[None, :, :, r] <= free[some, r, None, None]
            worth = np.where(useful, gain[None], 0.0).reshape(some.size, -1)
            best = worth.argmax(axis=1)
            found = worth[np.arange(some.size), best] > _GAIN
            out, into = np.divmod(best[found], classes.size)
            which = some[found]
            leaves = out < classes.size
            contents[which[leaves], classes[out[leaves]]] -= 1
            contents[which, classes[into]] += 1
            free[which] -= more[out, into]
            better.append(which)
        rows = np.concatenate(better)
        if not rows.size:
            break
    return contents
