"""Rules between copies as constraints on a neighbourhood, with what stays outside it counted in."""

from collections import defaultdict

import numpy as np

from .arrays import Reals
from .neighbourhood import Neighbourhood, Terms, counted, total
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


def add_rules(made: Neighbourhood) -> None:
    """Add all rules of the problem."""
    for rule in made.given.rules:
        if isinstance(rule, Cap):
            _cap(made, rule)
        elif isinstance(rule, Gang):
            _gang(made, rule)
        elif isinstance(rule, Quota):
            _quota(made, rule)
        elif isinstance(rule, Floor | Across):
            continue  # Shortfall is about it
        elif isinstance(rule, Needs):
            _needs(made, rule)
        elif isinstance(rule, Exclusive):
            _exclusive(made, rule)
        elif isinstance(rule, Apart):
            _apart(made, rule)
        elif isinstance(rule, Spread):
            _spread(made, rule)
        else:
            _together(made, rule)


def _domain(made: Neighbourhood, rule: Rule, node: int) -> int:
    assert not isinstance(rule, Cap | Quota | Floor | Gang)
    if rule.domain is not None:
        return int(rule.domain[made.given.group[node]])
    uncounted = isinstance(rule, Spread) and rule.existing[node] < 0
    return -1 if uncounted else node


def by_domain(
    made: Neighbourhood, rule: Rule, classes: tuple[int, ...]
) -> tuple[dict[int, Terms], dict[int, int]]:
    """Return variables and fixed copies of classes by domain."""
    terms: dict[int, Terms] = defaultdict(list)
    for c in classes:
        for n, x in made.by_class.get(c, ()):
            terms[_domain(made, rule, n)].append((x, 1))
    fixed: dict[int, int] = defaultdict(int)
    there = made.rest[list(classes)].sum(axis=0)
    for n in np.flatnonzero(there).tolist():
        fixed[_domain(made, rule, n)] += int(there[n])
    return terms, fixed


def _forbid_outside(made: Neighbourhood, terms: dict[int, Terms]) -> None:
    outside = terms.pop(-1, [])
    if outside:
        made.at_most(outside, 0)


def _exclusive(made: Neighbourhood, rule: Exclusive) -> None:
    terms, fixed = by_domain(made, rule, rule.classes)
    for domain, mine in terms.items():
        if domain >= 0:
            left = rule.most - fixed[domain]
            fault = made.fault(sum(made.upper[x.index] for x, _ in mine) - left)
            made.at_most([*mine, *_less(fault)], left)


def _less(terms: Terms) -> Terms:
    return [(x, -factor) for x, factor in terms]


def _apart(made: Neighbourhood, rule: Apart) -> None:
    left, left_fixed = by_domain(made, rule, rule.left)
    right, right_fixed = by_domain(made, rule, rule.right)
    for domain in set(left) | set(right):
        if domain < 0:
            continue
        if left_fixed[domain]:
            made.at_most(right[domain], 0)
        elif right_fixed[domain]:
            made.at_most(left[domain], 0)
        elif left[domain] and right[domain]:
            made.model.add(
                made.some(left[domain]) + made.some(right[domain]) <= 1  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            )


def _spread(made: Neighbourhood, rule: Spread) -> None:
    terms, fixed = by_domain(made, rule, rule.classes)
    _forbid_outside(made, terms)
    most = int(rule.existing.max(initial=0) + made.given.count[list(rule.classes)].sum())
    least = made.model.new_int_var(0, most, "")
    for d in counted(rule):
        there = int(rule.existing[d]) + fixed[d]
        mine = terms.get(d, [])
        made.model.add(least <= total(mine) + there)
        within = total(mine) + there <= least + rule.skew
        if fixed[d]:
            made.model.add(within)
        elif mine:
            made.model.add(within).only_enforce_if(made.some(mine))  # pyright: ignore[reportUnknownMemberType]


def _together(made: Neighbourhood, rule: Together) -> None:
    terms, fixed = by_domain(made, rule, rule.classes)
    _forbid_outside(made, terms)
    settled = [d for d, many in fixed.items() if many]
    chosen = [(made.some(mine), 1) for d, mine in terms.items() if d not in settled]
    if chosen:
        made.at_most(chosen, 0 if settled else 1)


def _needs(made: Neighbourhood, rule: Needs) -> None:
    left, left_fixed = by_domain(made, rule, rule.left)
    right, right_fixed = by_domain(made, rule, rule.right)
    for domain in set(left) | {d for d, many in left_fixed.items() if many}:
        if domain < 0 or right_fixed[domain]:
            continue
        there = [*_less(right.get(domain, [])), *_less(made.fault(1))]
        if left_fixed[domain]:
            made.at_most(there, -1)
            continue
        for x, _ in left[domain]:
            # One of them suffices for however many copies of the other.
            held = x if made.upper[x.index] == 1 else made.some([(x, 1)])
            made.at_most([(held, 1), *there], 0)


def _quota(made: Neighbourhood, rule: Quota) -> None:
    group = made.given.group
    codes = np.arange(group.size) if rule.domain is None else rule.domain[group]
    most = {int(code): float(rule.most[k]) for code, k in zip(codes, group, strict=True)}
    there = (rule.weight[:, group] * made.rest).sum(axis=0)
    for domain in np.unique(codes[made.nodes]).tolist():
        inside = set(made.nodes[codes[made.nodes] == domain].tolist())
        if domain >= 0:
            left = most[domain] - float(there[codes == domain].sum())
            _weighed(made, rule.weight, inside, left)


def _cap(made: Neighbourhood, rule: Cap) -> None:
    there = float((rule.weight[:, made.given.group] * made.rest).sum())
    _weighed(made, rule.weight, set(made.nodes.tolist()), rule.most - there)


def _weighed(made: Neighbourhood, weight: Reals, nodes: set[int], left: float) -> None:
    """Add Σ weight · copies on some nodes ≤ what is left."""
    group, scale = made.given.group, 1.0
    if not np.array_equal(weight, np.rint(weight)):
        made.exact = False
        scale = 1e6 / max(float(np.abs(weight).max(initial=0.0)), 1e-12)
    terms = [
        (x, int(np.ceil(weight[c, group[n]] * scale)))
        for (n, c), x in made.copies.items()
        if n in nodes and weight[c, group[n]]
    ]
    if terms:
        made.at_most(terms, int(np.floor((left + 1e-9) * scale)))


def _gang(made: Neighbourhood, rule: Gang) -> None:
    chosen = made.model.new_bool_var("")
    for c in rule.classes:
        count, there = int(made.given.count[c]), int(made.rest[c].sum())
        made.model.add(total(made.of((c,))) + there == count * chosen)
