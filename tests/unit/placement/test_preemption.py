"""Preemption: who may, where, and at whose cost (kube-scheduler's DefaultPreemption)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import Change, Rejection, Verdict
from scheduler.objects.pod_class import pod_class
from scheduler.objects.selectors import EVERYTHING, from_map
from scheduler.objects.stored import ObjectKey
from scheduler.placement.preemption import Preemption, Scope, ineligible, preempt
from scheduler.placement.tenancy import (
    UNSTARTED,
    Budget,
    RunningPod,
    Tenancy,
    nanoseconds,
    ranked,
    violating,
)
from scheduler.plugin_manager import PluginManager
from scheduler.preemption_args import PreemptionArgs
from scheduler.profile import PACKING
from tests.placement_cases import a_class, cluster, node, pod

START = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS = PluginManager.load().rules(PACKING).filters


@dataclass
class Scene:
    """Nodes, the pods on them, budgets and nominations."""

    nodes: list
    pods: list = field(default_factory=list)
    budgets: tuple = ()
    nominated: dict = field(default_factory=dict)
    filters: tuple = FILTERS

    def snapshot(self, without=(), extra=()):
        kept = [each for each, _ in self.pods if each.meta.name not in without]
        state = cluster(*self.nodes, pods=[*kept, *extra])
        for each, resident in self.pods:
            if resident.leaving and each.meta.name not in without:
                state.set_pod(each.meta.uid, resident.pod, each.node, leaving=True)
        return state.freeze(1)

    def tenancy(self):
        running = {}
        for each, resident in self.pods:
            running.setdefault(each.node, []).append(resident)
        return Tenancy(running, self.budgets, self.nominated)

    def preempt(self, wanted, count=1):
        return self.search(wanted, count).chosen

    def search(self, wanted, count=1, percentage=None, absolute=None, start=0):
        given = percentage is not None or absolute is not None
        args = PreemptionArgs(percentage or 0, absolute or 0, True) if given else PreemptionArgs()
        scope = Scope(args, start)
        return preempt(wanted, self.filters, self.snapshot(), self.tenancy(), count, scope)

    def fits(self, wanted, name, without=(), extra=()):
        snapshot = self.snapshot(without, extra)
        return bool(_open(wanted, self.filters, snapshot)[snapshot.row_of[name]])


def _open(wanted, filters, snapshot):
    room = snapshot.every()
    for each in filters:
        verdict = each.filter(wanted, snapshot)
        if verdict is not None:
            room &= verdict.room != 0
    return room


def runs(name, where, priority=0, *, age=0, after=0, leaving=False, preempted=False, **fields):
    """Return a pod that has been running on a node for `age` seconds (None: not started).

    `after`: so many nanoseconds later.
    """
    each = pod(name, node=where, priority=priority, **fields)
    key = ObjectKey("pods", each.meta.namespace, name)
    started = UNSTARTED if age is None else nanoseconds(START - timedelta(seconds=age)) + after
    wanted = pod_class(each)
    return each, RunningPod(key, each.meta.uid, wanted, started, leaving, preempted)


def one(outcomes):
    """Return (node, victims' names, violations) of the only preemption, None if there is none."""
    if not outcomes:
        return None
    (outcome,) = outcomes
    return outcome.node, [v.key.name for v in outcome.victims], outcome.pdb_violations


def budget(allowed, namespace="default", disrupted=(), **labels):
    return Budget(namespace, from_map(labels), allowed, frozenset(disrupted))


def high(**fields):
    return a_class(priority=100, **fields)


WEB = {"app": "web"}
SMALL = [node("n0", cpu="2"), node("n1", cpu="2")]

CASES = {
    "no pods, nobody to evict": (Scene([node("n0", cpu="1")]), high(cpu="2"), None),
    "no nodes": (Scene([]), high(cpu="1"), None),
    "one victim": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", cpu="2")]),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "equal priority is no victim": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", 100, cpu="2")]),
        high(cpu="1"),
        None,
    ),
    "higher priority is no victim": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", 101, cpu="2")]),
        high(cpu="1"),
        None,
    ),
    "negative priorities are priorities": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", -5, cpu="2")]),
        a_class(priority=-1, cpu="1"),
        ("n0", ["a"], 0),
    ),
    "too large even for an empty node": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", cpu="2")]),
        high(cpu="3"),
        None,
    ),
    "those that stay leave too little": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", cpu="1"), runs("b", "n0", 200, cpu="1")]),
        high(cpu="2"),
        None,
    ),
    "the more important stays": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", 10, cpu="1"), runs("b", "n0", 5, cpu="1")]),
        high(cpu="1"),
        ("n0", ["b"], 0),
    ),
    "of equals the longer running stays": (
        Scene(
            [node("n0", cpu="2")],
            [runs("young", "n0", cpu="1", age=1), runs("old", "n0", cpu="1", age=9)],
        ),
        high(cpu="1"),
        ("n0", ["young"], 0),
    ),
    "one that has not started is the youngest": (
        Scene(
            [node("n0", cpu="2")],
            [runs("new", "n0", cpu="1", age=None), runs("old", "n0", cpu="1", age=0)],
        ),
        high(cpu="1"),
        ("n0", ["new"], 0),
    ),
    "a small pod comes back after a large one could not": (
        Scene(
            [node("n0", cpu="4")],
            [runs("large", "n0", 9, cpu="3"), runs("small", "n0", 1, cpu="1")],
        ),
        high(cpu="3"),
        ("n0", ["large"], 0),
    ),
    "victims are told most important first": (
        Scene(
            [node("n0", cpu="3")],
            [
                runs("low", "n0", 1, cpu="1"),
                runs("mid", "n0", 2, cpu="1"),
                runs("top", "n0", 3, cpu="1"),
            ],
        ),
        high(cpu="3"),
        ("n0", ["top", "mid", "low"], 0),
    ),
    "a node selector that does not match cannot be helped": (
        Scene([node("n0", cpu="2")], [runs("a", "n0", cpu="2")]),
        high(cpu="1", nodeSelector={"disk": "ssd"}),
        None,
    ),
    "a taint cannot be helped": (
        Scene([node("n0", cpu="2", taints=[("k", "NoSchedule")])], [runs("a", "n0", cpu="2")]),
        high(cpu="1"),
        None,
    ),
    "a cordoned node cannot be helped, another can": (
        Scene(
            [node("n0", cpu="2", unschedulable=True), node("n1", cpu="2")],
            [runs("a", "n0", 1, cpu="2"), runs("b", "n1", 9, cpu="2")],
        ),
        high(cpu="1"),
        ("n1", ["b"], 0),
    ),
    "a host port": (
        Scene([node("n0")], [runs("a", "n0", port=80), runs("b", "n0", port=81)]),
        high(port=80),
        ("n0", ["a"], 0),
    ),
    "room for pods": (
        Scene([node("n0", pods="1")], [runs("a", "n0")]),
        high(),
        ("n0", ["a"], 0),
    ),
    "every kind of shortage on one node": (
        Scene(
            [node("n0", cpu="2", memory="2Gi")],
            [
                runs("cpu", "n0", cpu="2"),
                runs("memory", "n0", memory="2Gi"),
                runs("port", "n0", port=80),
                runs("idle", "n0"),
            ],
        ),
        high(cpu="1", memory="1Gi", port=80),
        ("n0", ["cpu", "memory", "port"], 0),
    ),
    "a resource nobody offers cannot be helped": (
        Scene([node("n0")], [runs("a", "n0", cpu="4")]),
        high(cpu="1", requests={"example.com/gpu": "1"}),
        None,
    ),
    "lowest highest victim wins": (
        Scene(SMALL, [runs("a", "n0", 10, cpu="2"), runs("b", "n1", 9, cpu="2")]),
        high(cpu="1"),
        ("n1", ["b"], 0),
    ),
    "then the lowest sum": (
        Scene(
            SMALL,
            [
                runs("a", "n0", 10, cpu="1"),
                runs("b", "n0", 10, cpu="1"),
                runs("c", "n1", 10, cpu="1"),
                runs("d", "n1", 1, cpu="1"),
            ],
        ),
        high(cpu="2"),
        ("n1", ["c", "d"], 0),
    ),
    "few victims of negative priority beat many": (
        Scene(
            SMALL,
            [
                runs("a", "n0", -10, cpu="1"),
                runs("b", "n0", -10, cpu="1"),
                runs("c", "n1", -10, cpu="2"),
            ],
        ),
        a_class(priority=0, cpu="2"),
        ("n1", ["c"], 0),
    ),
    "then the latest start of the most important": (
        Scene(SMALL, [runs("a", "n0", cpu="2", age=9), runs("b", "n1", cpu="2", age=3)]),
        high(cpu="2"),
        ("n1", ["b"], 0),
    ),
    "the start of lesser victims does not matter": (
        Scene(
            SMALL,
            [
                runs("a", "n0", 5, cpu="1", age=2),
                runs("b", "n0", 1, cpu="1", age=99),
                runs("c", "n1", 5, cpu="1", age=3),
                runs("d", "n1", 1, cpu="1", age=0),
            ],
        ),
        high(cpu="2"),
        ("n0", ["a", "b"], 0),
    ),
    "then the first": (
        Scene(SMALL, [runs("a", "n0", cpu="2"), runs("b", "n1", cpu="2")]),
        high(cpu="2"),
        ("n0", ["a"], 0),
    ),
    "fewest broken budgets come before anything else": (
        Scene(
            SMALL,
            [runs("a", "n0", 0, cpu="2", labels=WEB), runs("b", "n1", 50, cpu="2")],
            (budget(0, app="web"),),
        ),
        high(cpu="1"),
        ("n1", ["b"], 0),
    ),
    "a broken budget does not forbid": (
        Scene([SMALL[0]], [runs("a", "n0", cpu="2", labels=WEB)], (budget(0, app="web"),)),
        high(cpu="1"),
        ("n0", ["a"], 1),
    ),
    "a budget that allows one": (
        Scene(
            [SMALL[0]],
            [
                runs("a", "n0", 9, cpu="1", labels=WEB, age=5),
                runs("b", "n0", 9, cpu="1", labels=WEB, age=3),
            ],
            (budget(1, app="web"),),
        ),
        high(cpu="2"),
        ("n0", ["a", "b"], 1),
    ),
    "those that break a budget come back before more important ones": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", 1, cpu="1", labels=WEB), runs("b", "n0", 50, cpu="1")],
            (budget(0, app="web"),),
        ),
        high(cpu="1"),
        ("n0", ["b"], 0),
    ),
    "a budget of another namespace": (
        Scene([SMALL[0]], [runs("a", "n0", cpu="2", labels=WEB)], (budget(0, "other", app="web"),)),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "a pod without labels has no budget": (
        Scene([SMALL[0]], [runs("a", "n0", cpu="2")], (Budget("default", EVERYTHING, 0),)),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "an empty selector matches nothing": (
        Scene(
            [SMALL[0]], [runs("a", "n0", cpu="2", labels=WEB)], (Budget("default", EVERYTHING, 0),)
        ),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "an eviction that is counted already breaks nothing": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", cpu="2", labels=WEB)],
            (budget(0, disrupted=("a",), app="web"),),
        ),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "a pod in two budgets breaks one of them": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", cpu="2", labels=WEB)],
            (budget(5, app="web"), budget(0, app="web")),
        ),
        high(cpu="1"),
        ("n0", ["a"], 1),
    ),
    "one that is leaving is a victim like others": (
        Scene([SMALL[0]], [runs("a", "n0", cpu="2", leaving=True)]),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "a nominated pod of equal priority keeps its room": (
        Scene(
            [node("n0", cpu="4")],
            [runs("a", "n0", 9, cpu="2"), runs("b", "n0", 5, cpu="2")],
            nominated={"n0": [high(cpu="2")]},
        ),
        high(cpu="2"),
        ("n0", ["a", "b"], 0),
    ),
    "a nominated pod may leave no room": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", cpu="2")],
            nominated={"n0": [a_class(priority=200, cpu="1")]},
        ),
        high(cpu="2"),
        None,
    ),
    "a nominated pod of lower priority does not count": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", cpu="2")],
            nominated={"n0": [a_class(priority=99, cpu="1")]},
        ),
        high(cpu="2"),
        ("n0", ["a"], 0),
    ),
    "of those that have not started the one told last stays": (
        Scene(
            [node("n0", cpu="2")],
            [runs(name, "n0", cpu="1", age=None) for name in ("a", "b")],
        ),
        high(cpu="1"),
        ("n0", ["a"], 0),
    ),
    "of those that started together the one told first stays": (
        Scene([node("n0", cpu="2")], [runs(name, "n0", cpu="1") for name in ("a", "b")]),
        high(cpu="1"),
        ("n0", ["b"], 0),
    ),
    "a nanosecond decides which node": (
        Scene(SMALL, [runs("a", "n0", cpu="2", after=1), runs("b", "n1", cpu="2", after=2)]),
        high(cpu="2"),
        ("n1", ["b"], 0),
    ),
    "a guarded pod comes back before all others": (
        Scene(
            [node("n0", cpu="3")],
            [
                runs("guarded", "n0", 1, cpu="1", labels=WEB),
                runs("top", "n0", 9, cpu="1"),
                runs("mid", "n0", 5, cpu="1"),
            ],
            (budget(0, app="web"),),
        ),
        high(cpu="2"),
        ("n0", ["top", "mid"], 0),
    ),
    "victims of both kinds are told by importance": (
        Scene(
            [node("n0", cpu="2")],
            [
                runs("guarded", "n0", 1, cpu="1", labels=WEB),
                runs("top", "n0", 9, cpu="1"),
            ],
            (budget(0, app="web"),),
        ),
        high(cpu="2"),
        ("n0", ["top", "guarded"], 1),
    ),
    "the budget is used up by the more important first": (
        Scene(
            [node("n0", cpu="4")],
            [
                runs("low", "n0", 1, cpu="2", labels=WEB),
                runs("top", "n0", 9, cpu="2", labels=WEB),
            ],
            (budget(1, app="web"),),
        ),
        high(cpu="2"),
        ("n0", ["top"], 0),
    ),
    "more broken budgets lose against a higher victim": (
        Scene(
            SMALL,
            [
                runs("a", "n0", 1, cpu="1", labels=WEB),
                runs("b", "n0", 1, cpu="1", labels=WEB),
                runs("c", "n1", 99, cpu="2", labels=WEB),
            ],
            (budget(0, app="web"),),
        ),
        high(cpu="2"),
        ("n1", ["c"], 1),
    ),
    "a negative number of allowed disruptions is none": (
        Scene([SMALL[0]], [runs("a", "n0", cpu="2", labels=WEB)], (budget(-3, app="web"),)),
        high(cpu="1"),
        ("n0", ["a"], 1),
    ),
    "a node where only higher ones run does not stand in the way": (
        Scene(SMALL, [runs("king", "n0", 500, cpu="2"), runs("a", "n1", cpu="2")]),
        high(cpu="1"),
        ("n1", ["a"], 0),
    ),
    "two nominated pods keep the room of both": (
        Scene(
            [node("n0", cpu="4")],
            [runs("a", "n0", 1, cpu="2"), runs("b", "n0", 2, cpu="2")],
            nominated={"n0": [high(cpu="1"), a_class(priority=200, cpu="1")]},
        ),
        high(cpu="2"),
        ("n0", ["b", "a"], 0),
    ),
    "a nominated pod's host port": (
        Scene(
            [node("n0"), node("n1")],
            [runs("a", "n0", port=80), runs("b", "n1", 50, port=80)],
            nominated={"n0": [high(port=80)]},
        ),
        high(port=80),
        ("n1", ["b"], 0),
    ),
    "the largest priorities there are": (
        Scene(
            SMALL,
            [
                runs("a", "n0", 2**31 - 2, cpu="2"),
                runs("b", "n1", 2**31 - 3, cpu="1"),
                runs("c", "n1", -(2**31), cpu="1"),
            ],
        ),
        a_class(priority=2**31 - 1, cpu="2"),
        ("n1", ["b", "c"], 0),
    ),
    "a node that is free but for a nomination": (
        Scene(
            [node("n0", cpu="3")],
            [runs("a", "n0", cpu="1")],
            nominated={"n0": [high(cpu="1")]},
        ),
        high(cpu="2"),
        ("n0", ["a"], 0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_victims_and_node(case):
    scene, wanted, expected = CASES[case]
    assert one(scene.preempt(wanted)) == expected


MESSAGES = {
    "nobody of lower priority": (
        Scene(SMALL, [runs("a", "n0", 100, cpu="2"), runs("b", "n1", 100, cpu="2")]),
        high(cpu="1"),
        "0/2 nodes are available: 2 No preemption victims found for incoming pod.",
    ),
    "no node that could be helped": (
        Scene([node("n0", cpu="2", unschedulable=True)], [runs("a", "n0", cpu="2")]),
        high(cpu="1"),
        "0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    ),
    "those that stay leave too little, of two things": (
        Scene(
            [node("n0", cpu="2", memory="2Gi")],
            [runs("a", "n0", cpu="1"), runs("b", "n0", 200, cpu="1", memory="1Gi")],
        ),
        high(cpu="2", memory="2Gi"),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
    ),
    "every reason is counted": (
        Scene(
            [
                node("n0", cpu="2", unschedulable=True),
                node("n1", cpu="2"),
                node("n2", cpu="2"),
                node("n3", cpu="2"),
            ],
            [
                runs("a", "n1", cpu="1"),
                runs("b", "n1", 200, cpu="1"),
                runs("c", "n2", 300, cpu="2"),
                runs("d", "n3", 300, cpu="2"),
            ],
        ),
        high(cpu="2"),
        "0/4 nodes are available: 1 Insufficient cpu, 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod.",
    ),
    "room that a nominated pod keeps": (
        Scene(
            [SMALL[0]],
            [runs("a", "n0", cpu="2")],
            nominated={"n0": [a_class(priority=200, cpu="1")]},
        ),
        high(cpu="2"),
        "0/1 nodes are available: 1 Insufficient cpu.",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_why_nobody_makes_room(case):
    scene, wanted, expected = MESSAGES[case]
    assert scene.search(wanted).message == expected


def test_a_message_is_for_the_copies_that_got_nothing():
    scene = Scene(SMALL, [runs("a", "n0", cpu="2"), runs("b", "n1", cpu="2")])
    assert scene.search(high(cpu="2"), 2).message == ""
    found = scene.search(high(cpu="2"), 3)
    assert [each.node for each in found.chosen] == ["n0", "n1"]
    assert found.message == "0/2 nodes are available: 2 Insufficient cpu."


FIVE = [node(f"n{i}", cpu="2") for i in range(5)]


def test_as_many_candidates_as_the_arguments_say():
    pods = [runs(f"p{i}", f"n{i}", 50 - i, cpu="2") for i in range(5)]
    scene = Scene(FIVE, pods)
    assert one(scene.preempt(high(cpu="2")))[0] == "n4"
    assert one(scene.search(high(cpu="2"), percentage=40, absolute=1).chosen)[0] == "n1"
    assert one(scene.search(high(cpu="2"), absolute=4).chosen)[0] == "n3"
    assert one(scene.search(high(cpu="2"), percentage=100).chosen)[0] == "n4"
    assert one(scene.search(high(cpu="2"), percentage=1, absolute=500).chosen)[0] == "n4"


def test_a_search_goes_on_where_the_last_one_ended_and_round():
    scene = Scene(FIVE, [runs(f"p{i}", f"n{i}", cpu="2") for i in range(5)])
    start, nodes = 0, []
    for _ in range(4):
        found = scene.search(high(cpu="2"), percentage=40, start=start)
        nodes += [each.node for each in found.chosen]
        start = found.start
    assert nodes == ["n0", "n2", "n4", "n1"]


def test_candidates_are_looked_for_until_one_breaks_no_budget():
    pods = [runs(f"p{i}", f"n{i}", cpu="2", labels=WEB if i != 3 else {}) for i in range(5)]
    scene = Scene(FIVE, pods, (budget(0, app="web"),))
    found = scene.search(high(cpu="2"), absolute=2)
    assert one(found.chosen) == ("n3", ["p3"], 0)
    assert found.start == 4


def test_no_candidate_without_a_violation_is_no_reason_to_give_up():
    scene = Scene(
        FIVE,
        [runs(f"p{i}", f"n{i}", 9 - i, cpu="2", labels=WEB) for i in range(5)],
        (budget(0, app="web"),),
    )
    assert one(scene.search(high(cpu="2"), absolute=1).chosen) == ("n4", ["p4"], 1)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"minCandidateNodesPercentage": 101}, "Invalid value: 101: not in valid range [0, 100]"),
        ({"minCandidateNodesPercentage": -1}, "Invalid value: -1: not in valid range [0, 100]"),
        ({"minCandidateNodesAbsolute": -1}, "Invalid value: -1: not in valid range [0, inf)"),
        ({"minCandidateNodesAbsolute": "7"}, "it must be a whole number"),
        ({"minCandidateNodesAbsolute": True}, "it must be a whole number"),
        (
            {"minCandidateNodesAbsolute": 0, "minCandidateNodesPercentage": 0},
            "cannot both be zero",
        ),
        ({"minCandidates": 1}, "has no field 'minCandidates'"),
    ],
)
def test_arguments_that_cannot_be(args, says):
    with pytest.raises(ConfigurationError) as caught:
        PreemptionArgs.of(args)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("args", "nodes", "enough"),
    [
        ({}, 5000, 500),
        ({}, 300, 100),
        ({}, 7, 7),
        ({"minCandidateNodesAbsolute": 1}, 300, 30),
        ({"minCandidateNodesPercentage": 0}, 5000, 100),
        ({"minCandidateNodesPercentage": 1, "minCandidateNodesAbsolute": 0}, 99, 1),
    ],
)
def test_how_many_candidates_do(args, nodes, enough):
    assert PreemptionArgs.of(args).enough(nodes) == enough


