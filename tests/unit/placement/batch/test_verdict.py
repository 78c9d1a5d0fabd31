"""What a Placement says of itself when nothing, or not all, is placed: only what is proved."""

import numpy as np

from scheduler.objects.placement_job import Phase
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.verdict import failure
from scheduler.placement.solver.solution import Goal, Solution, Status
from tests.batch_cases import host, job, prepared, rules, settled, template

RULES = rules()
NEAR_DB = {
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}
        ]
    }
}


def verdict(placement, hosts):
    asked, _ = prepared(placement, hosts, RULES)
    return failure(asked, settled(placement, hosts, RULES))


def test_what_is_too_large_is_proved_to_be_impossible():
    phase, why = verdict(job(template("big", 1, cpu="16")), [host("a")])
    assert phase == Phase.INFEASIBLE
    assert "Insufficient cpu" in why


def test_what_rules_leave_without_a_place_is_not_proved_to_be_impossible():
    """The solver does not know that web needs db, which has no room: its bound is 1."""
    asked = job(template("web", 1, cpu="1", affinity=NEAR_DB), template("db", 1, cpu="16"))
    found = settled(asked, [host("a", zone="x")], RULES)
    assert found.solver.goals[0].bound == "1"
    phase, why = verdict(asked, [host("a", zone="x")])
    assert phase == Phase.FAILED
    assert "not proved" in why
    assert "pod affinity rules" in why


def test_where_something_is_placed_there_is_no_failure():
    assert verdict(job(template("web", 9, cpu="1")), [host("a")]) is None


def test_pods_that_count_nothing_are_not_proved_to_have_no_place():
    asked = job(
        template("web", 1, labels={"ironfree.dev/value": "0"}, cpu="16"),
        objective=[{"place": "value"}],
    )
    phase, _ = verdict(asked, [host("a")])
    assert phase == Phase.FAILED


def unknown(asked, reason):
    """Return a solver's answer that has neither a plan nor a proof."""
    nobody = np.zeros(0, dtype=np.int64)
    goals = tuple(Goal("HostCost", 0.0, 0.0, False) for _ in asked.model.problem.objectives)
    return Solution(nobody, nobody, nobody, goals, Status.UNKNOWN, reason, {})


def test_pods_that_greedy_places_without_a_plan_of_the_solver_are_told_of_as_such():
    placement = job(template("web", 4, cpu="2"), objective=[{"hosts": "fewest"}])
    asked, cluster = prepared(placement, [host("a")], RULES)
    found = settle(asked, unknown(asked, "3 of 4 copies placed"), cluster.state)
    assert found.placed == 4
    assert found.solver.status == "feasible"
    assert found.solver.reason == (
        "placed greedily; the solver had no such plan: 3 of 4 copies placed"
    )


def test_a_plan_that_must_have_everybody_and_has_not_is_not_proved_to_be_impossible():
    placement = job(template("web", 5, cpu="2"), objective=[{"hosts": "fewest"}])
    asked, cluster = prepared(placement, [host("a")], RULES)
    found = settle(asked, unknown(asked, "4 of 5 copies placed"), cluster.state)
    assert found.placed == 0
    phase, why = failure(asked, found)
    assert phase == Phase.FAILED
    assert "not proved that there is none" in why
    assert "4 of 5 copies placed" in why
