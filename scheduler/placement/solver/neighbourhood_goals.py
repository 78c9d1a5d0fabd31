"""Objectives on a neighbourhood, solved one after the other, each holding those before."""

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts
from .deadline import Deadline
from .neighbourhood import Neighbourhood, Terms, total
from .neighbourhood_company import company_terms
from .neighbourhood_penalties import excess_terms, peak_terms, sizes_of
from .neighbourhood_room import balance_terms, stranded_terms
from .neighbourhood_rules import by_domain
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
from .penalties import missing
from .rules import Across, Floor


@dataclass(frozen=True, slots=True)
class Found:
    """What CP-SAT found.

    Args:
        content: (C, M) copies on the nodes, None if nothing was found.
        proved: objectives, from the first on, that are proved to be at their best.
    """

    content: Counts | None
    proved: int


def optimise(made: Neighbourhood, now: Counts, deadline: Deadline, work: float, seed: int) -> Found:
    """Make the best of the nodes.

    Args:
        now: (C, M) what they hold, the copies hinted at.
        work: in CP-SAT's deterministic seconds per objective.
    """
    content: Counts | None = None
    proved = 0
    for objective in made.given.objectives:
        if deadline.over:
            break
        terms = [] if _at_best(made, objective, now) else _terms(made, objective)
        if not terms:
            proved += made.exact
            continue
        goal = total(terms)
        made.model.maximize(goal)
        solver = _solver(deadline, work, seed)
        status = solver.solve(made.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            break
        now = content = _content(made, solver)
        made.exact = made.exact and status == cp_model.OPTIMAL
        proved += made.exact
        made.model.add(goal >= round(solver.objective_value))
        made.hint(solver)
    return Found(content, proved)


def mend(
    made: Neighbourhood,
    objective: Objective,
    price: float,
    deadline: Deadline,
    work: float,
    seed: int,
) -> Found:
    """Make the best of an objective in a lenient model in which all that is left is placed.

    Args:
        price: of a broken rule, in the objective's units.
    """
    terms = _terms(made, objective)
    for c in np.flatnonzero(made.left).tolist():
        made.model.add(total(made.of((c,))) == int(made.left[c]))
    dear = max(1, round(price * made.factor))
    made.model.maximize(total([*terms, *((fault, -dear) for fault, _ in made.faults)]))
    solver = _solver(deadline, work, seed)
    if solver.solve(made.model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Found(None, 0)
    return Found(_content(made, solver), 0)


def _solver(deadline: Deadline, work: float, seed: int) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = deadline.limit(60.0)
    solver.parameters.max_deterministic_time = work
    return solver


def _at_best(made: Neighbourhood, objective: Objective, now: Counts) -> bool:
    """Tell whether nothing can beat what the nodes hold now, all copies placed; then hold that.

    Args:
        now: (C, M).
    """
    if isinstance(objective, Shortfall):
        content = made.rest.copy()
        content[:, made.nodes] += now
        if missing(made.given, content):
            return False
        for short, _ in _missing(made):
            made.at_most([(short, 1)], 0)
        return True
    if (
        not isinstance(objective, Placed)
        or (made.left > now.sum(axis=1))[objective.value > 0].any()
    ):
        return False
    for c in np.flatnonzero((objective.value > 0) & (made.left > 0)).tolist():
        made.model.add(total(made.of((c,))) == int(made.left[c]))
    return True


def _content(made: Neighbourhood, solver: cp_model.CpSolver) -> Counts:
    position = {node: at for at, node in enumerate(made.nodes.tolist())}
    content = np.zeros((made.left.size, made.nodes.size), dtype=np.int64)
    for (n, c), x in made.copies.items():
        content[c, position[n]] = solver.value(x)
    return content


def _terms(made: Neighbourhood, objective: Objective) -> Terms:
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
        return balance_terms(made, objective)
    return stranded_terms(made, objective)


def _preferred(made: Neighbourhood, objective: Preferred) -> Terms:
    group = made.given.group
    worths = np.array([meeting.worth for meeting in objective.meetings])
    pairs = [company.worth.reshape(-1) for company in objective.companies]
    soft = [sizes_of(each) for each in (*objective.excesses, *objective.peaks)]
    parts = [objective.weight.reshape(-1), worths, *pairs, *soft]
    sizes = made.whole(np.concatenate(parts))
    flat, met, *paired = np.split(sizes, np.cumsum([part.size for part in parts])[:-1])
    weight = flat.reshape(objective.weight.shape)
    terms = [(x, int(weight[c, group[n]])) for (n, c), x in made.copies.items()]
    for meeting, worth in zip(objective.meetings, met.tolist(), strict=True):
        terms += [(both, worth) for both in _meeting(made, meeting)]
    rest = iter(paired)
    for company in objective.companies:
        terms += company_terms(made, company, next(rest).reshape(company.worth.shape))
    for excess in objective.excesses:
        terms += excess_terms(made, excess, next(rest))
    for peak in objective.peaks:
        terms += peak_terms(made, peak, next(rest))
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
    """Return what is missing to each Floor and Across."""
    floors = [rule for rule in made.given.rules if isinstance(rule, Floor)]
    parts = [np.ones(1), *(np.append(f.weight, f.least) for f in floors)]
    one, sizes = np.split(made.whole(np.concatenate(parts)), [1])
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
    for rule in made.given.rules:
        if isinstance(rule, Across):
            found += [(missing, -int(one[0])) for missing in _uncovered(made, rule)]
    return found


def _uncovered(made: Neighbourhood, rule: Across) -> list[cp_model.IntVar]:
    """Return how many domains are missing, nothing where none can be."""
    terms, fixed = by_domain(made, rule, rule.classes)
    open_still = [mine for d, mine in terms.items() if d >= 0 and not fixed[d]]
    least = rule.least - sum(1 for d, many in fixed.items() if d >= 0 and many)
    if least <= 0:
        return []
    held: Terms = []
    for mine in open_still:
        there = made.model.new_bool_var("")
        made.at_most([(there, 1), *((x, -1) for x, _ in mine)], 0)
        held.append((there, -1))
    missing = made.model.new_int_var(0, least, "")
    made.at_most([*held, (missing, -1)], -least)
    return [missing]


def _kept(made: Neighbourhood, objective: Kept) -> Terms:
    weight = made.whole(objective.weight)
    terms: Terms = []
    for n, c, many in made.given.current.T.tolist():
        x = made.copies.get((n, c))
        if x is not None and weight[c]:
            stay = made.model.new_int_var(0, many, "")
            made.model.add(stay <= x + int(made.rest[c, n]))
            terms.append((stay, int(weight[c])))
    return terms