class PerZone:
    """A toy of a rule over groups: no two pods with an app of one name in a zone."""

    name = "PerZone"
    wakes_on = Change.ANY

    def filter(self, wanted, snapshot):
        app = wanted.labels.get("app")
        if app is None:
            return None
        zone = snapshot.label("zone").codes
        taken = [
            zone[row]
            for each, rows in snapshot.placed.items()
            if each.labels.get("app") == app
            for row in rows
        ]
        room = ~np.isin(zone, np.array(taken, dtype=np.int32))
        return Verdict(room, lambda: [Rejection("zone taken", ~room)])


ZONES = [
    node("n0", cpu="4", labels={"zone": "x"}),
    node("n1", cpu="4", labels={"zone": "x"}),
    node("n2", cpu="4", labels={"zone": "y"}),
]


def test_a_rule_over_groups_helps_only_on_the_victims_node():
    scene = Scene(
        ZONES,
        [
            runs("a", "n1", 5, labels=WEB),
            runs("b", "n0", 1),
            runs("c", "n2", 50, labels=WEB),
        ],
        filters=(*FILTERS, PerZone()),
    )
    assert one(scene.preempt(high(labels=WEB))) == ("n1", ["a"], 0)


def test_two_pods_of_a_zone_cannot_both_be_helped_by_leaving_one_node():
    scene = Scene(
        ZONES[:2],
        [runs("a", "n0", labels=WEB), runs("b", "n1", labels=WEB)],
        filters=(*FILTERS, PerZone()),
    )
    assert one(scene.preempt(high(labels=WEB))) is None


