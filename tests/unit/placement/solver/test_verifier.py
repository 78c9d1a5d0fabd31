"""The verifier finds every broken rule, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.rules import Apart, Cap, Exclusive, Gang, Spread, Together
from scheduler.placement.solver.solution import Solution, Status
from scheduler.placement.solver.verifier import verify

ZONES = np.array([0, 0, 1, 1])


def plan(*entries):
    nodes, classes, copies = np.array(entries, dtype=np.int64).reshape(-1, 3).T
    return Solution(nodes, classes, copies, (), Status.FEASIBLE, "", {})


def given(*rules):
    """Four nodes of 10, each a group, two in each zone; three classes of four copies of 2."""
    free = np.full((1, 4), 10, dtype=np.int64)
    demand = np.full((1, 3), 2, dtype=np.int64)
    return problem(free, demand, np.full(3, 4), group=np.arange(4), rules=rules)


def with_devices(*devices):
    base = given()
    return replace(
        base,
        devices=np.tile(np.array(devices, dtype=np.int64)[:, None], (1, 4)),
        device_share=np.array([600, 400, 1000]),
        device_units=np.array([1, 1, 2]),
    )


def test_a_plan_within_all_limits_is_right():
    assert verify(given(), plan((0, 0, 4), (0, 1, 1), (1, 1, 3))) == []


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([(0, 0, 4), (0, 1, 2)], "overcommitted"),
        ([(0, 0, 3), (1, 0, 2)], "5 copies of 4"),
        ([(0, 0, 1), (0, 0, 1)], "twice"),
        ([(4, 0, 1)], "out of range"),
        ([(0, 3, 1)], "out of range"),
        ([(0, 0, 0)], "out of range"),
        ([(-1, 0, 1)], "out of range"),
    ],
)
def test_capacity_and_counts(entries, word):
    assert any(word in message for message in verify(given(), plan(*entries)))


def test_limit_and_feasibility():
    base = given()
    feasible = base.feasible.copy()
    feasible[0, 1] = False
    limited = replace(base, feasible=feasible, limit=np.array([2, 9, 9]))
    assert verify(limited, plan((0, 0, 2), (2, 0, 2))) == []
    assert "may not run" in verify(limited, plan((1, 0, 1)))[0]
    assert "limited to 2" in verify(limited, plan((0, 0, 3)))[0]


@pytest.mark.parametrize(
    ("devices", "entries", "fits"),
    [
        ((1000, 1000), [(0, 0, 2), (0, 1, 2)], True),
        ((1000, 1000), [(0, 0, 3)], False),
        ((1000, 1000), [(0, 2, 1)], True),
        ((1000, 1000), [(0, 2, 1), (0, 1, 1)], False),
        ((1000, 600, 1000), [(0, 2, 1), (0, 0, 1)], True),
        ((1000, 999), [(0, 2, 1)], False),
        # Best fit would put 400 beside 400: only a search finds it.
        ((1000, 800), [(0, 0, 1), (0, 1, 3)], True),
        ((0, 0), [(0, 0, 1)], False),
    ],
)
def test_devices(devices, entries, fits):
    assert (verify(with_devices(*devices), plan(*entries)) == []) is fits


@pytest.mark.parametrize(
    ("rule", "entries", "fits"),
    [
        (Exclusive((0, 1)), [(0, 0, 1), (1, 1, 1)], True),
        (Exclusive((0, 1)), [(0, 0, 1), (0, 1, 1)], False),
        (Exclusive((0,), 2), [(0, 0, 2)], True),
        (Exclusive((0,), 1, ZONES), [(0, 0, 1), (1, 0, 1)], False),
        (Exclusive((0,), 1, np.array([-1, -1, 0, 1])), [(0, 0, 4), (2, 0, 1)], False),
        (Exclusive((0,), 1, np.array([-1, -1, 0, 1])), [(0, 0, 4)], True),
        (Apart((0,), (1,)), [(0, 0, 4), (1, 1, 4)], True),
        (Apart((0,), (1, 2)), [(0, 0, 1), (0, 2, 1)], False),
        (Apart((0,), (1,), ZONES), [(0, 0, 1), (1, 1, 1)], False),
        (Apart((0,), (1,), ZONES), [(0, 0, 1), (2, 1, 1)], True),
        (Spread((0,), 1, np.array([0, 0]), ZONES), [(0, 0, 1), (1, 0, 1)], False),
        (Spread((0,), 1, np.array([0, 1]), ZONES), [(0, 0, 1), (1, 0, 1)], True),
        (Spread((0,), 1, np.array([0, 5]), ZONES), [(0, 0, 4)], True),
        (Spread((0, 1), 1, np.array([0, 0]), ZONES), [(0, 0, 2), (2, 1, 1)], True),
        (Spread((0,), 1, np.zeros(4, dtype=np.int64)), [(0, 0, 2)], False),
        (Spread((0,), 2, np.array([0, 0, 0]), ZONES), [(0, 0, 3), (2, 0, 1)], False),
        (Spread((0,), 9, np.array([0]), np.array([0, -1, 0, 0])), [(1, 0, 1)], False),
        (Together((0, 1)), [(0, 0, 1), (0, 1, 1)], True),
        (Together((0, 1)), [(0, 0, 1), (1, 1, 1)], False),
        (Together((0,), ZONES), [(0, 0, 1), (1, 0, 1)], True),
        (Together((0,), ZONES), [(0, 0, 1), (2, 0, 1)], False),
        (Together((0,), np.array([-1, 0, 0, 0])), [(0, 0, 1)], False),
        (Cap(np.ones((3, 4)), 3.0), [(0, 0, 2), (1, 1, 1)], True),
        (Cap(np.ones((3, 4)), 3.0), [(0, 0, 2), (1, 1, 2)], False),
        (Gang((0, 1)), [(0, 0, 4), (1, 1, 4)], True),
        (Gang((0, 1)), [(0, 0, 4), (1, 1, 3)], False),
        (Gang((0, 1)), [(0, 2, 1)], True),
    ],
)
def test_rules(rule, entries, fits):
    assert (verify(given(rule), plan(*entries)) == []) is fits


def test_a_problem_of_wrong_shapes_is_refused():
    base = given()
    with pytest.raises(ValueError, match="demand has shape"):
        replace(base, demand=np.ones((2, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="free is negative"):
        replace(base, free=-base.free)
    with pytest.raises(ValueError, match="group is not within"):
        replace(base, group=np.full(4, 7))
    with pytest.raises(ValueError, match="no objective"):
        replace(base, objectives=())
