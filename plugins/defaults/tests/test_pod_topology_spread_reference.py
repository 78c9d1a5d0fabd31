"""PodTopologySpread against looking at one node after the other; one shot against one by one."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ironfree_defaults.node_resources_fit import NodeResourcesFit
from ironfree_defaults.pod_topology_spread import PodTopologySpread
from msgspec.structs import replace as replaced

from scheduler.objects.pod_class import pod_class
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from tests.placement_cases import cluster, everywhere, node, pod
from tests.spread_cases import (
    BAR,
    FOO,
    FOO_SERVICE,
    HARD,
    HOST,
    LIST,
    PICKED,
    SYSTEM,
    ZONE,
    at,
    four,
    on,
    scored,
    soft,
    spread,
    verdict,
    wants,
    workloads,
)


def counted(found, name, wanted, each):
    """Count the pods on a node that a constraint's JSON counts."""
    select = each.get("labelSelector")
    if select is None:
        return 0
    return sum(
        other.meta.namespace == wanted.namespace
        and all(other.meta.labels.get(k) == v for k, v in select["matchLabels"].items())
        for other in found
        if other.node == name
    )


def includes(each, wanted, facts):
    if each.get("nodeAffinityPolicy", "Honor") == "Honor":
        chosen = wanted.spec.node_selector
        if any(facts.meta.labels.get(k) != v for k, v in chosen.items()):
            return False
    return each.get("nodeTaintsPolicy", "Ignore") == "Ignore" or not facts.spec.taints


def naive_filter(wanted, constraints, nodes, pods):
    """Return which nodes pass, node by node."""
    keys = [each["topologyKey"] for each in constraints]
    full = [n for n in nodes if all(key in n.meta.labels for key in keys)]
    passes = []
    for candidate in nodes:
        good = True
        for each in constraints:
            key = each["topologyKey"]
            domains = {}
            for other in full:
                if includes(each, wanted, other):
                    value = other.meta.labels[key]
                    here = counted(pods, other.meta.name, wanted, each)
                    domains[value] = domains.get(value, 0) + here
            select = each.get("labelSelector")
            itself = select is not None and all(k in wanted.labels for k in select["matchLabels"])
            least = min(domains.values(), default=0)
            if len(domains) < each.get("minDomains", 1):
                least = 0
            value = candidate.meta.labels.get(key)
            skew = domains.get(value, 0) + itself - least
            good &= value is not None and skew <= each["maxSkew"]
        passes.append(good)
    return passes


def naive_scores(wanted, constraints, nodes, pods, candidates):
    """Return the candidates' scores, node by node."""
    keys = [each["topologyKey"] for each in constraints]
    full = [n for n in nodes if all(key in n.meta.labels for key in keys)]
    living = [n for n in candidates if n in full]
    raw = {}
    for candidate in living:
        total = 0.0
        for each in constraints:
            key = each["topologyKey"]
            value = candidate.meta.labels[key]
            if key == HOST:
                count = counted(pods, candidate.meta.name, wanted, each)
                size = len(living)
            else:
                count = sum(
                    counted(pods, other.meta.name, wanted, each)
                    for other in full
                    if other.meta.labels[key] == value and includes(each, wanted, other)
                )
                size = len({other.meta.labels[key] for other in living})
            total += count * math.log(size + 2) + (each["maxSkew"] - 1)
        raw[candidate.meta.name] = math.floor(total + 0.5)
    if not raw:
        return [0] * len(candidates)
    most, least = max(raw.values()), min(raw.values())
    return [
        0
        if n.meta.name not in raw
        else 100
        if most == 0
        else 100 * (most + least - raw[n.meta.name]) // most
        for n in candidates
    ]


@st.composite
def cases(draw, whens=("DoNotSchedule", "ScheduleAnyway")):
    """Return nodes, pods, a class and its constraints' JSON."""
    nodes = []
    for number in range(draw(st.integers(1, 7))):
        labels = {"pick": draw(st.sampled_from(["yes", "yes", "no"]))}
        if draw(st.integers(0, 5)):
            labels["zone"] = draw(st.sampled_from(["1", "2", "3", ""]))
        if draw(st.integers(0, 5)):
            labels[HOST] = f"n{number}" if draw(st.integers(0, 5)) else "shared"
        taints = draw(st.sampled_from([[], [], HARD]))
        slots = draw(st.sampled_from(["2", "5", "110"]))
        nodes.append(node(f"n{number}", labels=labels, taints=taints, pods=slots))
    pods = [
        pod(
            node=f"n{draw(st.integers(0, len(nodes) - 1))}",
            labels=draw(st.sampled_from([{"foo": ""}, {"bar": ""}, {"foo": "", "bar": ""}])),
            namespace=draw(st.sampled_from(["default", "default", "other"])),
        )
        for _ in range(draw(st.integers(0, 8)))
    ]
    constraints = []
    for _ in range(draw(st.integers(1, 3))):
        more = {}
        if draw(st.integers(0, 2)) == 0:
            more["nodeAffinityPolicy"] = "Ignore"
        if draw(st.integers(0, 2)) == 0:
            more["nodeTaintsPolicy"] = "Honor"
        when = draw(st.sampled_from(whens))
        if when == "DoNotSchedule" and draw(st.integers(0, 3)) == 0:
            more["minDomains"] = draw(st.integers(1, 4))
        select = draw(st.sampled_from([FOO, FOO, BAR, {"matchLabels": {}}, None]))
        skew = draw(st.integers(1, 3))
        constraints.append(
            spread(draw(st.sampled_from(["zone", HOST])), skew, select, when, **more)
        )
    fields = {"nodeSelector": PICKED} if draw(st.booleans()) else {}
    labels = draw(st.sampled_from([("foo",), ("bar",), ("foo", "bar")]))
    return nodes, pods, wants(*constraints, labels=labels, **fields), constraints


