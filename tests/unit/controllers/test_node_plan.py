"""Silence, conditions and taints; tolerated time."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.controllers.node_plan import Silence, plan
from scheduler.controllers.taint_eviction import evicted_at, evictions
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import Node, NodeSpec, NodeStatus, Taint
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus, Toleration
from scheduler.objects.tolerations import tolerates

NOW = datetime(2030, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=40)
FOREIGN = Taint("example.com/mine", "NoExecute", "x")


def node(ready=None, taints=(), unschedulable=False, **conditions):
    words = {**({"Ready": ready} if ready else {}), **conditions}
    return Node(
        ObjectMeta(name="n", uid="n"),
        NodeSpec(unschedulable, tuple(taints)),
        NodeStatus(conditions=tuple(Condition(k, v) for k, v in words.items())),
        1,
    )


def seen(seconds, ever=True):
    return Silence(timedelta(seconds=seconds), ever)


def short(taints):
    return {(t.key.rpartition("/")[2], t.effect) for t in taints}


def test_a_node_that_speaks_stays_as_it_is():
    healthy = node("True", [FOREIGN])
    planned = plan(healthy, seen(39), NOW, GRACE, evict=True)
    assert (planned.status, planned.taints) == (healthy.status, (FOREIGN,))
    assert not planned.pods_unready
    assert planned.look_again == timedelta(seconds=1)


def test_a_silent_node_is_unknown_in_every_respect():
    planned = plan(node("True", MemoryPressure="False"), seen(40), NOW, GRACE, evict=True)
    words = {c.type: (c.status, c.reason) for c in planned.status.conditions}
    assert set(words) == {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}
    assert set(words.values()) == {("Unknown", "NodeStatusUnknown")}
    assert short(planned.taints) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    assert planned.pods_unready
    assert planned.look_again is None


def test_deciding_twice_changes_nothing():
    first = plan(node("True", [FOREIGN]), seen(99), NOW, GRACE, evict=True)
    after = Node(ObjectMeta(name="n"), NodeSpec(taints=first.taints), first.status, 2)
    later = NOW + timedelta(seconds=500)
    second = plan(after, seen(99), later, GRACE, evict=True)
    assert (second.status, second.taints) == (first.status, first.taints)


def test_a_node_that_never_spoke():
    planned = plan(node(), seen(99, ever=False), NOW, GRACE, evict=True)
    ready = planned.status.condition("Ready")
    assert (ready.status, ready.reason) == ("Unknown", "NodeStatusNeverUpdated")
    fresh = plan(node(), seen(1, ever=False), NOW, GRACE, evict=True)
    assert short(fresh.taints) == {("not-ready", "NoSchedule")}
    assert fresh.status == NodeStatus()


@pytest.mark.parametrize(
    ("given", "evict", "wanted"),
    [
        (node("False"), True, {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}),
        (node("False"), False, {("not-ready", "NoSchedule")}),
        (node("True", unschedulable=True), True, {("unschedulable", "NoSchedule")}),
        (node("True", DiskPressure="True"), True, {("disk-pressure", "NoSchedule")}),
        (node("True", PIDPressure="True"), True, {("pid-pressure", "NoSchedule")}),
        (node("True", MemoryPressure="True"), True, {("memory-pressure", "NoSchedule")}),
    ],
)
def test_taints_follow_conditions(given, evict, wanted):
    assert short(plan(given, seen(1), NOW, GRACE, evict).taints) == wanted


def test_taints_of_the_past_are_lifted_and_others_kept():
    old = [Taint("node.kubernetes.io/unreachable", e) for e in ("NoSchedule", "NoExecute")]
    planned = plan(node("True", [*old, FOREIGN]), seen(1), NOW, GRACE, evict=True)
    assert planned.taints == (FOREIGN,)


LOST = Taint(
    "node.kubernetes.io/unreachable",
    "NoExecute",
    time_added=(NOW - timedelta(seconds=100)).strftime("%Y-%m-%dT%H:%M:%SZ"),
)
KEY = LOST.key


@pytest.mark.parametrize(
    ("tolerations", "after"),
    [
        ([], -1000),
        ([Toleration("other", "Exists")], -1000),
        ([Toleration(KEY, "Exists")], None),
        ([Toleration("", "Exists")], None),
        ([Toleration(KEY, "Exists", "", "NoExecute", 300)], 200),
        ([Toleration(KEY, "Exists", "", "NoExecute", -5)], -100),
        ([Toleration(KEY, "Exists"), Toleration(KEY, "Exists", toleration_seconds=30)], -70),
        ([Toleration(KEY, "Exists", "", "NoSchedule", 300)], -1000),
    ],
)
def test_how_long_a_pod_stays(tolerations, after):
    start = NOW - timedelta(seconds=1000)
    moment = evicted_at(tolerations, [LOST], start)
    assert moment == (None if after is None else NOW + timedelta(seconds=after))


def test_tolerated_time_does_not_run_while_nobody_leads():
    tolerations = [Toleration(KEY, "Exists", toleration_seconds=30)]
    assert evicted_at(tolerations, [LOST], NOW) == NOW + timedelta(seconds=30)


def test_values_are_compared_unless_existence_is_enough():
    assert tolerates(Toleration(FOREIGN.key, "Equal", "x"), FOREIGN)
    assert not tolerates(Toleration(FOREIGN.key, "Equal", "y"), FOREIGN)
    assert tolerates(Toleration("", "Equal", "x"), FOREIGN)  # no key is every key
    assert not tolerates(Toleration("", "Equal", "y"), FOREIGN)


def test_evictions_now_and_later():
    def pod(name, seconds, phase="Running", **meta):
        spec = PodSpec(tolerations=(Toleration(KEY, "Exists", toleration_seconds=seconds),))
        return Pod(ObjectMeta(name=name, uid=name, **meta), spec, PodStatus(phase), "n", 1, b"")

    pods = [
        pod("due", 50),
        pod("soon", 160),
        pod("later", 300),
        pod("ended", 50, "Failed"),
        pod("going", 50, deletion_timestamp=NOW),
    ]
    found = evictions([LOST], pods, NOW, NOW - timedelta(seconds=1000))
    assert [p.meta.name for p in found.due] == ["due"]
    assert found.look_again == timedelta(seconds=60)
    harmless = Taint(KEY, "NoSchedule")
    assert evictions([harmless], pods, NOW, NOW).due == ()
