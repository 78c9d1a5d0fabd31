"""Verifies a plan against its problem: plainly, copy by copy, and without the engine's code.

It knows only what a Problem and a Solution say. Slow where that makes it plain.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .problem import Problem
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
from .solution import Solution

_SEARCH = 1_000_000  # steps in looking for devices before giving up
_NOISE = 1e-9

Placed = dict[tuple[int, int], int]
Zoned = Exclusive | Apart | Spread | Together | Needs | Across


def verify(given: Problem, plan: Solution) -> list[str]:
    """Return what is wrong with a plan, nothing if every rule holds."""
    found = list(_entries(given, plan))
    if found:
        return found
    placed: Placed = {}
    for node, c, copies in zip(
        plan.nodes.tolist(), plan.classes.tolist(), plan.copies.tolist(), strict=True
    ):
        placed[node, c] = copies
    found += _nodes(given, placed)
    for number, rule in enumerate(given.rules):
        name = f"rule {number} ({type(rule).__name__})"
        found += (f"{name}: {message}" for message in _rule(given, rule, placed))
    return found


def _entries(given: Problem, plan: Solution) -> Iterator[str]:
    if not plan.nodes.shape == plan.classes.shape == plan.copies.shape:
        yield "nodes, classes and copies differ in length"
        return
    seen: set[tuple[int, int]] = set()
    total: Counter[int] = Counter()
    for node, c, copies in zip(
        plan.nodes.tolist(), plan.classes.tolist(), plan.copies.tolist(), strict=True
    ):
        if not (0 <= node < given.group.size and 0 <= c < given.count.size) or copies < 1:
            yield f"entry ({node}, {c}, {copies}) is out of range"
            return
        if (node, c) in seen:
            yield f"node {node} and class {c} occur twice"
        seen.add((node, c))
        total[c] += copies
    for c, copies in total.items():
        if copies > given.count[c]:
            yield f"class {c} has {copies} copies of {given.count[c]}"


def _nodes(given: Problem, placed: Placed) -> Iterator[str]:
    held: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (node, c), copies in placed.items():
        held[node].append((c, copies))
        if not given.feasible[c, given.group[node]]:
            yield f"class {c} may not run on node {node}"
        if copies > given.limit[c]:
            yield f"node {node} has {copies} copies of class {c}, limited to {given.limit[c]}"
    for node, content in held.items():
        for r in range(given.free.shape[0]):
            used = sum(int(given.demand[r, c]) * copies for c, copies in content)
            if used > given.free[r, node]:
                yield f"node {node} is overcommitted: resource {r}, {used} of {given.free[r, node]}"
        wanted: list[tuple[int, int]] = []
        for c, copies in content:
            if given.device_units[c]:
                one = (int(given.device_share[c]), int(given.device_units[c]))
                wanted += [one] * copies
        free = [int(device) for device in given.devices[:, node]]
        if wanted and not _fits(sorted(wanted, reverse=True), 0, free, [_SEARCH]):
            yield f"node {node} has no devices for {Counter(wanted)}, free {free}"


def _fits(wanted: Sequence[tuple[int, int]], at: int, free: list[int], budget: list[int]) -> bool:
    """Tell whether the copies from `at` on find distinct devices for their shares."""
    if at == len(wanted):
        return True
    budget[0] -= 1
    share, units = wanted[at]
    if budget[0] < 0 or sum(s * u for s, u in wanted[at:]) > sum(free):
        return False
    tried: set[tuple[int, ...]] = set()
    for chosen in _choices(free, share, units):
        kind = tuple(sorted(free[device] for device in chosen))
        if kind in tried:
            continue
        tried.add(kind)
        for device in chosen:
            free[device] -= share
        if _fits(wanted, at + 1, free, budget):
            return True
        for device in chosen:
            free[device] += share
    return False


def _choices(free: Sequence[int], share: int, units: int) -> Iterator[tuple[int, ...]]:
    """Yield sets of devices with room, the fullest first."""
    able = sorted((d for d, room in enumerate(free) if room >= share), key=free.__getitem__)

    def pick(start: int, many: int) -> Iterator[tuple[int, ...]]:
        if many == 0:
            yield ()
            return
        for at in range(start, len(able) - many + 1):
            for rest in pick(at + 1, many - 1):
                yield (able[at], *rest)

    return pick(0, units)


def _rule(given: Problem, rule: Rule, placed: Placed) -> Iterable[str]:
    if isinstance(rule, Exclusive):
        return _exclusive(given, rule, placed)
    if isinstance(rule, Apart):
        return _apart(given, rule, placed)
    if isinstance(rule, Spread):
        return _spread(given, rule, placed)
    if isinstance(rule, Together):
        return _together(given, rule, placed)
    if isinstance(rule, Cap):
        return _cap(given, rule, placed)
    if isinstance(rule, Floor):
        return _floor(given, rule, placed)
    if isinstance(rule, Quota):
        return _quota(given, rule, placed)
    if isinstance(rule, Needs):
        return _needs(given, rule, placed)
    if isinstance(rule, Across):
        return _across(given, rule, placed)
    return _gang(given, rule, placed)


def _domain(given: Problem, rule: Zoned | Quota, node: int) -> int:
    if rule.domain is None:
        return node
    return int(rule.domain[given.group[node]])


def _per_domain(
    given: Problem,
    rule: Zoned,
    classes: Iterable[int],
    placed: Placed,
) -> Counter[int]:
    members, counts = set(classes), Counter[int]()
    for (node, c), copies in placed.items():
        if c in members:
            counts[_domain(given, rule, node)] += copies
    return counts


def _exclusive(given: Problem, rule: Exclusive, placed: Placed) -> Iterator[str]:
    for domain, copies in _per_domain(given, rule, rule.classes, placed).items():
        if domain >= 0 and copies > rule.most:
            yield f"{copies} copies in domain {domain}, at most {rule.most}"


def _apart(given: Problem, rule: Apart, placed: Placed) -> Iterator[str]:
    left = _per_domain(given, rule, rule.left, placed)
    right = _per_domain(given, rule, rule.right, placed)
    for domain in sorted(left.keys() & right.keys()):
        if domain >= 0:
            yield f"both sides are in domain {domain}"


def _spread(given: Problem, rule: Spread, placed: Placed) -> Iterator[str]:
    added = _per_domain(given, rule, rule.classes, placed)
    if -1 in added:
        yield "copies on nodes without the topology key"
    total = {d: n + added[d] for d, n in enumerate(rule.existing.tolist()) if n >= 0}
    least = min(total.values(), default=0)
    for domain in added:
        if domain >= 0 and domain not in total:
            yield f"copies in domain {domain}, which does not count"
        elif domain >= 0 and total[domain] - least > rule.skew:
            yield f"domain {domain} has {total[domain]}, the emptiest {least}"


def _together(given: Problem, rule: Together, placed: Placed) -> Iterator[str]:
    domains = _per_domain(given, rule, rule.classes, placed)
    if -1 in domains:
        yield "copies on nodes without the topology key"
    if len(domains) > 1:
        yield f"copies in domains {sorted(domains)}"


def _weighed(given: Problem, rule: Cap | Floor, placed: Placed) -> float:
    return sum(
        float(rule.weight[c, given.group[node]]) * copies for (node, c), copies in placed.items()
    )


def _floor(given: Problem, rule: Floor, placed: Placed) -> Iterator[str]:
    total = _weighed(given, rule, placed)
    if total < rule.least - _NOISE * (1.0 + rule.least):
        yield f"weighs {total}, at least {rule.least}"


def _cap(given: Problem, rule: Cap, placed: Placed) -> Iterator[str]:
    total = _weighed(given, rule, placed)
    if total > rule.most + _NOISE * (1.0 + abs(rule.most)):
        yield f"weighs {total}, at most {rule.most}"


def _quota(given: Problem, rule: Quota, placed: Placed) -> Iterator[str]:
    totals: defaultdict[int, float] = defaultdict(float)
    most: dict[int, float] = {}
    for (node, c), copies in placed.items():
        k = int(given.group[node])
        domain = _domain(given, rule, node)
        totals[domain] += float(rule.weight[c, k]) * copies
        most[domain] = float(rule.most[k])
    for domain, total in totals.items():
        if domain >= 0 and total > most[domain] + _NOISE * (1.0 + abs(most[domain])):
            yield f"domain {domain} weighs {total}, at most {most[domain]}"


def _needs(given: Problem, rule: Needs, placed: Placed) -> Iterator[str]:
    left = _per_domain(given, rule, rule.left, placed)
    right = _per_domain(given, rule, rule.right, placed)
    for domain in sorted(left.keys() - right.keys()):
        if domain >= 0:
            yield f"domain {domain} lacks what its copies need"


def _across(given: Problem, rule: Across, placed: Placed) -> Iterator[str]:
    held = [d for d in _per_domain(given, rule, rule.classes, placed) if d >= 0]
    if len(held) < rule.least:
        yield f"copies in {len(held)} domains, at least {rule.least}"


def _gang(given: Problem, rule: Gang, placed: Placed) -> Iterator[str]:
    counts = Counter[int]()
    for (_, c), copies in placed.items():
        counts[c] += copies
    if any(counts[c] for c in rule.classes):
        for c in rule.classes:
            if counts[c] != given.count[c]:
                yield f"{counts[c]} of {given.count[c]} copies of class {c}"
