"""Simulations of objects as people write them down, without what a stored object always has."""

import pytest

from scheduler.errors import BadRequest
from scheduler.placement.scenario import read_scenario
from scheduler.placement.simulation import Simulation, read_question
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def tried(plugins, nodes, pod, rule):
    spec = {
        "nodes": nodes,
        "pods": [pod],
        "profile": {"plugins": [{"name": rule, "weight": 1}]},
        "explain": "full",
    }
    simulation = Simulation(plugins, by_name(), read_question(spec), read_scenario(spec))
    return simulation.run()["results"][0]


def test_containers_need_no_names(plugins):
    containers = [{"resources": {"requests": {"cpu": "1"}}}, {"image": "i"}]
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "1"}}}
    result = tried(plugins, [node], {"spec": {"containers": containers}}, "NodeResourcesFit")
    assert result["nodeName"] == "n"
    containers.append({"resources": {"requests": {"cpu": "1m"}}})
    result = tried(plugins, [node], {"spec": {"containers": containers}}, "NodeResourcesFit")
    assert result["nodes"][0]["reasons"] == ["Insufficient cpu"]


@pytest.mark.parametrize(("kind", "feasible"), [("podAffinity", False), ("podAntiAffinity", True)])
def test_a_term_without_topology_key_reaches_no_pod(plugins, kind, feasible):
    term = {"labelSelector": {"matchLabels": {"app": "web"}}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    pod = {"metadata": {"name": "p"}, "spec": {"affinity": {kind: required}}}
    result = tried(plugins, [{"metadata": {"name": "n"}}], pod, "InterPodAffinity")
    assert result["nodes"][0]["feasible"] is feasible


@pytest.mark.parametrize(
    ("rule", "score"), [("NodeAffinity", 0), ("ImageLocality", 0), ("TaintToleration", 100)]
)
def test_a_rule_with_nothing_to_say_scores_all_nodes_alike(plugins, rule, score):
    nodes = [{"metadata": {"name": name}} for name in ("a", "b")]
    result = tried(plugins, nodes, {"metadata": {"name": "p"}}, rule)
    assert [node["scores"] for node in result["nodes"]] == [{rule: score}] * 2


@pytest.mark.parametrize(
    ("pod", "rule"),
    [
        ({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "web"}]}}, "NodePorts"),
        ({"spec": {"containers": [{"ports": [{"hostPort": 81}]}]}}, "NodePorts"),
        (
            {"spec": {"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}},
            "NodePorts",
        ),
        (
            {"spec": {"affinity": {"podAffinity": {PREFERRED: [{"podAffinityTerm": {}}]}}}},
            "InterPodAffinity",
        ),
        (
            {"spec": {"affinity": {"nodeAffinity": {PREFERRED: [{"preference": {}}]}}}},
            "NodeAffinity",
        ),
        ({}, "TaintToleration"),
    ],
)
def test_what_an_object_leaves_out_is_zero(plugins, pod, rule):
    node = {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "dedicated"}]}}
    assert tried(plugins, [node], pod, rule)["nodeName"] == "n"


def test_host_ports_clash_without_container_ports(plugins):
    ports = {"spec": {"containers": [{"ports": [{"hostPort": 81}, {"hostPort": 81}]}]}}
    running = {"metadata": {"name": "r"}, "spec": {**ports["spec"], "nodeName": "n"}}
    spec = {
        "nodes": [{"metadata": {"name": "n"}}],
        "pods": [running, {"metadata": {"name": "p"}, **ports}],
        "profile": {"plugins": [{"name": "NodePorts"}]},
    }
    result = Simulation(plugins, by_name(), read_question(spec), read_scenario(spec)).run()
    assert result["unplaced"] == 1


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("term", "feasible"),
    [
        ({}, False),
        ({"matchExpressions": [{"key": "a"}]}, False),
        ({"matchExpressions": [{"operator": "Exists"}]}, False),
        ({"matchExpressions": [{}]}, False),
        ({"matchFields": [{}]}, False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": None}]}, True),
    ],
)
def test_terms_that_leave_something_out_match_nothing(plugins, term, feasible):
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}}
    pod = {"metadata": {"name": "p"}, "spec": {"affinity": affinity}}
    node = {"metadata": {"name": "n", "labels": None}}
    (told,) = tried(plugins, [node], pod, "NodeAffinity")["nodes"]
    assert told["feasible"] is feasible
    if not feasible:
        assert told["reasons"] == ["node(s) didn't match Pod's node affinity/selector"]
        assert told["resolvable"] is False