def affinity(kind, *terms):
    required = [
        {"topologyKey": key, "labelSelector": {"matchLabels": labels}} for key, labels in terms
    ]
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


SITES = [
    node(f"n{i}", cpu="4", labels={"zone": zone, "kubernetes.io/hostname": f"n{i}"})
    for i, zone in enumerate("xxy")
]


def test_a_pod_that_keeps_its_copies_apart_by_node_still_minds_other_nodes():
    apart = affinity(
        "podAntiAffinity", ("zone", {"app": "db"}), ("kubernetes.io/hostname", {"app": "web"})
    )
    wanted = high(cpu="1", labels=WEB, **apart)
    foe = runs("c", "n2", 100, labels={"app": "db"})
    scene = Scene(
        SITES, [runs("a", "n0", 5, labels={"app": "db"}), runs("b", "n1", 1, cpu="4"), foe]
    )
    assert one(scene.preempt(wanted)) == ("n0", ["a"], 0)


def test_nobody_is_made_to_leave_whom_the_pod_wants_beside_it():
    beside = affinity("podAffinity", ("zone", {"app": "db"}))
    scene = Scene(SITES, [runs("friend", "n0", 1, cpu="2", labels={"app": "db"})])
    assert one(scene.preempt(high(cpu="3", **beside))) is None
    scene = Scene(
        SITES,
        [
            runs("friend", "n1", 1, cpu="4", labels={"app": "db"}),
            runs("a", "n0", 2, cpu="2"),
            runs("b", "n0", 1, cpu="2"),
        ],
    )
    assert one(scene.preempt(high(cpu="2", **beside))) == ("n0", ["b"], 0)


