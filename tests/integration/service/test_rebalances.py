"""Rebalances by the whole service: plans that touch nothing, moves that cost no availability."""

import asyncio
import contextlib
import signal

import pytest

pytestmark = pytest.mark.timeout(600)

PODS = "/api/v1/namespaces/default/pods"
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"
REBALANCES = "/apis/ironfree.dev/v1/rebalances"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
HOSTS = "/apis/ironfree.dev/v1/dockerhosts"


@pytest.fixture
async def service(postgres, processes):
    return await processes(postgres.url, IRONFREE_NODE_GRACE_SECONDS="90")  # none is lost by load


async def made(service, path, body):
    answer = await service.call("POST", path, body)
    assert answer.code == 201, answer.body
    return answer.body


async def controller(service, name, replicas, cpu, *, min_ready=0, **spec):
    """Create a ReplicationController."""
    labels = {"app": name}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], **spec},
    }
    body = {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "minReadySeconds": min_ready,
            "selector": labels,
            "template": template,
        },
    }
    await made(service, CONTROLLERS, body)


async def fragmented(service, hosts=3, per_host=1, name="web", **more):
    """Have pods of one controller on every host, as many on each."""
    await service.add_ready_hosts(hosts)
    term = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    await controller(service, name, hosts * per_host, "1", topologySpreadConstraints=[term], **more)
    pods = await service.running(hosts * per_host)
    used = {pod["spec"]["nodeName"] for pod in pods.values()}
    assert len(used) == hosts, used
    return pods


async def rebalance(service, name="tidy", **spec):
    spec = {"intervalSeconds": 2, "deadlineSeconds": 60, "restSeconds": 0, **spec}
    return await made(service, REBALANCES, {"metadata": {"name": name}, "spec": spec})


async def change(service, name="tidy", **spec):
    obj = await service.get(f"{REBALANCES}/{name}")
    obj["spec"] |= spec
    del obj["metadata"]["resourceVersion"]
    assert (await service.call("PUT", f"{REBALANCES}/{name}", obj)).code == 200


async def cordon(service, name, *, closed=True):
    node = await service.get(f"/api/v1/nodes/{name}")
    node["spec"]["unschedulable"] = closed
    del node["metadata"]["resourceVersion"]
    assert (await service.call("PUT", f"/api/v1/nodes/{name}", node)).code == 200


async def reached(service, test, name="tidy", what=""):
    async def look():
        status = (await service.get(f"{REBALANCES}/{name}")).get("status", {})
        return status if test(status) else None

    return await service.eventually(look, f"rebalance {name} {what}")


async def where(service):
    """Return the node by uid of every pod that is there and not going."""
    pods = (await service.get(PODS))["items"]
    return {
        pod["metadata"]["uid"]: pod["spec"].get("nodeName", "")
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    }


async def taints(service):
    nodes = (await service.get("/api/v1/nodes"))["items"]
    return {
        node["metadata"]["name"]: taint["value"]
        for node in nodes
        for taint in node["spec"].get("taints", ())
        if taint["key"] == "ironfree.dev/returnable"
    }


def serves(pod):
    conditions = pod["status"].get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


@contextlib.asynccontextmanager
async def watched(service, name="web"):
    """Collect how many pods of a controller are ready and stay, and how many moves are active."""
    seen = {"available": [], "parallel": []}

    async def look():
        while True:
            answer = await service.call("GET", PODS, labelSelector=f"app={name}")
            if answer.code == 200:
                seen["available"].append(sum(map(serves, answer.body["items"])))
            answer = await service.call("GET", f"{REBALANCES}/tidy")
            if answer.code == 200:
                seen["parallel"].append(len(answer.body.get("status", {}).get("active", ())))
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def quiet(status):
    return status.get("phase") == "Quiet" and not status.get("active")


async def test_a_plan_says_what_it_would_do_and_touches_nothing(service):
    before = await fragmented(service)
    await rebalance(service)
    status = await reached(service, lambda s: s.get("phase") == "Planned")
    assert status["hosts"] == {"total": 3, "used": 3, "after": 1, "bound": "1"}
    assert len(status["moves"]) == 2
    assert len(status["returnable"]) == 2
    assert {m["uid"] for m in status["moves"]} < set(before)
    for move in status["moves"]:
        assert move["from"] == before[move["uid"]]["spec"]["nodeName"]
        assert move["from"] in status["returnable"]
        assert move["to"] not in status["returnable"]
        assert move["why"] == f"empties {move['from']}"
    again = await reached(service, lambda s: s["lastPlanTime"] > status["lastPlanTime"])
    assert again["moves"] == status["moves"]
    assert set(await where(service)) == set(before)
    assert await taints(service) == {}


