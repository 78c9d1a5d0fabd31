"""Placements in random small clusters with Kubernetes' rules, held against every order there is.

Whatever pods can be placed one after another is tried; what is proved must be true of all of it.
"""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.objects.pod_class import PodClass
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.preparation import prepare
from scheduler.placement.draft import Draft
from scheduler.placement.scenario import read_scenario
from scheduler.placement.solver.engine import Options, solve
from tests.batch_cases import job, rules, template

RULES = rules()
KEYS = ("zone", "kubernetes.io/hostname")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
FIRST = ({"place": "count"}, {"hosts": "fewest"})
FEWEST = ({"hosts": "fewest"},)
MOST_STATES = 600  # of a cluster; larger ones are passed over

apps = st.sampled_from("ab")
rarely = st.sampled_from((False, False, False, True))


def host(number, zone, tainted, cpu, pods):
    labels = {"kubernetes.io/hostname": f"h{number}", **({"zone": zone} if zone else {})}
    taints = [{"key": "k", "effect": "NoSchedule"}] if tainted else []
    return {
        "metadata": {"name": f"h{number}", "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": str(cpu), "memory": "32Gi", "pods": str(pods)}},
    }


@st.composite
def terms(draw):
    """Draw required terms of affinity or anti-affinity."""
    chosen = st.tuples(st.sampled_from(KEYS), apps)
    return {
        REQUIRED: [
            {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
            for key, app in draw(st.lists(chosen, min_size=1, max_size=2))
        ]
    }


@st.composite
def constraints(draw):
    """Draw a spread constraint."""
    found = {
        "maxSkew": draw(st.sampled_from((1, 1, 2))),
        "topologyKey": draw(st.sampled_from(KEYS)),
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": draw(apps)}},
    }
    if draw(rarely):
        found["minDomains"] = draw(st.integers(1, 3))
    if draw(rarely):
        found["nodeTaintsPolicy"] = "Honor"
    if draw(rarely):
        found["nodeAffinityPolicy"] = "Ignore"
    return found


@st.composite
def fields(draw):
    """Draw what pods ask for."""
    found = {"cpu": draw(st.sampled_from(("1", "1", "2")))}
    affinity = {}
    if draw(rarely):
        affinity["podAntiAffinity"] = draw(terms())
    if draw(st.booleans()):
        affinity["podAffinity"] = draw(terms())
    if affinity:
        found["affinity"] = affinity
    if draw(st.booleans()):
        keys = draw(st.lists(constraints(), max_size=2, unique_by=lambda c: c["topologyKey"]))
        found["topologySpreadConstraints"] = keys
    if draw(rarely):
        found["port"] = draw(st.sampled_from((80, 81)))
    if draw(rarely):
        found["nodeSelector"] = {"zone": draw(st.sampled_from("xy"))}
    if draw(rarely):
        found["tolerations"] = [{"operator": "Exists"}]
    if draw(rarely):
        found["priority"] = draw(st.sampled_from((0, 10)))
    return found


@st.composite
def clusters(draw):
    """Draw (nodes, running pods, PodGroups, templates) of two or three hosts and five pods."""
    hosts = [
        host(
            number,
            draw(st.sampled_from(("x", "y", "x", "y", ""))),
            draw(rarely),
            draw(st.sampled_from((2, 3, 4))),
            draw(st.sampled_from((110, 110, 2))),
        )
        for number in range(draw(st.integers(2, 3)))
    ]
    running = []
    for number in range(draw(st.integers(0, 2))):
        labels, asked = {"app": draw(apps)}, draw(fields())
        spec = template("r", 1, labels=labels, **asked)["template"]["spec"]
        on = f"h{draw(st.integers(0, len(hosts) - 1))}"
        meta = {"name": f"r{number}", "namespace": "default", "labels": labels}
        running.append({"metadata": meta, "spec": {**spec, "nodeName": on}})
    least = draw(st.sampled_from((0, 0, 2, 3)))
    meta = {"name": "g", "namespace": "default"}
    groups = [{"metadata": meta, "spec": {"minMember": least}}] if least else []
    wanted, left = [], 5
    for number in range(draw(st.integers(1, 3))):
        count = min(left, draw(st.integers(1, 3)))
        left -= count
        labels = {"app": draw(apps), "n": str(number)}
        if least and draw(st.booleans()):
            labels["ironfree.dev/pod-group"] = "g"
        if count:
            wanted.append(template(f"t{number}", count, labels=labels, **draw(fields())))
    return hosts, running, groups, wanted


def near(app):
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}
    return {"podAffinity": {REQUIRED: [term]}}


def wanting(name, count, app, near_app):
    return template(name, count, labels={"app": app}, cpu="1", affinity=near(near_app))


