"""Room for shapes, and proofs that there is none."""

import msgspec

from scheduler.objects.pod import Condition
from scheduler.objects.pod_class import pod_class
from scheduler.placement.rebalance.defragmenting import Wanted
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.waiting import waiting
from scheduler.placement.scenario import group_of
from tests.placement_cases import pod
from tests.rebalance_cases import apply, host, member, planned, scenario


def shape(name, cpu, count=1, **fields):
    return Wanted(name, pod_class(pod(name, cpu=cpu, **fields)), count)


def aim(*shapes, most=20):
    return Aim(most, empties=False, shapes=shapes)


def fits(plan):
    return [(room.wanted.name, room.fit, room.after, room.bound) for room in plan.rooms]


def scattered(hosts=4, cpu="1"):
    names = [f"h{n}" for n in range(hosts)]
    pods = [member(f"p{n}", name, cpu=cpu) for n, name in enumerate(names)]
    return scenario(*map(host, names), pods=pods)


def test_pods_are_moved_so_that_more_of_a_shape_fits():
    cluster = scattered()
    plan = planned(cluster, aim(shape("big", "4", 2)))
    assert fits(plan) == [("big", 0, 2, 2)]
    assert len(plan.moves) == 2
    assert {move.why for move in plan.moves} == {"makes room for one more like big"}
    assert plan.empty == ()
    apply(cluster, plan)
    again = planned(cluster, aim(shape("big", "4", 2)))
    assert fits(again) == [("big", 2, 2, 2)]
    assert again.moves == ()


def test_what_cannot_be_is_bounded_and_nobody_is_moved_for_it():
    plan = planned(scattered(2, cpu="3"), aim(shape("big", "4", 1)))
    assert fits(plan) == [("big", 0, 0, 0)]
    assert plan.moves == ()


def test_a_move_pays_for_itself():
    names = ("a", "b", "c")
    pods = [member(f"{name}{n}", name, cpu="1") for name in names for n in range(2)]
    cluster = scenario(*map(host, names), pods=pods)
    assert planned(cluster, aim(shape("big", "4"), most=1)).moves == ()
    plan = planned(cluster, aim(shape("big", "4"), most=2))
    assert (len(plan.moves), fits(plan)) == (2, [("big", 0, 1, 1)])


def test_a_shape_takes_no_room_from_one_before_it():
    hosts = [host("a", "4"), host("b", "4"), host("c", "2")]
    cluster = scenario(*hosts, pods=[member("p", "c", cpu="1")])
    plan = planned(cluster, aim(shape("big", "4", 2), shape("small", "2", 5)))
    assert plan.moves == ()
    assert fits(plan)[0] == ("big", 2, 2, 2)


def parked(made):
    condition = Condition("PodScheduled", "False", reason="Unschedulable")
    return msgspec.structs.replace(
        made, status=msgspec.structs.replace(made.status, conditions=(condition,))
    )


def gang(cluster, count, least, cpu):
    """Let members of a PodGroup wait that found no room; return the cluster."""
    cluster.groups = {}
    group = group_of({"metadata": {"name": "ring"}, "spec": {"minMember": least}}, "g")
    members = [
        parked(pod(f"w{n}", cpu=cpu, labels={"ironfree.dev/pod-group": "ring"}))
        for n in range(count)
    ]
    for each in scenario(pods=members).pending:
        cluster.wait(each)
    (key,) = {type(e.key)("podgroups.ironfree.dev", "default", "ring") for e in cluster.pending}
    cluster.groups[key] = group
    return cluster


def test_a_gang_gets_room_for_all_it_needs():
    cluster = gang(scattered(3, cpu="1"), 2, 2, "3500m")
    wanted = tuple(waiting(cluster, Scope()))
    assert [(each.least, len(each.pods)) for each in wanted] == [(2, 2)]
    plan = planned(cluster, Aim(waiting=wanted, empties=False))
    assert {key.name for key in plan.room} == {"w0", "w1"}
    assert len(plan.moves) == 2
    assert plan.hopeless == ()


def test_a_gang_that_has_no_room_whatever_is_moved_is_told_so():
    cluster = gang(scattered(3, cpu="1"), 3, 3, "3500m")
    plan = planned(cluster, Aim(waiting=tuple(waiting(cluster, Scope())), empties=False))
    assert plan.moves == ()
    assert {each.key.name for each, _ in plan.hopeless} == {"w0", "w1", "w2"}
    assert {why for _, why in plan.hopeless} == {
        "no assignment exists for it, wherever the 3 pod(s) that may be moved were: "
        "at most 2 of 3 would have a node, and 3 must"
    }


def wanting(cluster, cpu="2"):
    """Let a pod wait that found no room; return what to plan for."""
    for each in scenario(pods=[parked(pod("w", cpu=cpu))]).pending:
        cluster.wait(each)
    return Aim(waiting=tuple(waiting(cluster, Scope())), empties=False)


def crowded():
    """The one pod whose leaving would do has nowhere to go; the two small ones have."""
    pods = [member("p3", "a", cpu="3"), member("s0", "a", cpu="1"), member("s1", "a", cpu="1")]
    pods += [member(f"{name}-stays", name, cpu="4", owner=None) for name in ("b", "c")]
    taints = [("for", "NoSchedule")]
    others = [host(f"o{n}", "5", taints=taints) for n in range(12)]
    return scenario(*(host(name, "5") for name in "abc"), *others, pods=pods)


def test_the_solver_finds_moves_where_the_fewest_pods_of_a_host_cannot_go():
    cluster = crowded()
    made = planned(cluster, wanting(cluster))
    assert [key.name for key in made.room] == ["w"]
    assert {(m.pod.name, m.source) for m in made.moves} == {("s0", "a"), ("s1", "a")}
    assert {m.target for m in made.moves} == {"b", "c"}
    assert made.hopeless == ()


def test_the_solver_moves_no_more_than_may_be():
    cluster = crowded()
    asked = wanting(cluster)
    made = planned(cluster, Aim(1, asked.waiting, empties=False))
    assert (made.moves, made.room, made.hopeless) == ((), (), ())


def test_a_gang_that_is_short_of_members_does_not_wait_for_room():
    cluster = gang(scattered(2), 1, 2, "4")
    assert waiting(cluster, Scope()) == []


def test_a_pod_is_hopeless_although_each_host_alone_could_be_freed():
    """Any one of the hosts would do, but the pods on them have nowhere to go."""
    cluster = scattered(3, cpu="3")
    for each in scenario(pods=[parked(pod("w", cpu="2"))]).pending:
        cluster.wait(each)
    plan = planned(cluster, Aim(waiting=tuple(waiting(cluster, Scope())), empties=False))
    ((who, why),) = plan.hopeless
    assert who.key.name == "w"
    assert "at most 0 of 1 would have a node" in why