@settings(max_examples=200, deadline=None)
@given(cases())
def test_columns_say_what_looking_at_every_node_says(case):
    nodes, pods, wanted, constraints = case
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    hard = [each for each in constraints if each["whenUnsatisfiable"] == "DoNotSchedule"]
    easy = [each for each in constraints if each["whenUnsatisfiable"] == "ScheduleAnyway"]
    found = LIST.filter(wanted, snapshot)
    if hard:
        assert found.room.tolist() == naive_filter(wanted, hard, nodes, pods)
        if found.coupling is not None:
            assert found.coupling.room().tolist() == found.room.tolist()
        verdict(wanted, nodes, pods)
    else:
        assert found is None
    candidates = nodes[:: 2 if len(pods) % 2 else 1]
    only = {n.meta.name for n in candidates}
    answer = scored(wanted, nodes, pods, only=only)
    if easy:
        expected = naive_scores(wanted, easy, nodes, pods, candidates)
        assert list(answer.values()) == expected
    else:
        assert answer is None


def test_many_nodes_and_many_pods_are_counted_alike():
    nodes = [at(f"n{n}", str(n % 3), labels=PICKED if n % 5 else {}) for n in range(60)]
    pods = [each for n in range(60) for each in on(f"n{n}", n % 4)]
    hard, easy = [spread(skew=2), spread(HOST, 2)], [soft(), soft(HOST, 2)]
    wanted = wants(*hard, *easy, nodeSelector=PICKED)
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    assert LIST.filter(wanted, snapshot).room.tolist() == naive_filter(wanted, hard, nodes, pods)
    found = list(scored(wanted, nodes, pods).values())
    assert found == naive_scores(wanted, easy, nodes, pods, nodes)
    state = cluster(*nodes, pods=pods)
    for each in (each for n in range(60) for each in on(f"n{n}", 1 + n % 2)):
        state.set_pod(each.meta.uid, pod_class(each), each.node, leaving=True)
    assert LIST.filter(wanted, state.freeze(1)).room.tolist() == naive_filter(
        wanted, hard, nodes, pods
    )


def test_a_copy_on_a_node_not_asked_about_counts_in_its_zone_alone():
    draft = Draft(cluster(*four()).freeze(1))
    wanted, rows = wants(soft(), soft(HOST)), np.array([0, 2, 3])
    graded = LIST.score(wanted, draft.snapshot, rows, everywhere(3))
    graded.scores(rows)
    graded.put(1)
    draft.add(wanted, np.array([1]))
    fresh = LIST.score(wanted, draft.snapshot, rows, everywhere(3))
    assert graded.scores(rows).tolist() == fresh.scores(rows).tolist() == [0, 100, 100]


@settings(max_examples=150, deadline=None)
@given(cases(), st.lists(st.integers(0, 6), max_size=10))
def test_a_coupling_says_what_a_fresh_call_says(case, puts):
    nodes, pods, wanted, _ = case
    draft = Draft(cluster(*nodes, pods=pods).freeze(1))
    found = LIST.filter(wanted, draft.snapshot)
    rows = draft.snapshot.all_rows
    graded = LIST.score(wanted, draft.snapshot, rows, everywhere(rows.size))
    for put in puts:
        row = put % len(nodes)
        draft.add(wanted, np.array([row]))
        fresh = LIST.filter(wanted, draft.snapshot)
        if found is not None and found.coupling is not None:
            found.coupling.put(row)
            assert found.coupling.room().tolist() == fresh.room.tolist()
        elif found is not None:
            assert found.room.tolist() == fresh.room.tolist()
        again = LIST.score(wanted, draft.snapshot, rows, everywhere(rows.size))
        if isinstance(graded, np.ndarray):
            assert graded.tolist() == again.tolist()
        elif graded is not None:
            graded.put(row)
            some = rows[rows != put // 2] if put % 3 == 0 else rows
            assert graded.scores(some).tolist() == again.scores(some).tolist()


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 25), st.booleans())
def test_one_shot_is_one_by_one(case, count, with_fit):
    nodes, pods, wanted, _ = case
    framework = FRAMEWORKS[with_fit]
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    together = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(wanted, 1, draft).rows.tolist()
    assert together == alone


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 12))
def test_defaults_in_one_shot_are_one_by_one(case, count):
    nodes, pods, _, _ = case
    framework = FRAMEWORKS["system"]
    snapshot = workloads(FOO_SERVICE)(cluster(*nodes, pods=pods).freeze(1))
    together = framework.decide(wants(), count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(wants(), 1, draft).rows.tolist()
    assert together == alone


LOOSE = PodTopologySpread(
    tuple(
        replaced(each, topology_key={HOST: HOST, ZONE: "zone"}[each.topology_key])
        for each in SYSTEM.defaults
    )
)
FRAMEWORKS = {
    True: Framework([NodeResourcesFit(), LIST], [NodeResourcesFit(), LIST]),
    False: Framework([NodeResourcesFit(), LIST], [LIST]),
    "system": Framework([NodeResourcesFit(), LOOSE], [NodeResourcesFit(), LOOSE]),
}
