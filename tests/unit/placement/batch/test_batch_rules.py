"""What plugins say of batches becomes numbers, and has the last word on plans."""

import numpy as np
import pytest

from scheduler import hookimpl
from scheduler.batch_terms import (
    Across,
    Apart,
    BatchPlan,
    Bound,
    Capacity,
    Complaint,
    Excess,
    Limit,
    Linear,
    Needs,
    Pair,
    Peak,
    Start,
    Together,
    Worth,
)
from scheduler.errors import BadRequest, PluginError
from tests.batch_cases import host, job, per_host, prepared, rules, settled, template, where

HOSTS = [host("a", zone="x"), host("b", zone="x"), host("c", zone="y"), host("d", zone="y")]


class Rule:
    """A batch rule of the terms that a function gives, which finds nothing wrong with plans."""

    def __init__(self, terms=lambda batch: (), check=lambda batch, plan: (), name="Rule"):
        self.name, self.terms, self.check = name, terms, check

    @hookimpl
    def ironfree_batch_rules(self, args):
        return [self]


def outcome(*templates, terms=lambda batch: (), check=lambda batch, plan: (), **asked):
    return settled(job(*templates, **asked), HOSTS, rules(Rule(terms, check)))


def zone(batch):
    return batch.domains("zone")


@pytest.mark.parametrize("relation", ["<=", "=="])
def test_no_more_copies_than_a_linear_constraint_allows(relation):
    found = outcome(
        template("p", 6, cpu="1"),
        template("q", 6, cpu="1"),
        terms=lambda batch: [Linear({0: 1.0, 1: 2.0}, relation, 7)],
        check=lambda batch, plan: (
            [] if plan.of(0).sum() + 2 * plan.of(1).sum() <= 7 else [Complaint("too many")]
        ),
    )
    assert found.placed == 6
    assert found.solver.goals[0].bound == "6"
    assert found.solver.status == "optimal"


def test_at_least_so_many_copies_are_where_a_linear_constraint_wants_them():
    found = outcome(
        template("p", 3, cpu="1"),
        terms=lambda batch: [Linear({0: (zone(batch) == 1).astype(float)}, ">=", 2)],
    )
    assert found.placed == 3
    assert sum(len(pods) for node, pods in where(found).items() if node in "cd") >= 2


def test_a_demand_that_cannot_be_met_is_infeasible_and_places_nothing():
    found = outcome(
        template("p", 3, cpu="1"),
        terms=lambda batch: [Linear({0: 1.0}, ">=", 4)],
    )
    assert found.solver.status == "infeasible"
    assert "demand" in found.solver.reason
    assert found.placed == 0


def test_a_limit_holds_in_each_domain():
    found = outcome(
        template("p", 6, cpu="1"),
        terms=lambda batch: [Limit((0,), 2, zone(batch))],
        check=lambda batch, plan: [Complaint("too many", (0,))] if plan.of(0).sum() > 4 else [],
    )
    assert found.placed == 4
    assert found.violations == ()


def test_classes_are_kept_apart_and_together():
    found = outcome(
        template("p", 2, cpu="5"),
        template("q", 2, cpu="5"),
        terms=lambda batch: [
            Together((0,), zone(batch)),
            Together((1,), zone(batch)),
            Apart((0,), (1,), zone(batch)),
        ],
    )
    placed = where(found)
    assert sorted(placed) == ["a", "b", "c", "d"]
    assert placed["a"][0][0] == placed["b"][0][0] != placed["c"][0][0] == placed["d"][0][0]


def test_worths_come_after_the_objective_unless_it_names_them():
    def terms(batch):
        return [Worth({0: per_host(batch, {"a": -1, "b": -1, "c": -1})})]

    two = [template("p", 2, cpu="3")]
    found = outcome(*two, terms=terms)
    assert where(found) == {"d": ["p-0", "p-1"]}
    assert found.solver.goals[-1].name == "prefer:Rule"
    found = outcome(
        *two,
        terms=lambda batch: [Worth({0: per_host(batch, {"a": 1, "b": 1})}), Limit((0,), 1)],
        objective=({"place": "count"}, {"prefer": "Rule"}, {"hosts": "fewest"}),
    )
    assert sorted(where(found)) == ["a", "b"]
    assert [goal.name for goal in found.solver.goals] == [
        "place:count",
        "prefer:Rule",
        "hosts:fewest",
    ]


