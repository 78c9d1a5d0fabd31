"""The search where soft limits matter: an annealing, then a few copies decided on exactly."""

from collections.abc import Callable

import numpy as np

from .annealing import Annealing, annealing
from .arrays import Counts, Reals
from .counters import Counted
from .deadline import Deadline
from .ledger import suits
from .neighbourhood import neighbourhood
from .neighbourhood_goals import mend, optimise
from .neighbourhood_rules import add_rules
from .objectives import Placed, Preferred, Shortfall
from .occupancy import Occupancy
from .penalties import excesses_by_node
from .problem import Problem
from .rules import Apart, Needs
from .search import Search

_ANNEALING, _EARLY = 0.65, 0.2  # of the time that is left; where goals before are open still
# Warmth and strictness of annealings: a hot one, and one that leaves large copies where they are.
_STARTS = ((1.0, 1.0), (0.2, 2.0))
_FREED, _LEAST, _MOST = 25.0, 12.0, 200.0  # copies decided on at once
_MORE, _FEWER = 1.03, 0.9  # as a choice was proved to be the best, or was not
_WORK = 0.5  # CP-SAT's deterministic seconds
_BEFORE = 0.9  # of a part of the time, before what it leaves broken is mended
_MENDING, _MENDED = 0.15, 500  # of the time that is left; rounds
_DEARER = 1.02  # price of a broken rule, from round to round
_AROUND, _MENDING_FREED = 8, 60  # nodes and copies about a broken rule
_RELATED = 0.3  # of the choices begin with copies that need each other
_TELL = 0.5  # seconds between two words about an annealing
_PATIENCE = 60  # choices without any gain, where there is no deadline


def soft_goal(given: Problem) -> int | None:
    """Return the goal that is all about soft limits: the first that moves of copies change."""
    for goal, objective in enumerate(given.objectives):
        if isinstance(objective, Placed | Shortfall):
            continue
        fit = isinstance(objective, Preferred) and suits(given, objective)
        return goal if fit else None
    return None


def settled_before(search: Search) -> int | None:
    """Return the soft goal where every goal before it is reached; None for all other cases."""
    goal = soft_goal(search.given)
    if goal is None:
        return None
    before = all(search.incumbent.within_goal(each, 0.0) for each in range(goal))
    return goal if before else None


def anneal(search: Search) -> None:
    """Move and exchange the copies of the best plan."""
    best, goal = search.incumbent.best, soft_goal(search.given)
    if goal is None or best is None or search.small:
        return
    objective, begun = search.given.objectives[goal], search.incumbent.values[goal]
    assert isinstance(objective, Preferred)
    limited = search.deadline.part(_ANNEALING if settled_before(search) is not None else _EARLY)
    for left, (warmth, strictness) in zip((2, 1), _STARTS, strict=True):
        found = annealing(search.given, objective, best.content, search.random)
        found.hear = _telling(search, goal, begun, found)
        found.run(limited.part(_BEFORE / left), warmth, strictness)
        _mend(search, found, limited.part(_MENDING))
        if found.best is not None:
            content = np.zeros_like(best.content)
            np.add.at(content, (found.classes, found.best), 1)
            state = search.plan_of(content)
            if state is not None:
                search.incumbent.offer(state)


def _telling(search: Search, goal: int, begun: float, found: Annealing) -> Callable[[], None]:
    """Return who reports now and then how far an annealing is.

    Args:
        begun: what the plan that it began with reaches of the goal.
    """
    offset, spoken = begun - found.ledger.worth, search.deadline.elapsed

    def tell() -> None:
        nonlocal spoken
        now = search.deadline.elapsed
        if now - spoken >= _TELL:
            spoken = now
            best = found.worth + offset if found.best is not None else begun
            best = max(best, search.incumbent.values[goal])
            search.incumbent.tell_of(goal, best, found.tried)

    return tell


def _mend(search: Search, found: Annealing, limited: Deadline) -> None:
    """Rearrange what the annealing has come to until no rule is broken."""
    given = search.given
    rounds, price = 0, found.hot
    while found.ledger.faults and not limited.over and rounds < _MENDED:
        faults = [each for counter in found.ledger.counters for each in counter.broken_at()]
        if not faults:
            return  # fewer domains than are demanded
        rule, there = faults[int(search.random.integers(len(faults)))]
        rounds += 1
        state = search.empty()
        np.add.at(state.content, (found.classes, found.at), 1)
        state.left -= state.content.sum(axis=1)
        able = state.content * found.free[:, None]
        nodes, freed = _about(search, rule, there, able)
        made = neighbourhood(given, state, nodes, freed)
        made.lenient = True
        add_rules(made)
        seed = int(search.random.integers(1 << 30))
        price *= _DEARER
        mended = mend(made, found.objective, price, limited, _WORK, seed)
        if mended.content is not None:
            content = state.content.copy()
            content[:, nodes] += mended.content - freed
            found.become(content)