def test_further_copies_go_on_where_they_cost_least():
    nodes = [node(f"n{i}", cpu="4") for i in range(3)]
    pods = [runs(f"p{i}{j}", f"n{i}", 10 * i + j, cpu="1") for i in range(3) for j in range(4)]
    scene = Scene(nodes, pods)
    outcomes = scene.preempt(high(cpu="2"), 9)
    assert [o.node for o in outcomes] == ["n0", "n0", "n1", "n1", "n2", "n2"]
    assert [v.key.name for v in outcomes[0].victims] == ["p01", "p00"]
    assert [v.key.name for v in outcomes[1].victims] == ["p03", "p02", "p01", "p00"]


def test_never_preempts_by_policy():
    scene = Scene([SMALL[0]], [runs("a", "n0", cpu="2")])
    wanted = high(cpu="1", preemptionPolicy="Never")
    why = ineligible(wanted, "", FILTERS, scene.snapshot(), scene.tenancy())
    assert why == "not eligible due to preemptionPolicy=Never."


@pytest.mark.parametrize(
    ("nominated", "where", "fields", "eligible"),
    [
        ("", "n0", {"leaving": True, "preempted": True}, True),
        ("n0", "n0", {"leaving": True, "preempted": True}, False),
        ("n0", "n0", {"leaving": True}, True),
        ("n0", "n0", {}, True),
        ("n0", "n1", {"leaving": True, "preempted": True}, True),
        ("n0", "n0", {"leaving": True, "preempted": True, "priority": 100}, True),
        ("gone", "n0", {"leaving": True, "preempted": True}, True),
    ],
)
def test_a_pod_waits_for_the_victims_on_its_node(nominated, where, fields, eligible):
    scene = Scene(SMALL, [runs("a", where, cpu="2", **fields)])
    why = ineligible(high(cpu="2"), nominated, FILTERS, scene.snapshot(), scene.tenancy())
    assert why == (
        "" if eligible else "not eligible due to a terminating pod on the nominated node."
    )


