"""What a plan lacks: sums above the amounts of soft limits, and what is short of demands."""

import numpy as np

from .arrays import Counts, Reals
from .objectives import Excess, Peak, Preferred
from .problem import Problem
from .rules import Across, Floor

_NOISE = 1e-9


def codes_of(given: Excess | Peak, group: Counts) -> Counts:
    """Return (N,) the domain of each node, -1 for none."""
    return np.arange(group.size) if given.domain is None else given.domain[group]


def amounts_of(given: Excess | Peak, group: Counts) -> Reals:
    """Return (D,) the amount of each domain."""
    codes = codes_of(given, group)
    found = np.zeros(int(codes.max(initial=-1)) + 1)
    known = codes >= 0
    found[codes[known]] = given.amount[group[known]]
    return found


def penalty(objective: Preferred, group: Counts, content: Counts) -> float:
    """Return what soft limits take off the worth of (C, N) copies, ≥ 0."""
    total = 0.0
    for each in objective.excesses:
        over = _sums(each, group, content, slice(None)) - amounts_of(each, group)
        total += float(np.maximum(over, 0.0).sum())
    for peak in objective.peaks:
        amounts, most = amounts_of(peak, group), 0.0
        for classes in peak.sums:
            over = _sums(peak, group, content, list(classes)) - amounts
            most = max(most, float(over.max(initial=0.0)))
        total += most
    return total


def excesses_by_node(objective: Preferred, group: Counts, content: Counts) -> Reals:
    """Return (N,) what the domain of each node has above soft limits."""
    total = np.zeros(group.size)
    for each in objective.excesses:
        codes = codes_of(each, group)
        known = codes >= 0
        over = _sums(each, group, content, slice(None)) - amounts_of(each, group)
        total[known] += np.maximum(over, 0.0)[codes[known]]
    return total


def missing(given: Problem, content: Counts) -> float:
    """Return what (C, N) copies are short of Floors and Acrosses."""
    total = 0.0
    for rule in given.rules:
        if isinstance(rule, Floor):
            short = rule.least - float((rule.weight[:, given.group] * content).sum())
            total += short if short > _NOISE * (1.0 + rule.least) else 0.0
        elif isinstance(rule, Across):
            codes = np.arange(given.group.size)
            if rule.domain is not None:
                codes = rule.domain[given.group]
            held = codes[content[list(rule.classes)].any(axis=0) & (codes >= 0)]
            total += max(0, rule.least - np.unique(held).size)
    return total


def _sums(
    given: Excess | Peak, group: Counts, content: Counts, classes: slice | list[int]
) -> Reals:
    """Return (D,) what classes weigh in each domain."""
    codes = codes_of(given, group)
    known = codes >= 0
    weighed = (given.weight[classes][:, group] * content[classes]).sum(axis=0)
    sums = np.bincount(codes[known], weighed[known], int(codes.max(initial=-1)) + 1)
    return sums.astype(np.float64)
