"""Many classes of similar size are packed to within a small part of the bound."""

import numpy as np
import pytest

from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.rules import Exclusive, Spread
from scheduler.placement.solver.verifier import verify


def many_classes(rules=(), group=None):
    """Two copies each of 300 sizes, more than 60 nodes of two kinds hold."""
    random = np.random.default_rng(5)
    free = np.repeat(np.array([[64, 32], [96, 256]]), 30, axis=1)
    demand = np.stack([random.integers(5, 20, 300), random.integers(8, 60, 300)])
    return problem(free, demand, np.full(300, 2), group=group, rules=rules)


def test_plans_of_many_classes_come_close_to_the_bound():
    given = many_classes()
    found = solve(given, Options(gap=0.02))
    assert verify(given, found) == []
    assert found.goals[0].gap <= 0.02


def test_room_for_many_classes_keeps_rules_between_nodes_and_limits():
    zone = np.arange(3)
    rules = tuple(
        Spread((c,), 1, np.zeros(3, dtype=np.int64), zone) if c % 2 else Exclusive((c,))
        for c in range(0, 300, 3)
    )
    given = many_classes(rules, np.arange(60) % 3)
    found = solve(given, Options(gap=0.03))
    assert verify(given, found) == []
    assert found.goals[0].gap <= 0.03


@pytest.mark.parametrize("most", [1, 2])
def test_a_class_exclusive_with_itself_is_limited_on_every_node(most):
    given = problem(
        np.array([[9, 9, 9]]), np.array([[1, 2]]), np.array([9, 3]), rules=(Exclusive((0,), most),)
    )
    found = solve(given)
    assert verify(given, found) == []
    assert found.goals[0].value == 3 * most + 3
