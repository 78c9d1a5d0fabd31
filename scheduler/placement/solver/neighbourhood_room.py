"""Goals on a neighbourhood about what is used of nodes, and what is left."""

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts
from .neighbourhood import Neighbourhood, Terms, total
from .objectives import Balanced, Stranded

_BALANCE = 1 << 30
_FINEST = 1 << 12  # units of what a node has
_TYPICAL = 16  # classes, the most popular ones, whose room is looked at


def balance_terms(made: Neighbourhood, objective: Balanced) -> Terms:
    """Squares of what is used, in units that all amounts share, or nearly so if these are fine."""
    given, squares, weights = made.given, list[cp_model.IntVar](), list[float]()
    made.exact = False
    whole = objective.allocatable.sum(axis=1)
    for r in range(given.free.shape[0]):
        unit = _unit(made, r, int(objective.allocatable[r].max(initial=0)))
        for n in made.nodes.tolist():
            there = int(objective.allocatable[r, n])
            taken = int(given.demand[r] @ made.rest[:, n])
            already = (there - int(given.free[r, n]) + taken) // unit
            mine = [
                (x, (int(given.demand[r, c]) + unit // 2) // unit)
                for (node, c), x in made.copies.items()
                if node == n and given.demand[r, c]
            ]
            if not mine or not there:
                continue
            most = 2 * (there // unit + 1)  # what is half a unit counts as one
            used = made.model.new_int_var(0, most, "")
            made.model.add(used == total(mine) + already)
            square = made.model.new_int_var(0, most**2, "")
            made.model.add_multiplication_equality(square, [used, used])
            squares.append(square)
            weights.append(unit * (unit / there) / float(whole[r]))
    largest = max(weights, default=1.0)
    sizes = [-round(_BALANCE * weight / largest) for weight in weights]
    return list(zip(squares, sizes, strict=True))


def stranded_terms(made: Neighbourhood, objective: Stranded) -> Terms:
    """What is free where a class has no room, in units as above."""
    given, r, terms = made.given, objective.resource, list[tuple[cp_model.IntVar, int]]()
    unit = _unit(made, r, int(given.free[r].max(initial=0)))
    weights = made.whole(objective.popularity)
    popular = np.argsort(-objective.popularity, kind="stable")[:_TYPICAL]
    made.exact &= unit == 1 and popular.size == weights.size
    for n in made.nodes.tolist():
        left = given.free[:, n] - given.demand @ made.rest[:, n]
        mine = [(c, x) for (node, c), x in made.copies.items() if node == n]
        most = int(left[r]) // unit + 1
        if most <= 1:
            continue
        taken = [(x, -((int(given.demand[r, c]) + unit // 2) // unit)) for c, x in mine]
        for c in popular[weights[popular] > 0].tolist():
            stranded = made.model.new_int_var(0, most, "")
            away = [*taken, (stranded, -1)]
            if given.feasible[c, given.group[n]] and (left >= given.demand[:, c]).all():
                fits = _room_for_one(made, c, mine, left)
                away.append((fits, -most))
            made.at_most(away, -(int(left[r]) // unit))
            terms.append((stranded, -int(weights[c])))
    return terms


def _room_for_one(
    made: Neighbourhood, c: int, mine: list[tuple[int, cp_model.IntVar]], left: Counts
) -> cp_model.IntVar:
    """Return a choice that has room for one copy more of a class beside a node's copies."""
    fits = made.model.new_bool_var("")
    for k in np.flatnonzero(made.given.demand[:, c] > 0).tolist():
        there = [(x, int(made.given.demand[k, other])) for other, x in mine]
        made.at_most([*there, (fits, int(made.given.demand[k, c]))], int(left[k]))
    return fits


def _unit(made: Neighbourhood, resource: int, most: int) -> int:
    """Return a unit that all demands share, or a coarser one where there would be too many."""
    shared = int(np.gcd.reduce(np.append(made.given.demand[resource], 0)))
    return max(shared, -(-most // _FINEST), 1)
