"""Which pods a Placement is about, and what is said of those it cannot be about."""

import pytest

from scheduler.errors import BadRequest
from scheduler.objects.kinds.priority import PriorityView
from scheduler.placement.batch import selection
from scheduler.placement.batch.preparation import prepare
from scheduler.placement.scenario import read_scenario
from tests.batch_cases import host, job, rules, template

RULES = rules()
HIGH = {"high": PriorityView(1000), "usual": PriorityView(7, global_default=True)}


def asked(*templates, waiting=(), **more):
    cluster = read_scenario({"nodes": [host("a")], "pods": list(waiting)})
    cluster.priorities.update(HIGH)
    return prepare(job(*templates, **more), cluster, RULES)


def priorities(prepared):
    return [each.pod.priority for each in prepared.model.demands]


def test_templates_have_the_priority_of_the_class_they_name():
    found = asked(
        template("a", 1, priorityClassName="high"),
        template("b", 1),
        template("c", 1, priority=5),
        template("d", 1, priorityClassName="system-node-critical"),
    )
    assert priorities(found) == [1000, 7, 5, 2000001000]


def test_a_template_that_names_no_known_priority_class_is_refused():
    with pytest.raises(BadRequest, match=r"templates\[0\]: no PriorityClass with name lost"):
        asked(template("a", 1, priorityClassName="lost"))


def test_more_pods_than_can_be_bound_together_are_noticed_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(selection, "MOST_BOUND", 2)
    pods = [{"metadata": {"name": f"p{n}"}, **template("p", 1)["template"]} for n in range(3)]
    chosen = {"pods": {"selector": {}}}
    with pytest.raises(BadRequest, match="3 pods are chosen, and at most 2 can be bound together"):
        asked(waiting=pods, mode="commit", **chosen)
    assert asked(waiting=pods, mode="plan", **chosen).pods == 3


def test_a_goal_for_a_resource_that_there_is_not_is_refused():
    with pytest.raises(BadRequest, match=r"spec.objective\[1\].place is 'coutn', which none of"):
        asked(template("a", 1), objective=[{"place": "count"}, {"place": "coutn"}])


@pytest.mark.parametrize("place", ["count", "value", "priority", "memory", "example.com/gpu"])
def test_goals_for_what_hosts_offer_or_pods_ask_for_are_not(place):
    wants = {"example.com/gpu": "1"}
    assert asked(template("a", 1, requests=wants), objective=[{"place": place}]).pods == 1


def test_groups_that_are_not_there_are_told_of():
    pods = {"templates": [template("a", 1)], "groups": ["lost"]}
    cluster = read_scenario({"nodes": [host("a")]})
    found = prepare(job(pods=pods), cluster, RULES)
    assert found.notes == ("there is no PodGroup 'lost', which spec.pods.groups names",)
    with pytest.raises(BadRequest, match=r"no pending pod is chosen; .* no PodGroup 'lost'"):
        prepare(job(pods={"groups": ["lost"]}), cluster, RULES)
