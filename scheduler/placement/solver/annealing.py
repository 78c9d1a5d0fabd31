"""Copies move and change places at falling heat: for soft limits, which packing does not see.

Nodes are matched at random; of each pair, every move of a copy to the other node and every exchange
of two copies is weighed at once, and one is drawn by a heat bath. Rules between nodes may be broken
on the way, at a price that rises for those that stay broken; what a copy takes of a resource only
where it is not at home has a price by heat, so that they do not get into each other's way. Sources:
Kirkpatrick et al. 1983 (annealing), Morris 1993 (breakout: prices of broken rules).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Mask, Reals
from .deadline import Deadline
from .ledger import Ledger, steady
from .objectives import Preferred
from .problem import Problem

_ASIDE = 24  # copies of a node that are weighed against those of another at a time
_COOLING = 2e-4  # of the heat at first, which is the median of what changes lose, is left at last
_PRICE = 4.5  # of a broken rule, in the mean (geometric) of the heat at first and now
_RISE, _MOST = 1.4, 100.0  # of a rule's weight while it is broken
_BLAMING = 4  # rounds, after which it rises
_SPARING = 2.0  # price, in heat, of a median amount of what only some nodes charge
_ROUNDS = 3_000  # where there is no deadline
_SAMPLES = 8  # matchings that the first heat is taken from
_NEVER = 1e200


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Matched nodes, and what changes between them lose.

    Args:
        one, other: (B,) nodes.
        left, right: (B, A) copies that they hold; -1 for none, as the last of each is.
        lost: (B, A, A) if a copy of one goes to the other and one of the other comes back.
    """

    one: Counts
    other: Counts
    left: Counts
    right: Counts
    lost: Reals


