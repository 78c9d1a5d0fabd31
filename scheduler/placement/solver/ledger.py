"""What a plan costs and how many rules it breaks, kept exactly while single copies come and go."""

import numpy as np

from .arrays import Counts, Mask, Reals
from .counters import Counted, counters
from .objectives import Peak, Preferred
from .penalties import amounts_of, codes_of
from .problem import MANY, Problem
from .rules import Across, Apart, Cap, Exclusive, Floor, Needs, Quota, Spread, Together

_MOST = 20_000_000  # numbers kept about (row, class, group)


class Ledger:
    """A plan's soft limits, weights and rules; hard limits of nodes are only told of.

    Class C stands for no copy.

    Attributes:
        over: (E, N) what the domain of each node has above a soft limit's amount.
        soft: (E, C + 1, K) what a copy adds to it.
        room: (H, N) what hard limits leave; hard: (H, C + 1, K) what a copy takes.
        cost: (C + 1, K) of a copy by itself; feasible: where it may be.
        worth: of all copies, less a constant.
        faults: how many rules between nodes are broken.
    """

    def __init__(self, given: Problem, objective: Preferred) -> None:
        self.group = given.group
        classes, groups = objective.weight.shape
        self.cost = _padded(-objective.weight)
        self.feasible = np.append(given.feasible, np.ones((1, groups), dtype=np.bool_), axis=0)
        quotas = [rule for rule in given.rules if isinstance(rule, Quota)]
        plain = np.repeat(given.demand[:, :, None], groups, axis=2)
        used = given.demand.any(axis=1)
        weights = [*plain[used].astype(np.float64), *(each.weight for each in quotas)]
        most = [*given.free[used].astype(np.float64), *(q.most[given.group] for q in quotas)]
        self.hard = np.zeros((len(weights), classes + 1, groups))
        self.room = np.zeros((len(most), given.group.size))
        for h, (each, amount) in enumerate(zip(weights, most, strict=True)):
            self.hard[h], self.room[h] = _padded(each), amount
        self.soft = np.zeros((len(objective.excesses), classes + 1, groups))
        self.over = np.zeros((len(objective.excesses), given.group.size))
        self._domains: list[Counts | None] = []
        for e, excess in enumerate(objective.excesses):
            codes = codes_of(excess, given.group)
            self.soft[e] = _padded(excess.weight)
            self.over[e] = -excess.amount[given.group]
            if excess.domain is not None:
                self.soft[e][:, excess.domain < 0] = 0.0
            self._domains.append(None if excess.domain is None else codes)
        self.peaks = [_Summit(each, given.group, classes) for each in objective.peaks]
        self.counters = counters(counted(given), given.group, classes)
        self._zoned = [e for e, codes in enumerate(self._domains) if codes is not None]
        self.faults = sum(each.least for each in given.rules if isinstance(each, Across))
        self.worth = 0.0
        self.blame = 0.0

    def shift(self, c: int, source: int, target: int) -> float:
        """Count a copy of a class on another node, or for the first time where source is -1.

        Return what the objective loses.
        """
        lost = self._put(c, source, -1) if source >= 0 else 0.0
        lost += self._put(c, target, 1)
        for peak in self.peaks:
            lost += peak.shift(c, source, target)
        for counter in self.counters:
            faults, weighed = counter.shift(c, source, target)
            self.faults += faults
            self.blame += weighed
        self.worth -= lost
        return lost

    def losses(self, c: int, source: int) -> Reals:
        """Return (N,) what the objective loses if a copy of a class goes to each node, but peaks.

        Where a soft limit is of more than one node, moves within its domain seem to change it.
        """
        weight, here = self.soft[:, c], self.over[:, source]
        come = weight[:, self.group]
        lost = np.maximum(self.over + come, 0.0) - np.maximum(self.over, 0.0)
        gone = np.maximum(here - weight[:, self.group[source]], 0.0) - np.maximum(here, 0.0)
        cost = self.cost[c, self.group] - self.cost[c, self.group[source]]
        found: Reals = lost.sum(axis=0) + gone.sum() + cost
        found[source] = 0.0
        return found

    def _put(self, c: int, node: int, copies: int) -> float:
        k = self.group[node]
        self.room[:, node] -= copies * self.hard[:, c, k]
        over = self.over[:, node]
        after = over + copies * self.soft[:, c, k]
        lost = float(np.add.reduce(np.maximum(after, 0.0) - np.maximum(over, 0.0)))
        self.over[:, node] = after
        for e in self._zoned:
            codes = self._domains[e]
            assert codes is not None
            self.over[e, codes == codes[node]] = after[e]
        return lost + copies * float(self.cost[c, k])


class _Summit:
    """A Peak in a plan that changes."""

    def __init__(self, given: Peak, group: Counts, classes: int) -> None:
        self._codes, self._group, self._weight = codes_of(given, group), group, given.weight
        self._over = np.tile(-amounts_of(given, group), (len(given.sums), 1))
        self._sums: list[list[int]] = [[] for _ in range(classes)]
        for at, members in enumerate(given.sums):
            for c in members:
                self._sums[c].append(at)
        self._top = max(0.0, float(self._over.max(initial=0.0)))

    def shift(self, c: int, source: int, target: int) -> float:
        """Count a copy on another node, or for the first time; return by how much the top grows."""
        before = self._top
        if self._sums[c]:
            self._put(c, source, -1.0)
            self._put(c, target, 1.0)
            self._top = max(0.0, float(self._over.max(initial=0.0)))
        return self._top - before

    def _put(self, c: int, node: int, copies: float) -> None:
        if node >= 0 and (code := int(self._codes[node])) >= 0:
            self._over[self._sums[c], code] += copies * self._weight[c, self._group[node]]


def counted(given: Problem) -> list[Counted]:
    """Return the rules that a ledger counts the faults of; limits per node are some."""
    found = [r for r in given.rules if isinstance(r, Exclusive | Apart | Needs | Across)]
    limited = np.flatnonzero((given.limit < given.count) & (given.limit < MANY)).tolist()
    return [*found, *(Exclusive((c,), int(given.limit[c])) for c in limited)]


def suits(given: Problem, objective: Preferred) -> bool:
    """Tell whether a ledger can keep the books of an objective, as it is worth annealing."""
    return bool(objective.excesses or objective.peaks) and keeps(given, objective)


def keeps(given: Problem, objective: Preferred) -> bool:
    """Tell whether a ledger can keep the books of an objective."""
    if objective.meetings or objective.companies:
        return False
    classes, groups = objective.weight.shape
    quotas = sum(isinstance(rule, Quota) for rule in given.rules)
    rows = 1 + len(objective.excesses) + quotas + given.demand.shape[0]
    between = len(given.rules) * given.group.size
    return rows * classes * groups <= _MOST and between <= _MOST


def steady(given: Problem) -> Mask:
    """Return (C,) the classes that a ledger cannot move: with devices, or under other rules."""
    fixed: Mask = given.device_units > 0
    for rule in given.rules:
        if isinstance(rule, Spread | Together):
            fixed[list(rule.classes)] = True
        elif isinstance(rule, Cap | Floor):
            fixed |= np.ptp(rule.weight, axis=1) > 0
        elif isinstance(rule, Quota) and rule.domain is not None:
            fixed |= np.any(rule.weight != 0, axis=1)
    return fixed


def _padded(weights: Reals) -> Reals:
    return np.concatenate([weights, np.zeros((1, weights.shape[1]))])
