"""Objectives on a neighbourhood, solved one after the other, each holding those before."""

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts
from .deadline import Deadline
from .neighbourhood import Neighbourhood, Terms, total
from .neighbourhood_company import company_terms
from .objectives import (
    Balanced,
    HostCost,
    Kept,
    Meeting,
    Objective,
    Placed,
    Preferred,
    Shortfall,
)
from .rules import Floor

_BALANCE = 1 << 30


@dataclass(frozen=True, slots=True)
class Found:
    """What CP-SAT found.

    Args:
        content: (C, M) copies on the nodes, None if nothing was found.
        proved: objectives, from the first on, that are proved to be at their best.
    """

    content: Counts | None
    proved: int


def optimise(made: Neighbourhood, deadline: Deadline, work: float, seed: int) -> Found:
    """Make the best of the nodes; `work` in CP-SAT's deterministic seconds per objective."""
    content: Counts | None = None
    proved = 0
    for objective in made.given.objectives:
        terms = _terms(made, objective)
        if terms is None or deadline.over:
            break
        if not terms:
            proved += made.exact
            continue
        goal = total(terms)
        made.model.maximize(goal)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_time_in_seconds = deadline.limit(60.0)
        solver.parameters.max_deterministic_time = work
        status = solver.solve(made.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            break
        content = _content(made, solver)
        made.exact = made.exact and status == cp_model.OPTIMAL
        proved += made.exact
        made.model.add(goal >= round(solver.objective_value))
        made.model.clear_hints()
        for x in made.copies.values():
            made.model.add_hint(x, solver.value(x))
    return Found(content, proved)


def _content(made: Neighbourhood, solver: cp_model.CpSolver) -> Counts:
    position = {node: at for at, node in enumerate(made.nodes.tolist())}
    content = np.zeros((made.left.size, made.nodes.size), dtype=np.int64)
    for (n, c), x in made.copies.items():
        content[c, position[n]] = solver.value(x)
    return content


def _terms(made: Neighbourhood, objective: Objective) -> Terms | None:
    if isinstance(objective, Placed):
        value = made.whole(objective.value)
        return [(x, int(value[c])) for (_, c), x in made.copies.items()]
    if isinstance(objective, HostCost):
        cost = made.whole(objective.cost)
        return [(made.open(n), -int(cost[n])) for n in made.nodes.tolist()]
    if isinstance(objective, Preferred):
        return _preferred(made, objective)
    if isinstance(objective, Shortfall):
        return _missing(made)
    if isinstance(objective, Kept):
        return _kept(made, objective)
    if isinstance(objective, Balanced):
        return _balanced(made, objective)
    return None


def _preferred(made: Neighbourhood, objective: Preferred) -> Terms:
    group = made.given.group
    worths = np.array([meeting.worth for meeting in objective.meetings])
    pairs = [company.worth.reshape(-1) for company in objective.companies]
    parts = [objective.weight.reshape(-1), worths, *pairs]
    sizes = made.whole(np.concatenate(parts))
    flat, met, *paired = np.split(sizes, np.cumsum([part.size for part in parts])[:-1])
    weight = flat.reshape(objective.weight.shape)
    terms = [(x, int(weight[c, group[n]])) for (n, c), x in made.copies.items()]
    for meeting, worth in zip(objective.meetings, met.tolist(), strict=True):
        terms += [(both, worth) for both in _meeting(made, meeting)]
    for company, worth in zip(objective.companies, paired, strict=True):
        terms += company_terms(made, company, worth.reshape(company.worth.shape))
    return terms


def _meeting(made: Neighbourhood, meeting: Meeting) -> list[cp_model.IntVar]:
    """Return a choice per domain: whether both sides are there.

    Held from below where it costs, from above where it gains; those that cannot change are left
    out.
    """
    sides = [_side(made, meeting.domain, side) for side in (meeting.left, meeting.right)]
    found: list[cp_model.IntVar] = []
    for domain in sorted(set(sides[0][0]) | set(sides[1][0])):
        if domain < 0 or any(domain not in terms and domain not in f for terms, f in sides):
            continue
        undecided = [terms[domain] for terms, fixed in sides if domain not in fixed]
        if not undecided:
            continue
        both = made.model.new_bool_var("")
        if meeting.worth > 0:
            for terms in undecided:
                made.at_most([(both, 1), *((x, -1) for x, _ in terms)], 0)
        else:
            choices = [(made.some(terms), 1) for terms in undecided]
            made.at_most([*choices, (both, -1)], len(choices) - 1)
        found.append(both)
    return found


def _side(
    made: Neighbourhood, domain: Counts | None, classes: tuple[int, ...]
) -> tuple[dict[int, Terms], set[int]]:
    """Return variables of some classes by domain, and where they are whatever is decided."""
    codes = np.arange(made.given.group.size) if domain is None else domain[made.given.group]
    chosen, terms = set(classes), dict[int, Terms]()
    for (n, c), x in made.copies.items():
        if c in chosen:
            terms.setdefault(int(codes[n]), []).append((x, 1))
    there: list[int] = codes[made.rest[list(classes)].any(axis=0)].tolist()
    return terms, set(there)


def _missing(made: Neighbourhood) -> Terms:
    """Return what is missing to each Floor."""
    floors = [rule for rule in made.given.rules if isinstance(rule, Floor)]
    sizes = made.whole(np.concatenate([np.append(f.weight, f.least) for f in floors]))
    group, found, at = made.given.group, list[tuple[cp_model.IntVar, int]](), 0
    for rule in floors:
        weight = sizes[at : at + rule.weight.size].reshape(rule.weight.shape)
        least = int(sizes[at + rule.weight.size])
        at += rule.weight.size + 1
        there = int((weight[:, group] * made.rest).sum())
        terms = [(x, int(weight[c, group[n]])) for (n, c), x in made.copies.items()]
        most = max(least - there, 0) + sum(made.upper[x.index] * max(-w, 0) for x, w in terms)
        missing = made.model.new_int_var(0, most, "")
        made.at_most([*((x, -w) for x, w in terms), (missing, -1)], there - least)
        found.append((missing, -1))
    return found


def _kept(made: Neighbourhood, objective: Kept) -> Terms:
    weight = made.whole(objective.weight)
    terms: Terms = []
    for n, c, many in made.given.current.T.tolist():
        x = made.copies.get((n, c))
        if x is not None and weight[c]:
            stay = made.model.new_int_var(0, many, "")
            made.model.add(stay <= x)
            terms.append((stay, int(weight[c])))
    return terms


def _balanced(made: Neighbourhood, objective: Balanced) -> Terms:
    """Squares of what is used, in units that all amounts share."""
    given, terms = made.given, list[tuple[cp_model.IntVar, int]]()
    made.exact = False
    for r in range(given.free.shape[0]):
        unit = int(np.gcd.reduce(np.append(given.demand[r], 0))) or 1
        for n in made.nodes.tolist():
            there = int(objective.allocatable[r, n])
            already = (there - int(given.free[r, n])) // unit
            mine = [
                (x, int(given.demand[r, c]) // unit)
                for (node, c), x in made.copies.items()
                if node == n and given.demand[r, c]
            ]
            if not mine or not there:
                continue
            used = made.model.new_int_var(0, there // unit + 1, "")
            made.model.add(used == total(mine) + already)
            square = made.model.new_int_var(0, (there // unit + 1) ** 2, "")
            made.model.add_multiplication_equality(square, [used, used])
            terms.append((square, -round(_BALANCE * (unit / there) ** 2)))
    return terms
