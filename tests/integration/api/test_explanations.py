"""POST …/explanations: why a pod is where it is, and why not elsewhere."""

from datetime import UTC, datetime

import pytest
import pytest_asyncio

from scheduler.placement.inspection import inspect
from scheduler.placement.transcript import transcribe
from scheduler.store.decisions import DecisionRecord, decision_id
from scheduler.store.explanations import ExplanationRecord
from tests.placement_cases import a_class, cluster, default_framework
from tests.placement_cases import node as a_view

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def hosts(api):
    """Two nodes that only pods with a selector go to: one small, one cordoned and tainted."""
    made = {
        "ex-small": ({}, "1"),
        "ex-shut": (
            {"unschedulable": True, "taints": [{"key": "t", "value": "v", "effect": "NoSchedule"}]},
            "8",
        ),
    }
    for name, (spec, cpu) in made.items():
        offer = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
        node = {
            "metadata": {"name": name, "labels": {"ex": name}},
            "spec": spec,
            "status": {"allocatable": offer},
        }
        await api.call("POST", "/api/v1/nodes", node)
        await api.call("PUT", f"/api/v1/nodes/{name}/status", node)


def a_pod(name, cpu="2", **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def explain(api, ns, **spec):
    path = f"/apis/ironfree.dev/v1/namespaces/{ns}/explanations"
    return await api.call("POST", path, {"spec": spec})


async def test_why_not_names_what_is_short_and_what_would_help(api, ns, hosts):
    await api.call("POST", f"/api/v1/namespaces/{ns}/pods", a_pod("p"))
    answer = await explain(api, ns, pod="p", node="ex-small")
    assert answer.code == 201, answer.body
    why = answer.body["status"]["whyNot"]
    assert (why["plugin"], why["reasons"]) == ("NodeResourcesFit", ["Insufficient cpu"])
    assert why["changes"][0] == {
        "change": "lower the pod's requests by 1000m cpu",
        "short": {"cpu": 1000},
    }


async def test_pods_that_would_have_to_leave_are_as_few_as_can_be(api, ns, hosts):
    pods = f"/api/v1/namespaces/{ns}/pods"
    for name, cpu in (("tiny", "100m"), ("large", "800m"), ("waits", "800m")):
        await api.call("POST", pods, a_pod(name, cpu))
    target = {"target": {"kind": "Node", "name": "ex-small"}}
    for name in ("tiny", "large"):
        assert (await api.call("POST", f"{pods}/{name}/binding", target)).code == 201
    why = (await explain(api, ns, pod="waits", node="ex-small")).body["status"]["whyNot"]
    assert {"change": f"move away {ns}/large", "pods": [f"{ns}/large"]} in why["changes"]
    for name in ("tiny", "large"):
        await api.call("DELETE", f"{pods}/{name}", {"gracePeriodSeconds": 0})


async def test_a_skew_is_told_in_numbers(api, ns, hosts):
    spread = {
        "maxSkew": 1,
        "topologyKey": "ex",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "spread"}},
    }
    pods = f"/api/v1/namespaces/{ns}/pods"
    for name in ("there", "waits"):
        pod = a_pod(name, "100m")
        pod["metadata"]["labels"] = {"app": "spread"}
        pod["spec"] |= {"nodeSelector": {}, "topologySpreadConstraints": [spread]}
        assert (await api.call("POST", pods, pod)).code == 201
    target = {"target": {"kind": "Node", "name": "ex-small"}}
    assert (await api.call("POST", f"{pods}/there/binding", target)).code == 201
    why = (await explain(api, ns, pod="waits", node="ex-small")).body["status"]["whyNot"]
    (detail,) = why["details"]
    assert detail.pop("message").startswith("ex=ex-small has 1 matching pod and this one")
    told = {"plugin": "PodTopologySpread", "topologyKey": "ex", "domain": "ex-small", "pods": 1}
    assert detail == told | {"least": 0, "domains": 2, "minDomains": 1, "skew": 2, "maxSkew": 1}
    assert why["changes"][0] == {"change": "raise the pod's maxSkew from 1 to 2 by ex"}
    for name in ("there", "waits"):
        await api.call("DELETE", f"{pods}/{name}", {"gracePeriodSeconds": 0})


async def test_taints_and_cordons_are_told_with_their_remedy(api, ns, hosts):
    await api.call("POST", f"/api/v1/namespaces/{ns}/pods", a_pod("p"))
    why = (await explain(api, ns, pod="p", node="ex-shut")).body["status"]["whyNot"]
    assert why["plugin"] == "NodeUnschedulable"
    assert [rule["plugin"] for rule in why["others"]] == ["TaintToleration"]
    both = ["uncordon the node", "let the pod tolerate t=v:NoSchedule"]
    assert why["changes"] == [{"change": ", and ".join(both), "steps": both}]


async def test_a_past_decision_is_told_in_full(api, ns):
    framework, wanted = default_framework(), a_class(cpu="2")
    snapshot = cluster(a_view("a", cpu="4"), a_view("b", cpu="1")).freeze(1)
    seen = inspect(wanted, snapshot, framework.filters, framework.scorers)
    number, now = decision_id(), datetime.now(UTC)
    made = {"id": number, "made_at": now, "namespace": ns}
    record = DecisionRecord(**made, pod="first", members=("first", "gone"), pods=2, node="a")
    await api.store.record_decisions([record])
    payload = transcribe(seen)
    await api.store.record_explanations([ExplanationRecord(number, now, ("a", "b"), payload)])
    answer = await explain(api, ns, pod="gone")
    assert answer.code == 201, answer.body
    status = answer.body["status"]
    assert [each["id"] for each in status["decisions"]] == [str(number)]
    a, b = status["then"]["nodes"]
    assert (a["name"], a["feasible"], a["free"]["cpu"]) == ("a", True, 4000)
    assert (b["reasons"], b["resolvable"]) == (["Insufficient cpu"], False)
    assert status["then"]["weights"]["NodeResourcesFit"] == 1
    again = await explain(api, ns, pod="first", decision=str(number))
    assert again.body["status"]["then"] == status["then"]