@dataclass(slots=True)
class Annealing:
    """Copies on nodes, one entry each, and what they come to.

    Args:
        classes, at: (L,) of every copy; movable: (L,).
        best: (L,) the best nodes so far that break no rule, None for none; worth: of them.
        tried: changes that were drawn. hear: called after every round.
    """

    given: Problem
    objective: Preferred
    ledger: Ledger
    random: np.random.Generator
    classes: Counts
    at: Counts
    movable: Mask
    best: Counts | None = None
    worth: float = -np.inf
    hot: float = 0.0
    heat: float = 1.0
    price: float = 1.0
    rounds: int = 0
    tried: int = 0
    hear: Callable[[], None] = lambda: None
    _spared: Reals = field(init=False)

    @property
    def free(self) -> Mask:
        """(C,) which classes may be moved."""
        return ~steady(self.given)

    def __post_init__(self) -> None:
        self._spared = _spared(self.ledger)

    def run(self, deadline: Deadline, warmth: float = 1.0, strictness: float = 1.0) -> None:
        """Anneal until the deadline, or for some rounds where there is none.

        Args:
            warmth: part of the first heat to begin with.
            strictness: a factor of the price of broken rules.
        """
        if self.given.group.size < 2 or not self.movable.any():
            return
        hot = self.hot = self.hot or self._hot()
        begun = self.rounds
        endless = not np.isfinite(deadline.left)
        while not deadline.over:
            part = (self.rounds - begun) / _ROUNDS
            if not endless:
                part = deadline.elapsed / (deadline.elapsed + deadline.left)
            if part >= 1.0:
                return
            self.heat = hot * warmth * (_COOLING / warmth) ** part
            self.price = strictness * _PRICE * np.sqrt(hot * self.heat)
            self.round()

    def round(self) -> None:
        """Match nodes and draw a change for each pair."""
        self.rounds += 1
        drawn = self._drawn()
        self.tried += len(drawn)
        for p, q, one, other, predicted in drawn:
            more = self._change(p, q, one, other) - predicted
            chance = np.exp(-max(more, 0.0) / self.heat)
            if chance < 1.0 and self.random.random() >= chance:
                self._change(p, q, other, one)
        for counter in self.ledger.counters if self.rounds % _BLAMING == 0 else ():
            counter.blame(_RISE, _MOST)
        self.note()
        self.hear()

    def become(self, content: Counts) -> None:
        """Take over (C, N) copies, as many of each class."""
        now = np.zeros_like(content)
        np.add.at(now, (self.classes, self.at), 1)
        for c in np.flatnonzero((content != now).any(axis=1)).tolist():
            mine = np.flatnonzero(self.classes == c)
            nodes = np.flatnonzero(content[c])
            fresh = np.repeat(nodes, content[c, nodes])
            for copy, node in zip(mine.tolist(), fresh.tolist(), strict=True):
                self.ledger.shift(c, int(self.at[copy]), node)
                self.at[copy] = node
        self.note()

    def note(self) -> None:
        """Remember the copies' nodes if they are better than any before."""
        if not self.ledger.faults and self.ledger.worth > self.worth:
            self.worth, self.best = self.ledger.worth, self.at.copy()

    def _change(self, p: int, q: int, one: int, other: int) -> float:
        """Move copy p from one node to the other and q back, -1 for none; return what is lost."""
        group, blame, lost = self.given.group, self.ledger.blame, 0.0
        for copy, source, target in ((p, one, other), (q, other, one)):
            if copy >= 0:
                c = int(self.classes[copy])
                lost += self.ledger.shift(c, source, target)
                spared = self._spared[c, group[target]] - self._spared[c, group[source]]
                lost += self.heat * float(spared)
                self.at[copy] = target
        return lost + self.price * (self.ledger.blame - blame)

    def _drawn(self) -> list[tuple[int, int, int, int, float]]:
        """Return (copy, copy that comes back, node, other node, what it loses) of some pairs."""
        pairs = self._pairs()
        rows = np.arange(len(pairs.one))
        flat = pairs.lost.reshape(rows.size, -1)
        power = flat * (-1.0 / self.heat)
        power -= power.max(axis=1, keepdims=True)
        sums = np.cumsum(np.exp(np.maximum(power, -700.0, out=power)), axis=1)
        drawn = (sums < self.random.random(rows.size)[:, None] * sums[:, -1:]).sum(axis=1)
        i, j = np.divmod(drawn, pairs.lost.shape[2])
        p, q = pairs.left[rows, i], pairs.right[rows, j]
        some = np.flatnonzero(((p >= 0) | (q >= 0)) & (flat[rows, drawn] < _NEVER))
        found = (p, q, pairs.one, pairs.other, flat[rows, drawn])
        return list(zip(*(each[some].tolist() for each in found), strict=True))

    def _pairs(self) -> _Pairs:
        """Match nodes."""
        nodes = self.random.permutation(self.given.group.size)
        half = nodes.size // 2
        one, other = nodes[:half], nodes[half : 2 * half]
        partner = np.full(nodes.size, -1)
        partner[one], partner[other] = other, one
        held = self._held()
        left, right = held[one], held[other]
        moving = np.concatenate([left[left >= 0], right[right >= 0]])
        classes, source = self.classes[moving], self.at[moving]
        price, prices = np.zeros(self.at.size + 1), self.price
        for counter in self.ledger.counters:
            price[moving] += prices * counter.changes(classes, source, partner[source])
        lost = self._lost(left, right, one, other)
        lost += price[left][:, :, None] + price[right][:, None, :]
        return _Pairs(one, other, left, right, lost)

    def _held(self) -> Counts:
        """Return (N, A) copies by node, the last one none, some by lot where there are more."""
        movable = self.random.permutation(np.flatnonzero(self.movable))
        order = movable[np.argsort(self.at[movable], kind="stable")]
        node = self.at[order]
        begin = np.searchsorted(node, np.arange(self.given.group.size))
        rank = np.arange(order.size) - begin[node]
        some = rank < _ASIDE
        width = int(rank[some].max(initial=-1)) + 2
        held = np.full((self.given.group.size, width), -1)
        held[node[some], rank[some]] = order[some]
        return held

    def _lost(self, left: Counts, right: Counts, one: Counts, other: Counts) -> Reals:
        """Return (B, A, A) what changes lose by themselves; _NEVER where they do not fit."""
        ledger, group = self.ledger, self.given.group
        classes = np.append(self.classes, self.given.count.size)
        p, q = classes[left], classes[right]
        here, there = group[one][:, None], group[other][:, None]
        wrong = ~ledger.feasible[p, there][:, :, None] | ~ledger.feasible[q, here][:, None, :]
        # An empty place is none; that nothing changes is the last one of both.
        wrong[:, :-1] |= (left[:, :-1] < 0)[:, :, None]
        wrong[:, :, :-1] |= (right[:, :-1] < 0)[:, None, :]
        for room, weight in zip(ledger.room, ledger.hard, strict=True):
            gone, come = weight[p, here], weight[q, here]
            wrong |= (room[one][:, None] + gone)[:, :, None] < come[:, None, :]
            gone, come = weight[q, there], weight[p, there]
            wrong |= (room[other][:, None] + gone)[:, None, :] < come[:, :, None]
        wrong[:, -1, -1] = False
        cost = ledger.cost + self.heat * self._spared
        own = cost[p, there] - cost[p, here]
        back = cost[q, here] - cost[q, there]
        b, i, j = np.nonzero(~wrong)
        found = own[b, i] + back[b, j]
        for over, weight in zip(ledger.over, ledger.soft, strict=True):
            now, then = over[one], over[other]
            before = np.maximum(now, 0.0) + np.maximum(then, 0.0)
            gone, come = now[:, None] - weight[p, here], weight[q, here]
            found += np.maximum(gone[b, i] + come[b, j], 0.0)
            gone, come = then[:, None] - weight[q, there], weight[p, there]
            found += np.maximum(gone[b, j] + come[b, i], 0.0) - before[b]
        lost = np.full(wrong.shape, _NEVER)
        lost[b, i, j] = found
        return lost

    def _hot(self) -> float:
        """Return the median of what changes lose that lose anything."""
        self.heat = 0.0
        lost = np.concatenate([self._pairs().lost.reshape(-1) for _ in range(_SAMPLES)])
        worse = lost[(lost > 0) & (lost < _NEVER)]
        return float(np.median(worse)) if worse.size else 1.0


def annealing(
    given: Problem, objective: Preferred, content: Counts, random: np.random.Generator
) -> Annealing:
    """Return an annealing that begins with (C, N) copies."""
    ledger = Ledger(given, objective)
    classes, nodes = np.nonzero(content)
    copies = content[classes, nodes]
    classes, nodes = np.repeat(classes, copies), np.repeat(nodes, copies)
    for c, node in zip(classes.tolist(), nodes.tolist(), strict=True):
        ledger.shift(c, -1, node)
    begun = Annealing(given, objective, ledger, random, classes, nodes, ~steady(given)[classes])
    begun.note()
    return begun


def _spared(ledger: Ledger) -> Reals:
    """Return (C + 1, K) what copies take of resources that not all nodes charge them for."""
    found = np.zeros_like(ledger.cost)
    for row in ledger.hard:
        if np.ptp(row, axis=1).any() and (row > 0).any():
            found += _SPARING * row / np.median(row[row > 0])
    return found