ZONES = [host(0, "x", False, 4, 110), host(1, "y", False, 4, 110)]
ELSEWHERE = {
    "metadata": {"name": "r", "namespace": "default", "labels": {"app": "a"}},
    "spec": {"nodeName": "h1", "containers": [{"name": "c", "image": "i"}]},
}
# What random clusters seldom hit: a class of the batch opens a domain for another; who runs is on
# a node without the key; a class comes before the one that it wants.
OPENING = (ZONES, [], [], [wanting("t0", 1, "a", "a"), wanting("t1", 1, "b", "a")])
KEYLESS = (
    [host(0, "x", False, 4, 110), host(1, "", False, 4, 110)],
    [ELSEWHERE],
    [],
    [wanting("t0", 2, "a", "a")],
)
PRECEDING = (
    ZONES,
    [],
    [],
    [wanting("t0", 2, "b", "a"), template("t1", 1, labels={"app": "a"}, cpu="1")],
)


def reachable(prepared):
    """Return all (C, N) copies that placing pods one after another leads to, or none if too many.

    The filters are asked, not the solver; so this is what online placement may come to.
    """
    demands, size = prepared.model.demands, prepared.snapshot.size
    start = (0,) * (len(demands) * size)
    paths: dict[tuple[int, ...], tuple[tuple[PodClass, int], ...]] = {start: ()}
    todo = [start]
    while todo:
        state = todo.pop()
        for c, demand in enumerate(demands):
            if sum(state[c * size : (c + 1) * size]) >= demand.count:
                continue
            for row in range(size):
                more = list(state)
                more[c * size + row] += 1
                after = tuple(more)
                if after in paths:
                    continue
                draft, wish = Draft(prepared.snapshot), np.zeros(size, dtype=np.int64)
                for pod, at in paths[state]:
                    draft.add(pod, np.array([at]))
                wish[row] = 1
                if prepared.framework.follow(demand.pod, wish, draft).size:
                    paths[after] = (*paths[state], (demand.pod, row))
                    todo.append(after)
        if len(paths) > MOST_STATES:
            return []
    return [np.array(state).reshape(len(demands), size) for state in paths]


def values(prepared):
    """Return (pods placed, hosts newly used) of everything reachable in which gangs are whole."""
    demands = prepared.model.demands
    used = prepared.snapshot.requested.any(axis=0)
    found = []
    for copies in reachable(prepared):
        members = sum(int(copies[c].sum()) for c, each in enumerate(demands) if each.least)
        if members == 0 or members >= max(each.least for each in demands):
            hosts = (copies.sum(axis=0) > 0) & ~used
            found.append((int(copies.sum()), int(hosts.sum())))
    return found


def outcome(case, objective):
    hosts, running, groups, wanted = case
    cluster = read_scenario({"nodes": hosts, "pods": running, "podGroups": groups})
    prepared = prepare(job(*wanted, objective=objective), cluster, RULES)
    solution = solve(prepared.model.problem, Options(seconds=5.0))
    return prepared, settle(prepared, solution, cluster.state)


@settings(max_examples=50, derandomize=True)
@example(OPENING)
@example(KEYLESS)
@example(PRECEDING)
@given(clusters())
def test_what_is_proved_of_how_many_are_placed_is_true_of_every_order(case):
    prepared, found = outcome(case, FIRST)
    assert found.violations == ()
    every = values(prepared)
    if not every:
        return
    most, least = max(every, key=lambda value: (value[0], -value[1]))
    first, second, *_ = found.solver.goals
    assert found.placed == float(first.value) <= most <= float(first.bound)
    if found.placed == most and second.bound:
        assert float(second.bound) <= least <= float(second.value)
    if found.solver.status == "optimal":
        assert (found.placed, float(second.value)) == (most, least)
    assert all(each.reason for each in found.unplaced)


@settings(max_examples=50, derandomize=True)
@example(OPENING)
@example(KEYLESS)
@example(PRECEDING)
@given(clusters())
def test_all_are_placed_or_it_is_proved_or_open_whether_they_can_be(case):
    prepared, found = outcome(case, FEWEST)
    assert found.violations == ()
    every = values(prepared)
    if not every:
        return
    hosts = [used for placed, used in every if placed == prepared.pods]
    first, *_ = found.solver.goals
    if found.placed:
        assert found.placed == prepared.pods
        assert float(first.bound or "-inf") <= min(hosts) <= float(first.value)
        if found.solver.status == "optimal":
            assert float(first.value) == min(hosts)
    else:
        assert found.solver.status in ("infeasible", "unknown")
        assert not first.bound
        assert all(each.reason for each in found.unplaced)
        if found.solver.status == "infeasible":
            assert not hosts