async def test_a_fragmented_cluster_comes_together_and_is_quiet(service):
    before = await fragmented(service, hosts=4)
    await made(
        service,
        BUDGETS,
        {
            "metadata": {"name": "web"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        },
    )

    async def allowed():
        budget = await service.get(f"{BUDGETS}/web")
        return budget["status"].get("disruptionsAllowed") == 1

    await service.eventually(allowed, "the budget allows a disruption")
    async with watched(service) as seen:
        await rebalance(service, mode="auto", budget={"maxMovesPerHour": 10, "maxParallel": 2})
        status = await reached(service, quiet, what="is quiet")
    assert min(seen["available"]) == 4
    assert 1 <= max(seen["parallel"]) <= 2
    assert (status["made"], status["missed"]) == (3, 0)
    assert status["hosts"]["used"] == 1
    after = await where(service)
    assert len(after) == 4
    assert len(set(after.values())) == 1
    assert len(set(after) & set(before)) == 1, "only those that had to were moved"
    assert set(await taints(service)) == set(status["returnable"])
    assert len(status["returnable"]) == 3
    seen_again = await reached(service, lambda s: s["lastPlanTime"] > status["lastPlanTime"])
    assert seen_again["made"] == 3
    assert await where(service) == after
    assert (await service.call("DELETE", f"{REBALANCES}/tidy")).code == 200

    async def untainted():
        return not await taints(service)

    await service.eventually(untainted, "the taints are taken back")


async def test_the_budget_of_an_hour_holds_over_a_restart(service):
    await fragmented(service, hosts=4)
    await rebalance(service, mode="auto", budget={"maxMovesPerHour": 1, "maxParallel": 1})
    await reached(service, lambda s: s.get("begun"), what="has begun")
    await service.end(signal.SIGKILL)
    await service.start()
    status = await reached(service, lambda s: s.get("made") == 1, what="has made its move")
    status = await reached(service, lambda s: s.get("phase") == "Waiting", what="waits")
    assert status["message"] == "has begun 1 moves within the hour"
    assert status["made"] == 1
    after = await where(service)
    assert len(after) == 4
    assert len(set(after.values())) == 3
    await change(service, budget={"maxMovesPerHour": 10, "maxParallel": 1})
    await reached(service, quiet, what="is quiet")
    assert len(set((await where(service)).values())) == 1


async def test_what_is_stopped_is_taken_back(service):
    """A replacement that does not count as available yet keeps its move from ending."""
    before = await fragmented(service, hosts=2, min_ready=1000)
    await rebalance(service, mode="auto", budget={"maxMovesPerHour": 10, "maxParallel": 1})
    await service.running(3)
    status = await reached(service, lambda s: s.get("active"), what="is moving")
    (move,) = status["active"]
    assert len(set((await where(service)).values())) == 2
    assert set(await taints(service)) == {move["from"]}
    await change(service, suspended=True)
    status = await reached(service, lambda s: s.get("phase") == "Suspended")
    assert status.get("active", []) == []

    async def untouched():
        pods = (await service.get(PODS))["items"]
        said = [p["metadata"].get("annotations", {}) for p in pods]
        marked = [each for each in said if "ironfree.dev/replace-on" in each]
        return set(await where(service)) == set(before) and not marked and not await taints(service)

    await service.eventually(untouched, "everything is as it was")


async def moving(service):
    """Have a move under way that cannot end, for its replacement never counts as available."""
    before = await fragmented(service, hosts=2, min_ready=1000)
    await rebalance(service, mode="auto", budget={"maxMovesPerHour": 1, "maxParallel": 1})
    await service.running(3)
    status = await reached(service, lambda s: s.get("active"), what="is moving")
    (move,) = status["active"]
    return before, move


async def unmarked(service):
    """Wait until no pod is marked and as many run as should; return them by uid."""

    async def look():
        pods = (await service.get(PODS))["items"]
        said = [p["metadata"].get("annotations", {}) for p in pods]
        marked = [each for each in said if "ironfree.dev/replace-on" in each]
        return len(await where(service)) == len(pods) == 2 and not marked

    await service.eventually(look, "two pods, none marked")
    return await service.running(2)


async def test_a_pod_that_is_deleted_while_it_moves_has_its_replacement(service):
    before, move = await moving(service)
    name = move["pod"].partition("/")[2]
    gone = await service.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})
    assert gone.code == 200, gone.body
    status = await reached(service, lambda s: s.get("made"), what="has made its move")
    assert (status["made"], status["missed"], status.get("active", [])) == (1, 0, [])
    after = await unmarked(service)
    assert {pod["spec"]["nodeName"] for pod in after.values()} == {move["to"]}
    assert len(set(after) & set(before)) == 1


async def test_a_move_to_a_host_that_is_cordoned_is_broken_off(service):
    before, move = await moving(service)
    await cordon(service, move["to"])
    status = await reached(service, lambda s: s.get("missed"), what="has missed its move")
    assert (status["made"], status.get("active", [])) == (0, [])
    assert set(await unmarked(service)) == set(before)


