"""What no plan can beat, goal by goal, from the aggregated relaxation and cuts for devices."""

import math
from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Reals
from .company import most_of
from .company_rows import add_companies
from .deadline import Deadline
from .devices import device_rows, violated
from .linear import Answer, solve
from .objectives import Balanced, HostCost, Kept, Objective, Placed, Preferred, Shortfall
from .problem import Problem
from .relaxation import Relaxation, relaxation
from .room import least_imbalance
from .rule_rows import add_rules
from .shapes import Shapes

_ROUNDS = 8  # of cuts
_SECONDS = 20.0
_PART = 0.2
_NOISE = 1e-9


@dataclass(slots=True)
class Bounds:
    """The relaxation of a problem, kept with the cuts found so far.

    Args:
        prices: (C,) of a copy, what it takes of scarce capacity, from the last objective bounded.
    """

    given: Problem
    shape: Shapes
    built: Relaxation
    prices: Reals = field(init=False)
    _terms: Reals | None = None
    _x: Reals | None = None

    def __post_init__(self) -> None:
        self.prices = np.zeros(self.shape.count.size)

    def amounts(self, deadline: Deadline) -> Reals | None:
        """Return (T, C) copies on each type in a solution for the objective bounded last.

        Gangs and affinities are decided on, if there is time, not taken in part.
        """
        rows, found = self.built.rows, self._x
        if rows.whole and self._terms is not None:
            programme = rows.programme(self._terms, integer=True)
            answer = solve(programme, deadline.part(_PART, _SECONDS).limit(_SECONDS))
            found = found if answer.x is None else answer.x
        return None if found is None else self.built.amounts(found)

    def of(self, objective: Objective, deadline: Deadline) -> tuple[float, Answer | None]:
        """Return what an objective cannot exceed (as something to maximise), and the solution."""
        terms = linear_terms(self.built, self.given, objective)
        if terms is None:
            return math.inf, None
        best, answer = self._cut(terms, deadline)
        self.prices = self.built.burden(self.built.rows.programme(terms), answer.duals)
        self._terms, self._x = terms, answer.x
        return rounded(objective, best + self._unknown(objective)), answer

    def keep(self, objective: Objective, value: float) -> None:
        """Demand that an objective is no worse than a value from now on."""
        terms = linear_terms(self.built, self.given, objective)
        if terms is not None:
            some = np.flatnonzero(terms)
            least = value - self._unknown(objective)
            self.built.rows.add(some, -terms[some], _NOISE * (1 + abs(value)) - least)

    def _unknown(self, objective: Objective) -> float:
        """Return the most that terms can add which the relaxation knows nothing of."""
        if not isinstance(objective, Preferred):
            return 0.0
        pairs = self.built.pairs_of(objective)
        return _met(self.given, objective) + (pairs.rest if pairs is not None else 0.0)

    def _cut(self, terms: Reals, deadline: Deadline) -> tuple[float, Answer]:
        answer = solve(self.built.rows.programme(terms), deadline.limit(_SECONDS))
        best = answer.bound
        known = device_rows(self.shape)
        for _ in range(_ROUNDS if known.taken.size else 0):
            if answer.x is None or deadline.over:
                break
            cut = violated(self.shape, self.built.amounts(answer.x), deadline)
            if cut is None:
                break
            self.built.cut(cut)
            better = solve(self.built.rows.programme(terms), deadline.limit(_SECONDS))
            best = min(best, better.bound)
            if better.x is None:
                break
            gained, answer = answer.bound - better.bound, better
            if gained < 1e-5 * abs(best):
                break
        return best, answer


def bounds(given: Problem, shape: Shapes) -> Bounds:
    """Return the relaxation of a problem with its rules."""
    built = relaxation(shape, device_rows(shape))
    add_rules(built, given)
    add_companies(built, given)
    return Bounds(given, shape, built)


def linear_terms(built: Relaxation, given: Problem, objective: Objective) -> Reals | None:
    """Return what each variable adds to an objective that is maximised; None if not linear."""
    terms = np.zeros(len(built.rows.upper))
    pairs = slice(0, built.types.size)
    if isinstance(objective, Placed):
        terms[pairs] = objective.value[built.classes]
    elif isinstance(objective, Preferred):
        group = built.shape.group[built.types]
        terms[pairs] = objective.weight[built.classes, group]
        known = built.pairs_of(objective)
        if known is not None:
            terms[known.columns] = known.worth
    elif isinstance(objective, HostCost):
        first = np.array([rows[0] for rows in built.shape.nodes], dtype=np.int64)
        terms[built.opened] = -objective.cost[first]
    elif isinstance(objective, Shortfall):
        terms[built.shortages] = -1.0
    else:
        return None
    return terms


def _met(given: Problem, objective: Preferred) -> float:
    """Return the most that meetings can add, which the relaxation knows nothing of."""
    total = 0.0
    for meeting in objective.meetings:
        domain = meeting.domain
        many = given.group.size if domain is None else np.unique(domain[domain >= 0]).size
        sides = [int(given.count[list(side)].sum()) for side in (meeting.left, meeting.right)]
        total += max(meeting.worth, 0.0) * min(many, *sides)
    return total


def ceiling(given: Problem, objective: Objective) -> float:
    """Return what an objective cannot exceed, without any search; costs count negative."""
    if isinstance(objective, Placed):
        return float(objective.value @ given.count)
    if isinstance(objective, Preferred):
        most = np.maximum(objective.weight, 0.0).max(axis=1, initial=0.0)
        together = sum(most_of(each, given.count) for each in objective.companies)
        return float(most @ given.count) + _met(given, objective) + together
    if isinstance(objective, Kept):
        _, classes, copies = given.current
        return float(objective.weight[classes] @ copies)
    if isinstance(objective, Balanced):
        return -least_imbalance(given, objective, whole=given.require_all)
    return 0.0


def rounded(objective: Objective, bound: float) -> float:
    """Lower a bound to the next value that whole copies or nodes can have."""
    sizes: Reals | Counts
    if isinstance(objective, Placed):
        sizes = objective.value
    elif isinstance(objective, HostCost):
        sizes = objective.cost
    elif isinstance(objective, Preferred):
        worths = [each.worth.reshape(-1) for each in objective.companies]
        meetings = np.array([each.worth for each in objective.meetings])
        if objective.excesses or objective.peaks:
            return bound
        sizes = np.abs(np.concatenate([objective.weight.reshape(-1), meetings, *worths]))
    else:
        return bound
    whole = np.rint(sizes).astype(np.int64)
    if not math.isfinite(bound) or not np.array_equal(whole, sizes):
        return bound
    step = int(np.gcd.reduce(whole)) or 1
    return math.floor(bound / step + 1e-6) * float(step)