def test_pairs_are_worth_something_where_they_meet():
    def apart(batch):
        return [Pair((0,), (1,), -5.0)]

    def near(batch):
        return [Pair((0,), (1,), 5.0), Limit((0,), 1), Limit((1,), 1)]

    wanted = [template("p", 2, cpu="1"), template("q", 2, cpu="1")]
    goal = ({"place": "count"}, {"prefer": "Rule"})
    found = outcome(*wanted, terms=apart, objective=goal)
    assert found.placed == 4
    assert found.solver.goals[1].value == "0"
    found = outcome(*wanted, terms=near, objective=goal)
    assert found.solver.goals[1].value == "10"
    assert all(len(pods) == 2 for pods in where(found).values())


RULE = ({"place": "count"}, {"prefer": "Rule"})


def test_a_capacity_holds_in_each_domain_and_by_host():
    found = outcome(
        template("p", 8, cpu="1"),
        terms=lambda batch: [
            Capacity({0: 2.0}, 5.0, zone(batch)),  # two in each zone
            Capacity({0: per_host(batch, {"a": 1})}, 0.0),  # none on a
        ],
        check=lambda batch, plan: [Complaint("too many")] if plan.of(0).sum() > 4 else [],
    )
    assert found.placed == 4
    assert found.solver.goals[0].bound == "4"
    placed = where(found)
    assert "a" not in placed
    assert sum(len(pods) for node, pods in placed.items() if node in "cd") == 2


def test_what_a_domain_needs_comes_with_it():
    found = outcome(
        template("web", 4, cpu="1"),
        template("cache", 1, cpu="1"),
        terms=lambda batch: [Needs((0,), (1,), zone(batch))],
    )
    placed = where(found)
    assert found.placed == 5
    assert len({node in "ab" for node in placed}) == 1


def test_copies_are_across_as_many_domains_as_are_demanded_or_it_is_infeasible():
    found = outcome(template("p", 3, cpu="1"), terms=lambda batch: [Across((0,), 2, zone(batch))])
    assert found.placed == 3
    assert {node in "ab" for node in where(found)} == {True, False}
    found = outcome(template("p", 3, cpu="1"), terms=lambda batch: [Across((0,), 3, zone(batch))])
    assert found.solver.status == "infeasible"
    assert found.placed == 0


def test_what_is_above_a_soft_limit_costs_its_price():
    found = outcome(
        template("p", 10, cpu="1"),
        terms=lambda batch: [Excess({0: 1.0}, per_host(batch, {"a": 4, "b": 2}), 3.0)],
        objective=RULE,
    )
    assert found.placed == 10
    assert found.solver.goals[1].value == found.solver.goals[1].bound == "-12"
    assert found.solver.status == "optimal"


def test_only_the_largest_sum_costs_of_a_peak():
    found = outcome(
        template("p", 4, cpu="1"),
        template("q", 4, cpu="1"),
        terms=lambda batch: [Peak({0: 1.0, 1: 1.0}, 0.0, 5.0, zone(batch), ((0,), (1,)))],
        objective=RULE,
    )
    assert found.placed == 8
    assert found.solver.goals[1].value == "-10"


def test_the_search_begins_where_a_rule_says():
    """Nothing else tells the hosts apart, so the plan to begin with is the plan."""

    def terms(batch):
        entries = (np.array([0, 0]), np.array([1, 3]), np.array([2, 1]))
        return [Start(BatchPlan(*entries, batch.hosts.size)), Excess({0: 1.0}, 2.0)]

    found = outcome(template("p", 3, cpu="1"), terms=terms, objective=RULE)
    assert {node: len(pods) for node, pods in where(found).items()} == {"b": 2, "d": 1}


def test_a_bound_is_believed_and_named_unless_a_plan_beats_it():
    def saying(amount):
        return lambda batch: [Bound("prefer:Rule", amount), Pair((0,), (1,), 1.0), Limit((0, 1), 2)]

    wanted = [template("p", 1, cpu="1"), template("q", 3, cpu="1")]
    found = outcome(*wanted, terms=saying(1.0))
    assert found.solver.goals[-1].bound == "1"
    assert "Rule vouches for the bound 1 of prefer:Rule" in found.solver.reason
    wrong = outcome(*wanted, terms=saying(0.0))
    assert (wrong.solver.goals[-1].value, wrong.solver.goals[-1].bound) == ("1", "1")


