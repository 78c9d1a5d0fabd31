"""What of the news from the store wakes pods that wait."""

import pytest
from msgspec.structs import replace

from scheduler.hookspecs import Change
from scheduler.informer import Delta
from scheduler.objects.pod_class import pod_class
from scheduler.objects.stored import ObjectKey
from scheduler.placement.express import ExpressLane
from scheduler.placement.framework import Diagnosis
from scheduler.placement.ingest import Ingest, node_change
from scheduler.placement.nominations import Nominations
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import SchedulingQueue
from scheduler.placement.state import ClusterState
from tests.placement_cases import a_class, node, pod

HARD, SOFT = ("k", "", "NoSchedule"), ("k", "", "PreferNoSchedule")
OLD = node("n", cpu="4", labels={"zone": "a"})


def with_status(each, **fields):
    return replace(each, status=replace(each.status, **fields))


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (node("n", cpu="4", labels={"zone": "a"}), 0),
        (node("n", cpu="4", labels={"zone": "a"}, ready="Unknown"), 0),
        (node("n", cpu="4", labels={"zone": "a"}, images={"app": 5}), 0),
        (node("n", cpu="4000m", labels={"zone": "a"}), 0),
        (node("n", cpu="3", labels={"zone": "a"}), 0),
        (node("n", cpu="5", labels={"zone": "a"}), Change.NODE_RESOURCES),
        (node("n", cpu="3", memory="9Gi", labels={"zone": "a"}), Change.NODE_RESOURCES),
        (node("n", labels={"zone": "a"}, example_com__gpu="1"), Change.NODE_RESOURCES),
        (node("n", labels={"zone": "b"}), Change.NODE_LABELS),
        (node("n", labels={"zone": "a"}, unschedulable=True), Change.NODE_REMOVED),
        (node("n", labels={"zone": "a"}, taints=[HARD]), Change.NODE_REMOVED),
    ],
)
def test_a_node_that_changes_wakes_only_for_what_can_help(new, change):
    assert node_change(OLD, new) == change


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"unschedulable": True}, {}, Change.NODE_TAINTS),
        ({"taints": [HARD]}, {}, Change.NODE_TAINTS),
        ({"taints": [HARD, SOFT]}, {"taints": [SOFT]}, Change.NODE_TAINTS),
        ({"taints": [HARD, SOFT]}, {"taints": [SOFT, HARD]}, 0),
        ({"taints": [HARD]}, {"taints": [SOFT]}, Change.NODE_TAINTS | Change.NODE_REMOVED),
        ({"unschedulable": True}, {"taints": [HARD]}, Change.NODE_TAINTS | Change.NODE_REMOVED),
    ],
)
def test_a_taint_that_goes_can_help_any_pod_and_one_that_comes_only_groups(old, new, change):
    assert node_change(node("n", **old), node("n", **new)) == change


def test_a_heartbeat_wakes_nobody():
    beat = with_status(OLD, conditions=(), images=())
    assert node_change(OLD, beat) == 0
    assert node_change(None, OLD) == Change.NODE_ADDED


class Woken:
    """Says which changes an ingest tells its queue of."""

    def __init__(self):
        self.queue = SchedulingQueue()
        self.state = ClusterState()
        told = {"default-scheduler": None}
        self.ingest = Ingest(
            self.state, self.queue, lambda _pods, _why: None, told, Nominations(), ExpressLane()
        )
        for number, change in enumerate(Change):
            key = ObjectKey("pods", "default", f"{change.name}")
            waits = PendingPod(key, key.name)
            self.queue.add(a_class(cpu=f"{number + 1}"), waits, 0.0)
        for wanted, pods in self.queue.pop(100, 100, 0.0):
            change = Change[pods[0].key.name]
            self.queue.park(wanted, pods, Diagnosis(1, (), change), 0.0)

    def by(self):
        """Return what has been told since the last time, once parked again."""
        found = Change(0)
        for wanted, pods in self.queue.pop(100, 100, 20.0):
            change = Change[pods[0].key.name]
            found |= change
            self.queue.park(wanted, pods, Diagnosis(1, (), change), 0.0)
        return found

    def pod(self, old, new):
        key = ObjectKey("pods", "default", (new or old).meta.name)
        self.ingest.pods([Delta(key, old, new, 1)], 0.0)
        return self.by()

    def node(self, old, new):
        self.ingest.nodes([Delta(ObjectKey("nodes", "", (new or old).meta.name), old, new, 1)])
        return self.by()


def leaving(each):
    return replace(each, meta=replace(each.meta, deletion_timestamp=5))


def test_bound_pods_wake_by_what_happens_to_them():
    woken = Woken()
    assert woken.node(None, OLD) == Change.NODE_ADDED
    plain = pod("p", node="n", cpu="2")
    assert woken.pod(None, plain) == Change.POD_PLACED
    assert woken.pod(plain, plain) == 0
    labelled = pod("p", node="n", cpu="2", labels={"app": "web"})
    assert woken.pod(plain, labelled) == Change.POD_LABELS
    smaller = pod("p", node="n", cpu="1", labels={"app": "web"})
    assert woken.pod(labelled, smaller) == Change.POD_LABELS | Change.POD_REMOVED
    assert woken.pod(smaller, leaving(smaller)) == Change.POD_LABELS
    assert woken.pod(leaving(smaller), None) == Change.POD_REMOVED


def test_nodes_that_go_wake_rules_over_groups_of_nodes():
    woken = Woken()
    assert woken.node(None, OLD) == Change.NODE_ADDED
    assert woken.node(OLD, None) == Change.NODE_REMOVED


def test_a_pod_confirmed_where_it_was_assumed_is_no_news():
    woken = Woken()
    woken.node(None, OLD)
    waiting, bound = pod("p", cpu="2"), pod("p", node="n", cpu="2")
    woken.state.assume(pod_class(bound), [(bound.meta.uid, "n")])
    assert woken.pod(waiting, bound) == 0
