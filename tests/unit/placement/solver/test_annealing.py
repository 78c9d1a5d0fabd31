"""Copies move and change places where soft limits matter; the books are always right."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement.solver import annealing as module
from scheduler.placement.solver import softening
from scheduler.placement.solver.annealing import annealing
from scheduler.placement.solver.counters import counters
from scheduler.placement.solver.deadline import Deadline
from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.ledger import Ledger, steady, suits
from scheduler.placement.solver.neighbourhood import neighbourhood
from scheduler.placement.solver.neighbourhood_goals import mend
from scheduler.placement.solver.neighbourhood_rules import add_rules
from scheduler.placement.solver.objectives import Excess, Peak, Placed, Preferred
from scheduler.placement.solver.occupancy import Occupancy
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.regulation import Regulation
from scheduler.placement.solver.rules import Across, Apart, Exclusive, Needs, Quota
from scheduler.placement.solver.shapes import shapes
from scheduler.placement.solver.verifier import verify
from tests.solver_cases import plan, problems, value

COUNTED = (Exclusive, Apart, Needs, Across)


@st.composite
def softly(draw, **sizes):
    """Draw a problem with a soft goal, copies of it on nodes, and moves of them."""
    asked = draw(problems(kinds=(Preferred,), demands="X", **sizes))
    *first, last = asked.objectives
    if not isinstance(last, Preferred):
        last = Preferred(np.ones_like(asked.feasible, dtype=np.float64))
    goal = replace(last, meetings=(), companies=())
    groups = asked.feasible.shape[1]
    if not goal.excesses and not goal.peaks:
        goal = replace(goal, excesses=(Excess(np.ones(goal.weight.shape), np.ones(groups)),))
    asked = replace(asked, objectives=(*first, goal))
    nodes = asked.group.size
    copies = [c for c in range(asked.count.size) for _ in range(int(asked.count[c]))]
    one = st.lists(st.integers(0, nodes - 1), min_size=len(copies), max_size=len(copies))
    return asked, copies, draw(one), draw(one)


def content_of(asked, copies, at):
    content = np.zeros((asked.group.size, asked.count.size), dtype=np.int64)
    np.add.at(content, (at, copies), 1)
    return content


@settings(max_examples=60, deadline=None)
@given(softly())
def test_the_ledger_knows_what_a_plan_is_worth_and_whether_it_keeps_the_rules(case):
    asked, copies, before, after = case
    goal = asked.objectives[-1]
    ledger = Ledger(asked, goal)
    for c, node in zip(copies, before, strict=True):
        ledger.shift(c, -1, node)
    begun, first = ledger.worth, value(asked, goal, content_of(asked, copies, before))
    for c, source, target in zip(copies, before, after, strict=True):
        ledger.shift(c, source, target)
    content = content_of(asked, copies, after)
    assert ledger.worth - begun == pytest.approx(value(asked, goal, content) - first)
    rules = tuple(rule for rule in asked.rules if isinstance(rule, COUNTED))
    plain = replace(
        asked,
        rules=rules,
        free=asked.free + 100,
        feasible=np.ones_like(asked.feasible),
        devices=np.zeros_like(asked.devices[:0]),
        device_share=asked.count * 0,
        device_units=asked.count * 0,
    )
    assert (ledger.faults > 0) == bool(verify(plain, plan(plain, content)))
    blamed = any(counter.broken().any() for counter in ledger.counters)
    assert blamed == (ledger.faults > 0)


def test_a_move_within_the_domain_of_one_rule_and_between_those_of_another_is_counted():
    together = Exclusive((0,), 2, np.zeros(1, dtype=np.int64))
    (counter,) = counters([together, Exclusive((0,))], np.zeros(2, dtype=np.int64), 1)
    for source, target, faults in ((-1, 0, 0), (-1, 0, 1), (0, 1, -1), (1, 0, 1)):
        assert counter.shift(0, source, target)[0] == faults
    assert counter.sides[0, :, :2].tolist() == [[2, 0], [2, 0]]


@settings(max_examples=30, deadline=None)
@given(softly())
def test_an_annealing_ends_with_a_plan_that_keeps_the_rules_or_none(case):
    asked, copies, at, _ = case
    content = content_of(asked, copies, at)
    if verify(asked, plan(asked, content)) or not copies:
        return
    goal = asked.objectives[-1]
    found = annealing(asked, goal, content.T, np.random.default_rng(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROUNDS", 40)
        found.run(Deadline())
    assert found.best is not None
    ended = content_of(asked, copies, found.best)
    assert verify(asked, plan(asked, ended)) == []
    assert value(asked, goal, ended) >= value(asked, goal, content) - 1e-9
    stay = steady(asked)
    assert (ended[:, stay] == content[:, stay]).all()


def crowded():
    """Return 30 nodes in three zones and 60 copies of 30 classes, all on the first ten."""
    nodes, classes = 30, 30
    zone = np.arange(nodes) % 3
    count = np.full(classes, 2, dtype=np.int64)
    asked = problem(
        np.full((1, nodes), 6, dtype=np.int64),
        np.ones((1, classes), dtype=np.int64),
        count,
        group=np.arange(nodes),
        feasible=np.ones((classes, nodes), dtype=np.bool_),
        rules=(
            Exclusive((0, 1, 2)),
            Needs((3, 4), (5,), zone),
            Across((6,), 2, zone),
            Apart((7,), (8,), zone),
            Quota(np.ones((classes, nodes)), np.full(nodes, 5.0)),
        ),
    )
    ones, nothing = np.ones((classes, nodes)), np.zeros((classes, nodes))
    goal = Preferred(
        nothing,
        excesses=(Excess(ones, np.full(nodes, 3.0)),),
        peaks=(Peak(ones * 0.5, np.full(nodes, 1.5), ((9, 10, 11),)),),
    )
    return replace(asked, objectives=(Placed(np.ones(classes)), goal))


def test_copies_are_shared_out_until_no_soft_limit_is_exceeded():
    asked = crowded()
    assert suits(asked, asked.objectives[1])
    found = solve(asked, Options(seconds=6.0))
    assert verify(asked, found) == []
    assert [goal.value for goal in found.goals] == [60.0, 0.0]
    assert found.status == "optimal"


def test_an_annealing_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr(softening, "_TELL", 0.0)
    heard = []
    (_, goal) = crowded().objectives
    unreachable = replace(goal, excesses=(replace(goal.excesses[0], amount=np.zeros(30)),))
    asked = replace(crowded(), objectives=(Placed(np.ones(30)), unreachable))
    solve(asked, Options(seconds=3.0, report=heard.append))
    told = [each for each in heard if each.tried]
    assert {(each.phase, each.goal) for each in told} == {("annealing", 1)}
    assert all(each.value <= each.bound for each in told)
    assert all(one.value <= two.value for one, two in pairwise(told))
    tried = [each.tried for each in told]
    falls = [one for one, two in pairwise(tried) if two < one]
    assert len(falls) <= 1, "it counts up, once in each of two annealings"
    goals = [each.goal for each in heard if not each.tried]
    assert goals == sorted(goals), "what is demanded first, and what is proved not again"


def test_what_a_plan_breaks_is_mended():
    """Class 0 needs class 1 in its zone, and may not stay beside class 2."""
    zone = np.array([0, 0, 1])
    ones, nothing = np.ones((3, 3)), np.zeros((3, 3))
    asked = problem(
        np.full((1, 3), 2, dtype=np.int64),
        np.ones((1, 3), dtype=np.int64),
        np.array([1, 1, 1]),
        group=np.arange(3),
        feasible=ones > 0,
        rules=(Needs((0,), (1,), zone), Exclusive((0, 2))),
    )
    goal = Preferred(nothing, excesses=(Excess(ones, np.ones(3)),))
    asked = replace(asked, objectives=(goal,))
    state = Occupancy(shapes(asked), Regulation(asked))
    state.content[[0, 1, 2], [0, 2, 0]] = 1
    state.left[:] = 0
    made = neighbourhood(asked, state, np.arange(3), state.content.copy())
    made.lenient = True
    add_rules(made)
    found = mend(made, goal, 10.0, Deadline(10.0), 1.0, 1)
    assert found.content is not None
    assert verify(asked, plan(asked, found.content.T)) == []
    assert found.content.sum() == 3
