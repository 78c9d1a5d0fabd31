"""What of the news from the store wakes pods that wait."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from scheduler.hookspecs import Change
from scheduler.informer import CohortDelta, Delta
from scheduler.objects.pod import pod_view
from scheduler.objects.pod_class import pod_class
from scheduler.objects.stored import Binding, ObjectKey, intern_body
from scheduler.placement.batches import Waiting
from scheduler.placement.express import ExpressLane
from scheduler.placement.framework import Diagnosis
from scheduler.placement.gangs import Gangs
from scheduler.placement.ingest import Ingest, node_change
from scheduler.placement.nominations import Nominations
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import SchedulingQueue
from scheduler.placement.state import ClusterState
from scheduler.store.operations import CohortChange
from tests.placement_cases import a_class, node, pod, spec
from tests.store_values import cohort

HARD, SOFT = ("k", "", "NoSchedule"), ("k", "", "PreferNoSchedule")
OLD = node("n", cpu="4", labels={"zone": "a"})


FOREIGN = {"ironfree.dev/foreign-ports": "TCP/80 UDP/53"}


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
        ({"annotations": FOREIGN}, {}, Change.POD_REMOVED),
        ({}, {"annotations": FOREIGN}, Change(0)),
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
        self.express = ExpressLane()
        told = {"default-scheduler": None}
        report = lambda _pods, _why: None  # noqa: E731
        self.gangs = Gangs(self.queue, report)
        waiting = Waiting(self.queue, self.express, self.gangs)
        self.ingest = Ingest(self.state, waiting, report, told, Nominations())
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


def made(size, **fields):
    """Return a cohort's creation."""
    body = intern_body(msgspec.json.encode({"spec": spec(**fields)}, order="deterministic"))
    return CohortChange(cohort(size, body=body), 10, range(size))


def lodged(change):
    return CohortDelta(change, pod_view)


def alone(change, ordinal, node=None, **meta):
    """Return what follows when a pod of a cohort leaves it."""
    old = change.cohort.pod(ordinal)
    binding = Binding(node, datetime(2026, 1, 1, tzinfo=UTC), 50) if node else None
    new = replace(old, meta=replace(old.meta, **meta), revision=50, binding=binding, lodged=False)
    return Delta(old.key, pod_view(old), pod_view(new), 50)


def bound(change, ordinals, nodes):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return CohortChange(change.cohort, 20, ordinals, nodes, moment)


def test_a_cohort_that_somebody_else_binds_waits_no_more():
    woken = Woken()
    woken.node(None, OLD)
    lot = made(4, cpu="1")
    woken.ingest.pods([lodged(lot)], 0.0)
    assert len(woken.express) == 4
    woken.ingest.pods([lodged(bound(lot, (1, 3), ("n", "n")))], 0.0)
    assert woken.by() == Change.POD_PLACED
    ((wanted, pods),) = woken.express.pop(9)
    assert tuple(pods.ordinals) == (0, 2)
    for pending in pods:
        woken.queue.add(wanted, pending, 0.0)
    woken.ingest.pods([lodged(bound(lot, (0,), ("n",)))], 0.0)
    ((_, waiting),) = woken.queue.pop(9, 1, 0.0)
    assert [pending.uid for pending in waiting] == [lot.cohort.pod_uid(2)]
    assert woken.state.is_lodged(lot.cohort, (0,))
    assert not woken.state.is_lodged(lot.cohort, (2,))


def test_own_bindings_of_a_cohort_are_no_news():
    woken = Woken()
    woken.node(None, OLD)
    lot = made(3, cpu="1")
    woken.ingest.pods([lodged(lot)], 0.0)
    ((wanted, pods),) = woken.express.pop(1)
    woken.state.assume_cohort(pods.cohort, wanted, pods.ordinals, ("n",) * 3)
    woken.ingest.pods([lodged(bound(lot, (0, 1, 2), ("n",) * 3))], 0.0)
    assert woken.by() == 0
    left = alone(lot, 1, "n", labels={"app": "changed"})
    woken.ingest.pods([left], 0.0)
    woken.ingest.pods([Delta(left.key, left.new, None, 60)], 0.0)
    assert woken.by() & Change.POD_REMOVED
    assert [woken.state.is_lodged(lot.cohort, (n,)) for n in range(3)] == [True, False, True]


def test_who_leaves_its_cohort_waits_in_the_queue():
    woken = Woken()
    lot = made(3, cpu="1")
    woken.ingest.pods([lodged(lot)], 0.0)
    woken.ingest.pods([alone(lot, 2, labels={"app": "changed"})], 1.0)
    gone = alone(lot, 0)
    woken.ingest.pods([Delta(gone.key, gone.old, None, 50)], 1.0)
    assert len(woken.express) == 1
    ((_, waiting),) = woken.queue.pop(9, 1, 1.0)
    assert [pending.uid for pending in waiting] == [lot.cohort.pod_uid(2)]
    ((_, pods),) = woken.express.pop(1)
    assert tuple(pods.ordinals) == (1,)


def test_who_leaves_while_it_is_assumed_does_not_wait():
    woken = Woken()
    woken.node(None, OLD)
    lot = made(2, cpu="1")
    woken.ingest.pods([lodged(lot)], 0.0)
    ((wanted, pods),) = woken.express.pop(1)
    woken.state.assume_cohort(pods.cohort, wanted, pods.ordinals, ("n", "n"))
    woken.ingest.pods([alone(lot, 0, labels={"app": "changed"})], 1.0)
    assert woken.queue.pop(9, 1, 1.0) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"port": 80},
        {"schedulingGroup": {"podGroupName": "gang"}},
        {"schedulingGates": [{"name": "g"}]},
        {"schedulerName": "another"},
    ],
)
def test_some_cohorts_take_no_express_lane(fields):
    woken = Woken()
    lot = made(2, cpu="1", **fields)
    woken.ingest.pods([lodged(lot)], 0.0)
    assert len(woken.express) == 0
    assert len(woken.ingest.gated) == (2 if "schedulingGates" in fields else 0)
    found = [len(pods) for _, pods in woken.queue.pop(9, 1, 0.0)]
    assert found == ([2] if "port" in fields else [])
    held = 2 if "schedulingGroup" in fields else 0
    assert woken.gangs.counts()["gated"] == held
