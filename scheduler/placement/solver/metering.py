"""Weighted limits of rules in a plan that changes: how much each domain has left."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .rules import Cap, Quota

_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit per domain; a Cap has one domain, of all nodes.

    Args:
        weight: (C, K).
        codes: (N,) domains, -1 for nodes that are not limited.
        most: (D,).
        group: (N,).
    """

    weight: Reals
    codes: Counts
    most: Reals
    group: Counts

    def left(self, content: Counts) -> Reals:
        """Return (D,) what (C, N) copies leave."""
        classes = np.flatnonzero(self.weight.any(axis=1))
        taken = (self.weight[classes][:, self.group] * content[classes]).sum(axis=0)
        known = self.codes >= 0
        return self.most - np.bincount(self.codes[known], taken[known], self.most.size)

    def over(self, content: Counts) -> Mask:
        """Return (D,) which domains have too much."""
        return self.left(content) < -_NOISE * (1.0 + np.abs(self.most))

    def within(self, c: int, copies: Counts, content: Counts, score: Reals) -> Counts:
        """Return (N,) as many of further copies as there may be, those of least score first."""
        weight, left = self.weight[c, self.group], self.left(content)
        kept = copies.copy()
        for node in np.argsort(score, kind="stable").tolist():
            code = int(self.codes[node])
            if code >= 0 and copies[node] and weight[node] > 0:
                room = max(0, int((left[code] + _NOISE) // weight[node]))
                kept[node] = min(int(copies[node]), room)
                left[code] -= kept[node] * weight[node]
        return kept

    def trims(self, content: Counts) -> Iterator[tuple[tuple[int, ...], Counts, int]]:
        """Yield (classes, nodes, copies) of which so many have to go; the content may change."""
        for code in np.flatnonzero(self.over(content)).tolist():
            inside = self.codes == code
            for c in np.flatnonzero(self.weight.any(axis=1)).tolist():
                over = -float(self.left(content)[code])
                if over <= _NOISE * (1.0 + abs(float(self.most[code]))):
                    break
                weight = self.weight[c, self.group]
                nodes = np.flatnonzero(inside & (weight > 0) & (content[c] > 0))
                if nodes.size:
                    yield (c,), nodes, int(np.ceil(over / weight[nodes].min()))


def meter(rule: Cap | Quota, group: Counts) -> Meter:
    """Return the limits of a rule on nodes of some groups."""
    if isinstance(rule, Cap):
        nowhere = np.zeros(group.size, dtype=np.int64)
        return Meter(rule.weight, nowhere, np.array([rule.most]), group)
    codes = np.arange(group.size) if rule.domain is None else rule.domain[group]
    most = np.zeros(int(codes.max(initial=-1)) + 1)
    known = codes >= 0
    most[codes[known]] = rule.most[group[known]]
    return Meter(rule.weight, codes, most, group)
