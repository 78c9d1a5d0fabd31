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
        rest: (C, N) what stays.
        left: (C,) copies that may be placed on `nodes`.
        copies: by (node, class), their variable; absent where none fits. by_class: the same.
        upper: by the index of a variable, the most that it can be.
        exact: whether the model says neither more nor less than the problem.
        factor: by which sizes were scaled last to be whole.
        lenient: whether rules between nodes may be broken; faults: what says by how much.
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
    lenient: bool = False
    factor: float = 1.0
    faults: Terms = field(default_factory=list[tuple[cp_model.IntVar, int]])
    by_class: dict[int, list[tuple[int, cp_model.IntVar]]] = field(
        default_factory=dict[int, list[tuple[int, cp_model.IntVar]]]
    )

    def of(self, classes: tuple[int, ...] | list[int], nodes: set[int] | None = None) -> Terms:
        """Return the variables of classes, on some of the nodes or all."""
        return [
            (x, 1)
            for c in dict.fromkeys(classes)
            for n, x in self.by_class.get(c, ())
            if nodes is None or n in nodes
        ]

    def at_most(self, terms: Terms, most: int) -> None:
        """Add Σ factor · variable ≤ most."""
        self.model.add(total(terms) <= most)

    def hint(self, solver: cp_model.CpSolver) -> None:
        """Begin next time with what was found."""
        self.model.clear_hints()
        for x in self.copies.values():
            self.model.add_hint(x, solver.value(x))

    def fault(self, most: int) -> Terms:
        """Return by how much a rule is broken that may be; nothing where none may."""
        if not self.lenient or most <= 0:
            return []
        one = (self.model.new_int_var(0, most, ""), 1)
        self.faults.append(one)
        return [one]

    def open(self, node: int) -> cp_model.IntVar:
        """Return whether a node holds anything."""
        if node not in self.opened:
            used = self.model.new_bool_var("")
            for (n, _), x in self.copies.items():
                if n == node:
                    self.model.add(x <= self.upper[x.index] * used)
            if self.rest[:, node].any():
                self.model.add(used == 1)
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
        self.factor = _SCALE / max(float(np.abs(sizes).max()), 1e-12)
        return np.rint(sizes * self.factor).astype(np.int64)


def total(terms: Terms) -> cp_model.LinearExprT:
    """Return Σ factor · variable."""
    return sum((factor * x for x, factor in terms), start=0)


def neighbourhood(
    given: Problem, state: Occupancy, nodes: Counts, freed: Counts | None = None
) -> Neighbourhood:
    """Return the model of some nodes of a plan with capacities and devices, without rules.

    Args:
        freed: (C, M) copies on the nodes that are decided on, none of which takes devices; None
            for all.
    """
    rest = state.content.copy()
    held = rest[:, nodes] if freed is None else freed
    rest[:, nodes] -= held
    left = state.left + held.sum(axis=1)
    shape = state.shape
    made = Neighbourhood(given, nodes, rest, left, shape.limit)
    fit = shape.fit[state.type_of[nodes]]
    if freed is not None:
        fit = np.minimum(fit, np.maximum(shape.limit - rest[:, nodes].T, 0))
    for at, node in enumerate(nodes.tolist()):
        for c in np.flatnonzero((fit[at] > 0) & (left > 0)).tolist():
            most = int(min(fit[at, c], left[c]))
            x = made.model.new_int_var(0, most, "")
            made.copies[node, c], made.upper[x.index] = x, most
            made.by_class.setdefault(c, []).append((node, x))
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
    free = made.given.free[:, node] - made.given.demand @ made.rest[:, node]
    for r in range(free.size):
        terms = [(x, int(made.given.demand[r, c])) for c, x in mine if made.given.demand[r, c]]
        if terms:
            made.at_most(terms, int(free[r]))


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
