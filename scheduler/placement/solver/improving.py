"""Better and better plans: parts of the best one are emptied and filled anew."""

import numpy as np

from .arrays import Counts
from .deadline import Deadline
from .moves import descend
from .neighbourhood import neighbourhood
from .neighbourhood_goals import Found, optimise
from .neighbourhood_rules import add_rules
from .objectives import Preferred
from .occupancy import Occupancy
from .search import Search

_PATIENCE = 40  # rounds without any gain
_PART = 0.15  # of the nodes, for a dive
_PARTS = (0.2, 0.5, 1.0, 1.0)  # of the nodes in use, where nodes cost something
_CHOSEN = (0.2, 0.5, 1.0)  # of the nodes in use, for an integer programme
_EVERY = 2  # rounds, one of which is such a one
_PLEASING, _AGAIN = 0.3, 0.1  # of the time that is left, for single moves at first and later
_MODELLED = 500_000  # (rule, node) pairs, beyond which CP-SAT's model takes too long to write
_FEW = 8  # nodes, for CP-SAT, to begin with
_WORK, _WHOLE_WORK = 0.5, 20.0  # CP-SAT's deterministic seconds


def please(search: Search) -> None:
    """Move copies of the best plan to where they are liked better."""
    if search.incumbent.best is None:
        return
    state = search.incumbent.best.copy()
    if descend(search.given, state, search.random, search.deadline.part(_PLEASING)):
        search.incumbent.offer(state)


def settle_small(search: Search) -> None:
    """Decide on a small problem as a whole, and prove it."""
    shape = search.shape
    if not search.small:
        return
    state = (search.incumbent.best or search.empty()).copy()
    every = np.arange(shape.type_of.size)
    found = _rearrange(search, state, every, search.deadline, _WHOLE_WORK)
    if found.content is not None:
        search.incumbent.offer(state)
    for goal in range(found.proved):
        search.incumbent.prove(goal, search.incumbent.values[goal])


def polish(search: Search) -> None:
    """Empty some nodes and fill them by a dive, or exactly, again and again."""
    idle, many = 0, _FEW
    preferring = any(isinstance(each, Preferred) for each in search.given.objectives)
    ruled = bool(search.given.rules) or preferring
    ruled &= len(search.given.rules) * search.shape.type_of.size <= _MODELLED
    costly, rounds = bool(search.shape.cost.any()), 0
    while not search.done and idle < _PATIENCE and search.incumbent.best is not None:
        state = search.incumbent.best.copy()
        if ruled and idle % 2:
            nodes = _neighbours(search, state, many)
            _rearrange(search, state, nodes, search.deadline, _WORK)
        else:
            rounds += 1
            whole = costly and rounds % _EVERY == 0
            nodes = _inefficient(search, state, _CHOSEN if whole else _PARTS)
            quotas = search.regions.held(state, nodes)
            state.clear(nodes)
            search.refill(state, nodes, quotas, whole)
        if preferring:
            descend(search.given, state, search.random, search.deadline.part(_AGAIN))
        if search.incumbent.offer(state):
            idle = 0
        else:
            search.incumbent.exchange(state)
            idle += 1


def _rearrange(
    search: Search, state: Occupancy, nodes: Counts, deadline: Deadline, work: float
) -> Found:
    """Make the best of some nodes of a state, which is changed."""
    made = neighbourhood(search.given, state, nodes)
    add_rules(made)
    seed = int(search.random.integers(1 << 30))
    found = optimise(made, state.content[:, nodes], deadline, work, seed)
    if found.content is None:
        return found
    before = state.copy()
    state.clear(nodes)
    for at, node in enumerate(nodes.tolist()):
        classes = np.flatnonzero(found.content[:, at])
        if classes.size and not state.put(np.array([node]), classes, found.content[classes, at]):
            state.become(before)
            return Found(None, 0)
    state.trim()
    return found


def _inefficient(search: Search, state: Occupancy, parts: tuple[float, ...]) -> Counts:
    """Return nodes whose content earns least for its rent, some of them at random.

    Args:
        parts: of the nodes in use, one of them by lot, where nodes cost something.
    """
    many = max(2, int(_PART * state.type_of.size))
    if search.shape.cost.any():
        many = max(2, int(search.random.choice(parts) * state.used.sum()))
    if search.relaxed is None:
        return search.random.permutation(state.type_of.size)[:many]
    return np.argsort(-_loss(search, state, 0.5), kind="stable")[:many]


def _neighbours(search: Search, state: Occupancy, many: int) -> Counts:
    """Return nodes for a class that has copies left, and others at random."""
    nodes = state.type_of.size
    key = search.random.exponential(1.0, nodes)
    if search.relaxed is not None:
        key = _loss(search, state, 1.0)
    waiting = np.flatnonzero((state.left > 0) & np.any(search.shape.fit > 0, axis=0))
    if waiting.size:
        c = int(search.random.choice(waiting))
        key = np.where(search.shape.fit[state.type_of, c] > 0, key, key / 10.0)
    return np.argsort(-key, kind="stable")[:many]


def _loss(search: Search, state: Occupancy, chance: float) -> np.ndarray:
    """Return (N,) what nodes earn too little, relative to the mean, with some chance added."""
    assert search.relaxed is not None
    earned = search.relaxed.prices @ state.content
    rent = search.relaxed.rents[state.type_of] + search.shape.cost[state.type_of] * state.used
    loss = np.maximum(rent - earned, 0.0)
    scale = float(loss.mean()) or 1.0
    return loss / scale + search.random.exponential(chance, loss.size)
