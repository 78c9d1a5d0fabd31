"""Batch rules hold for what a rebalance moves, while it is moved and after."""

import ironfree_licence_cap as licences
import numpy as np
import pytest
from msgspec.structs import replace

from scheduler.batch_terms import Across, Apart, Capacity, Complaint, Limit, Linear, Needs, Together
from scheduler.errors import PluginError
from scheduler.objects.rebalance_job import PlannedMove, RebalanceStatus
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.progress import beginning
from scheduler.placement.rebalance.waiting import Waiting
from scheduler.plugin_manager import GuardedBatchRule
from tests.placement_cases import pod, spec
from tests.rebalance_cases import FILTERS, apply, host, member, planned, scenario, used

DB = "vendor/db"


def cap(copies):
    """Return the example's rule, without its filter."""
    return [GuardedBatchRule(licences.LicenceCap((licences.Licence(DB, copies),)), "example")]


def stating(*terms, check=lambda batch, plan: ()):
    """Return a rule from functions of (batch, classes by app) to a term."""

    class Rule:
        name = "House"

        def terms(self, batch):
            def of(app):
                return tuple(c for c, p in enumerate(batch.pods) if p.labels.get("app") == app)

            return [term(batch, of) for term in terms]

        def check(self, batch, plan):
            return check(batch, plan)

    return [GuardedBatchRule(Rule(), "tests")]


def of_apps(*places, zones="aabb", cpu="1"):
    """Return a cluster of hosts h0 … with pods "app@number of the host"; x are not moved."""
    hosts = [host(f"h{n}", labels={"zone": zone}) for n, zone in enumerate(zones)]
    pods = []
    for number, place in enumerate(places):
        app, on = place.split("@")
        owner = None if app == "x" else "ReplicaSet"
        pods.append(member(f"{app}{number}", f"h{on}", owner=owner, cpu=cpu, labels={"app": app}))
    return scenario(*hosts, pods=pods)


def db(name, on, cpu="1", **fields):
    body = spec(cpu=cpu)
    body["containers"][0]["image"] = DB
    return member(name, on, json=body, **fields)


def licensed(*on, hosts="abcd", more=()):
    """Return a cluster with a copy of the vendor's image on each of some hosts."""
    pods = [db(f"db{n}", name) for n, name in enumerate(on)]
    return scenario(*map(host, hosts), pods=[*pods, *more])


def gone(made):
    return sorted(move.pod.name for move in made.moves)


def test_copies_that_are_to_be_apart_are_not_brought_together():
    cluster = licensed("a", "b")
    assert len(planned(cluster).moves) == 1, "which is what is to be kept from happening"
    made = planned(cluster, batch=cap(5))
    assert made.moves == ()


def test_a_host_is_emptied_onto_hosts_that_a_rule_leaves_open():
    """Best fit alone would choose the fuller host, which has a copy."""
    more = [member("w0", "a", cpu="2", owner=None), member("w1", "b", cpu="1", owner=None)]
    cluster = licensed("a", "c", hosts="abc", more=more)
    made = planned(cluster, batch=cap(3))
    assert [(move.pod.name, move.target) for move in made.moves] == [("db1", "b")]


def test_a_licence_that_is_in_use_has_no_second_copy_while_a_pod_is_replaced():
    more = [member("w0", "a", cpu="1", owner=None)]
    assert gone(planned(licensed("b", hosts="ab", more=more), batch=cap(2))) == ["db0"]
    assert gone(planned(licensed("b", hosts="ab", more=more), batch=cap(1))) == []


def test_a_cap_that_is_exceeded_already_keeps_nobody_else():
    more = [member("w0", "c", cpu="1"), member("w1", "d", cpu="1")]
    made = planned(licensed("a", "a", more=more), batch=cap(1))
    assert {move.pod.name for move in made.moves} == {"w0", "w1"}
    assert made.after == 1


def test_a_host_over_its_limit_may_get_rid_of_a_copy():
    more = [member("w0", "b", cpu="1", owner=None)]
    cluster = licensed("a", "c", hosts="abc", more=more)
    cluster.run(licensed("a", more=[db("x", "a")]).bound["uid-x"], "a")
    made = planned(cluster, batch=cap(9))
    apply(cluster, made)
    assert "c" not in used(cluster)


@pytest.mark.parametrize(
    ("term", "places"),
    [
        (lambda b, of: Limit(of("w"), 1), ["w@0", "w@1"]),
        (lambda b, of: Limit(of("w"), 1, b.domains("zone")), ["w@0", "w@2"]),
        (lambda b, of: Apart(of("w"), of("x")), ["w@0", "x@1"]),
        (lambda b, of: Capacity(dict.fromkeys(of("w"), 3.0), 5.0), ["w@0", "w@1"]),
        (
            lambda b, of: Capacity(dict.fromkeys(of("w"), 3.0), 5.0, b.domains("zone")),
            ["w@0", "w@2"],
        ),
        (lambda b, of: Across(of("w"), 2, b.domains("zone")), ["w@0", "w@2"]),
        (lambda b, of: Linear(dict.fromkeys(of("w"), 1.0), "<=", 2), ["w@0", "w@1"]),
        (lambda b, of: Linear(dict.fromkeys(of("w"), 1.0), "==", 2), ["w@0", "w@1"]),
        (
            lambda b, of: Linear({c: np.array([1.0, 0, 1, 1])[b.hosts] for c in of("w")}, ">=", 1),
            ["w@0", "x@1"],
        ),
        (
            lambda b, of: Linear({c: np.array([0, 1.0, 1, 1])[b.hosts] for c in of("w")}, "<=", 0),
            ["w@0", "x@1"],
        ),
    ],
)
def test_what_a_term_forbids_or_demands_is_not_moved_against(term, places):
    """Without the rule one host would be emptied onto the other."""
    cluster = of_apps(*places)
    free = planned(cluster)
    assert free.moves
    held = planned(cluster, batch=stating(term))
    assert held.moves == ()


