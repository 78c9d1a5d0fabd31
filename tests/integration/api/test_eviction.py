"""Disruption budgets over HTTP, and evictions that ask them."""

import asyncio
import json

import pytest

from scheduler.objects.disruption import RESOURCE
from scheduler.objects.stored import ObjectKey

pytestmark = pytest.mark.asyncio(loop_scope="module")


def budget(name="b", **spec):
    spec.setdefault("selector", {"matchLabels": {"app": "web"}})
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": spec,
    }


def budgets(ns):
    return f"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"


def pods(ns):
    return f"/api/v1/namespaces/{ns}/pods"


async def with_status(api, ns, *, spec=None, name="b", **status):
    made = await api.post(budgets(ns), budget(name, **(spec or {"minAvailable": 1})))
    assert made.code == 201, made.body
    status = {
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
        "disruptionsAllowed": 0,
        "observedGeneration": 1,
        **status,
    }
    path = f"{budgets(ns)}/{name}/status"
    put = await api.call("PUT", path, {**made.body, "status": status})
    assert put.code == 200, put.body


async def running(api, ns, pod, name, *, ready="True", phase="Running"):
    """Make a pod of app=web that says it is running."""
    wanted = pod(name)
    wanted["metadata"]["labels"] = {"app": "web"}
    made = await api.post(pods(ns), wanted)
    conditions = [{"type": "Ready", "status": ready}]
    status = {"phase": phase, "conditions": conditions}
    put = await api.call("PUT", f"{pods(ns)}/{name}/status", {**made.body, "status": status})
    assert put.code == 200, put.body


async def evict(api, ns, name, options=None, **params):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    if options:
        body["deleteOptions"] = options
    return await api.post(f"{pods(ns)}/{name}/eviction", body, **params)


async def there(api, ns, name):
    return (await api.get(f"{pods(ns)}/{name}")).code == 200


async def status_of(api, ns, name="b"):
    return (await api.get(f"{budgets(ns)}/{name}")).body["status"]


async def test_printed_as_kubectl_does(api, ns):
    await api.post(budgets(ns), budget("least", minAvailable="50%"))
    await api.post(budgets(ns), budget("most", maxUnavailable=1))
    lines = (await api.kubectl("-n", ns, "get", "pdb")).splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    assert [line.split()[:4] for line in lines[1:]] == [
        ["least", "50%", "N/A", "0"],
        ["most", "N/A", "1", "0"],
    ]
    told = await api.kubectl("-n", ns, "create", "pdb", "x", "--selector=a=b", "--min-available=1")
    assert told == "poddisruptionbudget.policy/x created\n"
    described = await api.kubectl("-n", ns, "describe", "pdb", "least")
    assert "Min available:  50%" in described


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "spec"),
        ({"minAvailable": -1}, "spec.minAvailable"),
        ({"maxUnavailable": "101%"}, "spec.maxUnavailable"),
        ({"maxUnavailable": "many"}, "spec.maxUnavailable"),
        ({"minAvailable": "-1%"}, "spec.minAvailable"),
        ({"minAvailable": 1, "unhealthyPodEvictionPolicy": "X"}, "spec.unhealthyPodEvictionPolicy"),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            "spec.selector",
        ),
    ],
)
async def test_bad_budgets(api, ns, spec, field):
    refused = await api.post(budgets(ns), budget(**spec))
    assert refused.code == 422
    assert refused.body["details"]["causes"][0]["field"] == field


async def test_without_a_budget_a_pod_goes(api, ns, pod):
    await running(api, ns, pod, "p")
    answer = await evict(api, ns, "p")
    assert (answer.code, answer.body["status"]) == (201, "Success")
    assert not await there(api, ns, "p")


