"""Rules between nodes as rows of the relaxation; each only cuts off what breaks the rule.

Pairs (type, class) are the relaxation's variables; choices (a gang, a domain of an affinity) are
extra variables that an integer programme makes whole.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from .arrays import Counts, Mask
from .problem import Problem
from .relaxation import Relaxation
from .rules import Across, Apart, Cap, Exclusive, Floor, Gang, Needs, Quota, Spread, Together


def add_rules(built: Relaxation, given: Problem) -> None:
    """Add the rows of all rules between nodes."""
    for rule in given.rules:
        if isinstance(rule, Cap):
            _cap(built, rule)
        elif isinstance(rule, Floor):
            _floor(built, rule)
        elif isinstance(rule, Quota):
            _quota(built, rule)
        elif isinstance(rule, Needs):
            _needs(built, rule)
        elif isinstance(rule, Across):
            _across(built, rule)
        elif isinstance(rule, Gang):
            _gang(built, rule)
        else:
            _between(built, rule)


def _between(built: Relaxation, rule: Exclusive | Apart | Spread | Together) -> None:
    """Add the rows of a rule over domains; most rules over nodes are part of the shapes."""
    if rule.domain is None:
        if isinstance(rule, Together):
            _on_one_node(built, rule)
    elif isinstance(rule, Exclusive):
        _exclusive(built, rule, rule.domain)
    elif isinstance(rule, Apart):
        _apart(built, rule, rule.domain)
    elif isinstance(rule, Spread):
        _spread(built, rule, rule.domain)
    else:
        _together(built, rule, rule.domain)


def _members(built: Relaxation, classes: Sequence[int]) -> Mask:
    return np.isin(built.classes, np.array(classes, dtype=np.int64))


def _domains(built: Relaxation, domain: Counts) -> Counts:
    """Return (V,) the domain of each pair."""
    return domain[built.shape.group[built.types]]


def _cap(built: Relaxation, rule: Cap) -> None:
    weight = rule.weight[built.classes, built.shape.group[built.types]]
    some = np.flatnonzero(weight)
    built.rows.add(some, weight[some], rule.most)


def _floor(built: Relaxation, rule: Floor) -> None:
    """What is missing to the least is a variable, which Shortfall counts."""
    weight = rule.weight[built.classes, built.shape.group[built.types]]
    some = np.flatnonzero(weight)
    upper = np.array(built.rows.upper)[some]
    most = rule.least + float(np.maximum(-weight[some], 0.0) @ upper)
    missing = built.rows.variables(np.array([most]))
    built.shortages.extend(missing.tolist())
    columns = np.append(some, missing)
    built.rows.add(columns, np.append(-weight[some], -1.0), -rule.least)


def cells(
    built: Relaxation, ours: Mask, domain: Counts | None
) -> Iterator[tuple[Counts, int, int]]:
    """Yield (pairs, number, group): of one domain, or of all nodes of a type taken together.

    Args:
        ours: (V,) bool.
    """
    if domain is None:
        edges = np.searchsorted(built.types, np.arange(built.shape.number.size + 1))
        for t, (begin, end) in enumerate(pairwise(edges.tolist())):
            mine = begin + np.flatnonzero(ours[begin:end])
            yield mine, int(built.shape.number[t]), int(built.shape.group[t])
        return
    there = _domains(built, domain)
    for d in np.unique(domain[domain >= 0]).tolist():
        yield np.flatnonzero(ours & (there == d)), 1, int(np.flatnonzero(domain == d)[0])


def _quota(built: Relaxation, rule: Quota) -> None:
    weight = rule.weight[built.classes, built.shape.group[built.types]]
    for mine, number, k in cells(built, weight != 0, rule.domain):
        if mine.size:
            built.rows.add(mine, weight[mine], number * float(rule.most[k]))


def _needs(built: Relaxation, rule: Needs) -> None:
    """However many copies of one side are in a domain, one of the other suffices."""
    left, right = _members(built, rule.left), _members(built, rule.right)
    many = float(built.shape.count[list(rule.left)].sum())
    for mine, _, _ in cells(built, left | right, rule.domain):
        needing, needed = mine[left[mine] & ~right[mine]], mine[right[mine]]
        if needing.size:
            columns = np.append(needing, needed)
            weights = np.append(np.ones(needing.size), np.full(needed.size, -max(many, 1.0)))
            built.rows.add(columns, weights, 0.0)


def _across(built: Relaxation, rule: Across) -> None:
    """A domain has copies or not; what is missing is a variable, which Shortfall counts."""
    held: list[Counts] = []
    for mine, number, _ in cells(built, _members(built, rule.classes), rule.domain):
        if mine.size:
            there = built.rows.variables(np.array([float(number)]))
            built.rows.add(np.append(mine, there), np.append(-np.ones(mine.size), 1.0), 0.0)
            held.append(there)
    missing = built.rows.variables(np.array([float(rule.least)]))
    built.shortages.extend(missing.tolist())
    columns = np.concatenate([*held, missing])
    built.rows.add(columns, -np.ones(columns.size), -float(rule.least))


def _exclusive(built: Relaxation, rule: Exclusive, domain: Counts) -> None:
    ours, there = _members(built, rule.classes), _domains(built, domain)
    for d in np.unique(there[ours & (there >= 0)]).tolist():
        mine = np.flatnonzero(ours & (there == d))
        built.rows.add(mine, np.ones(mine.size), float(rule.most))


def _apart(built: Relaxation, rule: Apart, domain: Counts) -> None:
    """A choice per domain: the left side may have all its copies there, or the right side."""
    left, right = _members(built, rule.left), _members(built, rule.right)
    there = _domains(built, domain)
    count = built.shape.count
    for d in np.unique(there[(left | right) & (there >= 0)]).tolist():
        chosen = built.rows.choices(1)
        mine = np.flatnonzero(left & (there == d))
        others = np.flatnonzero(right & (there == d))
        most = float(count[list(rule.left)].sum())
        built.rows.add(np.append(mine, chosen), np.append(np.ones(mine.size), -most), 0.0)
        most = float(count[list(rule.right)].sum())
        built.rows.add(np.append(others, chosen), np.append(np.ones(others.size), most), most)


def _spread(built: Relaxation, rule: Spread, domain: Counts) -> None:
    """A level that no domain is below and none that is given copies exceeds by more than skew."""
    ours, there = _members(built, rule.classes), _domains(built, domain)
    total = float(rule.existing.sum() + built.shape.count[list(rule.classes)].sum())
    level = built.rows.variables(np.array([total]))
    floor = int(rule.existing.min())
    for d, existing in enumerate(rule.existing.tolist()):
        mine = np.flatnonzero(ours & (there == d))
        columns, ones = np.append(mine, level), np.ones(mine.size)
        built.rows.add(columns, np.append(-ones, 1.0), float(existing))
        if existing <= floor + rule.skew:  # else it may stay above, without new copies
            built.rows.add(columns, np.append(ones, -1.0), float(rule.skew - existing))


def _together(built: Relaxation, rule: Together, domain: Counts) -> None:
    ours, there = _members(built, rule.classes), _domains(built, domain)
    total = float(built.shape.count[list(rule.classes)].sum())
    found = np.unique(there[ours & (there >= 0)]).tolist()
    chosen = built.rows.choices(len(found))
    for d, choice in zip(found, chosen.tolist(), strict=True):
        mine = np.flatnonzero(ours & (there == d))
        built.rows.add(np.append(mine, choice), np.append(np.ones(mine.size), -total), 0.0)
    if len(found):
        built.rows.add(chosen, np.ones(chosen.size), 1.0)
    built.rows.forbid(np.flatnonzero(ours & (there < 0)))


def _on_one_node(built: Relaxation, rule: Together) -> None:
    """On one node no class has more copies than a node holds."""
    for c in rule.classes:
        mine = np.flatnonzero(built.classes == c)
        if mine.size:
            most = built.shape.fit[built.types[mine], c].max()
            built.rows.add(mine, np.ones(mine.size), float(most))


def _gang(built: Relaxation, rule: Gang) -> None:
    """A choice: every class of the gang has all its copies, or none."""
    chosen = built.rows.choices(1)
    for c in rule.classes:
        mine = np.flatnonzero(built.classes == c)
        columns, ones = np.append(mine, chosen), np.ones(mine.size)
        count = float(built.shape.count[c])
        built.rows.add(columns, np.append(ones, -count), 0.0)
        built.rows.add(columns, np.append(-ones, count), 0.0)
