"""A problem as the engine works on it: equal nodes counted, not listed.

What a rule says about one node becomes part of the shapes here: an exclusive set is one more
resource, a spread over nodes a limit, and who keeps apart from whom a matrix.
"""

from dataclasses import dataclass, replace

import numpy as np

from .arrays import Counts, Mask, Reals
from .company import Likes, likes
from .objectives import Balanced, HostCost, Preferred
from .problem import WHOLE, Problem
from .rules import Apart, Cap, Exclusive, Floor, Gang, Quota, Spread
from .weighing import Weights, weigh


@dataclass(frozen=True, slots=True)
class Shapes:
    """T types of nodes and C classes, one row each.

    Args:
        capacity: (T, R) int64, exclusive sets included.
        devices: (T, G) int64 free thousandths, ascending.
        number: (T,) int64, nodes of the type.
        cost: (T,) float64, what using a node takes off the weighed value.
        group: (T,) int64.
        nodes: by type, the rows of its nodes.
        demand: (C, R) int64.
        share, units, count, limit: (C,) int64.
        value: (C,) float64 ≥ 0, the weighed value of a copy.
        bonus: (T, C) float64 on top of it by type, None if there is none.
        apart: (C, C) bool, symmetric: classes that do not share a node; None if all may.
        fit: (T, C) int64, most copies of a class alone on a node of the type.
        likes: what copies are worth to each other.
    """

    capacity: Counts
    devices: Counts
    number: Counts
    cost: Reals
    group: Counts
    nodes: tuple[Counts, ...]
    demand: Counts
    share: Counts
    units: Counts
    count: Counts
    limit: Counts
    value: Reals
    bonus: Reals | None
    apart: Mask | None
    fit: Counts
    likes: Likes

    @property
    def type_of(self) -> Counts:
        """(N,) the type of each node."""
        types = np.zeros(int(self.number.sum()), dtype=np.int64)
        for t, rows in enumerate(self.nodes):
            types[rows] = t
        return types


def shapes(given: Problem) -> Shapes:
    """Count equal nodes together and say how many copies of each class a type holds alone."""
    free, demand = _with_exclusives(given)
    devices = np.sort(given.devices, axis=0)
    weights = weigh(given)
    group = _groups(given, weights)
    money = [_code(o.cost) for o in given.objectives if isinstance(o, HostCost)]
    totals = [o.allocatable for o in given.objectives if isinstance(o, Balanced)]
    rows = np.concatenate([group[None], free, devices, *(m[None] for m in money), *totals]).T
    kinds, code = np.unique(rows, axis=0, return_inverse=True)
    code = code.reshape(-1)
    order = np.argsort(code, kind="stable")
    number = np.bincount(code, minlength=len(kinds)).astype(np.int64)
    nodes = tuple(np.split(order, np.cumsum(number)[:-1])) if number.size else ()
    first = np.array([rows[0] for rows in nodes], dtype=np.int64)
    return _fitted(
        given.feasible[:, given.group[first]].T,
        Shapes(
            capacity=free[:, first].T,
            devices=devices[:, first].T,
            number=number,
            cost=weights.cost[first],
            group=given.group[first],
            nodes=nodes,
            demand=demand.T,
            share=given.device_share,
            units=given.device_units,
            count=given.count,
            limit=_limits(given),
            value=weights.value,
            bonus=_bonus(weights, given.group[first]),
            apart=_apart(given),
            fit=np.zeros((len(kinds), given.count.size), dtype=np.int64),
            likes=likes(given, weights.scales),
        ),
    )


