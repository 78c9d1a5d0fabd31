"""Drains, budgets and preemption on simulated hosts, by the whole service and the real kubectl."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

KUBECTL = Path(sys.executable).with_name("kubectl")
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def kubectl(service, tmp_path, *arguments):
    """Run the real kubectl; return its exit code and everything it said."""
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        "--server",
        service.url,
        "--cache-dir",
        str(tmp_path),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "KUBECONFIG": os.devnull, "HOME": str(tmp_path)},
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def budget(service, **spec):
    made = await service.call(
        "POST",
        BUDGETS,
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        },
    )
    assert made.code == 201, made.body


async def allowed(service, number):
    async def look():
        status = (await service.get(f"{BUDGETS}/web"))["status"]
        return status if status["disruptionsAllowed"] == number else None

    return await service.eventually(look, f"{number} disruptions allowed")


async def nodes_of(service):
    pods = (await service.get(PODS))["items"]
    return [pod["spec"].get("nodeName", "") for pod in pods]


async def test_drain_moves_every_pod_within_its_budget(postgres, processes, tmp_path):
    service = await processes(postgres.url)
    await service.add_hosts(2)
    await service.add_controller(4)
    await service.running(4)
    await budget(service, maxUnavailable=1)
    status = await allowed(service, 1)
    assert (status["expectedPods"], status["currentHealthy"]) == (4, 4)
    node = (await nodes_of(service))[0]
    code, said = await kubectl(service, tmp_path, "drain", node, "--timeout=60s")
    assert code == 0, said
    assert f"node/{node} drained" in said
    await service.running(4)
    assert node not in await nodes_of(service)
    await allowed(service, 1)


async def ironfree(service, *arguments):
    """Run the command-line client; return its exit code and everything it said."""
    code, said, complaints = await service.ironfree(*arguments)
    return code, said + complaints


async def spared(postgres, processes):
    """Return a service with two hosts and four pods that a budget lets go only once replaced."""
    service = await processes(postgres.url)
    await service.add_hosts(2)
    await service.add_controller(4)
    await service.running(4)
    await budget(service, minAvailable="100%")
    await allowed(service, 0)
    return service, await nodes_of(service)


async def test_our_drain_starts_replacements_first(postgres, processes):
    service, on = await spared(postgres, processes)
    node, other = on[0], {"h0": "h1", "h1": "h0"}[on[0]]
    code, said = await ironfree(service, "node", "drain", node, "--plan", "--json")
    assert code == 0, said
    moves = json.loads(said)["moves"]
    assert {move["nodeName"] for move in moves} == {other}
    assert len(moves) == on.count(node)
    assert await nodes_of(service) == on, "a plan changes nothing"
    ready = asyncio.create_task(least_ready(service))
    code, said = await ironfree(service, "node", "drain", node, "--timeout", "60")
    assert code == 0, said
    assert f"node/{node} drained" in said
    await service.running(4)
    assert set(await nodes_of(service)) == {other}
    assert await stopped(ready) >= 4, "replacements run before anybody goes"


DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"


_TERM = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_TERM]}}


async def deployment(service, **spec):
    """Make a Deployment of one pod; return the pod once it runs."""
    container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": "10m"}}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}
    wanted = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    made = await service.call("POST", DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": wanted})
    assert made.code == 201, made.body
    (pod,) = (await service.running(1)).values()
    return pod


async def planned(service, node):
    """Return the only move of the plan, as text and as JSON."""
    code, said = await ironfree(service, "node", "drain", node, "--plan")
    assert code == 0, said
    code, document = await ironfree(service, "node", "drain", node, "--plan", "--json")
    assert code == 0, document
    (move,) = json.loads(document)["moves"]
    return said, move


async def drained(service, node, *arguments):
    """Drain a node; return what was said, the node that the only pod then runs on."""
    code, said = await ironfree(service, "node", "drain", node, "--timeout", "60", *arguments)
    assert code == 0, said
    assert f"node/{node} drained" in said
    (pod,) = (await service.running(1)).values()
    return said, pod["spec"]["nodeName"]


async def test_our_drain_evicts_whom_its_own_replacement_excludes(postgres, processes, tmp_path):
    service = await processes(postgres.url)
    await service.add_ready_hosts(3)
    await label(service, tmp_path, "nodes", "--all", "zone=z1")
    pod = await deployment(service, affinity=APART)
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    await budget(service, minAvailable=1)
    await allowed(service, 0)
    said, move = await planned(service, node)
    assert (move["how"], move["replacedFirst"]) == ("evict", False)
    assert "didn't match pod anti-affinity rules" in move["reason"]
    assert move["waits"] == "its disruption budget web does not let it go yet"
    assert said.startswith(f"pod/{name} -> {move['nodeName']}, evicted first: 0/3 nodes")
    code, said = await ironfree(service, "node", "drain", node, "--timeout", "1")
    assert code == 1
    assert f"pod/{name} waits: Cannot evict pod" in said
    assert [*(await service.running(1))] == [pod["metadata"]["uid"]], "its budget keeps it"
    await service.call("DELETE", f"{BUDGETS}/web")
    _, landed = await drained(service, node)
    assert landed != node


async def label(service, tmp_path, *arguments):
    code, said = await kubectl(service, tmp_path, "label", *arguments)
    assert code == 0, said


async def test_our_drain_evicts_where_a_quota_has_no_room_for_a_replacement(postgres, processes):
    service = await processes(postgres.url)
    await service.add_ready_hosts(2)
    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    await service.call("POST", QUOTAS, quota)
    pod = await deployment(service)
    node = pod["spec"]["nodeName"]
    other = {"h0": "h1", "h1": "h0"}[node]
    said, move = await planned(service, node)
    assert (move["how"], move["nodeName"]) == ("evict", other)
    why = "exceeded quota: one, requested: pods=1, used: pods=1, limited: pods=1"
    assert move["reason"] == why
    assert said == f"pod/{pod['metadata']['name']} -> {other}, evicted first: {why}\n"
    _, landed = await drained(service, node)
    assert landed == other


async def test_our_drain_takes_back_what_does_not_come_as_planned(postgres, processes, tmp_path):
    """Nothing was known beforehand of a namespace's security level, nor of what never gets ready.

    The first is told by the controller, the second by the time that passes.
    """
    service = await processes(postgres.url)
    await service.add_ready_hosts(2)
    pod = await deployment(service, readinessGates=[{"conditionType": "example.com/never"}])
    node = pod["spec"]["nodeName"]
    other = {"h0": "h1", "h1": "h0"}[node]
    assert (await planned(service, node))[1]["how"] == "replace"
    said, landed = await drained(service, node, "--replace-timeout", "2")
    assert "is evicted instead: its replacement was not available within 2 s" in said
    assert landed == other
    await ironfree(service, "node", "uncordon", node)
    (pod,) = (await service.running(1)).values()
    said, _ = await planned(service, other)
    assert said == f"pod/{pod['metadata']['name']} -> {node}\n"
    level = "pod-security.kubernetes.io/enforce=restricted"
    await label(service, tmp_path, "namespace", "default", level)
    code, said = await ironfree(service, "node", "drain", other, "--timeout", "60")
    assert code == 0, said
    assert "is evicted instead: pods of web" in said
    assert "violates PodSecurity" in said


HOSTS = "/apis/ironfree.dev/v1/dockerhosts"


async def test_a_host_is_empty_before_its_window_opens(postgres, processes, tmp_path):
    service, on = await spared(postgres, processes)
    node, other = on[0], {"h0": "h1", "h1": "h0"}[on[0]]
    opens = datetime.now(UTC) + timedelta(minutes=30)
    window = f"{opens:%H:%M}-{opens + timedelta(minutes=10):%H:%M}"
    spec = {"maintenance": {"windows": [window], "leadSeconds": 7200}}
    await patch(service, tmp_path, node, spec)
    ready = asyncio.create_task(least_ready(service))

    async def cordoned():
        found = await service.get(f"/api/v1/nodes/{node}")
        return found if found["spec"].get("unschedulable") else None

    await service.eventually(cordoned, "the node is cordoned")
    assert await stopped(ready) >= 4
    await service.end(signal.SIGKILL)
    service = await processes(postgres.url)  # its simulated hosts have nothing yet

    reason = 'jsonpath={.status.conditions[?(@.type=="Maintenance")].reason}=Drained'
    words = ("wait", f"--for={reason}", f"dockerhost/{node}", "--timeout=60s")
    code, said = await kubectl(service, tmp_path, *words)
    assert code == 0, said
    assert set(await nodes_of(service)) == {other}
    code, said = await kubectl(service, tmp_path, "get", "dockerhosts")
    assert code == 0, said
    assert f"Drained {opens:%Y-%m-%dT%H:%M}:00Z" in said
    code, said = await ironfree(service, "node", "list")
    assert f"window from {opens:%Y-%m-%dT%H:%M}:00Z" in said

    await patch(service, tmp_path, node, {"maintenance": None})

    async def as_before():
        found = await service.get(f"/api/v1/nodes/{node}")
        host = await service.get(f"{HOSTS}/{node}")
        kinds = {c["type"] for c in host["status"]["conditions"]}
        return not found["spec"].get("unschedulable") and "Maintenance" not in kinds

    await service.eventually(as_before, "the node is open again")


async def test_maintenance_evicts_whom_no_replacement_comes_for(postgres, processes, tmp_path):
    """One excludes its own replacement, and a quota refuses the other's; a budget keeps the one."""
    service = await processes(postgres.url)
    await service.add_ready_hosts(3)
    await label(service, tmp_path, "nodes", "--all", "zone=z1")
    pod = await deployment(service, affinity=APART)
    node = pod["spec"]["nodeName"]
    await budget(service, minAvailable=1)
    await allowed(service, 0)
    opens = datetime.now(UTC) + timedelta(minutes=30)
    window = f"{opens:%H:%M}-{opens + timedelta(minutes=10):%H:%M}"
    spec = {"maintenance": {"windows": [window], "leadSeconds": 7200}}
    await patch(service, tmp_path, node, spec)

    async def told():
        (found,) = (await service.get(f"{HOSTS}/{node}"))["status"]["conditions"][-1:]
        return "needs 1 healthy pods and has 1 currently" in found["message"]

    await service.eventually(told, "the budget is named")
    assert pod["metadata"]["uid"] in await service.running(1)
    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    await service.call("POST", QUOTAS, quota)
    await service.call("DELETE", f"{BUDGETS}/web")
    first = await emptied(service, tmp_path, node)
    assert first != node
    await patch(service, tmp_path, first, spec)
    assert await emptied(service, tmp_path, first) not in {node, first}
    events = (await service.get("/api/v1/namespaces/default/events"))["items"]
    whys = [each["message"] for each in events if each["reason"] == "NotReplacedFirst"]
    assert any("didn't match pod anti-affinity rules" in why for why in whys)
    assert any("exceeded quota: one" in why for why in whys)


