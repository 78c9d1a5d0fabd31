"""POST /apis/ironfree.dev/v1/simulations: what would happen, and why."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/apis/ironfree.dev/v1/simulations"


def a_node(name, cpu="4", **labels):
    offer = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offer}}


def a_pod(name, cpu="1", node=None, **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], **spec}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name}, "spec": spec}


async def simulate(api, **spec):
    answer = await api.call("POST", PATH, {"spec": spec})
    assert answer.code == 201, answer.body
    return answer.body["status"]


async def test_pods_are_placed_in_order_and_everything_is_explained(api):
    status = await simulate(
        api,
        nodes=[a_node("small", "1"), a_node("big", "4")],
        pods=[a_pod("runs", "2", node="big"), a_pod("first", "2"), a_pod("second", "2")],
        explain="full",
    )
    assert (status["placed"], status["unplaced"]) == (1, 1)
    first, second = status["results"]
    assert (first["pod"], first["nodeName"]) == ("default/first", "big")
    small, big = first["nodes"]
    assert small == {
        "name": "small",
        "feasible": False,
        "plugin": "NodeResourcesFit",
        "reasons": ["Insufficient cpu"],
        "resolvable": False,
    }
    assert big["feasible"]
    assert big["scores"]["TaintToleration"] == 100
    assert second["nodeName"] is None
    assert second["message"] == (
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 1 No "
        "preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    )


async def test_only_the_listed_rules_run(api):
    prefer = {"key": "disk", "operator": "In", "values": ["ssd"]}
    term = {"weight": 5, "preference": {"matchExpressions": [prefer]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    status = await simulate(
        api,
        nodes=[a_node("a"), a_node("b", disk="ssd")],
        pods=[a_pod("p", cpu="100", affinity=affinity)],
        profile={"plugins": [{"name": "NodeAffinity", "weight": 3}]},
        explain="full",
    )
    (result,) = status["results"]
    assert result["nodeName"] == "b"
    assert [n["scores"] for n in result["nodes"]] == [{"NodeAffinity": 0}, {"NodeAffinity": 100}]
    assert [n["total"] for n in result["nodes"]] == [0, 300]


async def test_without_place_all_every_pod_is_tried_alone(api):
    nodes, pods = [a_node("a", "1")], [a_pod("p"), a_pod("q")]
    alone = await simulate(api, nodes=nodes, pods=pods, placeAll=False)
    assert [r["nodeName"] for r in alone["results"]] == ["a", "a"]
    together = await simulate(api, nodes=nodes, pods=pods)
    assert [r["nodeName"] for r in together["results"]] == ["a", None]


async def test_priorities_come_from_the_classes_given(api):
    status = await simulate(
        api,
        nodes=[a_node("a")],
        pods=[a_pod("p", priorityClassName="gold")],
        priorityClasses=[{"metadata": {"name": "gold"}, "value": 7}],
    )
    assert status["placed"] == 1
    unknown = [a_pod("p", priorityClassName="lead"), a_pod("q")]
    refused, placed = (await simulate(api, nodes=[a_node("a")], pods=unknown))["results"]
    assert refused["nodeName"] is None
    assert refused["message"] == "no PriorityClass with name lead was found"
    assert placed["nodeName"] == "a"


async def test_what_if_a_live_host_goes(api):
    for name in ("sim-a", "sim-b"):
        node = a_node(name, "2", sim="yes")
        assert (await api.call("POST", "/api/v1/nodes", node)).code == 201
        assert (await api.call("PUT", f"/api/v1/nodes/{name}/status", node)).code == 200
    ns = "/api/v1/namespaces/default/pods"
    pod = a_pod("sim-live", "2", nodeSelector={"sim": "yes"})
    assert (await api.call("POST", ns, pod)).code == 201
    target = {"target": {"kind": "Node", "name": "sim-a"}}
    assert (await api.call("POST", f"{ns}/sim-live/binding", target)).code == 201
    status = await simulate(api, cluster="live", without={"nodes": ["sim-a"]})
    moved = {r["pod"]: r["nodeName"] for r in status["results"]}
    assert moved["default/sim-live"] == "sim-b"
    over = [{**pod, "status": {"phase": "Succeeded"}}, a_pod("next", "2", **pod["spec"])]
    status = await simulate(api, cluster="live", pods=over, without={"nodes": ["sim-b"]})
    assert [r["nodeName"] for r in status["results"]] == ["sim-a"]
    more = [a_pod("extra", "2", nodeSelector={"sim": "yes"})]
    status = await simulate(api, cluster="live", without={"nodes": ["sim-a"]}, pods=more)
    assert {r["pod"]: r["nodeName"] for r in status["results"]}["default/extra"] is None
    stored = (await api.call("GET", f"{ns}/sim-live")).body
    assert stored["spec"]["nodeName"] == "sim-a", "nothing was written"


async def test_victims_are_named_and_those_after_them_find_them_gone(api):
    runs = {"priority": 1, "preemptionPolicy": "PreemptLowerPriority"}
    pods = [
        a_pod("low", "2", node="a", **runs),
        a_pod("lower", "2", node="a", **{**runs, "priority": 0}),
        a_pod("high", "2", priority=10),
        a_pod("never", "4", priority=100, preemptionPolicy="Never"),
        a_pod("late", "1", priority=1),
    ]
    budget = {
        "metadata": {"name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}},
        "status": {"disruptionsAllowed": 0},
    }
    status = await simulate(api, nodes=[a_node("a")], pods=pods, podDisruptionBudgets=[budget])
    high, never, late = status["results"]
    assert (high["nodeName"], high["nominatedNodeName"]) == (None, "a")
    assert high["victims"] == ["default/lower"]
    assert (never["nominatedNodeName"], never["victims"]) == (None, [])
    assert never["message"].endswith(". preemption: not eligible due to preemptionPolicy=Never.")
    assert late["nodeName"] is None
    pods[0]["metadata"]["labels"] = pods[1]["metadata"]["labels"] = {"app": "x"}
    status = await simulate(api, nodes=[a_node("a")], pods=pods, podDisruptionBudgets=[budget])
    assert status["results"][0]["victims"] == ["default/lower"]


async def test_a_nominated_pod_keeps_its_room(api):
    waits = a_pod("waits", "3", priority=5)
    waits["status"] = {"nominatedNodeName": "a"}
    pods = [a_pod("less", "2", priority=1), a_pod("more", "2", priority=9), waits]
    status = await simulate(api, nodes=[a_node("a")], pods=pods, placeAll=False)
    less, more, itself = status["results"]
    assert less["nodeName"] is None
    assert more["nodeName"] == "a"
    assert itself["nodeName"] == "a"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"nodes": 3}, "spec.nodes must be a list"),
        ({"nodes": [3]}, "spec.nodes[0] must be an object"),
        ({"pods": [{"metadata": {"name": "p"}, "spec": {"containers": 3}}]}, "spec.pods[0].spec"),
        ({"pods": [a_pod("p", cpu="one")]}, "spec.pods[0]"),
        ({"explain": "all"}, "it must be one of none, summary, full"),
        ({"placeAll": "yes"}, "spec.placeAll must be true or false"),
        ({"cluster": "dead"}, 'must be "live"'),
        ({"without": {"nodes": ["a"]}}, "needs spec.cluster: live"),
        ({"profile": {"plugins": [{"name": "Nobody"}]}, "pods": [a_pod("p")]}, "'Nobody'"),
        ({"profile": {"plugins": [{"weight": 3}]}}, "must be a rule's name"),
        ({"pods": [a_pod("p", schedulerName="other")]}, "there is no profile"),
    ],
)
async def test_what_cannot_be_is_told(api, spec, says):
    answer = await api.call("POST", PATH, {"spec": spec})
    assert answer.code == 400, answer.body
    assert says in answer.body["message"], answer.body["message"]


async def test_discovery_offers_simulations_for_create_only(api):
    found = (await api.call("GET", "/apis/ironfree.dev/v1")).body["resources"]
    (entry,) = [r for r in found if r["name"] == "simulations"]
    assert entry["verbs"] == ["create"]
    assert (await api.call("GET", PATH)).code == 405
    assert json.dumps(found)


async def test_pods_laid_over_the_cluster_are_completed_as_by_creating_them(api):
    node = {**a_node("sim-vm", "3", kvm="sim"), "spec": {}}
    assert (await api.call("POST", "/api/v1/nodes", node)).code == 201
    assert (await api.call("PUT", "/api/v1/nodes/sim-vm/status", node)).code == 200
    runtime = {
        "metadata": {"name": "sim-vm"},
        "handler": "kata",
        "overhead": {"podFixed": {"cpu": "1500m"}},
        "scheduling": {"nodeSelector": {"kvm": "sim"}},
    }
    assert (await api.post("/apis/node.k8s.io/v1/runtimeclasses", runtime)).code == 201
    ns = await api.fresh_namespace()
    limits = {
        "limits": [{"type": "Container", "defaultRequest": {"cpu": "1"}, "max": {"cpu": "2"}}]
    }
    made = {"metadata": {"name": "l"}, "spec": limits}
    assert (await api.post(f"/api/v1/namespaces/{ns}/limitranges", made)).code == 201

    def wanted(name, cpu=None):
        pod = a_pod(name, runtimeClassName="sim-vm")
        pod["metadata"]["namespace"] = ns
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}} if cpu else {}
        return pod

    pods = [wanted("one"), wanted("two"), wanted("three", "3")]
    status = await simulate(api, cluster="live", pods=pods)
    results = {each["pod"]: each for each in status["results"]}
    assert [results[f"{ns}/{name}"]["nodeName"] for name in ("one", "two")] == ["sim-vm", None]
    assert "maximum cpu usage per Container is 2" in results[f"{ns}/three"]["message"]
    for path in ("/api/v1/nodes/sim-vm", "/apis/node.k8s.io/v1/runtimeclasses/sim-vm"):
        assert (await api.call("DELETE", path)).code == 200


async def test_a_cluster_may_be_larger_than_an_object(api):
    data = b'{"spec":{"nodes":[],"pods":[]}}' + b" " * (4 << 20)
    headers = {"Content-Type": "application/json"}
    path = "/apis/ironfree.dev/v1/simulations"
    assert (await api.call("POST", path, headers=headers, data=data)).code == 201