def test_a_nominated_node_that_became_hopeless_lets_a_pod_preempt_again():
    cordoned = node("n0", cpu="2", unschedulable=True)
    scene = Scene([cordoned], [runs("a", "n0", cpu="2", leaving=True, preempted=True)])
    assert ineligible(high(cpu="1"), "n0", FILTERS, scene.snapshot(), scene.tenancy()) == ""


# A naive reference: one node after the other, one pod after the other, on states built anew.


def reference(scene, wanted):
    snapshot = scene.snapshot()
    found = []
    for each in scene.nodes:
        name = each.meta.name
        if not _resolvable(wanted, scene.filters, snapshot, snapshot.row_of[name]):
            continue
        outcome = _on_node(scene, wanted, name)
        if outcome is not None:
            found.append(outcome)
    return min(found, key=_cost, default=None)


def _cost(preemption):
    """kube-scheduler's criteria, one by one."""
    victims = preemption.victims
    priorities = [each.pod.priority for each in victims]
    highest = max(priorities)
    return (
        preemption.pdb_violations,
        highest,
        sum(priority + 2**31 for priority in priorities),
        len(victims),
        -min(each.started for each in victims if each.pod.priority == highest),
    )


def _resolvable(wanted, filters, snapshot, row):
    for each in filters:
        verdict = each.filter(wanted, snapshot)
        if verdict is not None and verdict.room[row] == 0:
            reasons = verdict.because
            if isinstance(reasons, str):
                return verdict.resolvable
            return all(r.resolvable for r in reasons() if r.nodes[row])
    return True


