"""Rules between nodes while a plan grows: how many more copies each node may get, and trimming.

A plan under construction keeps the rules at every step, but for gangs, which are complete or
dropped at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .arrays import Counts
from .metering import Meter, meter
from .problem import MANY, Problem
from .rules import (
    Across,
    Apart,
    Cap,
    Exclusive,
    Floor,
    Gang,
    Needs,
    Quota,
    Rule,
    Spread,
    Together,
)

Trim = tuple[tuple[int, ...], Counts, int]
Between = Exclusive | Apart | Spread | Together | Needs


@dataclass(frozen=True, slots=True)
class Zoned:
    """A rule, the domains (N,) of nodes and their number D."""

    rule: Between
    domains: Counts
    many: int

    def sums(self, copies: Counts) -> Counts:
        """Return (D,) the sum of (N,) copies by domain."""
        known = self.domains >= 0
        found = np.bincount(self.domains[known], copies[known], self.many)
        return np.rint(found).astype(np.int64)

    def totals(self, content: Counts, classes: tuple[int, ...]) -> Counts:
        """Return (D,) copies of classes by domain."""
        return self.sums(content[list(classes)].sum(axis=0))

    def by_node(self, per_domain: Counts, otherwise: int) -> Counts:
        """Return (N,) what the domain of each node has."""
        if not per_domain.size:
            return np.full(self.domains.size, otherwise, dtype=np.int64)
        return np.where(self.domains >= 0, per_domain[self.domains], otherwise)


class Regulation:
    """The rules of a problem that are about more than one node."""

    def __init__(self, given: Problem) -> None:
        self.group = given.group
        self.count = given.count
        self.gangs: list[Gang] = []
        self.gang_of: dict[int, Gang] = {}
        self.meters: list[Meter] = []
        self.zoned: list[Zoned] = []
        self._of: dict[int, list[Zoned]] = {}
        for rule in given.rules:
            self._note(rule)

    def of(self, c: int) -> tuple[list[Zoned], list[Meter]]:
        """Return the rules that limit a class."""
        return self._of.get(c, []), [each for each in self.meters if each.weight[c].any()]

    def trims(self, content: Counts) -> Iterator[Trim]:
        """Yield (classes, nodes, copies) of which so many have to go; the content may change."""
        for zoned in self.zoned:
            yield from _trims(zoned, content)
        for each in self.meters:
            yield from each.trims(content)

    def broken(self, c: int, content: Counts) -> bool:
        """Tell whether any of the rules that limit a class does not hold, gangs aside."""
        zoned, meters = self.of(c)
        if any(True for each in zoned for _ in _trims(each, content)):
            return True
        return any(bool(each.over(content).any()) for each in meters)

    def incomplete(self, left: Counts) -> list[int]:
        """Return the placed classes of gangs that are placed in part."""
        found: list[int] = []
        for gang in self.gangs:
            members = list(gang.classes)
            placed = self.count[members] - left[members]
            if placed.any() and left[members].any():
                found += [c for c, some in zip(members, placed.tolist(), strict=True) if some]
        return found

    def _note(self, rule: Rule) -> None:
        if isinstance(rule, Cap | Quota):
            self.meters.append(meter(rule, self.group))
        elif isinstance(rule, Gang):
            self.gangs.append(rule)
            self.gang_of |= dict.fromkeys(rule.classes, rule)
        elif isinstance(rule, Floor | Across):
            return  # a goal, not a limit
        elif rule.domain is not None or isinstance(rule, Spread | Together | Needs):
            self._register(_zoned(rule, self.group))

    def _register(self, zoned: Zoned) -> None:
        self.zoned.append(zoned)
        rule = zoned.rule
        paired = isinstance(rule, Apart | Needs)
        members = (*rule.left, *rule.right) if paired else rule.classes
        for c in set(members):
            self._of.setdefault(c, []).append(zoned)


def breaks(content: Counts, rule: Between, group: Counts) -> bool:
    """Tell whether a plan, (C, N) copies, breaks a rule; group: (N,) of nodes."""
    return any(True for _ in _trims(_zoned(rule, group), content))


def _zoned(rule: Between, group: Counts) -> Zoned:
    if rule.domain is not None:
        many = max(int(rule.domain.max(initial=-1)) + 1, 1)
        if isinstance(rule, Spread):
            many = max(many, rule.existing.size)
        return Zoned(rule, rule.domain[group], many)
    nodes = np.arange(group.size)
    if isinstance(rule, Spread):
        nodes = np.where(rule.existing >= 0, nodes, -1)
    return Zoned(rule, nodes, nodes.size)


def allowed(zoned: Zoned, content: Counts, c: int) -> Counts:
    """Return (D,) how many more copies of a class each domain may get under one rule."""
    rule = zoned.rule
    if isinstance(rule, Exclusive):
        return rule.most - zoned.totals(content, rule.classes)
    if isinstance(rule, Apart):
        taken = np.zeros(zoned.many, dtype=np.int64)
        if c in rule.left:
            taken += zoned.totals(content, rule.right)
        if c in rule.right:
            taken += zoned.totals(content, rule.left)
        return np.where(taken > 0, 0, MANY)
    if isinstance(rule, Needs):
        free = c in rule.right or c not in rule.left
        return np.where(free | (zoned.totals(content, rule.right) > 0), MANY, 0)
    totals = zoned.totals(content, rule.classes)
    if isinstance(rule, Spread):
        totals, least = _levels(rule, totals)
        return np.maximum(least + rule.skew - totals, 0)
    return np.where(totals > 0, MANY, 0) if totals.any() else np.full(zoned.many, MANY)


def poured(zoned: Zoned, content: Counts, fits: Counts, wanted: int) -> Counts:
    """Return (D,) copies by domain that a spread takes at once, all evenly, none above skew.

    Args:
        fits: (N,) copies that there is room for.
    """
    rule = zoned.rule
    assert isinstance(rule, Spread)
    totals, _ = _levels(rule, zoned.totals(content, rule.classes))
    room = zoned.sums(fits)
    counted = rule.existing >= 0
    top = int((totals + room)[counted].min(initial=MANY)) + rule.skew

    def added(level: int) -> Counts:
        return np.where(counted, np.clip(level - totals, 0, room), 0)

    low, high = 0, min(top, int(totals.max(initial=0)) + wanted)
    while low < high:
        middle = (low + high + 1) // 2
        if int(added(middle).sum()) <= wanted:
            low = middle
        else:
            high = middle - 1
    copies = added(low)
    if low < top:
        more = np.flatnonzero(added(low + 1) > copies)[: wanted - int(copies.sum())]
        copies[more] += 1
    return copies


def _levels(rule: Spread, totals: Counts) -> tuple[Counts, int]:
    """Return (D,) all copies and the least of the domains that count."""
    totals = totals + np.maximum(rule.existing, 0)
    return totals, int(totals[rule.existing >= 0].min(initial=MANY))


def _trims(zoned: Zoned, content: Counts) -> Iterator[Trim]:
    rule = zoned.rule
    if isinstance(rule, Apart):
        left, right = zoned.totals(content, rule.left), zoned.totals(content, rule.right)
        for d in np.flatnonzero((left > 0) & (right > 0)).tolist():
            fewer = rule.left if left[d] <= right[d] else rule.right
            yield fewer, np.flatnonzero(zoned.domains == d), int(min(left[d], right[d]))
        return
    if isinstance(rule, Needs):
        left, right = zoned.totals(content, rule.left), zoned.totals(content, rule.right)
        for d in np.flatnonzero((left > 0) & (right == 0)).tolist():
            yield rule.left, np.flatnonzero(zoned.domains == d), int(left[d])
        return
    totals = zoned.totals(content, rule.classes)
    if isinstance(rule, Exclusive):
        over = totals - rule.most
    else:
        outside = np.flatnonzero(zoned.domains < 0)
        if content[list(rule.classes)][:, outside].any():
            yield rule.classes, outside, MANY
        if isinstance(rule, Spread):
            levels, least = _levels(rule, totals)
            over = np.minimum(totals, levels - least - rule.skew)
        else:
            over = totals.copy()
            over[int(np.argmax(totals))] = 0
    for d in np.flatnonzero(over > 0).tolist():
        yield rule.classes, np.flatnonzero(zoned.domains == d), int(over[d])
