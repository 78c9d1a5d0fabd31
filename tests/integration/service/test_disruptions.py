"""Drains, budgets and preemption on simulated hosts, by the whole service and the real kubectl."""

import asyncio
import os
import sys
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
    events = (await service.get("/api/v1/namespaces/default/events"))["items"]
    (told,) = [e for e in events if e["reason"] == "Preempted"]
    assert told["involvedObject"]["name"] == gone
    assert told["message"] == f"Preempted by pod {pods['high']['metadata']['uid']} on node h0"
