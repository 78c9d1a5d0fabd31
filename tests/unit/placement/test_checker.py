"""The checker refuses every plan that breaks a hard rule, whoever made it."""

import numpy as np
import pytest

from scheduler.objects.pod_class import pod_class
from scheduler.objects.stored import ObjectKey
from scheduler.placement.checker import check
from scheduler.placement.framework import Decision
from scheduler.placement.plan import Allotment, Gang, PendingPod, Plan
from tests.placement_cases import a_class, allotment, cluster, node, pod
from tests.storage_cases import CLASSES_THERE, claim, mounting, volume


def violations(wanted, nodes, *allotments, bound=(), pods=()):
    """Check a plan that puts copies of a class on nodes by name, one allotment each list."""
    made = [allotment(number, wanted, names) for number, names in enumerate(allotments)]
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    return [v.message for v in check(Plan(1, tuple(made)), snapshot, bound)]


def test_a_sound_plan_passes():
    assert violations(a_class(cpu="1"), [node("n")], ["n", "n"], ["n", "n"]) == []


def test_overcommitment_by_several_decisions_together():
    (message,) = violations(a_class(cpu="1"), [node("n")], ["n", "n"], ["n", "n", "n"])
    assert message == "node 'n' would be overcommitted: cpu 5000 of 4000"


def test_overcommitment_over_bound_pods():
    bound = [pod(node="n", cpu="4")]
    assert violations(a_class(cpu="1"), [node("n")], ["n"], pods=bound)


def test_a_resource_that_is_not_there():
    assert violations(a_class(requests={"gpu": "1"}), [node("n")], ["n"]) == ["node 'n' has no gpu"]


def test_a_node_that_does_not_exist():
    assert violations(a_class(), [node("n")], ["m"]) == ["node 'm' does not exist"]


def test_a_pod_bound_already():
    assert violations(a_class(), [node("n")], ["n"], bound={"0-0"}) == [
        "pod default/0-0 would be bound twice"
    ]


@pytest.mark.parametrize("names", [["n", "n"], ["n"]])
def test_a_host_port_twice(names):
    held = [pod(node="n", port=80)] if len(names) == 1 else []
    assert violations(a_class(port=80), [node("n")], names, pods=held) == [
        "host port TCP/80 of 'n' would be taken twice"
    ]
    assert violations(a_class(port=80), [node("n")], ["n"], ["n"])


def above(bound, operator="Gt"):
    return {"key": "level", "operator": operator, "value": str(bound)}


def cores_above(bound):
    term = {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": [bound]}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, {"taints": [("k", "NoSchedule", "v")]}),
        ({}, {"taints": [("k", "NoExecute", "v")]}),
        ({}, {"unschedulable": True}),
        ({"nodeSelector": {"zone": "east"}}, {"labels": {"zone": "west"}}),
        ({"nodeName": "other"}, {}),
        ({"tolerations": [above(7)]}, {"taints": [("level", "NoSchedule", "7")]}),
        ({"tolerations": [above(7)]}, {"taints": [("level", "NoSchedule", "high")]}),
        ({"tolerations": [above(7, "Lt")]}, {"taints": [("level", "NoExecute", "8")]}),
        ({"affinity": {"nodeAffinity": cores_above("8")}}, {"labels": {"cores": "8"}}),
        ({"affinity": {"nodeAffinity": cores_above("8")}}, {"labels": {"cores": "1_6"}}),
    ],
)
def test_a_node_the_pod_does_not_admit(fields, made):
    assert len(violations(a_class(**fields), [node("n", **made)], ["n"])) == 1


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({"tolerations": [above(7)]}, {"taints": [("level", "NoSchedule", "8")]}),
        ({"tolerations": [above(7, "Lt")]}, {"taints": [("level", "NoExecute", "6")]}),
        ({"affinity": {"nodeAffinity": cores_above("8")}}, {"labels": {"cores": "16"}}),
    ],
)
def test_a_node_the_pod_admits_by_number(fields, made):
    assert violations(a_class(**fields), [node("n", **made)], ["n"]) == []


GANG = Gang(ObjectKey("podgroups.ironfree.dev", "default", "g"), 0, "default-scheduler")
MEMBER = {"schedulingGroup": {"podGroupName": "g"}}