async def emptied(service, tmp_path, node):
    """Wait until a host is drained; return where the only pod is then."""
    reason = 'jsonpath={.status.conditions[?(@.type=="Maintenance")].reason}=Drained'
    words = ("wait", f"--for={reason}", f"dockerhost/{node}", "--timeout=60s")
    code, said = await kubectl(service, tmp_path, *words)
    assert code == 0, said
    (pod,) = (await service.running(1)).values()
    return pod["spec"]["nodeName"]


async def patch(service, tmp_path, host, spec):
    words = ("patch", "dockerhost", host, "--type=merge", "-p", json.dumps({"spec": spec}))
    code, said = await kubectl(service, tmp_path, *words)
    assert code == 0, said


async def least_ready(service):
    """Return, when cancelled, the least number of pods that were ready at any look."""
    least = 1000
    try:
        while True:
            pods = (await service.get(PODS))["items"]
            least = min(least, sum(map(is_ready, pods)))
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        return least


async def stopped(task):
    task.cancel()
    return await task


def is_ready(pod):
    conditions = pod["status"].get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


async def test_our_drain_asks_before_pods_are_lost(postgres, processes):
    service = await processes(postgres.url)
    await service.add_hosts(1)
    await service.call("POST", PODS, plain("alone"))
    await service.running(1)
    (node,) = await nodes_of(service)
    code, said = await ironfree(service, "node", "drain", node)
    assert code == 1
    assert "no controller will replace default/alone" in said
    stored = await service.get(f"/api/v1/nodes/{node}")
    assert not stored["spec"].get("unschedulable")
    code, said = await ironfree(service, "node", "drain", node, "--force", "--timeout", "60")
    assert code == 0, said
    assert await nodes_of(service) == []


