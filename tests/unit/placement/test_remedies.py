"""Why not there: what spread and affinity find in the way, in numbers, and what would help."""

import pytest

from scheduler.placement.inspection import inspect
from scheduler.placement.remedies import Place, remedies
from scheduler.placement.scenario import read_scenario
from tests.placement_cases import default_framework

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.fixture(scope="module")
def filters():
    return default_framework().filters


def a_node(name, zone=None):
    labels = {"host": name} | ({"zone": zone} if zone else {})
    offer = {"cpu": "8", "memory": "8Gi", "pods": "50"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offer}}


NODES = [a_node("a", "1"), a_node("b", "1"), a_node("x", "2"), a_node("o")]


def runs(name, on, app="web", **spec):
    return {"metadata": {"name": name, "labels": {"app": app}}, "spec": {"nodeName": on, **spec}}


def waits(**spec):
    return {"metadata": {"name": "new", "labels": {"app": "web"}}, "spec": spec}


def spread(key="zone", **more):
    select = {"matchLabels": {"app": "web"}}
    found = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule"}
    return found | {"labelSelector": select, **more}


def affinity(kind, app, key="zone"):
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {REQUIRED: [term]}}}


def ask(filters, wanted, pods, node):
    """Return what is in the way on a node, as sentences and numbers, and the changes."""
    scenario = read_scenario({"nodes": NODES, "pods": [*pods, wanted]})
    before = scenario.state.freeze(0)
    pod, row = scenario.pending[0], before.row_of[node]
    seen = inspect(pod.wanted, before, filters, ())
    found = [obstacle for _, obstacle in seen.obstacles(row)]
    changes = remedies(scenario, pod, filters, Place(before, row, found))
    after = scenario.state.freeze(0)
    assert (dict(before.placed), dict(before.leaving)) == (dict(after.placed), dict(after.leaving))
    return [each.said for each in found], [each.numbers for each in found], changes


def test_a_skew_is_told_with_its_numbers_and_three_ways_out(filters):
    pods = [runs("p1", "a"), runs("p2", "b"), runs("p3", "x"), runs("other", "b", app="db")]
    wanted = waits(topologySpreadConstraints=[spread()])
    said, numbers, changes = ask(filters, wanted, pods, "b")
    assert said == [
        "zone=1 has 2 matching pods and this one, the emptiest domain, zone=2, has 1: "
        "a skew of 2 where maxSkew is 1"
    ]
    told = {"topologyKey": "zone", "domain": "1", "pods": 2, "least": 1, "domains": 2}
    assert numbers == [told | {"minDomains": 1, "skew": 2, "maxSkew": 1}]
    assert [each["change"] for each in changes] == [
        "raise the pod's maxSkew from 1 to 2 by zone",
        "drop the pod's topology spread constraints",
        "move away default/p2",
    ]


def test_pods_on_other_nodes_of_a_domain_may_have_to_leave(filters):
    pods = [runs(f"p{number}", "a") for number in range(3)] + [runs("db", "b", app="db")]
    wanted = waits(topologySpreadConstraints=[spread()])
    said, _, changes = ask(filters, wanted, pods, "b")
    assert "zone=1 has 3 matching pods and this one" in said[0]
    assert changes[-1]["pods"] == ["default/p0", "default/p1", "default/p2"]


def test_too_few_domains_are_told(filters):
    wanted = waits(topologySpreadConstraints=[spread(minDomains=3)])
    said, _, changes = ask(filters, wanted, [runs("p", "a"), runs("q", "x")], "x")
    assert said == [
        "zone=2 has 1 matching pod and this one, with 2 domains where 3 are wanted, 0 is least: "
        "a skew of 2 where maxSkew is 1"
    ]
    assert changes[-1]["pods"] == ["default/q"]


def test_a_pod_that_does_not_count_itself_is_told_so(filters):
    wanted = waits(topologySpreadConstraints=[spread()])
    wanted["metadata"]["labels"] = {"app": "db"}
    said, _, _ = ask(filters, wanted, [runs("p", "a"), runs("q", "a")], "a")
    assert said[0].startswith("zone=1 has 2 matching pods, the emptiest domain, zone=2, has 0")


def test_each_constraint_that_is_broken_is_told(filters):
    pods = [runs("p1", "a"), runs("p2", "a")]
    wanted = waits(topologySpreadConstraints=[spread(), spread("host")])
    said, numbers, changes = ask(filters, wanted, pods, "a")
    assert [(each["topologyKey"], each["skew"]) for each in numbers] == [("zone", 3), ("host", 3)]
    assert len(said) == 2
    assert changes[0]["change"] == "raise the pod's maxSkew from 1 to 3 by zone and 1 to 3 by host"


def test_a_label_that_lacks_is_told(filters):
    wanted = waits(topologySpreadConstraints=[spread()])
    said, numbers, changes = ask(filters, wanted, [], "o")
    assert (said, numbers) == (["it has no label zone"], [{"topologyKey": "zone"}])
    assert [each["change"] for each in changes] == ["drop the pod's topology spread constraints"]


def test_pods_being_deleted_are_not_in_the_way_of_a_spread(filters):
    leaving = runs("p0", "a")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    wanted = waits(topologySpreadConstraints=[spread()])
    said, _, changes = ask(filters, wanted, [leaving, runs("p1", "a")], "a")
    assert "zone=1 has 1 matching pod and this one" in said[0]
    assert changes[-1]["pods"] == ["default/p1"]


def test_whom_anti_affinity_is_about_is_named(filters):
    wanted = waits(**affinity("podAntiAffinity", "db"))
    pods = [runs("d1", "a", app="db"), runs("d2", "b", app="db"), runs("w", "b")]
    said, numbers, changes = ask(filters, wanted, pods, "b")
    assert said == ["zone=1 has 2 pods that its anti-affinity is about (app=db)"]
    assert numbers == [{"topologyKey": "zone", "domain": "1", "pods": 2}]
    assert [each["change"] for each in changes] == [
        "drop the pod's pod anti affinity",
        "move away default/d2, default/d1",
    ]


def test_whose_anti_affinity_is_in_the_way_is_named(filters):
    pods = [runs("shy", "a", app="db", **affinity("podAntiAffinity", "web")), runs("w", "x")]
    said, numbers, changes = ask(filters, waits(), pods, "b")
    assert said == ["zone=1 has 1 pod with anti-affinity to such pods"]
    assert numbers[0]["pods"] == 1
    assert changes == [{"change": "move away default/shy", "pods": ["default/shy"]}]


def test_where_friends_are_is_told(filters):
    wanted = waits(**affinity("podAffinity", "db"))
    pods = [runs("d1", "x", app="db"), runs("d2", "x", app="db")]
    said, numbers, changes = ask(filters, wanted, pods, "a")
    assert said == ["no pod that its affinity is about runs in zone=1, 2 run elsewhere"]
    assert numbers == [{"topologyKey": "zone", "domain": "1", "pods": 0, "elsewhere": 2}]
    assert [each["change"] for each in changes] == ["drop the pod's pod affinity"]
    assert ask(filters, wanted, pods, "o")[0] == ["it has no label zone"]


def test_nothing_is_in_the_way_where_a_pod_fits(filters):
    wanted = waits(topologySpreadConstraints=[spread()])
    assert ask(filters, wanted, [runs("p", "a")], "x")[0] == []
