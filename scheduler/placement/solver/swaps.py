"""Contents of many nodes made better at once, by exchanging one copy for another."""

import numpy as np

from .arrays import Counts, Mask, Reals
from .shapes import Shapes

_STEPS = 12
_PAIRS = 4_000_000  # (copy out, class in) looked at together
_GAIN = 1e-9


def improve(shape: Shapes, types: Counts, contents: Counts, prices: Reals) -> Counts:
    """Return contents that pay at least as much, no single exchange of which pays more.

    A copy that takes devices comes only for one that takes as many, and no smaller shares of them;
    classes kept apart from others do not come.

    Args:
        types: (B,) types of nodes, contents: (B, C) copies, prices: (C,) what a copy pays.
    """
    contents = contents.copy()
    free = shape.capacity[types] - contents @ shape.demand
    most = np.minimum(shape.fit, shape.count)[types]
    # One more class, of nothing: something is added and nothing goes.
    nothing = prices.size
    leaving = np.concatenate([shape.demand, np.zeros((1, free.shape[1]), dtype=np.int64)])
    paid = np.append(np.maximum(prices, 0.0), 0.0)
    welcome = _welcome(shape) & (prices > 0)
    rows = np.arange(types.size)
    for _ in range(_STEPS):
        held, out = np.nonzero(contents[rows])
        at = np.concatenate([rows[held], rows])
        out = np.concatenate([out, np.full(rows.size, nothing)])
        gain, into = np.zeros(at.size), np.zeros(at.size, dtype=np.int64)
        for some in np.array_split(np.arange(at.size), at.size * nothing // _PAIRS + 1):
            room = free[at[some]] + leaving[out[some]]
            fits = welcome[out[some]] & (contents[at[some]] < most[at[some]])
            for r in range(room.shape[1]):
                fits &= shape.demand[:, r] <= room[:, r, None]
            worth = np.where(fits, paid[None, :-1], 0.0)
            into[some] = worth.argmax(axis=1)
            gain[some] = worth[np.arange(some.size), into[some]] - paid[out[some]]
        order = np.lexsort((-gain, at))
        best = order[np.append(True, at[order][1:] != at[order][:-1])]
        best = best[gain[best] > _GAIN]
        rows = at[best]
        if not rows.size:
            break
        leaves = best[out[best] < nothing]
        contents[at[leaves], out[leaves]] -= 1
        contents[rows, into[best]] += 1
        free[rows] += leaving[out[best]] - shape.demand[into[best]]
    return contents


def _welcome(shape: Shapes) -> Mask:
    """Return (C + 1, C) which class may come for which, the last row for nothing."""
    units, share = np.append(shape.units, 0), np.append(shape.share, 0)
    same = (units[:, None] == shape.units) & (share[:, None] >= shape.share)
    welcome = same | (shape.units == 0)
    if shape.apart is not None:
        welcome &= ~np.any(shape.apart, axis=1)
    return welcome