def test_a_taint_without_key_is_tolerated_by_whoever_tolerates_all(plugins):
    node = {"metadata": {"name": "n"}, "spec": {"taints": [{"effect": "NoSchedule"}]}}
    assert tried(plugins, [node], {}, "TaintToleration")["nodeName"] is None
    pod = {"spec": {"tolerations": [{"operator": "Exists"}]}}
    assert tried(plugins, [node], pod, "TaintToleration")["nodeName"] == "n"


@pytest.mark.parametrize("field", ["capacity", "allocatable"])
def test_a_nodes_offer_that_cannot_be_read_is_refused(plugins, field):
    node = {"metadata": {"name": "n"}, "status": {field: {"cpu": "1x"}}}
    with pytest.raises(BadRequest, match=r"spec.nodes\[0\].status: quantities must match"):
        tried(plugins, [node], {}, "NodeResourcesFit")


def test_a_node_offers_its_capacity_where_it_says_nothing_of_allocatable(plugins):
    asks = {"spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}}
    status = {"capacity": {"cpu": "2", "pods": "1"}}
    node = {"metadata": {"name": "n"}, "status": status}
    assert tried(plugins, [node], asks, "NodeResourcesFit")["nodeName"] == "n"
    node["status"] = {**status, "allocatable": {"cpu": "1", "pods": "1"}}
    (told,) = tried(plugins, [node], asks, "NodeResourcesFit")["nodes"]
    assert (told["reasons"], told["resolvable"]) == (["Insufficient cpu"], False)


def test_a_pod_whose_preferences_cannot_be_read_is_not_placed(plugins):
    bad = {"weight": 1, "preference": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}
    pod = {"spec": {"affinity": {"nodeAffinity": {PREFERRED: [bad]}}}}
    result = tried(plugins, [{"metadata": {"name": "n"}}], pod, "NodeAffinity")
    assert result["nodeName"] is None
    (reason,) = result["nodes"][0]["reasons"]
    assert reason.startswith('[0].matchExpressions[0].key: Invalid value: "a b": name part must')


def test_unreadable_preferences_are_told_behind_required_terms(plugins):
    bad = {"weight": 1, "preference": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {PREFERRED: [bad]}}
    pod = {"spec": {"nodeSelector": {"disk": "ssd"}, "affinity": affinity}}
    nodes = [{"metadata": {"name": "a", "labels": {"disk": "ssd"}}}, {"metadata": {"name": "b"}}]
    matches, other = tried(plugins, nodes, pod, "NodeAffinity")["nodes"]
    assert matches["reasons"][0].startswith("[0].matchExpressions[0].key: Invalid value")
    assert other["reasons"] == ["node(s) didn't match Pod's node affinity/selector"]


def asked(plugins, rules, **spec):
    spec |= {"profile": {"plugins": rules}, "explain": "full"}
    return Simulation(plugins, by_name(), read_question(spec), read_scenario(spec)).run()["results"]


@pytest.mark.parametrize("first", ["NodeAffinity", "TaintToleration"])
def test_listed_rules_object_in_the_order_of_the_list(plugins, first):
    node = {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
    rules = sorted(("NodeAffinity", "TaintToleration"), key=lambda name: name != first)
    pods = [{"spec": {"nodeSelector": {"a": "b"}}}]
    (result,) = asked(plugins, [{"name": name} for name in rules], nodes=[node], pods=pods)
    (told,) = result["nodes"]
    assert (told["plugin"], [each["plugin"] for each in told["others"]]) == (first, rules[1:])


@pytest.mark.parametrize(
    ("weight", "total"),
    [({}, 100), ({"weight": 0}, 100), ({"weight": 7}, 700), ({"weight": 2**31 - 1}, 214748364700)],
)
def test_a_listed_rule_without_a_weight_weighs_one(plugins, weight, total):
    rules = [{"name": "TaintToleration", **weight}]
    (result,) = asked(plugins, rules, nodes=[{"metadata": {"name": "n"}}], pods=[{}])
    assert result["nodes"][0]["total"] == total


@pytest.mark.parametrize("weight", [-1, 2**31, 1.5, True, "2"])
def test_a_weight_that_cannot_be_is_refused(plugins, weight):
    with pytest.raises(BadRequest, match="weight must be a whole number"):
        asked(plugins, [{"name": "TaintToleration", "weight": weight}])


@pytest.mark.parametrize("name", ["GangScheduling", "NodeDeclaredFeatures", "PrioritySort"])
def test_what_upstream_calls_a_plugin_may_be_listed(plugins, name):
    rules = [{"name": name}, {"name": "NodeName"}]
    (result,) = asked(plugins, rules, nodes=[{"metadata": {"name": "n"}}], pods=[{}])
    assert result["nodeName"] == "n"


@pytest.mark.parametrize(("on", "fits"), [("n", False), ("", True)])
def test_a_pod_on_a_node_holds_what_a_resize_gave_it(plugins, on, fits):
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "pods": "9"}}}
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    status = {"name": "c", "resources": {"requests": {"cpu": "3"}}}
    other = {
        "spec": {"containers": [container], "nodeName": on},
        "status": {"containerStatuses": [status]},
    }
    wanted = {"spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}}
    results = asked(plugins, [{"name": "NodeResourcesFit"}], nodes=[node], pods=[other, wanted])
    assert (results[-1]["nodeName"] == "n") is fits


def test_an_image_of_no_size_is_there(plugins):
    mb = 2**20
    nodes = [
        {"metadata": {"name": name}, "status": {"images": [{"names": ["i:1"], "sizeBytes": size}]}}
        for name, size in (("a", 1000 * mb), ("b", 0))
    ]
    pod = {"spec": {"containers": [{"image": "i:1"}]}}
    scores = [
        n["scores"]["ImageLocality"] for n in tried(plugins, nodes, pod, "ImageLocality")["nodes"]
    ]
    assert scores == [100, 0]


HOST = "kubernetes.io/hostname"


@pytest.mark.parametrize(
    ("workloads", "kind", "spread"),
    [
        ({"services": [{"spec": {"selector": {"app": "web"}}}]}, "", True),
        (
            {
                "services": [
                    {"spec": {"selector": {"app": "web"}}},
                    {"spec": {"selector": {"app": "db"}}},
                ]
            },
            "",
            True,
        ),
        ({"services": [{"spec": {}}]}, "", False),
        ({"replicationControllers": [{"spec": {"selector": {"app": "web"}}}]}, "", False),
        (
            {"replicationControllers": [{"spec": {"selector": {"app": "web"}}}]},
            "ReplicationController",
            True,
        ),
        (
            {"replicaSets": [{"spec": {"selector": {"matchLabels": {"app": "web"}}}}]},
            "ReplicaSet",
            True,
        ),
        (
            {"statefulSets": [{"spec": {"selector": {"matchLabels": {"app": "web"}}}}]},
            "StatefulSet",
            True,
        ),
        (
            {"statefulSets": [{"spec": {"selector": {"matchLabels": {"app": "web"}}}}]},
            "ReplicaSet",
            False,
        ),
    ],
)
def test_services_and_owners_make_default_constraints(plugins, workloads, kind, spread):
    for field, objects in workloads.items():
        for each in objects:
            each["metadata"] = {} if field == "services" else {"name": "web"}
    meta = {"labels": {"app": "web"}}
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    if kind:
        owner = {"apiVersion": version, "kind": kind, "name": "web", "controller": True}
        meta["ownerReferences"] = [owner]
    nodes = [{"metadata": {"name": name, "labels": {HOST: name}}} for name in ("a", "b")]
    there = {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "a"}}
    spec = {
        "nodes": nodes,
        "pods": [there, there | {}, there | {}, there | {}, {"metadata": meta}],
        "profile": {"plugins": [{"name": "PodTopologySpread"}]},
        "explain": "full",
        **workloads,
    }
    simulation = Simulation(plugins, by_name(), read_question(spec), read_scenario(spec))
    scores = [
        node["scores"]["PodTopologySpread"] for node in simulation.run()["results"][0]["nodes"]
    ]
    # ln 4: 4 pods and maxSkew 3 are 8, none is 2
    assert scores == ([25, 100] if spread else [0, 0])