async def test_decisions_about_others_are_not_told(api, ns):
    other = await api.fresh_namespace()
    number, now = decision_id(), datetime.now(UTC)
    framework = default_framework()
    seen = inspect(a_class(), cluster(a_view("a")).freeze(1), framework.filters, framework.scorers)
    record = DecisionRecord(
        id=number, made_at=now, namespace=other, pod="p", members=("p",), pods=1, node="a"
    )
    await api.store.record_decisions([record])
    kept = ExplanationRecord(number, now, ("a",), transcribe(seen))
    await api.store.record_explanations([kept])
    for home in (ns, other):
        for name in ("p", "q"):
            await api.post(f"/api/v1/namespaces/{home}/pods", a_pod(name))
    for home, name in ((ns, "p"), (other, "q")):
        answer = await explain(api, home, pod=name, decision=str(number))
        assert answer.code == 404, answer.body
        assert answer.body["message"] == f'no decision {number} about pods "{name}" is known'
    assert (await explain(api, other, pod="p", decision=str(number))).code == 201
    for wrong in ("x", "-1", "9" * 19, "9" * 5000):
        assert (await explain(api, ns, pod="p", decision=wrong)).code == 400


async def test_pods_of_other_namespaces_are_counted_not_named(api, ns, hosts):
    other = await api.fresh_namespace()
    for home, name, cpu in ((other, "theirs", "600m"), (ns, "mine", "300m"), (ns, "waits", "1")):
        await api.post(f"/api/v1/namespaces/{home}/pods", a_pod(name, cpu))
    target = {"target": {"kind": "Node", "name": "ex-small"}}
    running = [
        f"/api/v1/namespaces/{home}/pods/{name}" for home, name in ((other, "theirs"), (ns, "mine"))
    ]
    for path in running:
        assert (await api.post(f"{path}/binding", target)).code == 201
    answer = await explain(api, ns, pod="waits", node="ex-small")
    assert {
        "change": f"move away {ns}/mine, 1 pod of other namespaces",
        "pods": [f"{ns}/mine"],
        "otherPods": 1,
    } in answer.body["status"]["whyNot"]["changes"]
    assert b"theirs" not in answer.raw
    assert other.encode() not in answer.raw
    for path in running:
        await api.call("DELETE", path, {"gracePeriodSeconds": 0})


async def test_what_nobody_knows_is_not_found(api, ns):
    assert (await explain(api, ns, pod="nobody")).code == 404
    answer = await explain(api, ns)
    assert (answer.code, answer.body["message"]) == (400, "spec.pod must be a pod's name")
    await api.call("POST", f"/api/v1/namespaces/{ns}/pods", a_pod("p"))
    answer = await explain(api, ns, pod="p", node="no-such")
    assert answer.code == 404


async def test_a_gang_says_what_it_waits_for(api, ns, hosts):
    groups = f"/apis/ironfree.dev/v1/namespaces/{ns}/podgroups"
    pods = f"/api/v1/namespaces/{ns}/pods"
    member = {"schedulingGroup": {"podGroupName": "g"}, "nodeSelector": {"ex": "ex-small"}}
    await api.call("POST", pods, a_pod("p", "800m", **member))
    gang = (await explain(api, ns, pod="p")).body["status"]["gang"]
    numbers = {"podGroup": "g", "minMember": None, "scheduled": 0, "waiting": 1}
    assert gang == {**numbers, "message": 'PodGroup "g" not found'}
    assert (await api.call("POST", groups, {**GROUP, "spec": {"minMember": 2}})).code == 201
    gang = (await explain(api, ns, pod="p")).body["status"]["gang"]
    assert gang["message"].startswith("waiting for 1 more pod of PodGroup")
    await api.call("POST", pods, a_pod("q", "800m", **member))
    gang = (await explain(api, ns, pod="p", node="ex-small")).body["status"]["gang"]
    assert (gang["minMember"], gang["waiting"]) == (2, 2)
    assert gang["message"].startswith(
        'PodGroup "g" needs nodes for 2 of its 2 waiting pods together, 1 would fit; q: 0/'
    )
    target = {"target": {"kind": "Node", "name": "ex-small"}}
    assert (await api.call("POST", f"{pods}/p/binding", target)).code == 201
    gang = (await explain(api, ns, pod="p")).body["status"]["gang"]
    assert (gang["scheduled"], gang["waiting"]) == (1, 1)


GROUP = {"apiVersion": "ironfree.dev/v1", "kind": "PodGroup", "metadata": {"name": "g"}}


async def test_a_question_is_short(api, ns):
    path = f"/apis/ironfree.dev/v1/namespaces/{ns}/explanations"
    data = b'{"spec":{"pod":"p"}}' + b" " * (4 << 20)
    headers = {"Content-Type": "application/json"}
    assert (await api.call("POST", path, headers=headers, data=data)).code == 413
