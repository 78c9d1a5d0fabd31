"""Which replacements of pods will not come, so that whoever waits for them need not for ever."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.controllers.replication_plan import plan
from scheduler.objects.meta import ObjectMeta, OwnerReference
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus
from scheduler.objects.replacement import Futile, awaited, futile, refusal, replaceable, taken_back
from scheduler.objects.replication import Replication, ReplicationSpec, ReplicationStatus
from scheduler.objects.selectors import EVERYTHING

NOW = datetime(2030, 1, 1, tzinfo=UTC)
READY = (Condition("Ready", "True", last_transition_time=NOW),)
NOWHERE = (Condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available"),)


def pod(name, node="h1", owner="ReplicaSet", conditions=READY, going=False, nominee="", **said):
    owners = (OwnerReference("x/v1", owner, "o", "o", controller=True),) if owner else ()
    meta = ObjectMeta(
        name=name,
        uid=name,
        annotations={f"ironfree.dev/{key.replace('_', '-')}": text for key, text in said.items()},
        owner_references=owners,
        deletion_timestamp=NOW if going else None,
    )
    status = PodStatus(phase="Running", conditions=conditions, nominated_node_name=nominee)
    return Pod(meta, PodSpec(), status, node, 1, b"")


def leaving(name, **fields):
    return pod(name, replace_first="true", **fields)


def stuck(name, **fields):
    return pod(name, node="", conditions=NOWHERE, **fields)


def once(pods):
    return [(each, 1) for each in pods]


def test_who_may_be_replaced_first():
    assert replaceable(pod("a"))
    assert replaceable(pod("a", owner="ReplicationController"))
    for each in (
        pod("a", owner=""),
        pod("a", owner="StatefulSet"),
        pod("a", at_most_once="true"),
        pod("a", replace_first="false"),
    ):
        assert not replaceable(each)
    assert awaited(leaving("a"))
    assert not awaited(pod("a"))
    assert not awaited(leaving("a", replace_on="h2")), "a Rebalance ends its own"
    assert not awaited(leaving("a", at_most_once="true"))


@pytest.mark.parametrize(
    ("replicas", "pods", "refused", "count"),
    [
        (1, [leaving("a")], "", 0),  # it is still to be created
        (1, [leaving("a"), stuck("b")], "", 1),
        (1, [leaving("a")], "exceeded quota: q", 1),
        (1, [leaving("a"), stuck("b", nominee="h2")], "", 0),  # room is being made
        (1, [leaving("a"), pod("b", node="", conditions=())], "", 0),  # not tried yet
        (1, [leaving("a"), pod("b", node="h2", conditions=())], "", 0),  # it starts
        (1, [pod("a", replace_first="false"), stuck("b")], "", 0),  # taken back already
        (1, [pod("a", going=True), stuck("b")], "", 0),  # it may come once that is gone
        (2, [leaving("a"), leaving("b"), pod("c", node="h2"), stuck("d")], "", 1),
        (2, [leaving("a"), leaving("b"), pod("c", node="h2")], "exceeded quota: q", 1),
        (2, [leaving("a"), leaving("b"), pod("c", going=True), stuck("d")], "forbidden", 1),
        (3, [leaving("a"), pod("b"), stuck("c"), pod("d", node="h2")], "", 1),  # it was before
    ],
)
def test_replacements_that_will_not_come(replicas, pods, refused, count):
    found = futile(replicas, once(pods), refused)
    assert found.count == count
    assert bool(found.why) == bool(count)


def test_pods_alike_count_as_many():
    pods = [(leaving("a"), 4), (stuck("b"), 3), (pod("c", node="h2"), 6)]
    assert futile(10, pods, "") == Futile(3, "0/3 nodes are available")


def test_why_a_controller_creates_nothing():
    failed = Condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: q")
    assert refusal([failed]) == "exceeded quota: q"
    assert refusal([replace(failed, status="False")]) == ""
    assert refusal([]) == ""


KINDS = st.sampled_from(["leaving", "stuck", "runs", "starts", "new", "going", "kept"])


@given(st.integers(0, 6), st.lists(KINDS, max_size=10), st.booleans())
def test_taking_back_what_is_futile_leaves_nobody_waiting_in_vain(replicas, kinds, refused):
    """Once every other replacement is there, nobody waits; and nobody is taken back for nothing."""
    makers = {
        "leaving": leaving,
        "stuck": stuck,
        "runs": lambda name: pod(name, node="h2"),
        "starts": lambda name: pod(name, node="h2", conditions=()),
        "new": lambda name: pod(name, node="", conditions=()),
        "going": lambda name: pod(name, going=True),
        "kept": lambda name: pod(name, replace_first="false"),
    }
    if not refused:  # the controller has created what it will
        there = sum(kind not in {"leaving", "going"} for kind in kinds)
        kinds = [*kinds, *["new"] * (replicas - there)]
    pods = [makers[kind](f"p{number}") for number, kind in enumerate(kinds)]
    why = "exceeded quota: q" if refused else ""
    waiting = [each for each in pods if awaited(each)]
    back = taken_back(waiting, futile(replicas, once(pods), why))
    names = {each.meta.name for each in back}
    kept = [leaving_no_more(each) if each.meta.name in names else each for each in pods]
    if len(back) < len(waiting):
        assert futile(replicas, once(kept), why).count == 0, "it is asked for once"
    if "going" in kinds:
        return
    arrived = [
        replace(each, node="h2", status=PodStatus(phase="Running", conditions=READY))
        if kind in {"starts", "new"} and each.active
        else each
        for kind, each in zip(kinds, kept, strict=True)
    ]
    after = plan(controller(replicas), arrived, NOW)
    still = {p.meta.name for p in arrived if awaited(p)} - {p.meta.name for p in after.deletes}
    assert not still, "everybody else is replaced"


def leaving_no_more(pod):
    meta = replace(pod.meta, annotations={"ironfree.dev/replace-first": "false"})
    return replace(pod, meta=meta)


def controller(replicas):
    meta = ObjectMeta(name="o", uid="o")
    return Replication(meta, ReplicationSpec(replicas), ReplicationStatus(), 1, EVERYTHING)