def _on_node(scene, wanted, name):
    lower = [
        resident
        for each, resident in scene.pods
        if each.node == name and resident.pod.priority < wanted.priority
    ]
    lower = ranked(lower)
    away = {each.key.name for each in lower}
    if not lower or not _admits(scene, wanted, name, away):
        return None
    broken, others = violating(lower, scene.budgets)
    for each in (*broken, *others):
        away.discard(each.key.name)
        if not _admits(scene, wanted, name, away):
            away.add(each.key.name)
    victims = [each for each in (*broken, *others) if each.key.name in away]
    victims = tuple(ranked(victims) if broken and others else victims)
    violations = sum(each.key.name in away for each in broken)
    return Preemption(name, victims, violations) if victims else None


def _admits(scene, wanted, name, away):
    snapshot = scene.snapshot(away)
    row = snapshot.row_of[name]
    if not _open(wanted, scene.filters, snapshot)[row]:
        return False
    guests = [g for g in scene.nominated.get(name, ()) if g.priority >= wanted.priority]
    state_pods = [each for each, _ in scene.pods if each.meta.name not in away]
    state = cluster(*scene.nodes, pods=state_pods)
    for number, guest in enumerate(guests):
        state.set_pod(f"guest-{number}", guest, name)
    return bool(_open(wanted, scene.filters, state.freeze(1))[row])


