"""When moves begin and end, and what of a plan is worth nothing any more."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from scheduler.objects.rebalance_job import (
    MoveBudget,
    Phase,
    PlannedMove,
    RebalanceSpec,
    RebalanceStatus,
)
from scheduler.objects.selectors import from_map
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.progress import (
    Sighting,
    allowance,
    beginning,
    settled,
    told,
)
from scheduler.placement.tenancy import Budget
from tests.placement_cases import pod
from tests.rebalance_cases import FILTERS, NOW, host, member, planned, scenario

SPEC = RebalanceSpec(mode="auto", budget=MoveBudget(10, 2))


def move(number, since=None, to="a"):
    return PlannedMove(f"default/p{number}", f"uid-p{number}", f"h{number}", to, "", since)


def three(**fields):
    hosts = [host("a"), host("h1"), host("h2")]
    pods = [member("p0", "a", cpu="1", **fields)]
    return scenario(*hosts, pods=[*pods, *(member(f"p{n}", f"h{n}", cpu="1") for n in (1, 2))])


def begun(cluster, status, most=5):
    found = beginning(status, cluster, FILTERS, Scope(), most)
    return [each.pod for each in found.now], [each.pod for each in found.left], found.stale


BOTH = RebalanceStatus(moves=(move(1), move(2)))


def test_as_many_moves_begin_as_may():
    assert begun(three(), BOTH) == (["default/p1", "default/p2"], [], "")
    assert begun(three(), BOTH, 1) == (["default/p1"], ["default/p2"], "")


def test_a_pod_that_has_gone_needs_no_move():
    cluster = three()
    cluster.stop("uid-p1", "h1")
    assert begun(cluster, BOTH) == (["default/p2"], [], "")


def test_a_plan_is_dropped_when_its_host_gets_other_pods():
    cluster = three()
    (other,) = scenario(host("h1"), pods=[member("new", "h1", cpu="1")]).bound.values()
    cluster.run(other, "h1")
    assert begun(cluster, BOTH) == ([], [], "pod default/new has come to host h1")


def test_a_plan_is_dropped_when_a_move_does_not_fit_any_more():
    cluster = three()
    (other,) = scenario(host("a"), pods=[member("new", "a", cpu="2")]).bound.values()
    cluster.run(other, "a")
    assert begun(cluster, BOTH) == ([], [], "pod default/p2 does not fit on a any more")


def test_replacements_that_are_still_to_come_have_their_room():
    cluster = three()
    (other,) = scenario(host("a"), pods=[member("new", "a", cpu="2")]).bound.values()
    cluster.run(other, "a")
    status = RebalanceStatus(moves=(move(2),), active=(move(1, NOW),))
    assert begun(cluster, status) == ([], [], "pod default/p2 does not fit on a any more")


def test_budgets_count_what_is_under_way():
    cluster = three()
    for n in (1, 2):
        cluster.stop(f"uid-p{n}", f"h{n}")
        labels = {"app": "web"}
        each = member(f"p{n}", f"h{n}", cpu="1", labels=labels)
        (known,) = scenario(host(f"h{n}"), pods=[each]).bound.values()
        cluster.run(known, f"h{n}")
    cluster.budgets = {("default", "web"): Budget("default", from_map({"app": "web"}), 1)}
    assert begun(cluster, BOTH) == (["default/p1"], ["default/p2"], "")
    status = RebalanceStatus(moves=(move(2),), active=(move(1, NOW),))
    assert begun(cluster, status) == ([], ["default/p2"], "")


def test_room_for_a_pod_that_does_not_wait_any_more_is_not_made():
    status = replace(BOTH, room=("default/big",))
    assert begun(three(), status)[2] == "pod default/big does not wait any more"
    cluster = three()
    cluster.wait(scenario(pods=[pod("big", cpu="4")]).pending[0])
    assert begun(cluster, status)[2] == ""


def test_moves_end_well_or_are_missed():
    status = RebalanceStatus(moves=(move(9),), active=tuple(move(n, NOW) for n in range(4)))
    there = member("p", "h", cpu="1")
    seen = {
        "uid-p0": Sighting(None, True),
        "uid-p1": Sighting(there, False),
        "uid-p2": Sighting(None, True),
        "uid-p3": Sighting(there, True),
    }
    found = settled(status, SPEC, lambda each: seen[each.uid], NOW)
    assert (found.made, found.missed, len(found.active), len(found.moves)) == (2, 0, 2, 1)
    seen["uid-p0"] = Sighting(None, False)
    found = settled(status, SPEC, lambda each: seen[each.uid], NOW)
    assert (found.made, found.missed, found.moves) == (1, 1, ())
    assert found.message == "pod default/p0 went elsewhere than to a"
    late = NOW + timedelta(seconds=SPEC.move_seconds + 1)
    found = settled(status, SPEC, lambda each: Sighting(there, True), late)
    assert (found.made, found.missed, found.active) == (0, 4, ())


def test_a_move_to_a_host_that_is_lost_is_broken_off():
    status = RebalanceStatus(moves=(move(9),), active=(move(1, NOW),))
    there = member("p", "h", cpu="1")
    found = settled(status, SPEC, lambda _: Sighting(there, False, lost=True), NOW)
    assert (found.active, found.moves, found.missed) == ((), (), 1)
    assert found.message == "host a, where pod default/p1 was to go, is lost"


def test_the_next_plan_is_due_once_all_moves_are_made():
    status = RebalanceStatus(active=(move(1, NOW),), next_plan_time=NOW + timedelta(hours=1))
    stopping = settled(status, SPEC, lambda _: Sighting(None, True, ending=True), NOW)
    assert (stopping.active, stopping.made, stopping.next_plan_time) == (
        status.active,
        status.made,
        status.next_plan_time,
    )
    assert settled(status, SPEC, lambda _: Sighting(None, True), NOW).next_plan_time is None
    missed = settled(status, SPEC, lambda _: Sighting(None, False), NOW)
    assert missed.next_plan_time == status.next_plan_time


def test_an_hour_has_so_many_moves():
    fresh, old = NOW - timedelta(minutes=59), NOW - timedelta(minutes=60)
    status = RebalanceStatus(begun=(old,) * 10)
    assert allowance(status, SPEC, NOW) == (2, "")
    assert allowance(replace(status, begun=(fresh,) * 9), SPEC, NOW) == (1, "")
    none, why = allowance(replace(status, begun=(fresh,) * 10), SPEC, NOW)
    assert (none, why) == (0, "has begun 10 moves within the hour")
    assert allowance(RebalanceStatus(active=(move(1), move(2))), SPEC, NOW) == (0, "")


@pytest.mark.parametrize(
    ("windows", "hour", "inside"),
    [
        ((), 3, True),
        (("02:00-04:00",), 3, True),
        (("02:00-04:00",), 4, False),
        (("22:00-06:00",), 23, True),
        (("22:00-06:00",), 5, True),
        (("22:00-06:00",), 6, False),
        (("01:00-02:00", "12:00-13:00"), 12, True),
        (("Mon 12:00-13:00",), 12, False),
    ],
)
def test_moves_begin_in_windows(windows, hour, inside):
    spec = replace(SPEC, windows=windows)
    moment = datetime(2030, 1, 1, hour, tzinfo=UTC)
    assert bool(allowance(RebalanceStatus(), spec, moment)[0]) is inside


def test_a_plan_in_the_status_says_what_is_proved():
    made = planned(three())
    status = told(RebalanceStatus(made=7), made, SPEC, NOW)
    assert (status.phase, status.made) == (Phase.MOVING, 7)
    assert (status.hosts.used, status.hosts.after, status.hosts.bound) == (3, 1, "1")
    assert status.next_plan_time == NOW + timedelta(seconds=SPEC.interval_seconds)
    assert told(status, made, replace(SPEC, mode="plan"), NOW).phase == Phase.PLANNED
