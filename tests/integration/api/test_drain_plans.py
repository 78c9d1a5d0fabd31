"""What `ironfree node drain --plan` says: who is replaced first, who is evicted, and where to."""

import asyncio
import contextlib
import itertools
import random
import uuid

import pytest
import pytest_asyncio

from scheduler.cli.connection import Connection
from scheduler.cli.drain_plan import plan
from scheduler.cli.kubeconfig import Target
from scheduler.cli.resources import discover

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES = "/api/v1/nodes"
NUMBERS = itertools.count()


async def made(api, path, body):
    answer = await api.post(path, body)
    assert answer.code == 201, answer.body
    return answer.body


async def add_node(api, name, cpu, zone="z"):
    offer = {"cpu": str(cpu), "memory": "8Gi", "pods": "110"}
    status = {"capacity": offer, "allocatable": offer}
    await made(api, NODES, {"metadata": {"name": name, "labels": {"zone": zone}}, "status": status})


async def run(api, ns, name, node, owner="ReplicaSet", app="", **fields):
    """Make a pod that asks for 1 CPU, and bind it."""
    references = [
        {"apiVersion": "x/v1", "kind": owner, "name": owner.lower(), "uid": owner.lower()}
    ]
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    meta = {
        "name": name,
        "labels": {"app": app or name},
        "ownerReferences": [each | {"controller": True} for each in references if owner],
        "annotations": fields.pop("annotations", {}),
    }
    pods = f"/api/v1/namespaces/{ns}/pods"
    spec = {"containers": [container], "terminationGracePeriodSeconds": 30, **fields}
    await made(api, pods, {"metadata": meta, "spec": spec})
    await made(api, f"{pods}/{name}/binding", {"target": {"kind": "Node", "name": node}})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    path = f"{pods}/{name}/status"
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = await api.call("PATCH", path, {"status": status}, headers=merge)
    assert answer.code == 200, answer.body


async def planned(api, node):
    """Return the moves of a drain by the pods' names, in order."""

    def ask():
        with contextlib.closing(Connection(Target(api.url))) as connection:
            return plan(connection, discover(connection), node)

    return {move.name: move for move in await asyncio.to_thread(ask)}


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(api):
    """Two hosts of 4 CPUs, which are there for one test."""
    names = [f"n{next(NUMBERS)}" for _ in range(2)]
    for name in names:
        await add_node(api, name, 4)
    yield names
    for name in names:
        await api.call("DELETE", f"{NODES}/{name}")


async def test_each_pod_leaves_in_its_way(api, ns, cluster):
    here, there = cluster
    await run(api, ns, "web", here)
    await run(api, ns, "db", here, owner="StatefulSet")
    await run(api, ns, "log", here, owner="DaemonSet")
    moves = await planned(api, here)
    assert [str(move) for move in moves.values()] == [
        f"pod/db -> {there}, evicted first: its StatefulSet does not replace it while it is there",
        f"pod/web -> {there}",
    ]
    assert moves["db"].document() == {
        "pod": f"{ns}/db",
        "how": "evict",
        "nodeName": there,
        "message": "",
        "victims": [],
        "replacedFirst": False,
        "reason": "its StatefulSet does not replace it while it is there",
        "waits": "",
    }
    await run(api, ns, "veto", there, annotations={"ironfree.dev/replace-first": "false"})
    await run(api, ns, "once", there, annotations={"ironfree.dev/at-most-once": "true"})
    await run(api, ns, "bare", there, owner="")
    await run(api, ns, "ends", there)
    await api.call("DELETE", f"/api/v1/namespaces/{ns}/pods/ends")
    moves = await planned(api, there)
    assert {name: move.how for name, move in moves.items()} == {
        "bare": "delete",
        "ends": "end",
        "once": "evict",
        "veto": "evict",
    }
    assert str(moves["bare"]) == "pod/bare has no controller and will be gone"
    assert str(moves["ends"]) == "pod/ends is being stopped"


async def test_only_those_replacements_come_first_that_fit_together(api, ns, cluster):
    here, there = cluster
    for name in ("f0", "f1", "f2"):
        await run(api, ns, name, there)
    for name in ("a", "b"):
        await run(api, ns, name, here)
    moves = await planned(api, here)
    assert str(moves["a"]) == f"pod/a -> {there}"
    assert str(moves["b"]).startswith(
        "pod/b is evicted and has no other node: 0/2 nodes are available: 1 Insufficient cpu, "
        "1 node(s) were unschedulable."
    )
    assert moves["b"].to == ""


async def test_quotas_count_each_replacement_and_say_what_is_short(api, ns, cluster):
    here, there = cluster
    for name in ("a", "b"):
        await run(api, ns, name, here)
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "3"}}}
    await made(api, f"/api/v1/namespaces/{ns}/resourcequotas", quota)
    await run(api, ns, "c", there)  # counted from now on
    await api.call("DELETE", f"/api/v1/namespaces/{ns}/pods/c", gracePeriodSeconds="0")
    moves = await planned(api, here)
    assert str(moves["a"]) == f"pod/a -> {there}"
    assert str(moves["b"]) == (
        f"pod/b -> {there}, evicted first: exceeded quota: q, requested: requests.cpu=1, "
        "used: requests.cpu=3, limited: requests.cpu=3"
    )


async def test_what_budgets_do_not_let_go_is_said(api, ns, cluster):
    here, _ = cluster
    for name in ("a", "b"):
        await run(api, ns, name, here, owner="StatefulSet", app="db")
    await run(api, ns, "web", here, app="db")
    budgets = f"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
    selector = {"matchLabels": {"app": "db"}}
    spec = {"selector": selector, "maxUnavailable": 1}
    stored = await made(api, budgets, {"metadata": {"name": "db"}, "spec": spec})
    healthy = {"currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3, "disruptionsAllowed": 1}
    answer = await api.call("PUT", f"{budgets}/db/status", stored | {"status": healthy})
    assert answer.code == 200, answer.body
    moves = await planned(api, here)
    words = "its disruption budget db does not let it go yet"
    assert {name: move.waits for name, move in moves.items()} == {"a": "", "b": words, "web": ""}
    assert str(moves["b"]).endswith(f"; it waits: {words}")


@pytest.mark.parametrize("seed", range(8))
async def test_a_replacement_comes_first_just_where_it_has_a_place(api, ns, seed):
    """Against a count by hand of zones and CPUs, of a pod that excludes its like from its zone."""
    chance = random.Random(seed)
    uid = uuid.uuid4().hex[:6]
    hosts = {f"{uid}-{n}": (chance.choice("xyz"), chance.randint(1, 2)) for n in range(4)}
    for name, (zone, cpu) in hosts.items():
        await add_node(api, name, cpu, zone)
    here, *others = hosts
    full = {name: chance.randint(0, hosts[name][1]) for name in others}
    for name, count in full.items():
        for number in range(count):
            await run(api, ns, f"f-{name}-{number}", name)
    rule = [{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": rule}
    await run(api, ns, "web", here, affinity={"podAntiAffinity": required})
    (move,) = (await planned(api, here)).values()
    roomy = {name for name in others if hosts[name][1] > full[name]}
    beside = {name for name in roomy if hosts[name][0] != hosts[here][0]}
    if beside:
        assert (move.how, move.reason) == ("replace", "")
        assert move.to in beside
    else:
        assert move.how == "evict"
        assert move.to in roomy or not (move.to or roomy)
        assert "didn't match pod anti-affinity rules" in move.reason or not roomy
    for name in hosts:
        await api.call("DELETE", f"{NODES}/{name}")
