"""Companies on a neighbourhood: pairs of copies counted, whoever stays outside it included."""

from ortools.sat.python import cp_model

from .arrays import Counts
from .company import Circle, circle, valued
from .neighbourhood import Neighbourhood, Terms, total
from .objectives import Company

_TANGENTS = 48  # up to so many copies more in a domain, pairs that cost are held by tangents

_Side = tuple[Terms, int]  # variables of a set in a domain, and copies that are there anyway


def company_terms(made: Neighbourhood, company: Company, worth: Counts) -> Terms:
    """Return what pairs add, but for those that cannot change.

    Args:
        worth: (S, S) int64, the company's.
    """
    known = circle(company, made.given.group, made.rest)
    sides = _sides(made, known)
    terms: Terms = []
    for g, h in valued(worth):
        each = int(worth[g, h])
        for domain in sorted(set(sides[g]) | set(sides[h])):
            one, other = ((sides[s].get(domain, []), int(known.sums[s, domain])) for s in (g, h))
            if g == h:
                terms.append((_among(made, one, each), each))
            else:
                terms += _between(made, one, other, each)
    return terms


def _sides(made: Neighbourhood, known: Circle) -> list[dict[int, Terms]]:
    """Return variables by set and domain."""
    found: list[dict[int, Terms]] = [{} for _ in known.company.sets]
    for (n, c), x in made.copies.items():
        at, domain = known.set_of.get(c), int(known.codes[n])
        if at is not None and domain >= 0:
            found[at].setdefault(domain, []).append((x, 1))
    return found


def _sum(made: Neighbourhood, side: _Side) -> tuple[cp_model.IntVar, int]:
    """Return a variable for all copies of a side, and the most that it can be."""
    terms, fixed = side
    most = fixed + sum(made.upper[x.index] for x, _ in terms)
    copies = made.model.new_int_var(fixed, most, "")
    made.model.add(copies == total(terms) + fixed)
    return copies, most


def _among(made: Neighbourhood, side: _Side, worth: int) -> cp_model.IntVar:
    """Return the pairs within a set; no fewer than there are, where they cost something."""
    copies, most = _sum(made, side)
    pairs = made.model.new_int_var(0, most * (most - 1) // 2, "")
    fixed = side[1]
    if worth < 0 and most - fixed <= _TANGENTS:
        for k in range(max(fixed, 1), most):
            made.at_most([(copies, k), (pairs, -1)], k * (k + 1) // 2)
        return pairs
    square = made.model.new_int_var(0, most * most, "")
    made.model.add_multiplication_equality(square, [copies, copies])
    made.model.add(2 * pairs == square - copies)
    return pairs


def _between(made: Neighbourhood, one: _Side, other: _Side, worth: int) -> Terms:
    """Return the pairs of two sets."""
    if not one[0] or not other[0]:
        (terms, _), (_, fixed) = (one, other) if one[0] else (other, one)
        return [(x, worth * fixed) for x, _ in terms] if fixed else []
    (left, most), (right, more) = _sum(made, one), _sum(made, other)
    pairs = made.model.new_int_var(0, most * more, "")
    made.model.add_multiplication_equality(pairs, [left, right])
    return [(pairs, worth)]
