"""What the search says of itself: the goal that is worked on, with each better plan."""

import numpy as np

from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.objectives import HostCost, Placed
from scheduler.placement.solver.problem import problem


def test_the_first_goal_that_is_not_proved_is_told_of():
    """All are placed at once; that four hosts are too few takes a proof, and five a search."""
    random = np.random.default_rng(3)
    demand = random.integers(900, 3900, (2, 40))
    goals = (Placed(np.ones(40)), HostCost(random.uniform(1, 2, 30)))
    asked = problem(np.full((2, 30), 8000), demand, np.full(40, 2), objectives=goals)
    heard = []
    found = solve(asked, Options(seconds=3.0, report=heard.append))
    assert found.goals[0].proved
    told = [each.value for each in heard if each.goal == 1]
    assert told == sorted(told, reverse=True)
    assert told[-1] == found.goals[1].value
    assert heard[-1].goal == 1
