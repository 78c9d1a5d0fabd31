"""What a ReplicationController wants, and which of its pods go first."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler.controllers.replication_plan import (
    Succession,
    deletion_order,
    plan,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    AT_MOST_ONCE,
    Condition,
    Pod,
    PodContainerStatus,
    PodSpec,
    PodStatus,
)
from scheduler.objects.pod_owner import PodTemplate, TemplateMeta
from scheduler.objects.replication import (
    REPLACE_FIRST,
    REPLACE_ON,
    REPLACES,
    Replication,
    ReplicationSpec,
    ReplicationStatus,
)
from scheduler.objects.selectors import from_map
from scheduler.objects.stored import Body, StoredObject

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LABELS = {"app": "web"}


def controller(replicas=3, min_ready=0, **meta):
    template = PodTemplate(TemplateMeta(labels={**LABELS, "tier": "front"}))
    return Replication(
        ObjectMeta(name="web", namespace="default", uid="rc", generation=4, **meta),
        ReplicationSpec(replicas, min_ready, template),
        ReplicationStatus(),
        1,
        from_map(LABELS),
    )


def pod(uid, *, owned=True, ready=None, phase="Running", node="a", age=100, restarts=0, **meta):
    """ready: seconds since it became ready, None when it is not."""
    conditions = (
        ()
        if ready is None
        else (Condition("Ready", "True", last_transition_time=NOW - timedelta(seconds=ready)),)
    )
    meta.setdefault("labels", LABELS)
    return Pod(
        ObjectMeta(
            name=uid,
            namespace="default",
            uid=uid,
            creation_timestamp=NOW - timedelta(seconds=age),
            owner_references=(controller().reference,) if owned else (),
            **meta,
        ),
        PodSpec(),
        PodStatus(
            phase,
            conditions,
            container_statuses=(PodContainerStatus("c", restart_count=restarts),),
        ),
        node,
        1,
        b"",
    )


def uids(pods):
    return [p.meta.uid for p in pods]


def test_missing_pods_are_made():
    planned = plan(controller(3), [pod("a")], NOW)
    assert (planned.creates, planned.deletes) == (2, ())


def test_a_burst_is_bounded():
    assert plan(controller(100), [], NOW, burst=7).creates == 7
    many = [pod(str(n)) for n in range(100)]
    assert len(plan(controller(0), many, NOW, burst=7).deletes) == 7


@pytest.mark.parametrize(
    "gone",
    [
        pod("x", phase="Succeeded"),
        pod("x", phase="Failed"),
        pod("x", deletion_timestamp=NOW),
    ],
)
def test_ended_and_terminating_pods_do_not_count(gone):
    planned = plan(controller(1), [gone], NOW)
    assert planned.creates == 1
    assert planned.status.replicas == 0


LEAVES = {REPLACE_FIRST: "true"}


def test_pods_to_be_replaced_go_once_others_are_available():
    old = [pod(f"old-{n}", ready=100, annotations=LEAVES) for n in range(2)]
    made = plan(controller(2), old, NOW)
    assert (made.creates, made.deletes) == (2, ())
    fresh = [pod("new-0", ready=100), pod("new-1")]
    made = plan(controller(2), [*old, *fresh], NOW)
    assert made.creates == 0
    assert len(made.deletes) == 1
    assert set(uids(made.deletes)) < {"old-0", "old-1"}
    fresh = [pod("new-0", ready=100), pod("new-1", ready=100)]
    assert set(uids(plan(controller(2), [*old, *fresh], NOW).deletes)) == {"old-0", "old-1"}


def test_a_pod_that_leaves_for_a_node_has_one_successor_there():
    old = [pod(f"old-{n}", annotations={**LEAVES, REPLACE_ON: f"h{n}"}) for n in range(2)]
    made = plan(controller(2), old, NOW)
    assert made.successions == (Succession("old-0", "h0"), Succession("old-1", "h1"))
    fresh = pod("new", annotations={REPLACES: "old-0"})
    made = plan(controller(2), [*old, fresh], NOW)
    assert (made.creates, made.successions) == (1, (Succession("old-1", "h1"),))
    assert plan(controller(1), [*old, fresh], NOW).successions == ()


def test_what_may_run_once_at_most_is_not_replaced_first():
    old = pod("old", ready=100, annotations={**LEAVES, AT_MOST_ONCE: "true"})
    made = plan(controller(1), [old], NOW)
    assert (made.creates, made.deletes) == (0, ())


def test_what_may_run_once_at_most_has_no_successor_while_it_may_still_run():
    once = {"annotations": {AT_MOST_ONCE: "true"}}
    deleted = pod("old", deletion_timestamp=NOW, **once)
    assert plan(controller(1), [deleted], NOW).creates == 0
    assert plan(controller(3), [deleted, pod("other", **once)], NOW).creates == 1
    ended = pod("old", phase="Failed", deletion_timestamp=NOW, **once)
    assert plan(controller(1), [ended], NOW).creates == 1
    assert plan(controller(1), [pod("old", deletion_timestamp=NOW)], NOW).creates == 1
    assert plan(controller(1), [], NOW).creates == 1


def test_replacements_must_have_been_ready_long_enough():
    old, fresh = pod("old", ready=100, annotations=LEAVES), pod("new", ready=5)
    made = plan(controller(1, min_ready=10), [old, fresh], NOW)
    assert made.deletes == ()
    assert made.look_again == timedelta(seconds=5)


def test_fewer_are_wanted_while_some_are_replaced():
    old, fresh = pod("old", annotations=LEAVES), [pod(f"new-{n}", ready=100) for n in range(2)]
    assert set(uids(plan(controller(1), [old, *fresh], NOW).deletes)) == {"old", "new-0"}
    assert plan(controller(0), [old], NOW).deletes == (old,)


def test_orphans_are_adopted_and_strays_let_go():
    orphan = pod("orphan", owned=False)
    other = pod("other", owned=False, labels={"app": "else"})
    stray = pod("stray", labels={"app": "else"})
    planned = plan(controller(1), [orphan, other, stray], NOW)
    assert (uids(planned.adopt), uids(planned.orphan)) == (["orphan"], ["stray"])
    assert (planned.creates, planned.deletes) == (0, ())


def test_pods_of_others_are_left_alone():
    foreign = controller().reference
    foreign = msgspec.structs.replace(foreign, uid="another")
    theirs = msgspec.structs.replace(
        pod("x"), meta=msgspec.structs.replace(pod("x").meta, owner_references=(foreign,))
    )
    planned = plan(controller(1), [theirs], NOW)
    assert (planned.creates, planned.adopt, planned.orphan) == (1, (), ())


def test_a_deleting_controller_touches_no_pods():
    pods = [pod("a"), pod("o", owned=False), pod("s", labels={})]
    planned = plan(controller(9, deletion_timestamp=NOW), pods, NOW)
    assert (planned.creates, planned.deletes, planned.adopt, planned.orphan) == (0, (), (), ())


def test_the_status_counts():
    full = {**LABELS, "tier": "front"}
    pods = [pod("a", ready=100, labels=full), pod("b", ready=5), pod("c")]
    planned = plan(controller(3, min_ready=30), pods, NOW)
    status = planned.status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)
    assert (status.fully_labeled_replicas, status.observed_generation) == (1, 4)
    assert planned.look_again == timedelta(seconds=25)


COST = "controller.kubernetes.io/pod-deletion-cost"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("z", node="", ready=9999, phase="Running"), pod("a", phase="Pending")),
        (pod("z", phase="Pending", ready=9), pod("a", phase="Unknown")),
        (pod("z", phase="Unknown", ready=9), pod("a", phase="Running")),
        (pod("z"), pod("a", ready=9, annotations={COST: "-5"})),
        (pod("z", ready=999, annotations={COST: "-5"}), pod("a", ready=9)),
        (pod("z", ready=999), pod("a", ready=999, annotations={COST: "5"})),
        (pod("z", ready=10), pod("a", ready=9999)),
        (pod("z", ready=9, restarts=3, age=999), pod("a", ready=9, restarts=1)),
        (pod("z", ready=9, age=10), pod("a", ready=9, age=9999)),
        (pod("z", age=101), pod("a", age=102)),
    ],
)
def test_the_order_of_deletion(first, second):
    assert uids(deletion_order([second, first], NOW)) == ["z", "a"]
    assert uids(deletion_order([first, second], NOW)) == ["z", "a"]


def test_of_pods_of_one_second_the_later_one_goes_first():
    """A replacement that is not wanted any more, not whom it was to replace."""

    def made(uid, revision):
        meta = pod(uid, ready=9).meta
        stored = StoredObject("pods", meta, 100, revision, Body(b"{}"))
        return msgspec.structs.replace(pod(uid, ready=9), stored=stored)

    for later, sooner in (("z", "a"), ("a", "z")):
        both = [made(sooner, 5), made(later, 6)]
        assert uids(deletion_order(both, NOW)) == [later, sooner]


def test_doubled_up_pods_go_first():
    pods = [pod("lone", node="b", ready=1), *(pod(f"d{n}", node="a", ready=999) for n in range(2))]
    assert uids(plan(controller(2), pods, NOW).deletes) in (["d0"], ["d1"])
