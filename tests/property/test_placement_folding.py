"""Copies that bear on each other, placed by groups of nodes, go where they would go one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement import folding, stepping
from scheduler.placement.draft import Draft
from scheduler.placement.folding import fold
from scheduler.placement.greedy import place, place_apart
from scheduler.placement.own_scores import OwnScores
from scheduler.placement.scoring import Scoring
from tests.placement_cases import a_class, by_strategy, cluster, default_framework, node, pod, spec

ZONE, RACK, HOST = "topology.kubernetes.io/zone", "rack", "kubernetes.io/hostname"
IT = {"matchLabels": {"app": "it"}}
MUST = "requiredDuringSchedulingIgnoredDuringExecution"
MAY = "preferredDuringSchedulingIgnoredDuringExecution"
FRAMEWORKS = {
    name: default_framework(by_strategy(name)) for name in ("MostAllocated", "LeastAllocated")
}
keys = st.sampled_from([ZONE, ZONE, RACK])


@st.composite
def clusters(draw):
    """Racks in zones with a few pods of app=it and others; some nodes lack labels or are full."""
    nodes = []
    tainted = draw(st.sampled_from([0, 0, 0, 8]))
    for number in range(draw(st.integers(24, 40))):
        labels = {HOST: f"n{number}", ZONE: f"z{number % 3}", RACK: f"r{number % 4 // 2}"}
        labels["disk"] = draw(st.sampled_from(["ssd", "ssd", "hdd"]))
        if draw(st.integers(0, 14)) == 0:
            del labels[draw(st.sampled_from([ZONE, RACK]))]
        taints = [("k", draw(st.sampled_from(["PreferNoSchedule", "NoSchedule"])), "")]
        nodes.append(
            node(
                f"n{number}",
                cpu=draw(st.sampled_from(["1", "2", "4"])),
                pods=draw(st.sampled_from(["1", "3", "110"])),
                labels=labels,
                taints=taints if tainted and draw(st.integers(1, tainted)) == 1 else [],
            )
        )
    pods = [
        pod(
            node=f"n{draw(st.integers(0, len(nodes) - 1))}",
            labels={"app": draw(st.sampled_from(["it", "it", "other"]))},
            json=spec(cpu="200m", affinity=draw(st.just({}) | affinities())),
        )
        for _ in range(draw(st.integers(0, 5)))
    ]
    return nodes, pods


@st.composite
def affinities(draw):
    """Affinity to or from pods of app=it, required or preferred."""
    found = {}
    for kind in ("podAffinity", "podAntiAffinity"):
        term = {"topologyKey": draw(keys), "labelSelector": IT}
        match draw(st.sampled_from(["", "", "must", "may"])):
            case "must":
                found[kind] = {MUST: [term]}
            case "may":
                found[kind] = {MAY: [{"weight": draw(st.integers(1, 50)), "podAffinityTerm": term}]}
    return found


@st.composite
def classes(draw):
    """Pods that spread, seek or shun their kind, and like some nodes more than others."""
    fields = {"cpu": draw(st.sampled_from(["100m", "300m"]))}
    fields["affinity"] = draw(affinities()) if draw(st.booleans()) else {}
    if draw(st.integers(0, 3)) == 0:
        match = {"key": "disk", "operator": "In", "values": ["ssd"]}
        liked = {"weight": 3, "preference": {"matchExpressions": [match]}}
        fields["affinity"]["nodeAffinity"] = {MAY: [liked]}
    fields["topologySpreadConstraints"] = [
        {
            "maxSkew": draw(st.integers(1, 3)),
            "topologyKey": draw(keys),
            "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])),
            "labelSelector": IT,
        }
        for _ in range(draw(st.integers(0, 2)))
    ]
    return a_class(json=spec(**fields), labels={"app": "it"})


@settings(max_examples=150, deadline=None)
@given(clusters(), classes(), st.integers(36, 60), st.sampled_from(list(FRAMEWORKS)))
def test_by_groups_is_one_by_one(case, wanted, count, strategy):
    nodes, pods = case
    framework = FRAMEWORKS[strategy]
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "_COPIES_A_GROUP", 1)  # whether it pays or not
        patch.setattr(folding, "_LEAST_BLOCK", 2)
        together = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        one = framework.decide(wanted, 1, draft).rows.tolist()
        alone += one
        if not one:
            break
    assert together == alone


def spread(key, when):
    return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": IT}


def zones(count=36):
    labels = [{HOST: f"n{n}", ZONE: f"z{n % 3}"} for n in range(count)]
    return cluster(*(node(f"n{n}", labels=each) for n, each in enumerate(labels))).freeze(1)


def near(kind, key, how):
    term = {"topologyKey": key, "labelSelector": IT}
    return {kind: {how: [{"weight": 1, "podAffinityTerm": term} if how == MAY else term]}}


def folded(wanted, snapshot, count=40):
    """Return whether the copies are placed by groups."""
    framework = FRAMEWORKS["MostAllocated"]
    room, couplings, _ = framework._room(wanted, snapshot, count)
    scoring = Scoring(wanted, snapshot, framework.scorers, snapshot.all_rows, None)
    scoring.start()
    own = OwnScores(scoring, room, None)
    return fold(own, room, couplings, scoring.coupled, count) is not None


SHAPES = {
    "zone spread": {"topologySpreadConstraints": [spread(ZONE, "DoNotSchedule")]},
    "preferred zone spread": {"topologySpreadConstraints": [spread(ZONE, "ScheduleAnyway")]},
    "zone affinity": {"affinity": near("podAffinity", ZONE, MUST)},
    "preferred zone affinity": {"affinity": near("podAffinity", ZONE, MAY)},
    "preferred zone anti-affinity": {"affinity": near("podAntiAffinity", ZONE, MAY)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_looks_at_zones_is_placed_by_zones(shape):
    assert folded(a_class(json=spec(**SHAPES[shape]), labels={"app": "it"}), zones())


def test_what_looks_at_hosts_or_is_few_is_placed_by_hosts():
    hosts = a_class(
        json=spec(topologySpreadConstraints=[spread(HOST, "DoNotSchedule")]), labels={"app": "it"}
    )
    assert not folded(hosts, zones())
    assert not folded(a_class(json=spec(**SHAPES["zone spread"]), labels={"app": "it"}), zones(), 8)


class Coupled:
    """A coupling that says nothing of groups."""

    settled = False

    def __init__(self, coupling):
        self.put, self.room = coupling.put, coupling.room


def test_a_coupling_that_does_not_say_what_is_alike_is_stepped_through():
    framework = FRAMEWORKS["LeastAllocated"]
    wanted = a_class(json=spec(**SHAPES["zone spread"]), labels={"app": "it"})
    outcomes = []
    for wrap in (lambda coupling: coupling, Coupled):
        room, couplings, _ = framework._room(wanted, zones(), 40)
        scoring = Scoring(wanted, zones(), framework.scorers, zones().all_rows, None)
        scoring.start()
        wrapped = [wrap(each) for each in couplings]
        outcomes.append(stepping.step(scoring, room, wrapped, 40).tolist())
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 40


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_groups_placed_apart_are_placed_as_if_alone(data):
    size = data.draw(st.integers(1, 12))
    room = np.array(data.draw(st.lists(st.integers(0, 6), min_size=size, max_size=size)))
    table = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=size))
    )
    group_of = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    groups = [np.flatnonzero((group_of == n) & (room > 0)) for n in range(3)]
    counts = data.draw(st.lists(st.integers(0, 20), min_size=3, max_size=3))

    def score(rows, copies):
        return table[rows, copies]

    apart = place_apart(room, list(zip(groups, counts, strict=True)), score)
    for rows, count, found in zip(groups, counts, apart, strict=True):
        assert found.tolist() == place(room, count, score, rows).tolist()
