"""The checker refuses every plan that breaks a hard rule, whoever made it."""

import numpy as np
import pytest

from scheduler.objects.stored import ObjectKey
from scheduler.placement.checker import check
from scheduler.placement.framework import Decision
from scheduler.placement.plan import Allotment, PendingPod, Plan
from tests.placement_cases import a_class, cluster, node, pod


def violations(wanted, nodes, *allotments, bound=(), pods=()):
    """Check a plan that puts copies of a class on nodes by name, one allotment each list."""
    made = []
    for number, names in enumerate(allotments):
        waiting = tuple(
            PendingPod(ObjectKey("pods", "default", f"{number}-{i}"), f"{number}-{i}")
            for i in range(len(names))
        )
        decision = Decision(wanted, len(names), np.zeros(0, dtype=np.int64))
        made.append(Allotment(wanted, waiting, tuple(names), (), decision))
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
