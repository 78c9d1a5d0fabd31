"""Copies by domain under many rules of one kind at once, and how many of the rules are broken."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from .arrays import Counts, Mask, Reals
from .rules import Across, Apart, Exclusive, Needs

Counted = Exclusive | Apart | Needs | Across
_STEPS = np.array([-1, 1])


class Counter(ABC):
    """J rules of one kind in a plan that changes copy by copy.

    Attributes:
        sides: (2, J, D + 1) copies by side and domain; the last domain is of nodes without one.
    """

    def __init__(self, rules: Sequence[Counted], group: Counts, classes: int) -> None:
        self.rules = rules
        nodes = np.arange(group.size)
        domains = [nodes if each.domain is None else each.domain[group] for each in rules]
        self.nowhere = max(int(codes.max(initial=0)) for codes in domains) + 1
        codes = np.stack(domains)
        self.codes = np.where(codes < 0, self.nowhere, codes)
        self.sides = np.zeros((2, len(rules), self.nowhere + 1), dtype=np.int64)
        # Which class is on which side of which rule, by class.
        members = [
            (c, j, side)
            for j, each in enumerate(rules)
            for side, own in enumerate(_sides(each))
            for c in own
        ]
        members.sort()
        entries = np.array(members, dtype=np.int64).reshape(-1, 3).T
        self.rule, self.side = entries[1], entries[2]
        self.begin = np.searchsorted(entries[0], np.arange(classes + 1))
        self.weight = np.ones(len(rules))

    def broken_at(self) -> list[tuple[Counted, Counts]]:
        """Return broken rules, each with the nodes of a domain where it is."""
        left, right = self.sides[:, :, : self.nowhere]
        rules = np.arange(self.weight.size)[:, None]
        found = np.argwhere(self.faults(rules, left, right)).tolist()
        return [(self.rules[j], np.flatnonzero(self.codes[j] == d)) for j, d in found]

    @abstractmethod
    def faults(self, rules: Counts, left: Counts, right: Counts) -> Counts:
        """Return how far domains with so many copies of both sides are from their rules."""

    def shift(self, c: int, source: int, target: int) -> tuple[int, float]:
        """Count a copy of a class on another node, or for the first time where source is -1.

        Return by how much faults grow, and weighed.
        """
        mine = slice(int(self.begin[c]), int(self.begin[c + 1]))
        rules, sides = self.rule[mine], self.side[mine]
        if not rules.size:
            return 0, 0.0
        gone, come = self._codes_of(rules, source), self.codes[rules, target]
        differ = gone != come
        if not differ.any():
            return 0, 0.0
        rules, sides, gone, come = rules[differ], sides[differ], gone[differ], come[differ]
        rules, codes = np.concatenate([rules, rules]), np.concatenate([gone, come])
        step = np.repeat(_STEPS, gone.size)
        more = self._counted(rules, np.concatenate([sides, sides]), codes, step)
        return int(more.sum()), float(more @ self.weight[rules])

    def _counted(self, rules: Counts, sides: Counts, codes: Counts, step: Counts) -> Counts:
        """Count copies in domains, each of which is named once with a rule; return new faults."""
        more = -self.faults(rules, *self.sides[:, rules, codes])
        self.sides[sides, rules, codes] += step
        more += self.faults(rules, *self.sides[:, rules, codes])
        return more * (codes < self.nowhere)

    def _codes_of(self, rules: Counts, node: int) -> Counts:
        return self.codes[rules, node] if node >= 0 else np.full(rules.size, self.nowhere)

    def blame(self, rise: float, most: float) -> None:
        """Raise the weight of rules that are broken, up to so much; lower that of others to 1."""
        weight = self.weight * np.where(self.broken(), rise, 1.0 / rise)
        self.weight = np.clip(weight, 1.0, most)

    def broken(self) -> Mask:
        """Return (J,) which rules are."""
        left, right = self.sides[:, :, : self.nowhere]
        rules = np.arange(self.weight.size)[:, None]
        return np.any(self.faults(rules, left, right), axis=1)

    def changes(self, classes: Counts, source: Counts, target: Counts) -> Reals:
        """Return (L,) how many more rules are broken if single copies go from nodes to others.

        Each is judged as if nothing else moved, and as if a class were on one side of a rule.
        """
        length = self.begin[classes + 1] - self.begin[classes]
        copy = np.repeat(np.arange(classes.size), length)
        first = np.cumsum(length) - length
        entry = np.arange(copy.size) - first[copy] + self.begin[classes][copy]
        rules, sides = self.rule[entry], self.side[entry]
        here, there = self.codes[rules, source[copy]], self.codes[rules, target[copy]]
        found = self.change(rules, sides, here, -1) + self.change(rules, sides, there, 1)
        found = np.where(here == there, 0.0, found * self.weight[rules])
        return np.bincount(copy, found, classes.size).astype(np.float64)

    def change(self, rules: Counts, sides: Counts, codes: Counts, copies: int) -> Counts:
        """Return how many more rules are broken with so many more copies on a side."""
        left, right = self.sides[:, rules, codes]
        before = self.faults(rules, left, right)
        after = self.faults(rules, left + copies * (sides == 0), right + copies * (sides == 1))
        return np.where(codes < self.nowhere, after - before, 0)


class Exclusives(Counter):
    """Of Exclusive: a fault for each copy too many."""

    def __init__(self, rules: Sequence[Exclusive], group: Counts, classes: int) -> None:
        super().__init__(rules, group, classes)
        self._most = np.array([each.most for each in rules])

    def faults(self, rules: Counts, left: Counts, right: Counts) -> Counts:
        """As of every Counter."""
        return np.maximum(left - self._most[rules], 0)


class Aparts(Counter):
    """Of Apart: a fault for each copy of the smaller side."""

    def faults(self, rules: Counts, left: Counts, right: Counts) -> Counts:
        """As of every Counter."""
        return np.minimum(left, right)


class Needing(Counter):
    """Of Needs: a fault for each domain that lacks what its copies need."""

    def faults(self, rules: Counts, left: Counts, right: Counts) -> Counts:
        """As of every Counter."""
        return ((left > 0) & (right == 0)).astype(np.int64)


class Spans(Counter):
    """Of Across: a fault for each domain too few."""

    def __init__(self, rules: Sequence[Across], group: Counts, classes: int) -> None:
        super().__init__(rules, group, classes)
        self._least = np.array([each.least for each in rules])
        self._held = np.zeros(len(rules), dtype=np.int64)

    def faults(self, rules: Counts, left: Counts, right: Counts) -> Counts:
        """Return 1 where a domain that holds nothing is missed; see `change` for the last one."""
        return ((left == 0) & (self._held[rules] < self._least[rules])).astype(np.int64)

    def _counted(self, rules: Counts, sides: Counts, codes: Counts, step: Counts) -> Counts:
        before = np.maximum(self._least[rules] - self._held[rules], 0)
        known = codes < self.nowhere
        had = self.sides[0, rules, codes] > 0
        self.sides[0, rules, codes] += step
        has = self.sides[0, rules, codes] > 0
        np.add.at(self._held, rules, (has.astype(np.int64) - had) * known)
        more = np.maximum(self._least[rules] - self._held[rules], 0) - before
        return more * (step > 0)  # each rule is named twice

    def broken(self) -> Mask:
        """As of every Counter."""
        return self._held < self._least

    def change(self, rules: Counts, sides: Counts, codes: Counts, copies: int) -> Counts:
        """As of every Counter."""
        there, held = self.sides[0, rules, codes], self._held[rules]
        if copies > 0:
            found = -((there == 0) & (held < self._least[rules])).astype(np.int64)
        else:
            found = ((there == 1) & (held <= self._least[rules])).astype(np.int64)
        return np.where(codes < self.nowhere, found, 0)


def counters(rules: Sequence[Counted], group: Counts, classes: int) -> list[Counter]:
    """Return counters of all rules, with no copies yet."""
    found: list[Counter] = []
    exclusives = [each for each in rules if isinstance(each, Exclusive)]
    aparts = [each for each in rules if isinstance(each, Apart)]
    needs = [each for each in rules if isinstance(each, Needs)]
    spans = [each for each in rules if isinstance(each, Across)]
    if exclusives:
        found.append(Exclusives(exclusives, group, classes))
    if aparts:
        found.append(Aparts(aparts, group, classes))
    if needs:
        found.append(Needing(needs, group, classes))
    if spans:
        found.append(Spans(spans, group, classes))
    return found


def _sides(rule: Counted) -> tuple[tuple[int, ...], ...]:
    if isinstance(rule, Exclusive | Across):
        return (rule.classes,)
    if isinstance(rule, Needs):  # who is on both sides has what it needs
        return (tuple(c for c in rule.left if c not in rule.right), rule.right)
    return (rule.left, rule.right)
