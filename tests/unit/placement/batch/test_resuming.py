"""A Placement that is solved again begins with its last plan."""

from scheduler.placement.batch.attempt import resumed
from scheduler.placement.batch.outcome import settle
from scheduler.placement.solver.engine import Options, solve
from tests.batch_cases import host, job, prepared, rules, settled, template, where

RULES = rules()


def again(placement, hosts, plan):
    """Return what comes of a Placement that has no time but to take up its plan."""
    asked, cluster = prepared(placement, hosts, RULES)
    asked = resumed(asked, plan)
    return settle(asked, solve(asked.model.problem, Options(seconds=0.0)), cluster.state), asked


def test_what_still_holds_of_a_plan_is_kept():
    """Without it, both would be where there is most room, or least: never one on each."""
    apart = job(template("a", 1, cpu="1"), template("b", 1, cpu="1"))
    first = settled(apart, [host("x", cpu="1"), host("y", cpu="1")], RULES)
    before = where(first)
    assert sorted(before) == ["x", "y"]
    found, _ = again(apart, [host("x", cpu="8"), host("y", cpu="8"), host("z")], first.plan)
    assert where(found) == before


def test_hosts_and_pods_that_are_gone_are_left_out():
    asked = job(template("a", 3, cpu="2"), template("b", 1, cpu="4"))
    first = settled(asked, [host("x", cpu="6"), host("y", cpu="4")], RULES)
    assert where(first) == {"x": ["a-0", "a-1", "a-2"], "y": ["b-0"]}
    fewer = job(template("a", 2, cpu="2"), template("c", 1, cpu="4"))
    found, resuming = again(fewer, [host("x", cpu="6"), host("z", cpu="4")], first.plan)
    assert resuming.model.problem.current.tolist() == [[0], [0], [2]]
    assert where(found)["x"] == ["a-0", "a-1"]


def test_what_has_no_room_any_more_is_placed_elsewhere():
    asked = job(template("a", 2, cpu="2"))
    first = settled(asked, [host("x", cpu="4")], RULES)
    found, _ = again(asked, [host("x", cpu="1"), host("y", cpu="4")], first.plan)
    assert where(found) == {"y": ["a-0", "a-1"]}