def torn(*allotments, running=(), leaving=(), least=3):
    """Check a plan of (class, nodes, gang); returns the messages by allotment."""
    state = cluster(node("n"), pods=running)
    for each in (*running, *leaving):
        state.set_pod(each.meta.uid, pod_class(each), each.node, leaving=each in leaving)
    made = []
    for number, (wanted, nodes, gang) in enumerate(allotments):
        keys = [ObjectKey("pods", "default", f"{number}-{i}") for i in range(len(nodes))]
        waiting = tuple(PendingPod(key, key.name) for key in keys)
        decision = Decision(wanted, len(nodes), np.zeros(0, dtype=np.int64))
        made.append(Allotment(wanted, waiting, tuple(nodes), (), decision, gang))
    groups = {("default", "g"): least} if least else {}
    found = check(Plan(1, tuple(made)), state.freeze(1), state, groups)
    return {v.allotment: v.message for v in found}


def test_a_gang_counts_with_those_that_run_wherever_and_are_not_leaving():
    small, large = a_class(cpu="100m", **MEMBER), a_class(cpu="200m", **MEMBER)
    short = "PodGroup default/g would have 2 of 3 pods placed"
    assert torn((small, ["n", "n"], GANG), (large, ["n"], GANG)) == {}
    assert torn((small, ["n"], GANG), (large, ["n"], GANG)) == {0: short, 1: short}
    running = [pod(node="n", cpu="1", **MEMBER), pod(node="lost", cpu="1", **MEMBER)]
    assert torn((small, ["n"], None), running=running) == {}
    assert torn((small, ["n"], None), running=running[:1]) == {0: short}
    assert torn((small, ["n"], None), running=running[:1], leaving=running[1:]) == {0: short}
    others = [pod(node="n", namespace="other", cpu="1", **MEMBER)]
    assert torn((small, ["n", "n"], None), running=others) == {0: short}
    assert torn((small, ["n"], None), least=0) == {0: "PodGroup default/g does not exist"}


def test_what_is_wrong_with_a_part_of_a_gang_is_wrong_with_all_of_it():
    small, large = a_class(cpu="100m", **MEMBER), a_class(cpu="40", **MEMBER)
    found = torn((small, ["n"] * 3, GANG), (large, ["n"], GANG), (a_class(cpu="1"), ["n"], None))
    assert found[0] == "others of PodGroup default/g cannot be bound"
    assert found[1].startswith("node 'n' would be overcommitted")


HOSTS = tuple(
    node(name, labels={"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone})
    for name, zone in (("a", "1"), ("b", "2"))
)
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("storage", "there", "wanted", "on", "complaints"),
    [
        ((), {}, ["x"], "a", ["claim default/x does not exist"]),
        ((claim("x", "v"), volume("v", "a")), {}, ["x"], "a", []),
        (
            (claim("x", "v"), volume("v", "a")),
            {},
            ["x"],
            "b",
            ["volume v cannot be reached from node 'b'"],
        ),
        ((claim("x", "v"), volume("v", labels={OLD_ZONE: "1"})), {}, ["x"], "a", []),
        (
            (claim("x", "v"), volume("v", labels={OLD_ZONE: "1"})),
            {},
            ["x"],
            "b",
            [f"volume v is not in the zone of node 'b' ({OLD_ZONE})"],
        ),
        (
            (claim("x"), claim("y"), volume("v", "a")),
            {},
            ["x", "y"],
            "a",
            ["claim default/y finds no free volume on 'a'"],
        ),
        (
            (claim("x"), claim("y"), volume("v", "b"), volume("w", "a")),
            {"y": ["b", "a"]},  # gets its volume where the first node by name is
            ["x"],
            "a",
            ["claim default/x finds no free volume on 'a'"],
        ),
        ((claim("x"), claim("y", "w"), volume("v"), volume("w")), {"y": ["b"]}, ["x"], "a", []),
        (
            (claim("x", kind="make"),),
            {"x": ["a"]},
            ["x"],
            "b",
            ["claim default/x gets its volume elsewhere than on 'b'"],
        ),
    ],
)
def test_claims_that_cannot_be_mounted(storage, there, wanted, on, complaints):
    pods = [pod(node=n, **mounting(name)) for name, nodes in there.items() for n in nodes]
    state = cluster(*HOSTS, pods=pods)
    state.storage.begin()
    for each in (*CLASSES_THERE, *storage):
        state.storage.set(each.key, each)
    plan = Plan(1, (allotment(0, a_class(**mounting(*wanted)), [on]),))
    assert [v.message for v in check(plan, state.freeze(1), ())] == complaints
