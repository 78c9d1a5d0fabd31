"""Pairs of copies as rows of the relaxation: how many there are at least, or at most.

Copies in one domain make X·(X - 1)/2 pairs, a convex function: where pairs cost, tangents at whole
numbers are all there is to say; where they are worth something, no copy has more partners than a
domain can hold. What copies of two sets cost each other is left out, which only raises the bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Reals
from .company import most_of, valued
from .objectives import Company, Preferred
from .penalty_rows import penalty_rows
from .problem import Problem
from .relaxation import PairColumns, Relaxation

_DOMAINS = 64  # told apart; beyond, all are taken together
_MOST = 20_000  # variables for pairs
_STEP = 1.25  # between tangents that are far from the even spread


@dataclass(frozen=True, slots=True)
class _Cell:
    """Some domains together.

    Args:
        number: of domains.
        columns: by set, its variables there.
        room: by set, (len(columns),) most copies of the set in the domain of each variable.
    """

    number: int
    columns: list[Counts]
    room: list[Reals]


def add_companies(built: Relaxation, given: Problem) -> None:
    """Add rows for the companies of all objectives."""
    for objective in given.objectives:
        if isinstance(objective, Preferred) and (
            objective.companies or objective.excesses or objective.peaks
        ):
            built.pairs.append(_pairs(built, given, objective))


def _pairs(built: Relaxation, given: Problem, objective: Preferred) -> PairColumns:
    columns, worths, left = list[int](), list[float](), 0.0
    for company in objective.companies:
        if len(columns) > _MOST:
            left += most_of(company, given.count)
            continue
        for cell in _cells(built, given, company):
            for column, worth in _of_cell(built, given, company, cell):
                columns.append(column)
                worths.append(worth)
    over, constant = penalty_rows(built, objective)
    columns += over
    worths += [-1.0] * len(over)
    left -= constant
    return PairColumns(objective, np.array(columns, dtype=np.int64), np.array(worths), left)


def _cells(built: Relaxation, given: Problem, company: Company) -> Iterator[_Cell]:
    members = [np.isin(built.classes, np.array(each)) for each in company.sets]
    count = [float(given.count[list(each)].sum()) for each in company.sets]
    if company.domain is None:
        fit = built.shape.fit[built.types, built.classes].astype(np.float64)
        found, rooms = [np.flatnonzero(mine) for mine in members], list[Reals]()
        for mine, most in zip(found, count, strict=True):
            together = np.bincount(built.types[mine], fit[mine], built.shape.number.size)
            rooms.append(np.minimum(together[built.types[mine]], most))
        types = np.unique(built.types[np.concatenate(found)])
        yield _Cell(int(built.shape.number[types].sum()), found, rooms)
        return
    there = company.domain[built.shape.group[built.types]]
    domains: list[int] = np.unique(there[np.any(members, axis=0) & (there >= 0)]).tolist()
    parts = [np.array([d]) for d in domains] if len(domains) <= _DOMAINS else [np.array(domains)]
    for part in parts:
        inside = np.isin(there, part)
        found = [np.flatnonzero(mine & inside) for mine in members]
        rooms = [np.full(mine.size, most) for mine, most in zip(found, count, strict=True)]
        yield _Cell(int(part.size), found, rooms)


def _of_cell(
    built: Relaxation, given: Problem, company: Company, cell: _Cell
) -> Iterator[tuple[int, float]]:
    """Yield variables that stand for pairs, and what each pair is worth."""
    many = [int(given.count[list(each)].sum()) for each in company.sets]
    for g, h in valued(company.worth):
        worth = float(company.worth[g, h])
        if g != h and worth < 0:
            continue
        most = float(many[g] * (many[g] - 1) / 2 if g == h else many[g] * many[h])
        (pairs,) = built.rows.variables(np.array([most])).tolist()
        if worth < 0:
            _at_least(built, cell, g, many[g], pairs)
        elif g == h:
            _at_most(built, cell.columns[g], np.maximum(cell.room[g] - 1.0, 0.0) / 2.0, pairs)
        else:
            for one, other in ((g, h), (h, g)):
                beside = float(cell.room[other].max(initial=0.0))
                each = np.full(cell.columns[one].size, beside)
                _at_most(built, cell.columns[one], each, pairs)
        yield pairs, worth


def _at_most(built: Relaxation, columns: Counts, each: Reals, pairs: int) -> None:
    built.rows.add(np.append(columns, pairs), np.append(-each, 1.0), 0.0)


def _at_least(built: Relaxation, cell: _Cell, g: int, many: int, pairs: int) -> None:
    """Σ over domains of X·(X - 1)/2 ≥ k·ΣX - number·k·(k + 1)/2 for whole k."""
    columns = cell.columns[g]
    for k in _tangents(many, cell.number):
        least = np.append(np.full(columns.size, float(k)), -1.0)
        built.rows.add(np.append(columns, pairs), least, cell.number * k * (k + 1) / 2.0)


def _tangents(many: int, number: int) -> list[int]:
    even = many // max(number, 1)
    found, k = {max(even - 1, 1), max(even, 1), even + 1}, 1.0
    while k < many:
        found.add(int(k))
        k = max(k + 1.0, k * _STEP)
    return sorted(each for each in found if each < max(many, 2))
