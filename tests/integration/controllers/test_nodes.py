"""Lost nodes: conditions, taints, eviction, replacement, and what remains."""

import msgspec

from scheduler.objects.stored import ObjectKey


def node_key(name):
    return ObjectKey("nodes", "", name)


async def taints(cluster, name):
    document = await cluster.document(node_key(name))
    return {(t["key"].rpartition("/")[2], t["effect"]) for t in document["spec"].get("taints", [])}


async def ready(cluster, name):
    document = await cluster.document(node_key(name))
    return next(c for c in document["status"]["conditions"] if c["type"] == "Ready")


async def tainted(cluster, name, wanted):
    async def there():
        return await taints(cluster, name) == wanted

    await cluster.until(there, "nodes")


LOST = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}


async def live(cluster, seconds, *alive):
    """Let time pass in which only some nodes show signs of life."""
    for _ in range(seconds // 10):
        cluster.clock.pass_time(10)
        for name in alive:
            await cluster.heartbeat(name)


async def lose(cluster, lost, *alive):
    """Let only some nodes show signs of life until another has been noticed to be silent."""
    await live(cluster, 50, *alive)

    async def unknown():
        return (await ready(cluster, lost))["status"] == "Unknown"

    await cluster.until(unknown, "nodes")


async def two_nodes(cluster):
    for name in ("a", "b"):
        await cluster.node(name)
        await cluster.heartbeat(name)

    async def seen():
        await cluster.change(node_key("a"), body={"unschedulable": True})
        return ("unschedulable", "NoSchedule") in await taints(cluster, "a")

    await cluster.until(seen)
    await cluster.change(node_key("a"), body={"unschedulable": False})
    await tainted(cluster, "a", set())


async def running_on(cluster, node):
    await cluster.replication("web", 1)
    (pod,) = await cluster.running(1)
    await cluster.bind(pod, node)
    is_ready = [{"type": "Ready", "status": "True"}]
    return await cluster.change(pod.key, status={"phase": "Running", "conditions": is_ready})


async def test_a_cordoned_node_is_tainted(cluster):
    await two_nodes(cluster)
    await cluster.change(node_key("b"), body={"unschedulable": True})
    await tainted(cluster, "b", {("unschedulable", "NoSchedule")})


async def test_a_node_that_is_not_ready_is_tainted_until_it_is(cluster):
    await two_nodes(cluster)
    words = [{"type": "Ready", "status": "False"}]
    await cluster.change(node_key("a"), status={"conditions": words})
    await tainted(cluster, "a", {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")})
    words = [{"type": "Ready", "status": "True"}]
    await cluster.change(node_key("a"), status={"conditions": words})
    await tainted(cluster, "a", set())


async def test_a_silent_node_becomes_unknown_and_its_pods_unready(cluster):
    await two_nodes(cluster)
    pod = await running_on(cluster, "a")
    await lose(cluster, "a", "b")
    assert (await ready(cluster, "a"))["reason"] == "NodeStatusUnknown"
    assert (await ready(cluster, "b"))["status"] == "True"
    await tainted(cluster, "a", LOST)

    async def unready():
        status = msgspec.json.decode((await cluster.store.get(pod.key)).status)
        return [c["status"] for c in status["conditions"] if c["type"] == "Ready"] == ["False"]

    await cluster.until(unready, "pods")
    assert (await cluster.store.get(pod.key)).meta.deletion_timestamp is None


async def test_no_node_is_silent_because_the_clock_was_set(cluster):
    await two_nodes(cluster)
    for seconds in (3600, -7200):
        before = await ready(cluster, "a")
        cluster.clock.jump(seconds)
        for change in (True, False):  # whatever has the node looked at
            await cluster.change(node_key("a"), body={"unschedulable": change})
            await tainted(cluster, "a", {("unschedulable", "NoSchedule")} if change else set())
        assert await ready(cluster, "a") == before


async def test_a_lost_node_has_its_pods_replaced_after_the_toleration_time(cluster):
    await two_nodes(cluster)
    pod = await running_on(cluster, "a")
    await lose(cluster, "a", "b")
    await tainted(cluster, "a", LOST)
    await live(cluster, 200, "b")
    assert len(await cluster.pods()) == 1
    await live(cluster, 200, "b")

    async def replaced():
        pods = {p.meta.uid: p for p in await cluster.pods()}
        return len(pods) == 2 and pods

    pods = await cluster.until(replaced, "pods")
    stale = pods.pop(pod.meta.uid)
    assert stale.meta.deletion_timestamp is not None
    assert stale.binding.node == "a"
    conditions = msgspec.json.decode(stale.status)["conditions"]
    assert any(c["reason"] == "DeletionByTaintManager" for c in conditions if "reason" in c)
    (fresh,) = pods.values()
    assert fresh.binding is None


async def test_a_pod_bound_to_a_node_with_a_taint_leaves_it(cluster):
    await two_nodes(cluster)
    taint = {"key": "mine", "effect": "NoExecute"}
    await cluster.change(node_key("a"), body={"taints": [taint]})
    pod = await running_on(cluster, "a")

    async def leaves():
        stored = await cluster.store.get(pod.key)
        return stored is None or stored.meta.deletion_timestamp is not None

    await cluster.until(leaves, "pods")


async def test_the_pods_of_a_removed_node_go_with_it(cluster):
    await two_nodes(cluster)
    pod = await running_on(cluster, "a")
    await cluster.delete(node_key("a"))

    async def collected():
        cluster.clock.pass_time(60)
        return await cluster.store.get(pod.key) is None

    await cluster.until(collected)
    (fresh,) = await cluster.running(1)
    assert fresh.meta.uid != pod.meta.uid


async def test_nobody_is_evicted_while_no_node_is_healthy(cluster):
    await two_nodes(cluster)
    pod = await running_on(cluster, "a")
    await lose(cluster, "a")
    await lose(cluster, "b")
    await tainted(cluster, "a", {("unreachable", "NoSchedule")})
    await tainted(cluster, "b", {("unreachable", "NoSchedule")})
    cluster.clock.pass_time(1000)
    words = [{"type": "Ready", "status": "True"}]
    for name in ("a", "b"):
        await cluster.heartbeat(name)
        await cluster.change(node_key(name), status={"conditions": words})
        await tainted(cluster, name, set())
    assert (await cluster.store.get(pod.key)).meta.deletion_timestamp is None


async def test_the_oldest_ended_pods_are_removed_beyond_the_limit(cluster):
    for number in range(5):
        pod = await cluster.pod(f"job-{number}")
        await cluster.change(pod.key, status={"phase": "Succeeded"})
        cluster.clock.pass_time(1)

    async def names():
        found = {p.meta.name for p in await cluster.pods()}
        return found if len(found) == 3 else None

    assert await cluster.until(names, "pods") == {"job-2", "job-3", "job-4"}
