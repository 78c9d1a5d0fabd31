"""Nodes are judged beside the pods nominated to them, in simulations (kube-scheduler's way)."""

import pytest

from scheduler.placement.scenario import read_scenario
from scheduler.placement.simulation import Simulation, read_question
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name

ZONE, NAME = "zone", "kubernetes.io/hostname"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.fixture(scope="module")
def ask():
    """Return the result of the first pending pod."""
    plugins = PluginManager.load()

    def first(rules, pods, nodes, **more):
        spec = {"pods": pods, "nodes": nodes, "placeAll": False, "explain": "full", **more}
        spec["profile"] = {"plugins": [{"name": rule, "weight": 1} for rule in rules]}
        scenario = read_scenario(spec)
        return Simulation(plugins, by_name(), read_question(spec), scenario).run()["results"][0]

    return first


def node(name, zone="x", cpu="4"):
    offer = {"cpu": cpu, "memory": "8Gi", "pods": "9"}
    labels = {ZONE: zone, NAME: name}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offer}}


def pod(name, *, cpu="1", on="", nominated="", priority=0, labels=None, **spec):
    container = {"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
    spec |= {"containers": [container], "priority": priority, "nodeName": on}
    status = {"nominatedNodeName": nominated}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": status}


def term(kind, key, **labels):
    selector = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"affinity": {kind: {REQUIRED: [selector]}}}


def told(result):
    return {
        each["name"]: (
            each.get("plugin", ""),
            each.get("reasons", []),
            each.get("resolvable", True),
        )
        for each in result["nodes"]
    }


OPEN = ("", [], True)


def test_a_nominated_pod_takes_room_on_its_node_only(ask):
    pods = [pod("p", cpu="2"), pod("q", cpu="3", nominated="a")]
    result = ask(["NodeResourcesFit"], pods, [node("a"), node("b")])
    assert told(result) == {
        "a": ("NodeResourcesFit", ["Insufficient cpu"], True),
        "b": OPEN,
    }
    assert result["nodeName"] == "b"


def test_scores_leave_nominated_pods_out(ask):
    rules = ["NodeResourcesFit", "NodeResourcesBalancedAllocation"]
    alone = ask(rules, [pod("p")], [node("a"), node("b")])
    pods = [pod("p"), pod("q", cpu="2", nominated="a")]
    assert ask(rules, pods, [node("a"), node("b")])["nodes"] == alone["nodes"]


def test_a_pod_nominated_elsewhere_in_a_zone_does_not_count(ask):
    apart = term("podAntiAffinity", ZONE, app="db")
    pods = [pod("p", **apart), pod("q", nominated="b", labels={"app": "db"})]
    result = ask(["InterPodAffinity"], pods, [node("a"), node("b"), node("c", "y")])
    closed = ("InterPodAffinity", ["node(s) didn't match pod anti-affinity rules"], True)
    assert told(result) == {"a": OPEN, "b": closed, "c": OPEN}


def test_a_nominated_pods_own_terms_count(ask):
    apart = term("podAntiAffinity", NAME, app="web")
    pods = [pod("p", labels={"app": "web"}), pod("q", nominated="a", **apart)]
    result = ask(["InterPodAffinity"], pods, [node("a"), node("b")])
    reason = "node(s) didn't satisfy existing pods anti-affinity rules"
    assert told(result) == {"a": ("InterPodAffinity", [reason], True), "b": OPEN}


def test_a_nominated_pod_may_never_come(ask):
    together = term("podAffinity", NAME, app="db")
    pods = [pod("p", **together), pod("q", nominated="a", labels={"app": "db"})]
    result = ask(["InterPodAffinity"], pods, [node("a"), node("b")])
    closed = ("InterPodAffinity", ["node(s) didn't match pod affinity rules"], False)
    assert told(result) == {"a": closed, "b": closed}
    assert (
        result["message"] == "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."
    )


def test_who_objects_beside_nominated_pods_is_told_first(ask):
    pods = [pod("p", cpu="5"), pod("q", nominated="a", **term("podAntiAffinity", NAME, app="web"))]
    pods[0]["metadata"]["labels"] = {"app": "web"}
    rules = ["InterPodAffinity", "NodeResourcesFit"]
    result = ask(rules, pods, [node("a"), node("b")])
    reason = "node(s) didn't satisfy existing pods anti-affinity rules"
    assert told(result) == {
        "a": ("InterPodAffinity", [reason], True),
        "b": ("NodeResourcesFit", ["Insufficient cpu"], False),
    }


@pytest.mark.parametrize(("priority", "fits"), [(4, True), (5, False), (6, False)])
def test_nominated_pods_of_lower_priority_count_for_nothing(ask, priority, fits):
    pods = [pod("p", cpu="2", priority=5), pod("q", cpu="3", nominated="a", priority=priority)]
    result = ask(["NodeResourcesFit"], pods, [node("a")])
    assert (result["nodeName"] == "a") is fits


def test_a_nomination_to_an_unknown_node_counts_for_nothing(ask):
    pods = [pod("p", cpu="2"), pod("q", cpu="3", nominated="gone")]
    assert ask(["NodeResourcesFit"], pods, [node("a")])["nodeName"] == "a"


def test_several_nominated_pods_of_a_node_count_together(ask):
    pods = [pod("p", cpu="2"), pod("q", nominated="a"), pod("r", nominated="a")]
    assert ask(["NodeResourcesFit"], pods, [node("a")])["nodeName"] == "a"
    pods.append(pod("s", nominated="a"))
    assert ask(["NodeResourcesFit"], pods, [node("a")])["nodeName"] is None


def test_spread_counts_a_nodes_own_nominated_pods(ask):
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    web = {"labels": {"app": "web"}}
    pods = [pod("p", topologySpreadConstraints=[spread], **web), pod("q", nominated="a", **web)]
    result = ask(["PodTopologySpread"], pods, [node("a", "x"), node("b", "x"), node("c", "y")])
    reason = "node(s) didn't match pod topology spread constraints"
    assert told(result) == {"a": ("PodTopologySpread", [reason], True), "b": OPEN, "c": OPEN}
