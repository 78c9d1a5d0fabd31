"""What maintenance windows ask for: whom to let go, when, and what is said of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.controllers.maintenance_plan import (
    BLOCKED,
    CALLED_OFF,
    DRAINED,
    DRAINING,
    SCHEDULED,
    outlook,
    patience,
    plan,
    stamp,
)
from scheduler.objects.maintenance import MAINTENANCE, HostMaintenance
from scheduler.objects.meta import ObjectMeta, OwnerReference
from scheduler.objects.node import Node, NodeSpec, NodeStatus
from scheduler.objects.pod import Pod, PodSpec, PodStatus

WINDOWS = HostMaintenance(("Tue 02:00-04:00",), lead_seconds=3600)
OPENS = datetime(2030, 1, 8, 2, tzinfo=UTC)  # a Tuesday
BEFORE, LEAD = OPENS - timedelta(hours=3), OPENS - timedelta(minutes=30)
DURING, CLOSES = OPENS + timedelta(minutes=5), OPENS + timedelta(hours=2)


def node(*, cordoned=False, until=""):
    annotations = {MAINTENANCE: until} if until else {}
    meta = ObjectMeta(name="h1", uid="h1", annotations=annotations)
    return Node(meta, NodeSpec(unschedulable=cordoned), NodeStatus(), 1)


OURS = node(cordoned=True, until=stamp(CLOSES))


def pod(name, owner="ReplicaSet", phase="Running", deleting=False, **annotations):
    said = {f"ironfree.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    owners = (OwnerReference("x/v1", owner, "o", "o", controller=True),) if owner else ()
    meta = ObjectMeta(
        name=name,
        namespace="default",
        uid=name,
        annotations=said,
        owner_references=owners,
        deletion_timestamp=BEFORE if deleting else None,
    )
    return Pod(meta, PodSpec(), PodStatus(phase=phase), "h1", 1, b"")


def names(pods):
    return [each.meta.name for each in pods]


def told(made, now, **refusals):
    return outlook(made, refusals, WINDOWS.lead_seconds, now)


def test_long_before_nothing_happens():
    made = plan(WINDOWS, node(), [pod("web")], BEFORE)
    assert (made.draining, made.unschedulable, made.until) == (False, None, "")
    said = told(made, BEFORE)
    assert (said.status, said.reason, said.time) == ("False", SCHEDULED, OPENS)
    assert said.look_again == timedelta(hours=2), "when pods begin to leave"
    assert said.message == (
        "window from 2030-01-08T02:00:00Z to 2030-01-08T04:00:00Z; "
        "pods leave from 2030-01-08T01:00:00Z on"
    )


def test_ahead_of_the_window_each_pod_leaves_in_its_way():
    pods = [
        pod("web"),
        pod("asked", replace_first="true"),
        pod("once", at_most_once="true"),
        pod("db", owner="StatefulSet"),
        pod("gone", owner="StatefulSet", deleting=True),
        pod("log", owner="DaemonSet"),
        pod("done", owner="Job", phase="Succeeded"),
        pod("bare", owner=""),
    ]
    made = plan(WINDOWS, node(), pods, LEAD)
    assert (made.draining, made.unschedulable, made.until) == (True, True, stamp(CLOSES))
    assert names(made.leave) == ["web"]
    assert names(made.evict) == ["once", "db"]
    assert names(made.left) == ["web", "asked", "once", "db", "gone", "bare"]
    said = told(made, LEAD, db="its budget says no")
    assert (said.status, said.reason) == ("True", DRAINING)
    assert said.message.endswith(
        "still here: pod default/bare: no controller would replace it; delete it, or leave it to "
        "the maintenance; pod default/db: its budget says no"
    )
    assert said.look_again == timedelta(seconds=5), "an eviction is tried again"
    assert told(made, LEAD).look_again == timedelta(seconds=5), "replacements may not come"
    alone = plan(WINDOWS, node(), [pod("db", owner="StatefulSet")], LEAD)
    assert told(alone, LEAD).look_again == timedelta(minutes=30), "its going is a change"


def test_who_is_not_replaced_in_time_is_evicted_instead():
    pods = [pod("web", replace_first="true", maintenance="h1"), pod("api", replace_first="true")]
    made = plan(WINDOWS, OURS, pods, LEAD, {"web": "exceeded quota: q"})
    assert [(p.meta.name, why) for p, why in made.give_up] == [("web", "exceeded quota: q")]
    assert (names(made.leave), names(made.evict)) == ([], ["web"])
    kept = pod("web", replace_first="false", maintenance="h1")
    again = plan(WINDOWS, OURS, [kept], LEAD)
    assert (names(again.leave), names(again.evict), again.give_up) == ([], ["web"], ())
    said = told(again, LEAD, web="its budget says no")
    assert said.message.endswith("still here: pod default/web: its budget says no")
    after = plan(WINDOWS, OURS, [kept], CLOSES)
    assert names(after.stay) == ["web"], "the mark goes with the window"


@pytest.mark.parametrize(("lead", "seconds"), [(0, 60), (60, 60), (1800, 900), (86400, 43200)])
def test_a_replacement_may_take_half_the_lead(lead, seconds):
    assert patience(replace(WINDOWS, lead_seconds=lead)) == timedelta(seconds=seconds)


def test_an_open_window_says_who_is_in_the_way_and_forces_nobody():
    pods = [pod("web", replace_first="true"), pod("gone", deleting=True)]
    made = plan(WINDOWS, OURS, pods, DURING)
    assert (made.leave, made.evict, made.unschedulable) == ((), (), None)
    said = told(made, DURING)
    assert (said.status, said.reason) == ("True", BLOCKED)
    assert said.message.endswith(
        "still here: pod default/gone: it is being stopped; "
        "pod default/web: its replacement is not available"
    )
    many = plan(WINDOWS, OURS, [pod(f"p{i}", replace_first="true") for i in range(7)], DURING)
    assert told(many, DURING).message.endswith("p4: its replacement is not available; and 2 more")


def test_an_empty_host_is_drained_until_the_window_closes():
    made = plan(WINDOWS, OURS, [pod("log", owner="DaemonSet")], DURING)
    said = told(made, DURING)
    assert (said.status, said.reason) == ("True", DRAINED)
    assert said.look_again == CLOSES - DURING


def test_afterwards_the_node_is_as_it_was():
    marked = pod("web", replace_first="true", maintenance="h1")
    made = plan(WINDOWS, OURS, [marked, pod("other")], CLOSES)
    assert (made.draining, made.unschedulable, made.until) == (False, False, "")
    assert names(made.stay) == ["web"]
    assert told(made, CLOSES).time == OPENS + timedelta(days=7)


def test_a_cordon_of_somebody_else_stays():
    during = plan(WINDOWS, node(cordoned=True), [pod("web")], DURING)
    assert (during.unschedulable, during.until) == (None, "")
    assert names(during.leave) == ["web"]
    after = plan(WINDOWS, node(cordoned=True), [], CLOSES)
    assert (after.unschedulable, after.until) == (None, "")


def test_who_uncordons_the_node_calls_the_window_off():
    opened = node(until=stamp(CLOSES))
    made = plan(WINDOWS, opened, [pod("web", maintenance="h1")], DURING)
    assert (made.draining, made.unschedulable, made.until) == (False, None, stamp(CLOSES))
    assert names(made.stay) == ["web"]
    assert told(made, DURING).reason == CALLED_OFF
    after = plan(WINDOWS, opened, [], CLOSES)
    assert (after.unschedulable, after.until) == (None, ""), "the next window counts again"
    last_week = node(until=stamp(CLOSES - timedelta(days=7)))
    assert plan(WINDOWS, last_week, [], DURING).unschedulable is True


def test_windows_that_are_taken_away_end_what_they_began():
    made = plan(HostMaintenance(), OURS, [pod("web", maintenance="h1")], DURING)
    assert (made.unschedulable, made.until, names(made.stay)) == (False, "", ["web"])
    assert told(made, DURING) is None


def test_a_host_that_has_not_registered_waits():
    made = plan(WINDOWS, None, [], DURING)
    assert (made.draining, made.unschedulable) == (False, None)


MOMENTS = st.integers(-3 * 24 * 60, 11 * 24 * 60).map(lambda m: OPENS + timedelta(minutes=m))


@given(MOMENTS, st.booleans(), st.booleans(), st.lists(st.sampled_from("abcdef"), unique=True))
@pytest.mark.parametrize("lead", [0, 3600, 24 * 3600])
def test_carried_out_a_plan_asks_for_nothing_more(lead, now, cordoned, ours, kinds):
    windows = replace(WINDOWS, windows=("Tue 02:00-04:00", "Thu 23:00-01:00"), lead_seconds=lead)
    every = {
        "a": pod("web"),
        "b": pod("bare", owner=""),
        "c": pod("db", owner="StatefulSet"),
        "d": pod("log", owner="DaemonSet"),
        "e": pod("marked", replace_first="true", maintenance="h1"),
        "f": pod("rebalanced", replace_first="true", replace_on="h2"),
    }
    pods = [every[kind] for kind in kinds]
    before = node(cordoned=cordoned, until=stamp(now) if ours else "")
    made = plan(windows, before, pods, now)
    after = node(
        cordoned=cordoned if made.unschedulable is None else made.unschedulable, until=made.until
    )
    gone = {*names(made.evict)}
    marked = [
        pod(p.meta.name, replace_first="true", maintenance="h1") if p in made.leave else p
        for p in pods
        if p.meta.name not in gone and p not in made.stay
    ]
    again = plan(windows, after, marked, now)
    assert (again.unschedulable, again.until) == (None, made.until)
    assert (again.leave, again.evict, again.stay) == ((), (), ())
    assert again.draining == made.draining
    if made.draining:
        assert after.spec.unschedulable, "nothing new comes while pods leave"
    if not ours and cordoned:
        assert after.spec.unschedulable, "a cordon of somebody else stays"
    said = outlook(again, {}, lead, now)
    assert said.look_again > timedelta(), "it never spins"
    assert said.status == ("True" if made.draining else "False")
