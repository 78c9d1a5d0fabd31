"""What batch rules forbid and demand, counted while single copies come and go.

Pure. Each tally says, domain by domain, by how much what a rule stated is broken: 0 where it holds.
So a change can be judged by what it makes worse, whatever is broken already.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from ...batch_terms import Reals
from ...snapshot import Counts, Mask
from ..solver.rules import Across, Apart, Exclusive, Needs, Together
from .stated import Between, ByHost, Stated, Sums

_NOISE = 1e-9


class Tally(ABC):
    """One thing that a rule stated, over H hosts.

    Attributes:
        classes: whose copies count.
    """

    classes: frozenset[int]

    @abstractmethod
    def put(self, c: int, host: int, copies: int) -> None:
        """Count copies of a class on a host; below 0: they leave."""

    @abstractmethod
    def broken(self) -> Reals:
        """Return by how much it is broken, (D,) by domain."""

    @abstractmethod
    def with_one(self, c: int) -> Reals:
        """Return (H,) by how much the domain of each host is broken with one copy more there."""

    def settle(self) -> None:
        """Take what is broken now for what may be."""
        self._most = self.broken()

    @property
    def settled(self) -> Reals:
        """What may be broken, (D,)."""
        return self._most

    def worse(self) -> bool:
        """Tell whether anything is broken more than it may be."""
        return bool((self.broken() > self._most + _NOISE * (1.0 + self._most)).any())

    def opens(self, c: int) -> Mask:
        """Return (H,) bool, where one copy more makes nothing worse."""
        most = self.by_host(self._most)
        return self.with_one(c) <= most + _NOISE * (1.0 + most)

    @abstractmethod
    def by_host(self, amounts: Reals) -> Reals:
        """Return (H,) of each host what its domain has; 0 where it has none."""


def tallies(stated: Stated, hosts: int) -> list[Tally]:
    """Return a tally of everything that is forbidden or demanded, nothing counted yet."""
    everywhere = np.zeros(hosts, dtype=np.int64)

    def whole(weights: Mapping[int, Reals], most: float) -> Tally:
        return _Sum(Sums(ByHost(weights), np.full(hosts, most), everywhere))

    masks = [whole({c: (~mask).astype(np.float64)}, 0.0) for c, mask in stated.masks]
    caps = [whole(each.rows, most) for each, most in stated.caps]
    floors = [
        whole({c: -row for c, row in each.rows.items()}, -least) for each, least in stated.floors
    ]
    quotas: list[Tally] = [_Sum(each) for each in stated.quotas]
    between = [_between(each, hosts) for each in stated.between]
    return [*masks, *caps, *floors, *quotas, *between]


def _between(rule: Between, hosts: int) -> Tally:
    codes = np.arange(hosts) if rule.domain is None else rule.domain
    if isinstance(rule, Together):
        return _Together(rule, codes)
    if isinstance(rule, Across):
        return _Across(rule, codes)
    return _Sides(rule, codes)


class _Zoned(Tally):
    """Hosts by domain; those without one are the last."""

    def __init__(self, codes: Counts) -> None:
        self._many = int(codes.max(initial=-1)) + 1
        self._codes = np.where(codes < 0, self._many, codes)

    def by_host(self, amounts: Reals) -> Reals:
        return np.append(amounts, 0.0)[self._codes]


class _Sum(_Zoned):
    """Σ weights · copies <= amount in each domain: caps, quotas, masks; floors with other signs."""

    def __init__(self, given: Sums) -> None:
        hosts = given.amount.size
        super().__init__(np.arange(hosts) if given.domain is None else given.domain)
        self.classes = frozenset(given.weights.rows)
        self._weights = given.weights.rows
        self._sums = np.zeros(self._many + 1)
        self._amount = np.zeros(self._many + 1)
        self._amount[self._codes] = given.amount
        self._least = _NOISE * (1.0 + np.abs(self._amount))  # that is more than noise

    def put(self, c: int, host: int, copies: int) -> None:
        self._sums[self._codes[host]] += copies * self._weights[c][host]

    def broken(self) -> Reals:
        over = self._sums - self._amount
        return np.where(over > self._least, over, 0.0)[: self._many]

    def with_one(self, c: int) -> Reals:
        over = (self._sums - self._amount)[self._codes] + self._weights[c]
        known = self._codes < self._many
        return np.where(known & (over > self._least[self._codes]), over, 0.0)


class _Sides(_Zoned):
    """Copies of one or two sides in each domain."""

    def __init__(self, rule: Exclusive | Apart | Needs, codes: Counts) -> None:
        super().__init__(codes)
        self._rule = rule
        sides = (rule.classes, ()) if isinstance(rule, Exclusive) else (rule.left, rule.right)
        self._members = [frozenset(side) for side in sides]
        self.classes = frozenset().union(*self._members)
        self._sides = np.zeros((2, self._many + 1))

    def put(self, c: int, host: int, copies: int) -> None:
        self._sides[self._mine(c), self._codes[host]] += copies

    def broken(self) -> Reals:
        return self._over(*self._sides)[: self._many]

    def with_one(self, c: int) -> Reals:
        left, right = self._sides + self._mine(c)[:, None]
        return self.by_host(self._over(left, right)[: self._many])

    def _mine(self, c: int) -> Mask:
        return np.array([c in members for members in self._members])

    def _over(self, left: Reals, right: Reals) -> Reals:
        if isinstance(self._rule, Exclusive):
            return np.maximum(left - self._rule.most, 0.0)
        if isinstance(self._rule, Apart):
            return left * right
        return np.where(right > 0, 0.0, left)


class _Together(_Zoned):
    """Copies outside the domain that has most of them."""

    def __init__(self, rule: Together, codes: Counts) -> None:
        super().__init__(codes)
        self.classes = frozenset(rule.classes)
        self._sums = np.zeros(self._many + 1)

    def put(self, c: int, host: int, copies: int) -> None:
        self._sums[self._codes[host]] += copies

    def broken(self) -> Reals:
        return np.array([self._sums.sum() - self._sums[: self._many].max(initial=0.0)])

    def with_one(self, c: int) -> Reals:
        most = self._sums[: self._many].max(initial=0.0)
        grown = np.where(self._codes < self._many, self._sums[self._codes] + 1.0, 0.0)
        return self._sums.sum() + 1.0 - np.maximum(grown, most)

    def by_host(self, amounts: Reals) -> Reals:
        return np.full(self._codes.size, amounts[0])


class _Across(_Together):
    """Domains that lack copies."""

    def __init__(self, rule: Across, codes: Counts) -> None:
        _Zoned.__init__(self, codes)
        self.classes = frozenset(rule.classes)
        self._least = rule.least
        self._sums = np.zeros(self._many + 1)

    def broken(self) -> Reals:
        held = int(np.count_nonzero(self._sums[: self._many] > 0))
        return np.array([float(max(self._least - held, 0))])

    def with_one(self, c: int) -> Reals:
        return np.zeros(self._codes.size)