async def test_a_budget_forbids(api, ns, pod):
    await running(api, ns, pod, "p")
    await with_status(api, ns)
    answer = await evict(api, ns, "p")
    assert (answer.code, answer.body["reason"]) == (429, "TooManyRequests")
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    assert answer.body["message"] == message
    (cause,) = answer.body["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert await there(api, ns, "p")


async def test_a_budget_not_looked_at_yet_forbids(api, ns, pod):
    await running(api, ns, pod, "p")
    await with_status(api, ns, disruptionsAllowed=1, observedGeneration=0)
    answer = await evict(api, ns, "p")
    assert (answer.code, answer.headers["Retry-After"]) == (429, "10")
    assert "still being processed" in answer.body["details"]["causes"][0]["message"]


async def test_an_allowed_eviction_is_noted(api, ns, pod):
    await running(api, ns, pod, "p")
    await with_status(api, ns, disruptionsAllowed=1)
    assert (await evict(api, ns, "p", dryRun="All")).code == 201
    assert (await status_of(api, ns))["disruptionsAllowed"] == 1
    assert (await evict(api, ns, "p")).code == 201
    status = await status_of(api, ns)
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["p"])
    assert status["conditions"][0]["reason"] == "InsufficientPods"
    assert not await there(api, ns, "p")


async def test_of_two_racing_evictions_one_passes(api, ns, pod):
    names = [f"p{i}" for i in range(6)]
    for name in names:
        await running(api, ns, pod, name)
    await with_status(api, ns, disruptionsAllowed=2)
    answers = await asyncio.gather(*(evict(api, ns, name) for name in names))
    assert sorted(answer.code for answer in answers) == [201, 201, 429, 429, 429, 429]
    status = await status_of(api, ns)
    assert (status["disruptionsAllowed"], len(status["disruptedPods"])) == (0, 2)


@pytest.mark.parametrize(
    ("pod_is", "budget_is", "goes"),
    [
        ({"phase": "Pending"}, {}, True),
        ({"phase": "Failed"}, {}, True),
        ({"phase": "Succeeded"}, {}, True),
        ({"ready": "False"}, {}, True),
        ({"ready": "False"}, {"currentHealthy": 0}, False),
        ({"ready": "False"}, {"desiredHealthy": 0}, False),
        (
            {"ready": "False"},
            {
                "currentHealthy": 0,
                "spec": {"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
            },
            True,
        ),
    ],
)
async def test_pods_that_are_not_healthy(api, ns, pod, pod_is, budget_is, goes):
    await running(api, ns, pod, "p", **pod_is)
    await with_status(api, ns, **budget_is)
    assert (await evict(api, ns, "p")).code == (201 if goes else 429)


async def test_two_budgets_are_too_many(api, ns, pod):
    await running(api, ns, pod, "p")
    await with_status(api, ns, disruptionsAllowed=1)
    await with_status(api, ns, name="c", disruptionsAllowed=1)
    answer = await evict(api, ns, "p")
    assert answer.code == 500
    assert answer.body["message"].startswith("This pod has more than one PodDisruptionBudget")


async def test_preconditions_and_nonsense(api, ns, pod):
    await running(api, ns, pod, "p")
    assert (await evict(api, ns, "p", {"preconditions": {"uid": "other"}})).code == 409
    assert (await evict(api, ns, "absent")).code == 404
    other = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}}
    assert (await api.post(f"{pods(ns)}/p/eviction", other)).code == 400
    wrong = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}}
    assert (await api.post(f"{pods(ns)}/p/eviction", wrong)).code == 400
    assert (await api.get(f"{pods(ns)}/p/eviction")).code == 405
    assert await there(api, ns, "p")


async def test_an_evicted_pod_says_so_while_it_goes(api, ns, pod):
    wanted = pod("p")
    wanted["metadata"]["finalizers"] = ["example.com/wait"]
    await api.post(pods(ns), wanted)
    assert (await evict(api, ns, "p")).code == 201
    stored = await api.store.get(ObjectKey("pods", ns, "p"))
    assert stored.meta.deletion_timestamp is not None
    (condition,) = [
        c for c in json.loads(stored.status)["conditions"] if c["type"] == "DisruptionTarget"
    ]
    assert (condition["status"], condition["reason"]) == ("True", "EvictionByEvictionAPI")


async def test_discovery_names_evictions(api):
    listed = (await api.get("/api/v1")).body["resources"]
    (found,) = [each for each in listed if each["name"] == "pods/eviction"]
    assert (found["kind"], found["group"], found["version"]) == ("Eviction", "policy", "v1")
    assert RESOURCE == "poddisruptionbudgets.policy"
