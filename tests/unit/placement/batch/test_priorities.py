"""`place: priority`: no number of pods of lower priority outweighs one of a higher."""

import pytest

from scheduler.errors import BadRequest
from scheduler.placement.batch.preparation import MOST_PRIORITIES
from tests.batch_cases import host, job, prepared, rules, settled, template

RULES = rules()
GOALS = [{"place": "priority"}, {"hosts": "fewest"}]


def test_four_priorities_of_many_thousand_pods_are_told_apart_and_hosts_bounded():
    """As one number for each pod, these were refused, or were too large for a bound of hosts."""
    sizes = enumerate(("1", "2", "3", "1500m"))
    asked = [template(f"t{n}", 6000, cpu=cpu, priority=10 * n) for n, cpu in sizes]
    found = settled(
        job(*asked, objective=GOALS), [host(f"h{n}", cpu="16") for n in range(3000)], RULES
    )
    assert [(goal.name, goal.value, goal.bound) for goal in found.solver.goals] == [
        ("place:priority 30", "6000", "6000"),
        ("place:priority 20", "6000", "6000"),
        ("place:priority 10", "6000", "6000"),
        ("place:priority 0", "6000", "6000"),
        ("hosts:fewest", "2813", "2813"),
    ]


def test_one_pod_of_a_higher_priority_outweighs_all_lower_ones():
    asked = [template("low", 8, cpu="1", priority=1), template("high", 1, cpu="8", priority=2)]
    found = settled(job(*asked, objective=GOALS), [host("a")], RULES)
    assert [each.pod for each in found.assignments()] == ["default/high-0"]


def test_pods_of_one_priority_are_one_goal():
    found = settled(job(template("a", 2, cpu="1", priority=7), objective=GOALS), [host("a")], RULES)
    assert [goal.name for goal in found.solver.goals] == ["place:priority", "hosts:fewest"]


def test_more_priorities_than_can_be_told_apart_are_refused():
    many = [template(f"t{n}", 1, priority=n) for n in range(MOST_PRIORITIES + 1)]
    assert prepared(job(*many[1:], objective=GOALS), [host("a")], RULES)
    with pytest.raises(BadRequest, match="33 priorities are too many, at most 32"):
        prepared(job(*many, objective=GOALS), [host("a")], RULES)