def test_what_is_together_is_not_taken_apart():
    cluster = of_apps("w@0", "w@0", "x@1", "x@1")
    assert gone(planned(cluster)) == ["w0", "w1"]
    rule = stating(lambda b, of: Together(of("w"), b.domains("zone")))
    assert gone(planned(cluster, batch=rule)) == ["w0", "w1"], "the same zone"
    cluster = of_apps("w@0", "w@0", "x@2", "x@2")
    assert planned(cluster, batch=rule).after == 2


def test_who_needs_another_stays_where_one_is():
    """The only host of the zone that has one is full."""
    cluster = of_apps("w@0", "x@1", "x@1", "x@1", "x@1", "v@2")
    assert gone(planned(cluster)) == ["w0"]
    rule = stating(lambda b, of: Needs(of("w"), of("x"), b.domains("zone")))
    assert gone(planned(cluster, batch=rule)) == ["v5"], "the other one is free to come"


def test_a_complaint_is_enough():
    def check(batch, plan):
        full = plan.of(*range(len(batch.pods))) > 1
        return [Complaint("two on a host", ())] if full.any() else []

    cluster = of_apps("w@0", "w@1", "w@2")
    assert planned(cluster, batch=stating(check=check)).moves == ()


def test_a_complaint_about_today_keeps_nobody_else():
    def check(batch, plan):
        own = [c for c, p in enumerate(batch.pods) if p.labels["app"] == "w"]
        many = int((plan.of(*own) > 1).sum())
        return [Complaint(f"{many} host(s) have two", tuple(own))] if many else []

    cluster = of_apps("w@0", "w@0", "v@2", "v@3")
    made = planned(cluster, batch=stating(check=check))
    assert made.after < made.used


def test_the_solver_packs_by_the_rules_too():
    """One after the other, best fit leaves no host of its own for the second of the pods."""
    hosts = [host("a", "10"), host("b", "10"), host("c", "10"), host("d", "10")]
    pods = [
        member("a0", "a", cpu="7", owner=None),
        member("b0", "b", cpu="6", owner=None),
        db("c0", "c", "2"),
        member("c1", "c", cpu="2"),
        db("d0", "d", "3"),
    ]
    made = planned(scenario(*hosts, pods=pods), batch=cap(3))
    assert made.after == 2
    targets = {move.pod.name: move.target for move in made.moves}
    assert targets["c0"] != targets["d0"]


def test_room_is_not_made_against_a_rule():
    pods = [db("w0", "a"), db("w1", "b", "2", owner=None)]
    cluster = scenario(host("a"), host("b"), pods=[*pods, pod("big", cpu="4")])
    aim = Aim(waiting=(Waiting.of(cluster.pending),), empties=False)
    assert gone(planned(cluster, aim)) == ["w0"]
    assert planned(cluster, aim, batch=cap(9)).moves == ()


def test_a_rule_that_fails_is_named():
    def raises(batch, of):
        raise ValueError("no")

    with pytest.raises(PluginError, match="House"):
        planned(of_apps("w@0", "w@1"), batch=stating(raises))


def begun(cluster, moves, rules, active=()):
    status = RebalanceStatus(moves=moves, active=active)
    found = beginning(status, cluster, FILTERS, Scope(), 5, rules)
    return [each.uid for each in found.now], [each.uid for each in found.left], found.stale


def move(uid, source, target):
    return PlannedMove(f"default/{uid}", f"uid-{uid}", source, target)


def test_a_move_is_tried_by_the_rules_once_more_before_it_begins():
    cluster = licensed("a", "b")
    (db0,) = (move("db0", "a", "c"),)
    assert begun(cluster, (db0,), cap(3)) == (["uid-db0"], [], "")
    now, _, stale = begun(cluster, (replace(db0, target="b"),), cap(3))
    assert now == []
    assert "batch rule LicenceCap" in stale


def test_a_move_is_judged_with_those_gone_that_are_under_way():
    """Each could leave the zone by itself, but not both."""
    rule = stating(lambda b, of: Across(of("w"), 2, b.domains("zone")))
    cluster = of_apps("w@0", "w@1", "w@2")
    moves = (move("w0", "h0", "h3"), move("w1", "h1", "h3"))
    assert begun(cluster, moves[:1], rule)[0] == ["uid-w0"]
    assert begun(cluster, moves[1:], rule)[0] == ["uid-w1"]
    assert begun(cluster, moves, rule) == (["uid-w0"], ["uid-w1"], "")


def test_moves_wait_for_each_other_where_a_cap_is_nearly_reached():
    cluster = licensed("a", "b")
    moves = (move("db0", "a", "c"), move("db1", "b", "d"))
    assert begun(cluster, moves, cap(4)) == (["uid-db0", "uid-db1"], [], "")
    assert begun(cluster, moves, cap(3)) == (["uid-db0"], ["uid-db1"], "")
    assert begun(cluster, moves[1:], cap(3), moves[:1]) == ([], ["uid-db1"], "")
    assert begun(cluster, moves, cap(2))[2] != ""
