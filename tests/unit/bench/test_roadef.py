"""The challenge's rules and cost, on cases that can be counted by hand."""

from itertools import product

import numpy as np
import pytest

from bench.roadef.__main__ import reassign
from bench.roadef.challenge import Instance, cost, read, violations
from bench.roadef.reassignment import asked, assigned, process_of
from scheduler.placement.rebalance.objective import case_of
from scheduler.placement.solver.penalties import penalty
from scheduler.placement.solver.solution import Solution, Status
from scheduler.placement.solver.verifier import verify

# Two resources (the second is transient), three machines in two neighbourhoods and locations, two
# services (the second needs two locations and depends on the first), four processes, one balance.
MODEL = """
2  0 10  1 0
3  0 0 10 10 6 8 0 1 2   0 0 10 10 10 10 1 0 3   1 1 10 10 10 10 2 3 0
2  1 0   2 1 0
4  0 4 3 5   0 4 3 5   1 4 3 7   1 2 2 7
1  0 1 2  100
1 10 100
"""


@pytest.fixture
def case() -> Instance:
    return read(MODEL, "0 2 0 2")


def test_the_first_assignment_costs_load_and_balance_only(case):
    # Machine 0 has 8 of resource 0, safe is 6. Free are (2, 4), (10, 10), (4, 5): 2 · 10 - 10 and
    # 2 · 4 - 5 are short.
    assert list(violations(case, case.initial)) == []
    assert cost(case, case.initial) == 10 * 2 + 100 * (10 + 3)


def test_moves_cost_by_process_by_machine_and_by_service(case):
    # Process 0 goes from 0 to 1: free are (6, 7), (6, 7), (4, 5), of which 5, 5 and 3 are short.
    # The process costs 5, the way 100 · 1, the service that has most moves 10.
    assert list(violations(case, (1, 2, 0, 2))) == []
    assert cost(case, (1, 2, 0, 2)) == 100 * (5 + 5 + 3) + 5 + 100 + 10


@pytest.mark.parametrize(
    ("assigned", "wrong"),
    [
        ((0, 0, 0, 2), "machine 0 has 12 of resource 0, 10 at most"),
        ((0, 0, 1, 2), "service 0 has two processes on one machine"),
        ((0, 2, 0, 1), "service 1 is in 1 locations, 2 at least"),
        ((0, 1, 0, 2), "service 1 has no process of service 0 in its neighbourhood"),
        ((0, 2, 0), "3 processes of 4 are assigned"),
    ],
)
def test_each_broken_rule_is_named(case, assigned, wrong):
    assert wrong in list(violations(case, assigned))


def test_a_process_that_moves_takes_transient_resources_in_both_places():
    full = read(MODEL.replace("0 4 3 5   0 4 3 5", "0 4 8 5   0 4 3 5"), "0 2 1 2")
    assert list(violations(full, (0, 2, 1, 2))) == []
    # Process 2 comes to machine 0 while process 0 leaves it: 8 + 3 of 10.
    assert "machine 0 has 11 of resource 1, 10 at most" in list(violations(full, (1, 2, 0, 2)))


def test_a_rebalance_with_a_batch_rule_finds_the_cheapest_assignment(case):
    came = reassign(case, 10.0)
    (goal,) = came.made.improved
    every = [each for each in product(range(3), repeat=4) if not list(violations(case, each))]
    assert list(violations(case, came.sought)) == []
    assert cost(case, came.sought) == min(cost(case, each) for each in every) == -goal.bound


def test_its_moves_cost_what_the_plan_says_and_break_nothing():
    case = read(MODEL.replace("1 10 100", "1 1 1"), "0 2 0 2")
    made = reassign(case, 10.0).made
    (goal,) = made.improved
    found = assigned(case, made.moves)
    assert list(violations(case, found)) == []
    assert cost(case, case.initial) == -goal.before
    assert cost(case, found) == -goal.after < -goal.before


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_knows_what_every_assignment_costs_and_breaks(case, seed):
    """What the engine is told agrees with the challenge's own checker, wherever things are."""
    random = np.random.default_rng(seed)
    floor, aim = asked(case)
    stated = case_of(floor, aim.objective)
    processes = [process_of(floor.tenants[number].key) for (number,) in stated.members]
    problem = stated.made.problem
    (goal, _) = problem.objectives
    for at in random.integers(0, 3, (40, 4)):
        content = np.zeros((4, 3), dtype=np.int64)
        content[np.arange(4), at[processes]] = 1
        classes = np.arange(4)
        plan = Solution(at[processes], classes, np.ones_like(at), (), Status.FEASIBLE, "", {})
        assert bool(verify(problem, plan)) == bool(list(violations(case, at.tolist())))
        worth = float((goal.weight[:, problem.group] * content).sum())
        assert penalty(goal, problem.group, content) - worth == cost(case, at.tolist())
