"""Soft limits on a neighbourhood, with what stays outside it counted in."""

from collections.abc import Iterator

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts, Reals
from .neighbourhood import Neighbourhood, Terms
from .objectives import Excess, Peak
from .penalties import codes_of


def sizes_of(given: Excess | Peak) -> Reals:
    """Return the numbers that a soft limit consists of, weights first."""
    return np.concatenate([given.weight.reshape(-1), given.amount])


def excess_terms(made: Neighbourhood, excess: Excess, sizes: Counts) -> Terms:
    """Return what sums above the amount take off, but for sums that cannot change.

    Args:
        sizes: whole numbers in place of those of `sizes_of`.
    """
    every = range(made.given.count.size)
    return [(_above(made, terms, most), -1) for terms, most in _sums(made, excess, sizes, every)]


def peak_terms(made: Neighbourhood, peak: Peak, sizes: Counts) -> Terms:
    """Return what the largest sum takes off; sums that cannot change hold it up."""
    least, changing = 0, list[tuple[Terms, int]]()
    for classes in peak.sums:
        for terms, left in _sums(made, peak, sizes, classes, fixed=True):
            if terms:
                changing.append((terms, left))
            else:
                least = max(least, -left)
    if not changing:
        return []
    top = max(_most(made, terms) - left for terms, left in changing)
    highest = made.model.new_int_var(least, max(least, top), "")
    for terms, left in changing:
        made.at_most([*terms, (highest, -1)], left)
    return [(highest, -1)]


def _sums(
    made: Neighbourhood,
    given: Excess | Peak,
    sizes: Counts,
    classes: range | tuple[int, ...],
    fixed: bool = False,
) -> Iterator[tuple[Terms, int]]:
    """Yield the terms of each domain, and how large their sum may be before it costs.

    Args:
        fixed: whether domains without terms are told of, too.
    """
    group = made.given.group
    weight = sizes[: given.weight.size].reshape(given.weight.shape)
    amount = sizes[given.weight.size :]
    codes = codes_of(given, group)
    terms: dict[int, Terms] = {}
    for c in classes:
        for n, x in made.by_class.get(c, ()):
            if weight[c, group[n]] and codes[n] >= 0:
                terms.setdefault(int(codes[n]), []).append((x, int(weight[c, group[n]])))
    if not terms and not fixed:
        return
    chosen = slice(None) if isinstance(classes, range) else list(classes)
    there = (weight[chosen][:, group] * made.rest[chosen]).sum(axis=0)
    known = codes >= 0
    size = int(codes.max(initial=-1)) + 1
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, codes[known], there[known])
    limits = np.zeros(size, dtype=np.int64)
    limits[codes[known]] = amount[group[known]]
    for domain in range(size) if fixed else terms:
        yield terms.get(domain, []), int(limits[domain] - sums[domain])


def _most(made: Neighbourhood, terms: Terms) -> int:
    return sum(max(weight, 0) * made.upper[x.index] for x, weight in terms)


def _above(made: Neighbourhood, terms: Terms, left: int) -> cp_model.IntVar:
    over = made.model.new_int_var(
        max(0, _least(made, terms) - left), max(0, _most(made, terms) - left), ""
    )
    made.at_most([*terms, (over, -1)], left)
    return over


def _least(made: Neighbourhood, terms: Terms) -> int:
    return sum(min(weight, 0) * made.upper[x.index] for x, weight in terms)
