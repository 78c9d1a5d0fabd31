"""What copies mean to each other where they share a domain: values, single moves, and ceilings."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Reals
from .objectives import Company, Objective, Preferred
from .problem import Problem


def codes_of(company: Company, group: Counts) -> Counts:
    """Return (N,) the domain of each node, -1 for none."""
    return np.arange(group.size) if company.domain is None else company.domain[group]


def pairs_worth(company: Company, sums: Reals) -> float:
    """Return what (S, D) copies by domain are worth."""
    own = np.diag(company.worth)
    return float(((company.worth @ sums) * sums).sum() - own @ sums.sum(axis=1)) / 2.0


def valued(worth: Reals | Counts) -> list[tuple[int, int]]:
    """Return the pairs of sets, each once, that are worth anything."""
    found: list[list[int]] = np.argwhere(np.triu(worth)).tolist()
    return [(g, h) for g, h in found]


def most_of(company: Company, count: Counts) -> float:
    """Return what no plan exceeds: everybody with all whom they like, and with nobody else."""
    many = np.array([int(count[list(each)].sum()) for each in company.sets], dtype=np.float64)
    return pairs_worth(Company(company.sets, np.maximum(company.worth, 0.0)), many[:, None])


@dataclass(slots=True)
class Circle:
    """A company in a plan that changes copy by copy.

    Args:
        codes: (N,) domains.
        sums: (S, D) copies by set and domain.
        set_of: class → its set.
    """

    company: Company
    codes: Counts
    sums: Reals
    set_of: dict[int, int] = field(default_factory=dict[int, int])

    def put(self, c: int, node: int, copies: int) -> None:
        """Count so many more copies of one of its classes on a node."""
        if (code := int(self.codes[node])) >= 0:
            self.sums[self.set_of[c], code] += copies

    def gains(self, c: int) -> Reals:
        """Return (N,) what one more copy of a class would add on each node."""
        per_domain = self.company.worth[self.set_of[c]] @ self.sums
        return np.where(self.codes >= 0, per_domain[self.codes], 0.0)

    def gain(self, c: int, node: int) -> float:
        """Return what one more copy of a class would add on a node."""
        code = int(self.codes[node])
        return 0.0 if code < 0 else float(self.company.worth[self.set_of[c]] @ self.sums[:, code])

    @property
    def worth(self) -> float:
        """What all its pairs are worth."""
        return pairs_worth(self.company, self.sums)


def circle(company: Company, group: Counts, content: Counts) -> Circle:
    """Return a company in a plan of (C, N) copies."""
    codes = codes_of(company, group)
    known = codes >= 0
    many = int(codes.max(initial=0)) + 1
    sums = np.zeros((len(company.sets), many))
    for at, classes in enumerate(company.sets):
        copies = content[list(classes)].sum(axis=0)
        sums[at] = np.bincount(codes[known], copies[known], many)
    set_of = {c: at for at, classes in enumerate(company.sets) for c in classes}
    return Circle(company, codes, sums, set_of)


@dataclass(frozen=True, slots=True)
class Likes:
    """Companies as they guide the search: weighed as one sum of all objectives.

    Args:
        group: (N,) of nodes.
        of: class → (company, factor) that it is part of.
    """

    group: Counts
    of: dict[int, tuple[tuple[Company, float], ...]]

    def gains(self, c: int, content: Counts) -> Reals:
        """Return (N,) what one more copy of a class would add on each node of a plan."""
        found = np.zeros(self.group.size)
        for company, factor in self.of.get(c, ()):
            found += factor * circle(company, self.group, content).gains(c)
        return found


def likes(given: Problem, scales: Sequence[float]) -> Likes:
    """Return the companies of a problem by class.

    Args:
        scales: the factor of each objective.
    """
    of: dict[int, tuple[tuple[Company, float], ...]] = {}
    for objective, scale in zip(given.objectives, scales, strict=True):
        for company in companies(objective):
            for classes in company.sets:
                for c in classes:
                    of[c] = (*of.get(c, ()), (company, scale))
    return Likes(given.group, of)


def companies(objective: Objective) -> tuple[Company, ...]:
    """Return the companies of an objective."""
    return objective.companies if isinstance(objective, Preferred) else ()
