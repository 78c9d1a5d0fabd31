"""Whatever the problem, the engine's plans keep the rules and its proofs are true."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.objectives import Balanced, HostCost, Kept, Preferred, Stranded
from scheduler.placement.solver.solution import Status
from scheduler.placement.solver.verifier import verify
from tests.solver_cases import best, every_plan, problems

MANY = settings(max_examples=60, deadline=None)


@MANY
@given(problems(nodes=6, classes=5, copies=6))
def test_every_plan_passes_the_verifier_and_stays_within_its_bounds(problem):
    found = solve(problem, Options(seconds=2.0))
    if found.status in (Status.OPTIMAL, Status.FEASIBLE):
        assert verify(problem, found) == []
    for goal in found.goals:
        assert goal.gap >= 0.0
        if goal.maximised:
            assert goal.value <= goal.bound
        else:
            assert goal.value >= goal.bound


@MANY
@given(problems(kinds=(HostCost, Preferred, Kept, Balanced, Stranded)))
def test_small_problems_are_solved_as_well_as_by_trying_everything(problem):
    found = solve(problem)
    reached = tuple(goal.value if goal.maximised else -goal.value for goal in found.goals)
    assert reached == pytest.approx(best(problem), abs=1e-6)
    assert verify(problem, found) == []


@MANY
@given(problems(kinds=(HostCost, Kept, Balanced)))
def test_a_demand_for_everything_is_met_or_proved_impossible(problem):
    found = solve(replace(problem, require_all=True))
    possible = any((content.sum(axis=0) == problem.count).all() for content in every_plan(problem))
    if possible:
        assert found.status is Status.OPTIMAL or found.status is Status.FEASIBLE
        assert found.copies.sum() == problem.count.sum()
    else:
        assert found.status is Status.INFEASIBLE
        assert "no plan places more than" in found.reason
        assert not found.nodes.size


@MANY
@given(problems(kinds=(HostCost, Preferred), demands="FFXX"))
def test_what_rules_demand_is_met_or_proved_impossible(problem):
    found = solve(problem)
    if any(True for _ in every_plan(problem)):
        assert found.status in (Status.OPTIMAL, Status.FEASIBLE), found.reason
        assert verify(problem, found) == []
        reached = tuple(goal.value if goal.maximised else -goal.value for goal in found.goals)
        assert reached == pytest.approx(best(problem), abs=1e-6)
    else:
        assert found.status is Status.INFEASIBLE
        assert not found.nodes.size


@settings(max_examples=15, deadline=None)
@given(problems(nodes=6, classes=5, copies=6, kinds=(Preferred,), demands="FX"))
def test_larger_demands_are_met_or_told_of(problem):
    found = solve(problem, Options(seconds=2.0))
    if found.status in (Status.OPTIMAL, Status.FEASIBLE):
        assert verify(problem, found) == []
    else:
        assert found.reason


@settings(max_examples=15, deadline=None)
@given(problems(nodes=8, classes=6, copies=20))
def test_equal_seeds_give_equal_plans(problem):
    first, second = solve(problem, Options(seed=3)), solve(problem, Options(seed=3))
    assert first.goals == second.goals
    for name in ("nodes", "classes", "copies"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
