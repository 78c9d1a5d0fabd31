"""A few nodes decided on exactly, the rest of the plan as it is: the model for CP-SAT.

It says everything that a Problem can say, so with all nodes in it its bounds are true bounds.
"""

from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts
from .occupancy import Occupancy
from .problem import Problem
from .rules import Spread

_SCALE = 1 << 20

Terms = list[tuple[cp_model.IntVar, int]]


@dataclass(slots=True)
class Neighbourhood:
    """The model.

    Args:
        nodes: (M,) rows that are decided on.
        rest: (C, N) what stays, zero on `nodes`.
        left: (C,) copies that may be placed on `nodes`.
        copies: by (node, class), their variable; absent where none fits.
        upper: by the index of a variable, the most that it can be.
        exact: whether the model says neither more nor less than the problem.
    """

    given: Problem
    nodes: Counts
    rest: Counts
    left: Counts
    limit: Counts
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    copies: dict[tuple[int, int], cp_model.IntVar] = field(
        default_factory=dict[tuple[int, int], cp_model.IntVar]
    )
    upper: dict[int, int] = field(default_factory=dict[int, int])
    opened: dict[int, cp_model.IntVar] = field(default_factory=dict[int, cp_model.IntVar])
    exact: bool = True

    def of(self, classes: tuple[int, ...] | list[int], nodes: set[int] | None = None) -> Terms:
        """Return the variables of classes, on some of the nodes or all."""
        chosen = set(classes)
        return [
            (x, 1)
            for (n, c), x in self.copies.items()
            if c in chosen and (nodes is None or n in nodes)
        ]

    def at_most(self, terms: Terms, most: int) -> None:
        """Add Σ factor · variable ≤ most."""
        self.model.add(total(terms) <= most)

    def open(self, node: int) -> cp_model.IntVar:
        """Return whether a node holds anything."""
        if node not in self.opened:
            used = self.model.new_bool_var("")
            for (n, _), x in self.copies.items():
                if n == node:
                    self.model.add(x <= self.upper[x.index] * used)
            self.opened[node] = used
        return self.opened[node]

    def some(self, terms: Terms) -> cp_model.IntVar:
        """Return a choice without which none of the terms is above 0."""
        chosen = self.model.new_bool_var("")
        for x, _ in terms:
            self.model.add(x <= self.upper[x.index] * chosen)
        return chosen

    def whole(self, sizes: np.ndarray) -> Counts:
        """Return sizes as whole numbers, scaled if they are not; notes that this is not exact."""
        rounded = np.rint(sizes)
        if np.array_equal(rounded, sizes):
            return rounded.astype(np.int64)
        self.exact = False
        return np.rint(sizes * (_SCALE / max(float(np.abs(sizes).max()), 1e-12))).astype(np.int64)


def total(terms: Terms) -> cp_model.LinearExprT:
    """Return Σ factor · variable."""
    return sum((factor * x for x, factor in terms), start=0)


def neighbourhood(given: Problem, state: Occupancy, nodes: Counts) -> Neighbourhood:
    """Return the model of some nodes of a plan with capacities and devices, without rules."""
    rest = state.content.copy()
    held = rest[:, nodes]
    rest[:, nodes] = 0
    left = state.left + held.sum(axis=1)
    shape = state.shape
    made = Neighbourhood(given, nodes, rest, left, shape.limit)
    fit = shape.fit[state.type_of[nodes]]
    for at, node in enumerate(nodes.tolist()):
        for c in np.flatnonzero((fit[at] > 0) & (left > 0)).tolist():
            most = int(min(fit[at, c], left[c]))
            x = made.model.new_int_var(0, most, "")
            made.copies[node, c], made.upper[x.index] = x, most
            made.model.add_hint(x, min(most, int(held[c, at])))
    for c in np.flatnonzero(left).tolist():
        terms = made.of((c,))
        if terms:
            made.at_most(terms, int(left[c]))
    for node in nodes.tolist():
        _capacities(made, node)
        _devices(made, node)
    return made


def _capacities(made: Neighbourhood, node: int) -> None:
    mine = [(c, x) for (n, c), x in made.copies.items() if n == node]
    for r in range(made.given.free.shape[0]):
        terms = [(x, int(made.given.demand[r, c])) for c, x in mine if made.given.demand[r, c]]
        if terms:
            made.at_most(terms, int(made.given.free[r, node]))


def _devices(made: Neighbourhood, node: int) -> None:
    """Copies of a class use a device at most once each, and each as many as it takes."""
    given = made.given
    devices = [int(free) for free in given.devices[:, node] if free]
    loads: list[Terms] = [[] for _ in devices]
    for (n, c), x in made.copies.items():
        units, share = int(given.device_units[c]), int(given.device_share[c])
        if n != node or not units:
            continue
        shares: Terms = []
        for load, free in zip(loads, devices, strict=True):
            most = free // share
            if most:
                one = made.model.new_int_var(0, most, "")
                made.model.add(one <= x)
                load.append((one, share))
                shares.append((one, 1))
        made.model.add(total(shares) == units * x)
    for load, free in zip(loads, devices, strict=True):
        if load:
            made.at_most(load, free)


def counted(rule: Spread) -> list[int]:
    """Return the domains that a spread counts."""
    return np.flatnonzero(rule.existing >= 0).tolist()