@st.composite
def scenes(draw, *, zones=False):
    count = draw(st.integers(1, 4))
    nodes = [
        node(
            f"n{i}",
            cpu=str(draw(st.integers(1, 4))),
            pods=str(draw(st.integers(2, 6))),
            unschedulable=draw(st.integers(0, 9)) == 0,
            labels={"zone": draw(st.sampled_from("xy"))},
        )
        for i in range(count)
    ]
    pods = [
        runs(
            f"p{i}",
            f"n{draw(st.integers(0, count - 1))}",
            draw(st.integers(-2, 6)),
            age=draw(st.one_of(st.none(), st.integers(0, 3))),
            leaving=draw(st.integers(0, 5)) == 0,
            cpu=draw(st.sampled_from([None, "500m", "1", "2"])),
            port=draw(st.sampled_from([None, None, 80, 81])),
            labels=draw(st.sampled_from([{}, WEB, {"app": "db"}])),
        )
        for i in range(draw(st.integers(0, 10)))
    ]
    labelled = st.sampled_from([{}, WEB, {"app": "db"}])
    budgets = tuple(
        Budget("default", from_map(draw(labelled)), draw(st.integers(0, 2)))
        for _ in range(draw(st.integers(0, 2)))
    )
    nominated = {
        f"n{draw(st.integers(0, count - 1))}": [
            a_class(priority=draw(st.integers(3, 6)), cpu=draw(st.sampled_from(["500m", "1"])))
        ]
        for _ in range(draw(st.integers(0, 2)))
    }
    filters = (*FILTERS, PerZone()) if zones else FILTERS
    return Scene(nodes, pods, budgets, nominated, filters)


