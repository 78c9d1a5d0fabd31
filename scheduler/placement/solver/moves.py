"""Single copies moved, or exchanged with one another, to where they are liked better.

A descent on what is preferred: nothing is placed or taken off, no goal before gets worse, and no
rule is broken. What a move gains is known without counting the plan again, so that a pass over
thousands of nodes takes seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .company import Circle, circle
from .deadline import Deadline
from .objectives import HostCost, Objective, Placed, Preferred, Shortfall
from .occupancy import Occupancy
from .problem import Problem
from .rules import Across, Floor, Rule
from .shapes import room

_EPSILON = 1e-7
_TRIED = 6  # nodes that are liked best, for a move; and full ones, for an exchange


class _Taste:
    """What copies are worth to one objective in a plan that changes."""

    def __init__(self, given: Problem, objective: Preferred, state: Occupancy) -> None:
        self._weight, self._group = objective.weight, given.group
        self._of: dict[int, list[Circle]] = {}
        for company in objective.companies:
            known = circle(company, given.group, state.content)
            for c in known.set_of:
                self._of.setdefault(c, []).append(known)

    def tells(self, c: int) -> bool:
        """Tell whether it matters where a class is."""
        return c in self._of or bool(np.ptp(self._weight[c]))

    def put(self, c: int, node: int, copies: int) -> None:
        for known in self._of.get(c, ()):
            known.put(c, node, copies)

    def gains(self, c: int) -> Reals:
        """Return (N,) what one more copy would add."""
        found: Reals = self._weight[c, self._group]
        for known in self._of.get(c, ()):
            found = found + known.gains(c)
        return found

    def gain(self, c: int, node: int) -> float:
        one = float(self._weight[c, self._group[node]])
        return one + sum(known.gain(c, node) for known in self._of.get(c, ()))


def targets(objectives: Sequence[Objective]) -> int:
    """Return how many of the objectives, from the first on, single moves can be judged by."""
    for number, each in enumerate(objectives):
        easy = isinstance(each, Placed | HostCost | Shortfall)
        if not easy and not (isinstance(each, Preferred) and _plain(each)):
            return number
    return len(objectives)


def _plain(objective: Preferred) -> bool:
    return not (objective.meetings or objective.excesses or objective.peaks)


def descend(
    given: Problem, state: Occupancy, random: np.random.Generator, deadline: Deadline
) -> bool:
    """Move and exchange copies of a plan while that is preferred; tells whether it changed."""
    many = targets(given.objectives)
    if not any(isinstance(each, Preferred) for each in given.objectives[:many]):
        return False
    descent = _Descent(given, state, many)
    changed = False
    while not deadline.over and descent.sweep(random, deadline):
        changed = True
    return changed


@dataclass(frozen=True, slots=True)
class _Saved:
    """What some nodes held, to be put back."""

    nodes: Counts
    free: Counts
    devices: Counts
    content: Counts
    left: Counts


class _Descent:
    def __init__(self, given: Problem, state: Occupancy, many: int) -> None:
        self._given, self._state = given, state
        goals = given.objectives[:many]
        self._tastes = [_Taste(given, o, state) for o in goals if isinstance(o, Preferred)]
        first = next(n for n, o in enumerate(goals) if isinstance(o, Preferred))
        costs = [o.cost for o in goals[:first] if isinstance(o, HostCost)]
        self._cost = sum(costs, np.zeros(given.group.size))
        self._copies = state.content.sum(axis=0)
        demands = [rule for rule in given.rules if isinstance(rule, Floor | Across)]
        self._held = [_demanded(given, rule) for rule in demands]

    def sweep(self, random: np.random.Generator, deadline: Deadline) -> bool:
        """Try every class on every node that has it; tells whether anything was gained."""
        state, gained = self._state, False
        tells = [c for c in range(state.left.size) if self._may_move(c)]
        held = np.argwhere(state.content[tells] > 0)
        for at in random.permutation(len(held)).tolist():
            if deadline.over:
                return gained
            c, node = tells[int(held[at, 0])], int(held[at, 1])
            if state.content[c, node]:
                gained |= self._improve(c, node)
        return gained

    def _may_move(self, c: int) -> bool:
        fixed = any(demanded[c] for demanded in self._held)
        return not fixed and any(taste.tells(c) for taste in self._tastes)

    def _improve(self, c: int, node: int) -> bool:
        """Move one copy off a node, or exchange it, if that is preferred."""
        self._count(c, node, -1)
        gains = [taste.gains(c) for taste in self._tastes]
        self._count(c, node, 1)
        better = _better([each - each[node] for each in gains])
        better[node] = False
        better &= (self._state.shape.fit[:, c] > 0)[self._state.type_of]
        if not better.any():
            return False
        return self._move(c, node, better, gains) or self._exchange(c, node, better, gains)

    def _move(self, c: int, node: int, better: Mask, gains: list[Reals]) -> bool:
        state = self._state
        emptied = self._cost[node] if self._copies[node] == 1 else 0.0
        able = better & ((self._copies > 0) | (self._cost <= emptied))
        some = np.flatnonzero(able)
        fits = room(state.shape, state.free[:, some].T, state.devices[some], np.array([c]))[:, 0]
        some = some[fits > 0]
        if not some.size:
            return False
        order = np.lexsort([-each[some] for each in reversed(gains)])[:_TRIED]
        return any(self._changed([(c, node, target)]) for target in some[order].tolist())

    def _exchange(self, c: int, node: int, better: Mask, gains: list[Reals]) -> bool:
        """Exchange a copy with one on a node that is liked better, where that gains in all."""
        state, shape = self._state, self._state.shape
        full = np.flatnonzero(better & (self._copies > 0))
        full = full[np.lexsort([-each[full] for each in reversed(gains)])][:_TRIED]
        for other in full.tolist():
            demand = shape.demand
            here = state.free[:, node] + demand[c]
            there = state.free[:, other] - demand[c]
            fits = (state.content[:, other] > 0) & (shape.fit[state.type_of[node]] > 0)
            fits &= np.all(demand <= here, axis=1) & np.all(there + demand >= 0, axis=1)
            fits &= (shape.units == shape.units[c]) & (shape.share == shape.share[c])
            fits[c] = False
            for d in np.flatnonzero(fits).tolist():
                fixed = any(demanded[d] for demanded in self._held)
                if fixed or not self._pays(c, node, d, other):
                    continue
                if self._changed([(c, node, other), (d, other, node)]):
                    return True
        return False

    def _pays(self, c: int, node: int, d: int, other: int) -> bool:
        self._count(c, node, -1)
        self._count(d, other, -1)
        gains = [
            np.array([t.gain(c, other) - t.gain(c, node) + t.gain(d, node) - t.gain(d, other)])
            for t in self._tastes
        ]
        self._count(c, node, 1)
        self._count(d, other, 1)
        return bool(_better(gains)[0])

    def _changed(self, moves: list[tuple[int, int, int]]) -> bool:
        """Carry out moves (class, from, to), unless that breaks a rule or does not fit."""
        state = self._state
        nodes = np.array(sorted({n for _, *pair in moves for n in pair}))
        saved = _Saved(
            nodes,
            state.free[:, nodes],
            state.devices[nodes],
            state.content[:, nodes],
            state.left.copy(),
        )
        for c, source, _ in moves:
            state.remove(c, np.array([source]), np.array([1]))
        for c, _, target in moves:
            if not state.holds(c, target):
                self._put_back(saved)
                return False
            state.add(c, np.array([target]), np.array([1]))
        kept = np.array_equal(state.left, saved.left)
        if not kept or any(state.rules.broken(c, state.content) for c, _, _ in moves):
            self._put_back(saved)
            return False
        for c, source, target in moves:
            self._count(c, source, -1)
            self._count(c, target, 1)
            self._copies[[source, target]] += (-1, 1)
        return True

    def _put_back(self, saved: _Saved) -> None:
        state, nodes = self._state, saved.nodes
        state.free[:, nodes], state.devices[nodes] = saved.free, saved.devices
        state.content[:, nodes], state.left[:] = saved.content, saved.left

    def _count(self, c: int, node: int, copies: int) -> None:
        for taste in self._tastes:
            taste.put(c, node, copies)


def _demanded(given: Problem, rule: Rule) -> Mask:
    """Return (C,) the classes of which a rule demands copies somewhere."""
    if isinstance(rule, Floor):
        return np.any(rule.weight != 0, axis=1)
    found = np.zeros(given.count.size, dtype=np.bool_)
    if isinstance(rule, Across):
        found[list(rule.classes)] = True
    return found


def _better(gains: list[Reals]) -> Mask:
    """Return where gains are better, the first goal deciding."""
    found = np.zeros(gains[0].size, dtype=np.bool_)
    open_still = ~found
    for each in gains:
        found |= open_still & (each > _EPSILON)
        open_still &= np.abs(each) <= _EPSILON
    return found