def _about(search: Search, rule: Counted, there: Counts, able: Counts) -> tuple[Counts, Counts]:
    """Return nodes about a rule that is broken, and (C, M) copies that may mend it and others.

    Args:
        there: nodes of the domain where it is.
        able: (C, N) copies that may be moved.
    """
    random, members = search.random, _members(rule)
    few = there[random.permutation(there.size)[: _AROUND // 2]]
    holding = np.flatnonzero(able[members].any(axis=0))
    others = holding[random.permutation(holding.size)[: _AROUND // 2]]
    chosen = np.zeros(able.shape[1], dtype=np.bool_)
    chosen[few] = chosen[others] = True
    rest = np.flatnonzero(~chosen)
    many = max(_AROUND - int(chosen.sum()), 1)
    chosen[rest[random.permutation(rest.size)[:many]]] = True
    nodes = np.flatnonzero(chosen)
    return nodes, _freed(random, able[:, nodes], members, _MENDING_FREED)


def _members(rule: Counted) -> list[int]:
    return [*rule.left, *rule.right] if isinstance(rule, Apart | Needs) else [*rule.classes]


def _freed(random: np.random.Generator, able: Counts, first: list[int], many: int) -> Counts:
    """Return (C, M) some of the copies by lot, those of some classes first."""
    classes, at = np.nonzero(able)
    entries = random.permutation(np.repeat(np.arange(classes.size), able[classes, at]))
    late = ~np.isin(classes[entries], first)
    some = entries[np.argsort(late, kind="stable")][:many]
    freed = np.zeros_like(able)
    np.add.at(freed, (classes[some], at[some]), 1)
    return freed


def refine(search: Search) -> None:
    """Decide anew on some of the copies of a few nodes, again and again until the deadline."""
    many, idle = _FREED, 0
    endless = not np.isfinite(search.deadline.left)
    while not search.done and not (endless and idle >= _PATIENCE):
        best = search.incumbent.best
        if best is None:
            return
        nodes, freed = _choice(search, best, round(many))
        if not freed.any():
            return
        made = neighbourhood(search.given, best, nodes, freed)
        add_rules(made)
        seed = int(search.random.integers(1 << 30))
        found = optimise(made, freed, search.deadline, _WORK, seed)
        exact = found.proved == len(search.given.objectives)
        many = min(many * _MORE, _MOST) if exact else max(many * _FEWER, _LEAST)
        idle += 1
        if found.content is None:
            continue
        content = best.content.copy()
        content[:, nodes] += found.content - freed
        state = search.plan_of(content)
        if state is None:
            continue
        if search.incumbent.offer(state):
            idle = 0
        else:
            search.incumbent.exchange(state)


def _choice(search: Search, state: Occupancy, many: int) -> tuple[Counts, Counts]:
    """Return a few nodes, dear ones rather, and (C, M) some of the copies on them."""
    given, random = search.given, search.random
    size = given.group.size
    able = state.content * (given.device_units == 0)[:, None]
    each = max(int(able.sum()) / size, 1.0)
    few = int(min(size, max(2, round(random.uniform(1.0, 2.0) * many / each))))
    weight = np.ones(size)
    if random.random() < 0.5:
        cost = _dearness(search, state)
        weight = cost / (cost.mean() or 1.0) + 0.5
    nodes = np.sort(random.choice(size, min(few, size), replace=False, p=weight / weight.sum()))
    related = [rule for rule in given.rules if isinstance(rule, Needs)]
    first: list[int] = []
    if related and random.random() < _RELATED:  # who needs whom moves together, or not at all
        first = _members(related[int(random.integers(len(related)))])
    return nodes, _freed(random, able[:, nodes], first, many)


def _dearness(search: Search, state: Occupancy) -> Reals:
    goal = soft_goal(search.given)
    objective = search.given.objectives[goal or 0]
    assert isinstance(objective, Preferred)
    return excesses_by_node(objective, search.given.group, state.content)
