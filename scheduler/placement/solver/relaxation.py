"""The aggregated relaxation: nodes of a type, and copies of a class, may be divided like water.

Rules between nodes are in it as linear terms, so that it is also where quotas per domain come from.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .arrays import Counts, Reals
from .devices import DeviceRows
from .linear import Programme
from .objectives import Preferred
from .shapes import Shapes


@dataclass(slots=True)
class Rows:
    """Collects variables and constraints of a programme; columns are numbers of variables."""

    upper: list[float] = field(default_factory=list[float])
    whole: list[int] = field(default_factory=list[int])
    most: list[float] = field(default_factory=list[float])
    _rows: list[Counts] = field(default_factory=list[Counts])
    _columns: list[Counts] = field(default_factory=list[Counts])
    _coefficients: list[Reals] = field(default_factory=list[Reals])

    def variables(self, upper: Reals) -> Counts:
        """Add variables 0 … upper; return their numbers."""
        first = len(self.upper)
        self.upper.extend(upper.tolist())
        return np.arange(first, len(self.upper))

    def choices(self, many: int) -> Counts:
        """Add variables 0 … 1 that an integer programme makes whole."""
        added = self.variables(np.ones(many))
        self.whole.extend(added.tolist())
        return added

    def forbid(self, columns: Counts) -> None:
        """Keep variables at 0."""
        for column in columns.tolist():
            self.upper[column] = 0.0

    def add(self, columns: Counts, coefficients: Reals, most: float) -> None:
        """Add Σ coefficients · x[columns] ≤ most, scaled so that the largest coefficient is 1."""
        scale = float(np.abs(coefficients).max(initial=0.0)) or 1.0
        self._rows.append(np.full(columns.size, len(self.most), dtype=np.int64))
        self._columns.append(columns)
        self._coefficients.append(coefficients / scale)
        self.most.append(most / scale)

    def programme(self, objective: Reals, integer: bool = False) -> Programme:
        """Return what was collected; `objective` (n,) is padded with zeros."""
        padded = np.zeros(len(self.upper))
        padded[: objective.size] = objective
        chosen = None
        if integer:
            chosen = np.zeros(padded.size, dtype=np.bool_)
            chosen[self.whole] = True
        empty = np.zeros(0, dtype=np.int64)
        return Programme(
            objective=padded,
            upper=np.array(self.upper),
            most=np.array(self.most),
            rows=np.concatenate([empty, *self._rows]),
            columns=np.concatenate([empty, *self._columns]),
            coefficients=np.concatenate([empty.astype(np.float64), *self._coefficients]),
            integer=chosen,
        )


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Variables that stand for pairs of copies in an objective's companies.

    Args:
        columns: numbers of variables; worth: of each pair.
        rest: the most that companies can add of which no variable tells.
    """

    objective: Preferred
    columns: Counts
    worth: Reals
    rest: float


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Rows of the relaxation and where its variables are.

    Args:
        types, classes: (V,) of the pairs; variable v is the copies of classes[v] on types[v].
        opened: (T,) variables, nodes in use by type.
        capacities: rows that are about what nodes have.
        shortages: variables, what is missing to Floors.
        pairs: variables of companies, by objective.
    """

    shape: Shapes
    types: Counts
    classes: Counts
    opened: Counts
    capacities: list[int]
    rows: Rows
    shortages: list[int] = field(default_factory=list[int])
    pairs: list[PairColumns] = field(default_factory=list[PairColumns])

    def pairs_of(self, objective: Preferred) -> PairColumns | None:
        """Return the variables of an objective's companies, None where it has none."""
        return next((each for each in self.pairs if each.objective is objective), None)

    def amounts(self, x: Reals) -> Reals:
        """Return (T, C) copies of classes on all nodes of a type."""
        amounts = np.zeros(self.shape.fit.shape)
        amounts[self.types, self.classes] = x[: self.types.size]
        return amounts

    def cut(self, devices: DeviceRows) -> None:
        """Add rows for functions of device shares."""
        _capacities(self, devices.taken.T, devices.there.T)

    def burden(self, programme: Programme, duals: Reals) -> Reals:
        """Return (C,) what a copy takes, at the duals of capacities, where it takes least."""
        weights = np.where(np.isin(programme.rows, self.capacities), duals[programme.rows], 0.0)
        taken = np.bincount(
            programme.columns, weights * programme.coefficients, programme.objective.size
        )
        least = np.full(self.shape.count.size, np.inf)
        np.minimum.at(least, self.classes, taken[: self.classes.size])
        return np.where(np.isfinite(least), least, 0.0)


def relaxation(shape: Shapes, devices: DeviceRows) -> Relaxation:
    """Return capacities and counts as rows, without rules."""
    types, classes = np.nonzero(shape.fit)
    most = np.minimum(shape.fit * shape.number[:, None], shape.count)
    rows = Rows()
    rows.variables(most[types, classes].astype(np.float64))
    opened = rows.variables(shape.number.astype(np.float64))
    made = Relaxation(shape, types, classes, opened, [], rows)
    _capacities(made, shape.demand.astype(np.float64), shape.capacity.astype(np.float64))
    _capacities(made, devices.taken.T, devices.there.T)
    order = np.argsort(classes, kind="stable")
    edges = np.searchsorted(classes[order], np.arange(shape.count.size + 1))
    for c, (begin, end) in enumerate(pairwise(edges.tolist())):
        if end > begin:
            rows.add(order[begin:end], np.ones(int(end) - int(begin)), float(shape.count[c]))
    return made


def _capacities(made: Relaxation, demand: Reals, capacity: Reals) -> None:
    """Add a row per type and resource that all wanted copies together could exceed.

    Where nodes cost nothing all of them are in use, and the row says so with a constant.
    """
    shape = made.shape
    edges = np.searchsorted(made.types, np.arange(shape.number.size + 1))
    for t, (begin, end) in enumerate(pairwise(edges.tolist())):
        classes = made.classes[begin:end]
        asked = demand[classes]
        wanted = (
            np.maximum(asked, 0).T
            @ np.minimum(shape.count, shape.fit[t] * shape.number[t])[classes]
        )
        total = capacity[t] * shape.number[t]
        priced = shape.cost[t] > 0
        for r in np.flatnonzero((wanted > 0) if priced else (wanted > total)):
            made.capacities.append(len(made.rows.most))
            some = np.flatnonzero(asked[:, r])
            columns, taken = begin + some, asked[some, r]
            if priced:
                columns = np.append(columns, made.opened[t])
                made.rows.add(columns, np.append(taken, -capacity[t, r]), 0.0)
            else:
                made.rows.add(columns, taken, float(total[r]))