def plain(name):
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], "terminationGracePeriodSeconds": 1},
    }


async def test_drain_waits_where_no_budget_allows_it(postgres, processes, tmp_path):
    service = await processes(postgres.url)
    await service.add_hosts(1)
    await service.add_controller(2)
    before = await service.running(2)
    await budget(service, minAvailable="100%")
    await allowed(service, 0)
    node = (await nodes_of(service))[0]
    code, said = await kubectl(service, tmp_path, "drain", node, "--timeout=2s")
    assert code != 0
    assert "Cannot evict pod as it would violate the pod's disruption budget." in said
    assert await service.running(2) == before


def pod(name, priority_class, cpu):
    container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": cpu}}}
    return {
        "metadata": {"name": name},
        "spec": {
            "containers": [container],
            "priorityClassName": priority_class,
            "terminationGracePeriodSeconds": 1,
        },
    }


async def test_a_pod_of_higher_priority_gets_a_full_host(postgres, processes):
    service = await processes(postgres.url)
    await service.add_hosts(1)
    for name, value in (("low", 1), ("high", 1000)):
        made = await service.call(
            "POST",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": name}, "value": value},
        )
        assert made.code == 201, made.body
    for number in range(2):
        made = await service.call("POST", PODS, pod(f"low{number}", "low", "3500m"))
        assert made.code == 201, made.body
    await service.running(2)
    await service.call("POST", PODS, pod("high", "high", "4"))

    async def displaced():
        pods = {p["metadata"]["name"]: p for p in (await service.get(PODS))["items"]}
        return len(pods) == 2 and pods["high"]["status"]["phase"] == "Running" and pods

    pods = await service.eventually(displaced, "the pod of high priority runs")
    (gone,) = {"low0", "low1"} - pods.keys()

    async def reported():
        events = (await service.get("/api/v1/namespaces/default/events"))["items"]
        return [e for e in events if e["reason"] == "Preempted"]

    (told,) = await service.eventually(reported, "an event tells of it")
    assert told["involvedObject"]["name"] == gone
    assert told["message"] == f"Preempted by pod {pods['high']['metadata']['uid']} on node h0"
