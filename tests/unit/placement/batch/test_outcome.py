"""What a Placement comes to under the rules, and what is said of it."""

import logging
import math

import pytest

from scheduler import hookimpl
from scheduler.batch_terms import Complaint, Linear
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.renewal import renew
from scheduler.placement.batch.valuing import held
from scheduler.placement.solver.engine import solve
from scheduler.placement.solver.solution import Goal
from tests.batch_cases import host, job, prepared, rules, settled, template
from tests.placement_cases import ignoring

RULES = rules()
FEWEST = ({"hosts": "fewest"},)
ZONES = (host("a", zone="x"), host("b", zone="y"))


def near(app):
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def even(skew=1):
    return {
        "maxSkew": skew,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeAffinityPolicy": "Ignore",
        "labelSelector": {"matchLabels": {"app": "even"}},
    }


def following():
    """Pods that may only come after others, who are listed after them."""
    web = template("web", 2, cpu="1", affinity=near("cache"))
    return [web, template("cache", 1, cpu="1")]


def in_turns():
    """Pods of which the second may come once one of another class is in the other zone."""
    fields = {"topologySpreadConstraints": [even()], "nodeSelector": {"zone": "x"}}
    one = template("one", 2, labels={"app": "even", "n": "1"}, **fields)
    two = template("two", 1, labels={"app": "even", "n": "2"}, nodeSelector={"zone": "y"})
    return [one, two]


class Refusing:
    """A batch rule that finds something wrong whenever it has its way."""

    name = "Refusing"

    def __init__(self, check, terms=()):
        self.check, self._terms = check, terms

    def terms(self, batch):
        return self._terms

    @hookimpl
    def ironfree_batch_rules(self, args):
        return [self]


def whys(outcome):
    return {each.pod.partition("/")[2]: each.reason for each in outcome.unplaced}


@pytest.mark.parametrize("wanted", [following, in_turns])
def test_pods_that_come_after_others_pass_the_checker(wanted):
    found = settled(job(*wanted()), ZONES, RULES)
    assert found.violations == ()
    assert found.placed == 3
    assert found.unplaced == ()


def test_a_resource_that_the_profile_ignores_limits_nobody():
    licence, unknown = "example.com/licence", "example.com/unknown"
    one = host("a", cpu="8")
    one["status"]["allocatable"][licence] = "1"
    wanted = job(template("web", 3, cpu="1", requests={licence: "1", unknown: "1"}))
    given = rules(profile=ignoring(licence, unknown))
    found = settled(wanted, [one], given)
    assert (found.placed, found.violations, found.solver.status) == (3, (), "optimal")
    assert settled(wanted, [one], RULES).placed == 0


@pytest.mark.parametrize("wanted", [following, in_turns])
def test_a_plan_of_such_pods_still_holds_when_it_is_committed(wanted):
    pods = [
        {
            "metadata": {**each["template"]["metadata"], "name": name, "uid": name},
            "spec": {**each["template"]["spec"], "schedulerName": "batch"},
        }
        for each in wanted()
        for name in (f"{each['name']}-{n}" for n in range(each["count"]))
    ]
    placement = job(pods={"selector": {}})
    made, cluster = prepared(placement, ZONES, RULES, pods)
    found = settle(made, solve(made.model.problem), cluster.state)
    assert found.placed == 3
    renewed = renew(placement, found, cluster, RULES)
    assert renewed.why == ""
    assert renewed.outcome is not None
    assert renewed.outcome.placed == 3


def test_a_plan_that_the_rules_refuse_is_neither_proved_nor_infeasible():
    one, two = in_turns()
    two["template"]["spec"]["nodeSelector"] = {"zone": "x"}  # nobody comes to the other zone
    found = settled(job(one, two, objective=FEWEST), ZONES, RULES)
    assert found.placed == 0
    assert found.solver.status == "unknown"
    assert "2 of 3 pods have a place" in found.solver.reason
    assert [(goal.value, goal.bound, goal.gap) for goal in found.solver.goals] == [("0", "", "")]


def test_who_would_have_a_place_is_told_that_others_have_none():
    lonely = template("lonely", 1, cpu="1", affinity=near("nobody"))
    found = settled(job(template("fits", 2, cpu="1"), lonely, objective=FEWEST), ZONES, RULES)
    assert found.placed == 0
    assert found.solver.status == "infeasible"
    assert whys(found)["fits-0"] == "nobody is placed: no plan places more than 2 of 3 copies"
    assert whys(found)["lonely-0"].startswith("0/2 nodes are available")


def test_who_is_taken_out_by_a_batch_rule_is_told_by_which():
    rule = Refusing(lambda batch, plan: [Complaint("never", (0,))] if plan.of(0).sum() else [])
    given = rules(rule)
    found = settled(job(template("p", 1, cpu="1"), template("q", 1, cpu="1")), ZONES, given)
    assert found.placed == 1
    assert whys(found) == {"p-0": "taken out by Refusing: never"}


def test_what_a_batch_rule_keeps_from_being_added_is_told_by_which():
    rule = Refusing(
        lambda batch, plan: [Complaint("too many")] if plan.of(0).sum() > 1 else [],
        [Linear({0: 1.0}, "<=", 1)],
    )
    found = settled(job(template("p", 3, cpu="1")), ZONES, rules(rule))
    assert found.placed == 1
    assert whys(found) == {"p-1": "more than the solver has placed would break Refusing: too many"}


@pytest.mark.parametrize(("maximised", "none"), [(True, math.inf), (False, -math.inf)])
def test_a_bound_that_a_plan_beats_is_none_and_is_logged(caplog, maximised, none):
    bound = 2.0 if maximised else 4.0
    with caplog.at_level(logging.ERROR):
        (goal,) = held([Goal("g", 3.0, bound, maximised)], [3.0])
    assert goal is not None
    assert goal.bound == none
    assert not goal.proved
    assert "refutes the bound" in caplog.text


def test_a_bound_within_the_noise_of_sums_is_the_value(caplog):
    (goal,) = held([Goal("g", 3.0, 3.0 - 1e-9, maximised=True)], [3.0])
    assert goal is not None
    assert goal.proved
    assert caplog.text == ""
