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


def ask(filters, wanted, pods, node, nodes=NODES):
    """Return what is in the way on a node, as sentences and numbers, and the changes."""
    scenario = read_scenario({"nodes": nodes, "pods": [*pods, wanted]})
    before = scenario.state.freeze(0)
    pod, row = scenario.pending[0], before.row_of[node]
    seen = inspect(pod.wanted, before, filters, ())
    found = [obstacle for _, obstacle in seen.obstacles(row)]
    changes = remedies(scenario, pod, filters, Place(before, row))
    after = scenario.state.freeze(0)
    assert before.nodes == after.nodes
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


def changes_of(filters, wanted, pods, node, nodes):
    return ask(filters, wanted, pods, node, nodes)[2]


def asks(cpu):
    return {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}


def a_taint(key, value="v"):
    return {"key": key, "value": value, "effect": "NoSchedule"}


def test_nobody_is_told_to_request_fewer_pods(filters):
    full = a_node("a")
    full["status"]["allocatable"]["pods"] = "1"
    assert changes_of(filters, waits(), [runs("p", "a")], "a", [full]) == [
        {"change": "move away default/p", "pods": ["default/p"]}
    ]


def test_a_request_is_not_lowered_by_more_than_it_is(filters):
    pods = [runs("p", "a", **asks("9"))]  # more than the node has
    changes = changes_of(filters, waits(**asks("2")), pods, "a", NODES)
    lower = {"change": "lower the pod's requests by 2000m cpu", "short": {"cpu": 2000}}
    assert changes[0] == lower


def test_a_cordon_is_no_remedy_for_a_taint(filters):
    shut = a_node("a") | {"spec": {"unschedulable": True, "taints": [a_taint("t")]}}
    both = ["uncordon the node", "let the pod tolerate t=v:NoSchedule"]
    assert changes_of(filters, waits(), [], "a", [shut]) == [
        {"change": ", and ".join(both), "steps": both}
    ]


def test_uncordoning_takes_the_cordons_own_taint_away(filters):
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    shut = a_node("a") | {"spec": {"unschedulable": True, "taints": [taint]}}
    assert changes_of(filters, waits(), [], "a", [shut]) == [{"change": "uncordon the node"}]


def test_taints_that_are_tolerated_are_not_listed(filters):
    tainted = a_node("a") | {"spec": {"taints": [a_taint("k"), a_taint("ok")]}}
    wanted = waits(tolerations=[{"key": "ok", "operator": "Exists"}])
    assert changes_of(filters, wanted, [], "a", [tainted]) == [
        {"change": "let the pod tolerate k=v:NoSchedule"}
    ]


def test_a_label_counts_for_every_rule(filters):
    nodes = [a_node("a", "2"), a_node("b", "1"), a_node("c", "2")]
    rule = spread(nodeAffinityPolicy="Ignore")
    wanted = waits(nodeSelector={"zone": "1"}, topologySpreadConstraints=[rule])
    pods = [runs(f"p{number}", "b") for number in range(3)]
    found = [each["change"] for each in changes_of(filters, wanted, pods, "a", nodes)]
    assert found == [
        "drop zone=1 from the pod's node selector",
        "label the node zone=1, and raise the pod's maxSkew from 1 to 4 by zone",
        "label the node zone=1, and drop the pod's topology spread constraints",
        "label the node zone=1, and move away default/p0, default/p1, default/p2",
    ]


def test_a_label_alone_is_enough_where_no_other_rule_minds(filters):
    changes = changes_of(filters, waits(nodeSelector={"zone": "1"}), [], "x", NODES)
    assert [each["change"] for each in changes] == [
        "label the node zone=1",
        "drop zone=1 from the pod's node selector",
    ]


def test_what_two_rules_object_to_is_answered_by_two_steps(filters):
    tainted = a_node("a") | {"spec": {"taints": [a_taint("k")]}}
    steps = ["let the pod tolerate k=v:NoSchedule", "lower the pod's requests by 1000m cpu"]
    assert changes_of(filters, waits(**asks("9")), [], "a", [tainted]) == [
        {"change": ", and ".join(steps), "steps": steps, "short": {"cpu": 1000}}
    ]


def test_steps_are_no_larger_than_they_must_be_together(filters):
    pods = [runs("p", "a", **asks("6"), **affinity("podAntiAffinity", "web"))]
    changes = changes_of(filters, waits(**asks("9")), pods, "a", NODES)
    steps = ["lower the pod's requests by 1000m cpu", "move away default/p"]
    told = {"steps": steps, "short": {"cpu": 1000}, "pods": ["default/p"]}
    assert changes == [{"change": ", and ".join(steps), **told}]


def test_a_step_is_left_out_that_fewer_moves_make_needless(filters):
    """Its friend d0 stays: only while all three went was dropping the affinity needed."""
    small = a_node("a", "1")
    small["status"]["allocatable"]["pods"] = "2"
    pods = [
        runs("d0", "a", app="db"),
        runs("d1", "a", app="db", **affinity("podAntiAffinity", "web")),
        runs("w", "a", **affinity("podAffinity", "web")),
    ]
    wanted = waits()
    wanted["spec"]["affinity"] = {
        kind: affinity(kind, app)["affinity"][kind]
        for kind, app in (("podAffinity", "db"), ("podAntiAffinity", "web"))
    }
    changes = changes_of(filters, wanted, pods, "a", [small])
    move = {"change": "move away default/w, default/d1", "pods": ["default/w", "default/d1"]}
    assert changes == [move]


def test_the_tries_are_bounded(filters):
    """A hundred pods are in the way of three rules."""
    nodes = [a_node("a", "1"), a_node("x", "2")]
    nodes[0]["spec"] = {"taints": [a_taint("k")]}
    nodes[0]["status"]["allocatable"]["pods"] = "100"
    pods = [runs(f"p{number}", "a", **asks("50m")) for number in range(100)]
    wanted = waits(topologySpreadConstraints=[spread()], **asks("9"))
    asked = Counted(filters)
    changes = changes_of(asked.filters, wanted, pods, "a", nodes)
    assert changes[0]["pods"] == ["default/p0"]
    assert asked.count <= 1000


class Counted:
    """The rules, with how often the first of them was asked."""

    def __init__(self, filters):
        self.count = 0
        self.filters = [self, *filters]
        self.name, self.wakes_on = "Counted", filters[0].wakes_on

    def filter(self, pod, snapshot):
        self.count += 1
