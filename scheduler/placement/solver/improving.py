"""Better and better plans: parts of the best one are emptied and filled anew."""

import numpy as np

from .arrays import Counts
from .occupancy import Occupancy
from .search import Search

_PATIENCE = 40  # rounds without any gain
_PART = 0.15  # of the nodes


def polish(search: Search) -> None:
    """Empty the least efficient nodes and fill them by a dive, again and again."""
    idle = 0
    while not search.done and idle < _PATIENCE and search.incumbent.best is not None:
        state = search.incumbent.best.copy()
        nodes = _inefficient(search, state)
        state.clear(nodes)
        search.refill(state, nodes)
        idle = 0 if search.incumbent.offer(state) else idle + 1


def _inefficient(search: Search, state: Occupancy) -> Counts:
    """Return nodes whose content earns least for its rent, some of them at random."""
    many = max(2, int(_PART * state.type_of.size))
    if search.relaxed is None:
        return search.random.choice(state.type_of.size, many, replace=False)
    earned = search.relaxed.prices @ state.content
    rent = search.relaxed.rents[state.type_of] + search.shape.cost[state.type_of] * state.used
    loss = np.maximum(rent - earned, 0.0)
    scale = float(loss.mean()) or 1.0
    key = loss / scale + search.random.exponential(0.5, loss.size)
    return np.argsort(-key, kind="stable")[:many]
