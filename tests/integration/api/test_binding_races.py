"""Clients that bind pods themselves, beside the scheduler: no node is overcommitted."""

import asyncio
import random

import pytest

from scheduler.informer import Informer
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.placement.cycle import Placement
from scheduler.placement.tenants import NODE
from tests.placement_cases import every_rule

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES = tuple(f"race{i}" for i in range(4))


async def bind(api, ns, name, node, **query):
    body = {"target": {"kind": "Node", "name": node}}
    return await api.post(f"/api/v1/namespaces/{ns}/pods/{name}/binding", body, **query)


async def add_node(api, name, **amounts):
    offer = {"cpu": "1", "memory": "1Gi", "pods": "10", **amounts}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"allocatable": offer, "capacity": offer, "conditions": ready}
    made = await api.post("/api/v1/nodes", {"metadata": {"name": name}, "status": status})
    assert made.code == 201, made.body


async def add_pod(api, ns, pod, name, cpu="100m", ports=(), **spec):
    container = {"name": "c", "image": "nginx:1", "resources": {"requests": {"cpu": cpu}}}
    body = pod(name, containers=[{**container, "ports": list(ports)}], **spec)
    made = await api.post(f"/api/v1/namespaces/{ns}/pods", body)
    assert made.code == 201, made.body


async def test_scheduler_and_clients_bind_at_once(api, ns, pod):
    for node in NODES:
        await add_node(api, node)
    pods = Informer(
        api.store, "pods", pod_view, {NODE: lambda pod: (pod.node,) if pod.node else ()}
    )
    nodes = Informer(api.store, "nodes", node_view)
    async with api.store.leadership("test").hold() as epoch, asyncio.TaskGroup() as group:
        placement = Placement(api.store, every_rule(), epoch, pods=pods, nodes=nodes)
        tasks = [group.create_task(part.run()) for part in (pods, nodes, placement)]
        subscription = pods.subscribe()
        order = random.Random(1)

        async def client(name):
            for node in order.sample(NODES, len(NODES)):
                answer = await bind(api, ns, name, node)
                assert answer.code in {201, 409}, answer.body

        names = [f"p{i}" for i in range(12)]
        for name in names:
            await add_pod(api, ns, pod, name, "400m", schedulerName="by-hand")
        await asyncio.gather(
            *map(client, names), *(add_pod(api, ns, pod, f"q{i}", "400m") for i in range(12))
        )
        async with asyncio.timeout(20):
            while sum(bool(each.node) for each in pods.items.values()) < 2 * len(NODES):
                await subscription.next()
        for task in tasks:
            task.cancel()
    for node in NODES:
        assert (await api.store.bound_on(node)).requests == {"cpu": 800, "pods": 2}


async def test_a_pod_that_does_not_fit_is_told_why(api, ns, pod):
    await add_node(api, "narrow", cpu="500m")
    web = {"containerPort": 80, "hostPort": 8080}
    for name, cpu in (("a", "200m"), ("b", "200m"), ("c", "400m")):
        await add_pod(api, ns, pod, name, cpu, [web])
    assert (await bind(api, ns, "a", "narrow", dryRun="All")).code == 201
    assert (await api.store.bound_on("narrow")).requests == {}
    assert (await bind(api, ns, "a", "narrow")).code == 201
    for query in ({}, {"dryRun": "All"}):
        refused = await bind(api, ns, "c", "narrow", **query)
        assert refused.code == 409
        assert refused.body["message"].endswith(
            'pod c does not fit on node "narrow": insufficient cpu, host port 8080/TCP is taken'
        )
    assert "host port 8080/TCP is taken" in (await bind(api, ns, "b", "narrow")).body["message"]
    ended = {"status": {"phase": "Succeeded"}}
    merge = {"Content-Type": "application/merge-patch+json"}
    path = f"/api/v1/namespaces/{ns}/pods/a/status"
    assert (await api.call("PATCH", path, ended, headers=merge)).code == 200
    assert (await bind(api, ns, "c", "narrow")).code == 201


async def test_a_gated_pod_is_bound_only_when_its_gates_are_gone(api, ns, pod):
    await add_node(api, "gated")
    await add_pod(api, ns, pod, "p", schedulingGates=[{"name": "example.com/wait"}])
    refused = await bind(api, ns, "p", "gated")
    assert refused.code == 409
    assert refused.body["message"].endswith("pod p has non-empty .spec.schedulingGates")
    merge = {"Content-Type": "application/merge-patch+json"}
    opened = {"spec": {"schedulingGates": []}}
    path = f"/api/v1/namespaces/{ns}/pods/p"
    assert (await api.call("PATCH", path, opened, headers=merge)).code == 200
    assert (await bind(api, ns, "p", "gated")).code == 201
