"""Small packing problems of every kind, and their best plans by trying everything."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
from hypothesis import strategies as st

from scheduler.placement.solver.objectives import (
    Balanced,
    Company,
    Excess,
    HostCost,
    Kept,
    Meeting,
    Peak,
    Placed,
    Preferred,
    Stranded,
)
from scheduler.placement.solver.problem import Problem
from scheduler.placement.solver.rules import (
    Across,
    Apart,
    Cap,
    Exclusive,
    Floor,
    Gang,
    Needs,
    Quota,
    Spread,
    Together,
)
from scheduler.placement.solver.solution import Solution, Status
from scheduler.placement.solver.verifier import verify


def ints(low, high, *shape):
    """Draw an int64 array."""
    size = int(np.prod(shape))
    values = st.lists(st.integers(low, high), min_size=size, max_size=size)
    return values.map(lambda given: np.array(given, dtype=np.int64).reshape(shape))


@st.composite
def rules(draw, nodes, classes, groups, demands=""):
    """Draw up to three rules; demands is "F" for Floors, "X" for Acrosses among them."""
    found = []
    some = st.lists(st.integers(0, classes - 1), min_size=1, unique=True).map(tuple)
    for kind in draw(st.lists(st.sampled_from("EASTCGQN" + demands), max_size=3)):
        domain = draw(st.one_of(st.none(), ints(-1, 1, groups)))
        many = nodes if domain is None else max(int(domain.max()) + 1, 1)
        if kind == "E":
            found.append(Exclusive(draw(some), draw(st.integers(1, 2)), domain))
        elif kind == "A" and classes > 1:
            left = draw(some)
            right = tuple(c for c in range(classes) if c not in left)
            if right:
                found.append(Apart(left, right, domain))
        elif kind == "S":
            low = -1 if domain is None else 0
            found.append(
                Spread(draw(some), draw(st.integers(1, 2)), draw(ints(low, 2, many)), domain)
            )
        elif kind == "T":
            found.append(Together(draw(some), domain))
        elif kind == "C":
            weight = draw(ints(-1, 2, classes, groups)).astype(np.float64)
            found.append(Cap(weight, float(draw(st.integers(0, 4)))))
        elif kind == "Q":
            weight = draw(ints(-1, 2, classes, groups)).astype(np.float64)
            most = draw(by_domain(0, 3, groups, domain))
            found.append(Quota(weight, most, domain))
        elif kind == "N":
            found.append(Needs(draw(some), draw(some), domain))
        elif kind == "X":
            found.append(Across(draw(some), draw(st.integers(1, 2)), domain))
        elif kind == "F":
            weight = draw(ints(-1, 2, classes, groups)).astype(np.float64)
            found.append(Floor(weight, float(draw(st.integers(1, 3)))))
        elif kind == "G" and not any(isinstance(rule, Gang) for rule in found):
            found.append(Gang(draw(some)))
    return tuple(found)


@st.composite
def by_domain(draw, low, high, groups, domain):
    """Draw an amount for each group, equal in a domain."""
    amount = draw(ints(low, high, groups)).astype(np.float64)
    for code in set() if domain is None else set(domain.tolist()):
        amount[domain == code] = amount[domain == code][0]
    return amount


@st.composite
def excesses(draw, classes, groups):
    """Draw a soft limit."""
    domain = draw(st.one_of(st.none(), ints(-1, 1, groups)))
    weight = draw(ints(-1, 3, classes, groups)).astype(np.float64)
    return Excess(weight, draw(by_domain(-1, 3, groups, domain)), domain)


@st.composite
def peaks(draw, classes, groups):
    """Draw a limit on the largest sum."""
    one = draw(excesses(classes, groups))
    some = st.lists(st.integers(0, classes - 1), min_size=1, unique=True).map(tuple)
    sums = tuple(draw(st.lists(some, min_size=1, max_size=2)))
    return Peak(one.weight, one.amount, sums, one.domain)


@st.composite
def meetings(draw, classes, groups):
    """Draw a pairwise term."""
    some = st.lists(st.integers(0, classes - 1), min_size=1, unique=True).map(tuple)
    domain = draw(st.one_of(st.none(), ints(-1, 1, groups)))
    return Meeting(draw(some), draw(some), float(draw(st.integers(-2, 2))), domain)


@st.composite
def companies(draw, classes, groups):
    """Draw a term of pairs."""
    order = draw(st.permutations(range(classes)))
    cut = draw(st.integers(1, classes))
    sets = tuple(tuple(part) for part in (order[:cut], order[cut:]) if part)
    worth = draw(ints(-3, 3, len(sets), len(sets))).astype(np.float64)
    domain = draw(st.one_of(st.none(), ints(-1, 1, groups)))
    return Company(sets, worth + worth.T, domain)


KINDS = (Placed, HostCost, Preferred, Kept, Balanced, Stranded)


@st.composite
def objectives(draw, base, kinds=KINDS):
    """Draw one to three objectives, placing first as a rule."""
    classes, nodes = base.count.size, base.group.size
    makers = {
        Placed: lambda: Placed(draw(ints(0, 3, classes)).astype(np.float64)),
        HostCost: lambda: HostCost(draw(ints(0, 3, nodes)).astype(np.float64)),
        Preferred: lambda: Preferred(
            draw(ints(-2, 2, classes, base.feasible.shape[1])).astype(np.float64),
            tuple(draw(st.lists(meetings(classes, base.feasible.shape[1]), max_size=2))),
            tuple(draw(st.lists(companies(classes, base.feasible.shape[1]), max_size=2))),
            tuple(draw(st.lists(excesses(classes, base.feasible.shape[1]), max_size=2))),
            tuple(draw(st.lists(peaks(classes, base.feasible.shape[1]), max_size=1))),
        ),
        Kept: lambda: Kept(draw(ints(0, 2, classes)).astype(np.float64)),
        Balanced: lambda: Balanced(
            (base.free + draw(ints(1, 3, *base.free.shape))) * draw(ints(0, 1, *base.free.shape))
        ),
        Stranded: lambda: Stranded(0, draw(ints(0, 2, classes)).astype(np.float64)),
    }
    chosen = draw(st.lists(st.sampled_from(kinds), max_size=2, unique=True))
    return tuple(makers[kind]() for kind in dict.fromkeys((Placed, *chosen)))


@st.composite
def problems(draw, nodes=3, classes=3, copies=2, kinds=None, demands=""):
    """Draw a problem that trying everything can solve."""
    nodes, classes = draw(st.integers(1, nodes)), draw(st.integers(1, classes))
    groups = draw(st.integers(1, min(nodes, 2)))
    resources = draw(st.integers(1, 2))
    count = draw(ints(0, copies, classes))
    units = draw(ints(0, 2, classes)) if draw(st.booleans()) else count * 0
    share = np.where(units > 0, draw(ints(2, 10, classes)) * 100, 0)
    slots = 2 if units.any() else 0
    free = draw(ints(0, 6, resources, nodes))
    current = [(n, c, 1) for n in range(nodes) for c in range(classes) if count[c]]
    chosen = draw(st.lists(st.sampled_from(current), max_size=2, unique=True)) if current else []
    base = Problem(
        free=free,
        demand=draw(ints(0, 4, resources, classes)),
        count=count,
        group=draw(ints(0, groups - 1, nodes)),
        feasible=draw(ints(0, 3, classes, groups)) > 0,
        limit=draw(ints(1, 3, classes)),
        devices=draw(ints(0, 5, slots, nodes)) * 200,
        device_share=share,
        device_units=units,
        objectives=(Placed(np.ones(classes)),),
        rules=draw(rules(nodes, classes, groups, demands)),
        current=np.array(chosen, dtype=np.int64).reshape(-1, 3).T,
    )
    given = objectives(base) if kinds is None else objectives(base, kinds)
    return replace(base, objectives=draw(given))


def plan(given, content):
    """Return a plan from (N, C) copies."""
    nodes, classes = np.nonzero(content)
    return Solution(nodes, classes, content[nodes, classes], (), Status.FEASIBLE, "", {})


def value(given, objective, content):
    """Return what (N, C) copies reach, costs negative: each objective as it is documented."""
    placed = content.sum(axis=0)
    if isinstance(objective, Placed):
        return float(objective.value @ placed)
    if isinstance(objective, HostCost):
        return -float(objective.cost[content.any(axis=1)].sum())
    if isinstance(objective, Preferred):
        linear = sum(
            float(objective.weight[c, given.group[n]]) * int(content[n, c])
            for n, c in zip(*np.nonzero(content), strict=True)
        )
        linear += sum(met(given, each, content) for each in objective.meetings)
        for each in objective.excesses:
            every = range(given.count.size)
            linear -= sum(max(over, 0.0) for over in overs(given, each, every, content))
        for each in objective.peaks:
            found = [over for own in each.sums for over in overs(given, each, own, content)]
            linear -= max(0.0, *found)
        return linear + sum(paired(given, each, content) for each in objective.companies)
    if isinstance(objective, Kept):
        return sum(
            float(objective.weight[c]) * min(int(content[n, c]), int(many))
            for n, c, many in given.current.T
        )
    if isinstance(objective, Balanced):
        used = objective.allocatable - given.free + given.demand @ content.T
        return -sum(
            sum(u * u / a for u, a in zip(mine, there, strict=True) if a) / max(int(there.sum()), 1)
            for mine, there in zip(used.tolist(), objective.allocatable, strict=True)
        )
    if isinstance(objective, Stranded):
        free = given.free - given.demand @ content.T
        return -sum(
            float(share) * int(free[objective.resource, n])
            for c, share in enumerate(objective.popularity)
            for n in range(given.group.size)
            if not given.feasible[c, given.group[n]] or (free[:, n] < given.demand[:, c]).any()
        )
    raise AssertionError(objective)


def overs(given, limit, classes, content):
    """Return what each domain has above a soft limit."""
    found = {}
    for n in range(given.group.size):
        k = int(given.group[n])
        domain = n if limit.domain is None else int(limit.domain[k])
        if domain >= 0:
            weighed = sum(float(limit.weight[c, k]) * int(content[n, c]) for c in classes)
            found.setdefault(domain, -float(limit.amount[k]))
            found[domain] += weighed
    return [0.0, *found.values()]


def met(given, meeting, content):
    """Return what a pairwise term adds."""
    where = [
        n if meeting.domain is None else int(meeting.domain[given.group[n]])
        for n in range(given.group.size)
    ]
    sides = [
        {where[n] for n in range(len(where)) if where[n] >= 0 and content[n, list(side)].any()}
        for side in (meeting.left, meeting.right)
    ]
    return meeting.worth * len(sides[0] & sides[1])


def paired(given, company, content):
    """Return what copies in one domain are worth to each other, pair by pair."""
    set_of = {c: at for at, classes in enumerate(company.sets) for c in classes}
    copies = []
    for n, c in zip(*np.nonzero(content), strict=True):
        domain = n if company.domain is None else int(company.domain[given.group[n]])
        if domain >= 0 and c in set_of:
            copies += [(domain, set_of[c])] * int(content[n, c])
    return sum(float(company.worth[g, h]) for (d, g), (e, h) in combinations(copies, 2) if d == e)


def every_plan(given):
    """Yield (N, C) copies of every plan that the verifier accepts."""
    nodes = given.group.size
    ranges = [range(int(many) + 1) for many in given.count]
    contents = [np.array(one, dtype=np.int64) for one in product(*ranges)]
    alone = replace(given, rules=())
    possible = []
    for n in range(nodes):
        mine = []
        for content in contents:
            whole = np.zeros((nodes, given.count.size), dtype=np.int64)
            whole[n] = content
            if not verify(alone, plan(given, whole)):
                mine.append(content)
        possible.append(mine)

    def rest(n, chosen, left):
        if n == nodes:
            whole = np.array(chosen).reshape(nodes, given.count.size)
            if not given.rules or not verify(given, plan(given, whole)):
                yield whole
            return
        for content in possible[n]:
            if (content <= left).all():
                yield from rest(n + 1, [*chosen, content], left - content)

    yield from rest(0, [], given.count)


def best(given):
    """Return the best values by trying everything."""
    return max(
        tuple(value(given, objective, content) for objective in given.objectives)
        for content in every_plan(given)
    )