PREEMPTORS = st.builds(
    lambda priority, cpu, port, labels: a_class(
        priority=priority, cpu=cpu, port=port, labels=labels
    ),
    st.integers(0, 6),
    st.sampled_from([None, "500m", "1", "3"]),
    st.sampled_from([None, None, 80]),
    st.sampled_from([{}, WEB]),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(scenes(), scenes(zones=True)), PREEMPTORS)
def test_equals_the_reference(scene, wanted):
    outcomes = scene.preempt(wanted)
    expected = reference(scene, wanted)
    assert list(outcomes) == ([] if expected is None else [expected])


@settings(max_examples=300, deadline=None)
@given(st.one_of(scenes(), scenes(zones=True)), PREEMPTORS)
def test_nobody_leaves_in_vain_and_nobody_could_be_spared(scene, wanted):
    for outcome in scene.preempt(wanted):
        away = {victim.key.name for victim in outcome.victims}
        assert all(victim.pod.priority < wanted.priority for victim in outcome.victims)
        assert _admits(scene, wanted, outcome.node, away)
        for name in away:
            assert not _admits(scene, wanted, outcome.node, away - {name})


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(scenes(), scenes(zones=True)),
    PREEMPTORS,
    st.integers(2, 20),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_many_copies_at_once_equal_one_by_one(scene, wanted, count, enough):
    together = scene.search(wanted, count, absolute=enough).chosen
    apart = []
    nominated = {name: list(pods) for name, pods in scene.nominated.items()}
    for _ in range(count):
        now = Scene(scene.nodes, scene.pods, scene.budgets, nominated, scene.filters)
        outcomes = now.search(wanted, absolute=enough).chosen
        if not outcomes:
            break
        apart += outcomes
        nominated.setdefault(outcomes[0].node, []).append(wanted)
    assert list(together) == apart