def test_a_plan_is_refused_by_the_rules_own_check_whatever_the_solver_says():
    found = outcome(
        template("p", 2, cpu="1"),
        template("q", 2, cpu="1"),
        check=lambda batch, plan: [Complaint("no p, please", (0,))] if plan.of(0).any() else [],
    )
    assert sorted(pod for pods in where(found).values() for pod in pods) == ["q-0", "q-1"]
    assert found.violations == ("Rule: no p, please",)
    assert found.solver.goals[0].value == "2"


def test_a_complaint_about_nobody_in_particular_undoes_everything():
    found = outcome(
        template("p", 2, cpu="1"),
        check=lambda batch, plan: [Complaint("no")] if plan.copies.any() else [],
    )
    assert found.placed == 0


def test_what_greedy_would_add_beyond_a_constraint_is_left():
    """No filter knows of the constraint, so topping up breaks it; the solver's plan stands."""
    found = outcome(
        template("p", 6, cpu="1"),
        terms=lambda batch: [Linear({0: 1.0}, "<=", 4)],
        check=lambda batch, plan: [Complaint("too many")] if plan.of(0).sum() > 4 else [],
    )
    assert found.placed == 4
    assert found.violations == ()


def test_hosts_that_terms_do_not_tell_apart_are_one_group():
    def terms(batch):
        return [Linear({0: per_host(batch, {"a": 1, "b": 1})}, "<=", 1)]

    asked, _ = prepared(job(template("p", 2, cpu="1")), HOSTS, rules(Rule(terms)))
    group = asked.model.problem.group
    assert group[0] == group[1] != group[2] == group[3]


def failing(*_):
    raise RuntimeError("oh dear")


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        (failing, r"batch rule Rule of plugin 'plugin-0' failed in terms: oh dear"),
        (lambda batch: ["x"], r"failed in terms: it gave a str"),
        (lambda batch: [Limit((7,))], r"Rule of plugin 'plugin-0': classes \[7\]"),
        (lambda batch: [Linear({0: np.ones(3)}, "<=", 1)], r"weights have shape \(3,\)"),
        (lambda batch: [Linear({0: float("nan")}, "<=", 1)], "not all finite"),
        (lambda batch: [Linear({0: 1.0}, "<", 1)], "a relation is '<'"),
        (lambda batch: [Apart((0,), (0,))], "apart from themselves"),
        (lambda batch: [Bound("beauty", 1)], "'beauty'; there are place:count, hosts:fewest"),
        (lambda batch: [Limit((0,), 1, np.zeros(4))], "a domain must be"),
        (lambda batch: [Capacity({0: 1.0}, -1.0)], "a capacity must be 0 or more"),
        (lambda batch: [Excess({0: 1.0}, np.ones(3))], "an amount must be finite"),
        (
            lambda batch: [Excess({0: 1.0}, np.arange(4.0), 1.0, zone(batch))],
            "hosts of domain 0 have different amounts",
        ),
        (lambda batch: [Peak({0: 1.0}, price=-1.0)], "a price is -1; it must be 0 or more"),
        (
            lambda batch: [Start(BatchPlan(*np.array([[0], [9], [1]]), 4))],
            "a plan to begin with has classes or hosts that are not there",
        ),
    ],
)
def test_what_a_rule_gets_wrong_names_it(terms, complaint):
    with pytest.raises(PluginError, match=complaint):
        outcome(template("p", 1, cpu="1"), terms=terms)


def test_a_check_that_fails_lets_nothing_pass():
    with pytest.raises(PluginError, match="failed in check: oh dear"):
        outcome(template("p", 1, cpu="1"), check=failing)


def test_a_goal_of_a_rule_that_is_not_there_is_refused():
    goal = ({"place": "count"}, {"prefer": "Beauty"})
    with pytest.raises(
        BadRequest, match=r"objective\[1\].prefer is 'Beauty'; there are pods, Rule"
    ):
        outcome(template("p", 1, cpu="1"), objective=goal)
