"""Placement's promises on random clusters and random scores."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.hookspecs import Change, Normalise, Verdict
from scheduler.objects.stored import ObjectKey
from scheduler.placement.checker import check
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Decision, Framework
from scheduler.placement.greedy import place
from scheduler.placement.plan import Allotment, PendingPod, Plan
from tests.placement_cases import a_class, by_strategy, cluster, default_framework, node, pod, spec


def one_by_one(room, count, table):
    """Place copies one at a time: highest score of the next copy, lowest row on a tie."""
    copies = [0] * len(room)
    chosen = []
    for _ in range(count):
        rows = [row for row in range(len(room)) if copies[row] < room[row]]
        if not rows:
            break
        best = max(rows, key=lambda row: (table[row][copies[row]], -row))
        copies[best] += 1
        chosen.append(best)
    return chosen


@st.composite
def tables(draw):
    """Rooms and a score for every copy on every node; few values, so that ties are common."""
    size = draw(st.integers(1, 24))
    deepest = draw(st.sampled_from([1, 9]))
    room = draw(st.lists(st.integers(0, deepest), min_size=size, max_size=size))
    values = st.integers(0, draw(st.sampled_from([0, 1, 3, 100])))
    table = [[draw(values) for _ in range(10)] for _ in range(size)]
    shape = draw(st.sampled_from(["any", "rising", "falling", "constant"]))
    if shape == "rising":
        table = [sorted(row) for row in table]
    if shape == "falling":
        table = [sorted(row, reverse=True) for row in table]
    if shape == "constant":
        table = [[row[0]] * 10 for row in table]
    return room, draw(st.integers(0, 60)), table


@settings(max_examples=400, deadline=None)
@given(tables())
def test_one_shot_is_one_by_one(case):
    room, count, table = case
    scores = np.array(table, dtype=np.int64)

    def score(rows, copies):
        return scores[rows, copies]

    placed = place(np.array(room, dtype=np.int64), count, score)
    assert placed.tolist() == one_by_one(room, count, table)


def test_one_shot_is_one_by_one_on_a_large_cluster():
    random = np.random.default_rng(1)
    room = random.integers(0, 30, 300)
    table = random.integers(0, 40, (300, 31))
    placed = place(room, 2000, lambda rows, copies: table[rows, copies])
    assert placed.tolist() == one_by_one(room.tolist(), 2000, table.tolist())


sizes = st.sampled_from(["100m", "500m", "1", "1500m", "3"])
memories = st.sampled_from(["0", "256Mi", "1Gi", "3Gi"])
zones = st.sampled_from(["a", "b", "c"])
taints = st.lists(
    st.tuples(
        st.sampled_from(["k1", "k2"]),
        st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
        st.sampled_from(["", "v"]),
    ),
    max_size=2,
    unique_by=lambda taint: taint[:2],
)


@st.composite
def clusters(draw):
    nodes = [
        node(
            f"n{number}",
            cpu=draw(st.sampled_from(["1", "2", "4"])),
            memory=draw(st.sampled_from(["1Gi", "4Gi"])),
            pods=draw(st.sampled_from(["1", "3", "10"])),
            labels={"zone": draw(zones)} if draw(st.booleans()) else {},
            taints=draw(taints),
            unschedulable=draw(st.integers(0, 5)) == 0,
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    bound = [
        pod(node=f"n{draw(st.integers(0, len(nodes) - 1))}", cpu=draw(sizes), memory=draw(memories))
        for _ in range(draw(st.integers(0, 4)))
    ]
    return nodes, bound


@st.composite
def classes(draw):
    fields = {"cpu": draw(sizes), "memory": draw(memories)}
    if draw(st.integers(0, 4)) == 0:
        fields["port"] = draw(st.sampled_from([80, 81]))
    if draw(st.integers(0, 3)) == 0:
        fields["nodeSelector"] = {"zone": draw(zones)}
    if draw(st.booleans()):
        fields["tolerations"] = [
            {"key": draw(st.sampled_from(["k1", "k2"])), "operator": "Exists"},
            {"operator": draw(st.sampled_from(["Exists", "Equal"])), "value": "v"},
        ]
    affinity = {}
    if draw(st.integers(0, 2)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
        values = [draw(zones)] if operator in ("In", "NotIn") else []
        match = [{"key": "zone", "operator": operator, "values": values}]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchExpressions": match}]
        }
    if draw(st.booleans()):
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {
                "weight": draw(st.integers(1, 100)),
                "preference": {
                    "matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]
                },
            }
            for zone in draw(st.lists(zones, max_size=2))
        ]
    if affinity:
        fields["affinity"] = {"nodeAffinity": affinity}
    return a_class(json=spec(**fields))


STRATEGIES = {
    name: default_framework(by_strategy(name)) for name in ("MostAllocated", "LeastAllocated")
}
frameworks = st.sampled_from(list(STRATEGIES))


@settings(max_examples=150, deadline=None)
@given(clusters(), classes(), st.integers(1, 25), frameworks)
def test_a_group_goes_where_its_pods_would_go_alone(case, wanted, count, strategy):
    """Normalisation included: it is redone for every pod by one-by-one placement."""
    framework = STRATEGIES[strategy]
    nodes, bound = case
    snapshot = cluster(*nodes, pods=bound).freeze(1)
    together = framework.decide(wanted, count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(wanted, 1, draft).rows.tolist()
    assert together == alone


def plan_of(snapshot, groups, framework):
    draft = Draft(snapshot)
    allotments = []
    for number, (wanted, count) in enumerate(groups):
        decision = framework.decide(wanted, count, draft)
        names = snapshot.names(decision.rows)
        pods = tuple(
            PendingPod(ObjectKey("pods", "default", f"{number}-{i}"), f"{number}-{i}")
            for i in range(count)
        )
        allotments.append(
            Allotment(wanted, pods[: len(names)], names, pods[len(names) :], decision)
        )
    return Plan(1, tuple(allotments))


groups = st.lists(st.tuples(classes(), st.integers(1, 12)), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(clusters(), groups, frameworks)
def test_no_plan_overcommits_and_the_checker_agrees(case, wanted, strategy):
    nodes, bound = case
    state = cluster(*nodes, pods=bound)
    before = state.freeze(1)
    plan = plan_of(before, wanted, STRATEGIES[strategy])
    assert check(plan, before, ()) == []
    for allotment in plan.allotments:
        pairs = zip(allotment.pods, allotment.nodes, strict=True)
        state.assume(allotment.pod, [(each.uid, name) for each, name in pairs])
    after = state.freeze(2)
    grown = after.requested > before.requested
    assert not (grown & (after.requested > after.allocatable)).any()


@settings(max_examples=150, deadline=None)
@given(clusters(), classes(), frameworks)
def test_the_checker_accepts_exactly_the_nodes_that_filters_accept(case, wanted, strategy):
    """A node the framework would use for one copy passes the checker, every other fails."""
    nodes, bound = case
    snapshot = cluster(*nodes, pods=bound).freeze(1)
    room, _, _ = STRATEGIES[strategy]._room(wanted, snapshot, 1)
    waiting = PendingPod(ObjectKey("pods", "default", "p"), "p")
    for row in range(snapshot.size):
        decision = Decision(wanted, 1, np.array([row]))
        names = snapshot.names(decision.rows)
        plan = Plan(1, (Allotment(wanted, (waiting,), names, (), decision),))
        assert bool(room[row]) == (check(plan, snapshot, ()) == [])


@settings(max_examples=100, deadline=None)
@given(clusters(), classes(), st.integers(1, 25), frameworks)
def test_a_diagnosis_accounts_for_every_node(case, wanted, count, strategy):
    nodes, bound = case
    snapshot = cluster(*nodes, pods=bound).freeze(1)
    decision = STRATEGIES[strategy].decide(wanted, count, Draft(snapshot))
    assert (decision.diagnosis is None) == (decision.rows.size == count)
    if decision.diagnosis is not None:
        by_plugin: dict[str, int] = {}
        for refusal in decision.diagnosis.refusals:
            by_plugin[refusal.plugin] = max(by_plugin.get(refusal.plugin, 0), refusal.nodes)
        assert sum(by_plugin.values()) <= len(nodes)
        assert sum(refusal.nodes for refusal in decision.diagnosis.refusals) >= len(nodes)


class Wavy:
    """A scorer that neither rises nor falls, of random values."""

    name = "Wavy"
    weight = 1
    depends_on_copies = True

    def __init__(self, table, normalise):
        self.table = table
        self.normalise = normalise

    def score(self, pod, snapshot, rows, copies):
        already = snapshot.placed.get(pod, {})
        here = np.array([already.get(row, 0) for row in rows.tolist()], dtype=np.int64)
        return self.table[rows, (here + copies) % self.table.shape[1]]


class Room:
    """A filter that admits so many copies a node."""

    name = "Room"
    wakes_on = Change.ANY

    def __init__(self, room):
        self.room = room

    def filter(self, pod, snapshot):
        here = np.zeros(snapshot.size, dtype=np.int64)
        for row, count in snapshot.placed.get(pod, {}).items():
            here[row] = count
        return Verdict(self.room - here, "no room")


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(list(Normalise)))
def test_any_scorer_and_any_normalisation_is_one_by_one(case, normalise):
    room, count, table = case
    scorer = Wavy(np.array(table, dtype=np.int64), normalise)
    framework = Framework([Room(np.array(room, dtype=np.int64))], [scorer])
    snapshot = cluster(*(node(f"n{i}") for i in range(len(room)))).freeze(1)
    together = framework.decide(a_class(), count, Draft(snapshot)).rows.tolist()
    alone, draft = [], Draft(snapshot)
    for _ in range(count):
        alone += framework.decide(a_class(), 1, draft).rows.tolist()
    assert together == alone
