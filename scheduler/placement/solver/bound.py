"""The aggregated bound: nodes of a type, and copies of a class, may be divided like water.

Rules between nodes (spread, affinity, caps, gangs) are in it as linear terms, so that it is also
where quotas per domain come from.
"""

from dataclasses import dataclass

import numpy as np

from .deadline import Deadline
from .devices import DeviceRows, device_rows, violated
from .linear import Answer, Programme, solve
from .problem import Problem, Shapes
from .result import Counts, Reals

_ROUNDS = 8  # of cuts
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The programme and where its variables are.

    Args:
        programme: over pairs (type, class), then one variable per spread, domain of an affinity
            and gang.
        types, classes: (V,) of the pairs.
    """

    programme: Programme
    types: Counts
    classes: Counts


class _Rows:
    """Collects the constraints of a programme."""

    def __init__(self) -> None:
        self.rows: list[Counts] = []
        self.columns: list[Counts] = []
        self.coefficients: list[Reals] = []
        self.most: list[float] = []

    def add(self, columns: Counts, coefficients: Reals, most: float) -> None:
        """Add Σ coefficients · x[columns] ≤ most, scaled so that the largest coefficient is 1."""
        scale = float(np.abs(coefficients).max(initial=0.0)) or 1.0
        self.rows.append(np.full(columns.size, len(self.most), dtype=np.int64))
        self.columns.append(columns)
        self.coefficients.append(coefficients / scale)
        self.most.append(most / scale)


def aggregate(
    given: Problem, shape: Shapes, devices: DeviceRows, integer_gangs: bool = False
) -> Aggregate:
    """Build the programme; its value is what placing is worth.

    Args:
        integer_gangs: gangs and affinity domains whole or not at all, instead of in part.
    """
    types, classes = np.nonzero(shape.fit)
    upper = np.minimum(
        (shape.fit * shape.number[:, None])[types, classes], shape.count[classes]
    ).astype(np.float64)
    rows = _Rows()
    _capacities(shape, devices, (types, classes), rows)
    for c in np.unique(classes):
        mine = np.flatnonzero(classes == c)
        rows.add(mine, np.ones(mine.size), float(shape.count[c]))
    extra = _rules(given, shape, types, classes, rows)
    integer = None
    if integer_gangs:
        integer = np.concatenate([np.zeros(types.size, dtype=np.bool_), extra == 1.0])
    programme = Programme(
        objective=np.concatenate([shape.value[classes], np.zeros(extra.size)]),
        upper=np.concatenate([upper, extra]),
        most=np.array(rows.most),
        rows=np.concatenate(rows.rows) if rows.rows else np.zeros(0, dtype=np.int64),
        columns=np.concatenate(rows.columns) if rows.rows else np.zeros(0, dtype=np.int64),
        coefficients=np.concatenate(rows.coefficients) if rows.rows else np.zeros(0),
        integer=integer,
    )
    return Aggregate(programme, types, classes)


def bound(
    given: Problem, shape: Shapes, deadline: Deadline
) -> tuple[float, Answer, Aggregate]:
    """Return what no plan's value exceeds, and the solution it comes from."""
    best = float(shape.value @ shape.count)
    devices = device_rows(shape)
    built = aggregate(given, shape, devices)
    answer = solve(built.programme, deadline.limit(_SECONDS))
    best = min(best, answer.bound)
    for _ in range(_ROUNDS):
        if answer.x is None or deadline.over:
            break
        amounts = np.zeros(shape.fit.shape)
        amounts[built.types, built.classes] = answer.x[: built.types.size]
        cut = violated(shape, devices, amounts, deadline)
        if cut is devices:
            break
        devices, built = cut, aggregate(given, shape, cut)
        better = solve(built.programme, deadline.limit(_SECONDS))
        if better.x is None:
            break
        gained, answer = answer.bound - better.bound, better
        best = min(best, answer.bound)
        if gained < 1e-5 * abs(best):
            break
    return best, answer, built


def _capacities(
    shape: Shapes, devices: DeviceRows, pairs_of: tuple[Counts, Counts], rows: _Rows
) -> None:
    types, classes = pairs_of
    demand = np.concatenate([shape.demand.astype(np.float64), devices.taken.T], axis=1)
    capacity = np.concatenate([shape.capacity.astype(np.float64), devices.there.T], axis=1)
    capacity = capacity * shape.number[:, None]
    edges = np.searchsorted(types, np.arange(len(shape.number) + 1))
    for t, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        asked = demand[classes[begin:end]]
        wanted = asked.T @ shape.count[classes[begin:end]]
        for r in np.flatnonzero(capacity[t] < wanted):
            some = np.flatnonzero(asked[:, r])
            rows.add(begin + some, asked[some, r], float(capacity[t, r]))


def _rules(given: Problem, shape: Shapes, types: Counts, classes: Counts, rows: _Rows) -> Reals:
    """Add the rules between nodes; return the upper bounds of the variables they need."""
    group = shape.group[types]
    extra: list[float] = []
    for cap in given.caps:
        weight = cap.weight[classes, group]
        some = np.flatnonzero(weight)
        rows.add(some, weight[some], cap.most)
    for spread in given.spreads:
        level = np.array([types.size + len(extra)])
        extra.append(float(spread.existing.sum() + shape.count[list(spread.classes)].sum()))
        ours = np.isin(classes, spread.classes)
        for d, there in enumerate(spread.existing.tolist()):
            mine = np.flatnonzero(ours & (spread.domain[group] == d))
            columns = np.concatenate([mine, level])
            ones = np.ones(mine.size)
            rows.add(columns, np.concatenate([ones, [-1.0]]), float(spread.skew - there))
            rows.add(columns, np.concatenate([-ones, [1.0]]), float(there))
    for together in given.togethers:
        ours = np.isin(classes, together.classes)
        total = float(shape.count[list(together.classes)].sum())
        opened: list[int] = []
        for d in np.unique(together.domain[together.domain >= 0]):
            opened.append(types.size + len(extra))
            extra.append(1.0)
            mine = np.flatnonzero(ours & (together.domain[group] == d))
            columns = np.append(mine, opened[-1])
            rows.add(columns, np.append(np.ones(mine.size), -total), 0.0)
        rows.add(np.array(opened, dtype=np.int64), np.ones(len(opened)), 1.0)
    for gang in given.gangs:
        whole = types.size + len(extra)
        extra.append(1.0)
        for c in gang.classes:
            mine = np.flatnonzero(classes == c)
            columns = np.append(mine, whole)
            rows.add(columns, np.append(np.ones(mine.size), -float(shape.count[c])), 0.0)
            rows.add(columns, np.append(-np.ones(mine.size), float(shape.count[c])), 0.0)
    return np.array(extra)