async def test_a_host_that_goes_while_pods_move_to_it_takes_none_with_it(service):
    before, move = await moving(service)
    assert (await service.call("DELETE", f"{HOSTS}/{move['to']}")).code == 200
    status = await reached(service, lambda s: s.get("missed"), what="has missed its move")
    assert (status["made"], status.get("active", [])) == (0, [])
    after = await unmarked(service)
    assert move["uid"] in after
    assert {pod["spec"]["nodeName"] for pod in after.values()} == {move["from"]}
    assert set(before) - set(after)


async def test_a_pod_that_waits_gets_room(service):
    await fragmented(service, hosts=2, per_host=3)
    await controller(service, "big", 1, "6")

    async def parked():
        pods = (await service.get(PODS))["items"]
        waiting = [p for p in pods if not p["spec"].get("nodeName")]
        return any(
            c.get("reason") == "Unschedulable"
            for p in waiting
            for c in p["status"].get("conditions", ())
        )

    await service.eventually(parked, "the big pod is parked")
    async with watched(service) as seen:
        await rebalance(service, mode="auto", makeRoom=True)
        await service.running(7)
    assert min(seen["available"]) == 6
    status = await reached(service, lambda s: s.get("made"))
    assert status["made"] == 1


def shape(name, cpu, count=1):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"name": name, "count": count, "template": {"spec": {"containers": [container]}}}


async def test_room_is_made_for_shapes_and_then_it_is_quiet(service):
    await fragmented(service, hosts=3)
    shapes = [shape("large", "8", 2)]
    await rebalance(service, goal="defragment", shapes=shapes)
    status = await reached(service, lambda s: s.get("phase") == "Planned")
    (room,) = status["shapes"]
    assert room == {"name": "large", "wanted": 2, "fit": 0, "after": 2, "bound": "2"}
    assert len(status["moves"]) == 2
    assert status["returnable"] == []
    async with watched(service) as seen:
        await change(service, mode="auto")
        status = await reached(service, quiet, what="is quiet")
    assert min(seen["available"]) == 3
    assert (status["made"], status["missed"]) == (2, 0)
    assert [room["fit"] for room in status["shapes"]] == [2]
    after = await where(service)
    assert len(set(after.values())) == 1
    again = await reached(service, lambda s: s["lastPlanTime"] > status["lastPlanTime"])
    assert again["made"] == 2
    assert await where(service) == after


async def test_a_pod_that_no_moving_helps_is_told_so(service):
    """Each of its hosts could be freed, had the pods there anywhere to go."""
    await service.add_hosts(2)
    await controller(service, "web", 2, "5")
    await service.running(2)
    await controller(service, "big", 1, "4")
    await rebalance(service, goal="none", makeRoom=True)
    status = await reached(service, lambda s: s.get("hopeless"), what="has a proof")
    (proof,) = status["hopeless"]
    assert proof["pod"].startswith("default/big-")
    assert "at most 0 of 1 would have a node" in proof["reason"]
    assert status["moves"] == []
    name = proof["pod"].partition("/")[2]

    async def told():
        events = (await service.get("/api/v1/namespaces/default/events"))["items"]
        mine = [e for e in events if e["involvedObject"]["name"] == name]
        return any(e["reason"] == "NoAssignment" and e["message"] == proof["reason"] for e in mine)

    await service.eventually(told, "an event has the proof")
    explained = await service.call(
        "POST",
        "/apis/ironfree.dev/v1/namespaces/default/explanations",
        {"spec": {"pod": name}},
    )
    assert proof["reason"] in explained.body["status"]["hopeless"]


async def test_pods_are_moved_until_hosts_are_used_evenly(service):
    await service.add_ready_hosts(2)
    await cordon(service, "h1")
    await controller(service, "web", 4, "1")
    first = await service.running(4)
    assert {pod["spec"]["nodeName"] for pod in first.values()} == {"h0"}
    await cordon(service, "h1", closed=False)
    await rebalance(service, goal="improve", objective=[{"balance": "cpu"}], minGainPercent=2)
    status = await reached(service, lambda s: s.get("phase") == "Planned")
    assert len(status["moves"]) == 2
    (goal,) = status["goals"]
    assert float(goal["after"]) < float(goal["before"])


async def test_a_spec_that_cannot_be_is_refused(service):
    answer = await service.call(
        "POST",
        REBALANCES,
        {
            "metadata": {"name": "x"},
            "spec": {"mode": "maybe", "windows": ["9-5"], "budget": {"maxParallel": 0}},
        },
    )
    assert answer.code == 422
    fields = {cause["field"] for cause in answer.body["details"]["causes"]}
    assert fields == {"spec.mode", "spec.windows[0]", "spec.budget.maxParallel"}