def room(shape: Shapes, free: Counts, devices: Counts, only: Counts | None = None) -> Counts:
    """Return how many copies of each class alone fit: (M, C) for (M, R) free and (M, G) devices.

    No device is given to two copies of a class that takes several.
    """
    chosen = np.arange(shape.count.size) if only is None else only
    fits = np.repeat(np.minimum(shape.limit, shape.count)[chosen][None], len(free), axis=0)
    for r in range(free.shape[1]):
        asked = shape.demand[chosen, r]
        some = asked > 0
        fits[:, some] = np.minimum(fits[:, some], free[:, r, None] // asked[some])
    for position in np.flatnonzero(shape.units[chosen]):
        c = chosen[position]
        alone = devices // shape.share[c] if shape.units[c] == 1 else devices >= shape.share[c]
        most = alone.sum(axis=1) // shape.units[c]
        fits[:, position] = np.minimum(fits[:, position], most)
    return np.maximum(fits, 0)


def _fitted(feasible: Mask, shape: Shapes) -> Shapes:
    brought = np.maximum(-shape.demand, 0).T @ shape.count
    fit = room(shape, shape.capacity + brought, shape.devices)
    for c in np.flatnonzero((shape.units > 1) & (2 * shape.share <= WHOLE)):
        rest = replace(shape, units=np.zeros_like(shape.units))
        fit[:, c] = room(rest, shape.capacity + brought, shape.devices, np.array([c]))[:, 0]
        fit[:, c] = np.minimum(fit[:, c], _overlapping(shape, int(c)))
    shape.fit[:] = np.where(feasible, fit, 0)
    return shape


def _overlapping(shape: Shapes, c: int) -> Counts:
    """Return (T,) most copies of which several may share a device, though no copy with itself."""
    alone = shape.devices // shape.share[c]
    most = np.zeros(len(alone), dtype=np.int64)
    for copies in range(1, int(alone.sum(axis=1).max(initial=0)) // int(shape.units[c]) + 1):
        enough = np.minimum(alone, copies).sum(axis=1) >= copies * shape.units[c]
        most[enough] = copies
    return most


def _code(values: Reals) -> Counts:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _groups(given: Problem, weights: Weights) -> Counts:
    """Return (N,) codes of groups, those that differ in nothing merged."""
    rows: list[Reals] = [given.feasible.astype(np.float64), weights.prefer]
    for rule in given.rules:
        if isinstance(rule, Quota):
            rows += [rule.weight, rule.most[None], *_row(rule.domain)]
        elif isinstance(rule, Cap | Floor):
            rows.append(rule.weight)
        elif not isinstance(rule, Gang) and rule.domain is not None:
            rows += _row(rule.domain)
    for objective in given.objectives:
        if isinstance(objective, Preferred):
            for each in (*objective.meetings, *objective.companies):
                rows += _row(each.domain)
            for each in (*objective.excesses, *objective.peaks):
                rows += [each.weight, each.amount[None], *_row(each.domain)]
    codes = np.unique(np.concatenate(rows), axis=1, return_inverse=True)[1].reshape(-1)
    return codes[given.group].astype(np.int64)


def _row(domain: Counts | None) -> list[Reals]:
    return [] if domain is None else [domain[None].astype(np.float64)]


def _with_exclusives(given: Problem) -> tuple[Counts, Counts]:
    """An exclusive set is one more resource of which every node has `most`; see also `_limits`."""
    free, demand = [given.free], [given.demand]
    for rule in given.rules:
        if isinstance(rule, Exclusive) and rule.domain is None and len(rule.classes) > 1:
            row = np.zeros((1, given.count.size), dtype=np.int64)
            row[0, list(rule.classes)] = 1
            demand.append(row)
            free.append(np.full((1, given.group.size), rule.most, dtype=np.int64))
    return np.concatenate(free), np.concatenate(demand)


def _limits(given: Problem) -> Counts:
    """Return the most copies per node; a spread over nodes allows its skew above the minimum.

    A class that is exclusive with nobody but itself has a limit, not a resource of its own.

    The minimum over nodes can be no more than all copies shared out evenly.
    """
    limit = given.limit.copy()
    for rule in given.rules:
        if isinstance(rule, Spread) and rule.domain is None:
            members = list(rule.classes)
            there = rule.existing[rule.existing >= 0]
            total = int(given.count[members].sum() + there.sum())
            most = total // max(there.size, 1) + rule.skew
            limit[members] = np.minimum(limit[members], most)
        elif isinstance(rule, Exclusive) and rule.domain is None and len(rule.classes) == 1:
            limit[rule.classes[0]] = min(int(limit[rule.classes[0]]), rule.most)
    return limit


def _apart(given: Problem) -> Mask | None:
    pairs = [rule for rule in given.rules if isinstance(rule, Apart) and rule.domain is None]
    if not pairs:
        return None
    matrix = np.zeros((given.count.size, given.count.size), dtype=np.bool_)
    for rule in pairs:
        matrix[np.ix_(rule.left, rule.right)] = True
    return matrix | matrix.T


def _bonus(weights: Weights, group: Counts) -> Reals | None:
    return weights.prefer[:, group].T if weights.prefer.any() else None
