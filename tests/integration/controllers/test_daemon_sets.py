"""DaemonSets against a real store."""

from scheduler.controllers.daemon_plan import runs_on
from scheduler.objects.daemon_set import daemon_set_view, target_node
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.objects.stored import ObjectKey

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def key(name="agent"):
    return ObjectKey("daemonsets.apps", "default", name)


def template(image="i:1", **spec):
    return {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


async def daemons(cluster, strategy=None, **more):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    spec = {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": template(),
        "updateStrategy": strategy or rolling,
        "revisionHistoryLimit": 10,
        **more,
    }
    return await cluster.create("daemonsets.apps", "agent", body={"spec": spec})


async def bring_up(cluster):
    """Bind every pod to the node that it names, and have it ready."""
    for stored in await cluster.pods():
        pod = pod_view(stored)
        if pod.active and not pod.node:
            await cluster.bind(stored, target_node(pod))
        if pod.active and pod.status.phase != "Running":
            await cluster.change(stored.key, status=READY)
        if not pod.active:
            await cluster.delete(stored.key)


async def images(cluster):
    found = {}
    for stored in await cluster.pods():
        pod = pod_view(stored)
        if pod.active:
            found.setdefault(target_node(pod), []).append(pod.spec.containers[0].image)
    return found


async def revisions(cluster):
    found = (await cluster.store.list("controllerrevisions.apps", "default")).objects
    return sorted([(await cluster.document(each.key))["revision"] for each in found])


async def until_on(cluster, nodes, image="i:1"):
    """Wait until exactly these nodes have one available pod, of an image."""

    async def look():
        await bring_up(cluster)
        status = (await cluster.document(key())).get("status", {})
        counts = ("desiredNumberScheduled", "numberAvailable", "updatedNumberScheduled")
        full = [status.get(each) for each in counts] == [len(nodes)] * 3
        return full and await images(cluster) == {node: [image] for node in nodes} and status

    return await cluster.until(look)


async def test_every_node_that_suits_has_a_pod(cluster):
    await cluster.node("a")
    await cluster.node("b")
    await daemons(cluster, template=template(nodeSelector={"disk": "fast"}))
    await cluster.change(ObjectKey("nodes", "", "a"), labels={"disk": "fast"})
    status = await until_on(cluster, ["a"])
    assert status["numberMisscheduled"] == 0
    (pod,) = await cluster.pods()
    spec = (await cluster.document(pod.key))["spec"]
    tolerated = {(t["key"], t["effect"]) for t in spec["tolerations"]}
    assert ("node.kubernetes.io/unschedulable", "NoSchedule") in tolerated
    await cluster.node("c")
    for name in "bc":
        await cluster.change(ObjectKey("nodes", "", name), labels={"disk": "fast"})
    await until_on(cluster, ["a", "b", "c"])
    await cluster.change(ObjectKey("nodes", "", "b"), labels={})
    await until_on(cluster, ["a", "c"])
    await cluster.delete(key())
    await cluster.running(0)


async def test_a_pod_that_is_deleted_or_fails_comes_again(cluster):
    await cluster.node("a")
    await daemons(cluster)
    await until_on(cluster, ["a"])
    (pod,) = await cluster.pods()
    await cluster.delete(pod.key)

    async def another():
        pods = [p for p in await cluster.pods() if p.meta.uid != pod.meta.uid]
        return pods and pods[0]

    second = await cluster.until(another, "pods")
    await bring_up(cluster)
    await cluster.change(second.key, status={"phase": "Failed"})
    while [p.meta.uid for p in await cluster.pods()] == [second.meta.uid]:
        cluster.clock.pass_time(5)
        await bring_up(cluster)
    await until_on(cluster, ["a"])


async def test_it_rolls_node_by_node_and_keeps_its_templates(cluster):
    names = ["a", "b", "c"]
    for name in names:
        await cluster.node(name)
    await daemons(cluster)
    await until_on(cluster, names)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)

    async def begun():
        found = await images(cluster)
        assert sum(each == ["i:1"] for each in found.values()) >= 2
        return len(found) == 3 and ["i:2"] in found.values()

    async def one_gone():
        for stored in await cluster.pods():  # its host stops the one that is deleted
            if stored.meta.deletion_timestamp is not None:
                await cluster.delete(stored.key)
        return await begun()

    await cluster.until(one_gone, "pods")
    await until_on(cluster, names, "i:2")
    assert await revisions(cluster) == [1, 2]
    await cluster.change(key(), body={"template": template("i:1")}, generation=3)
    await until_on(cluster, names, "i:1")
    assert await revisions(cluster) == [2, 3]


async def test_on_delete_replaces_only_what_is_deleted(cluster):
    await cluster.node("a")
    await cluster.node("b")
    await daemons(cluster, strategy={"type": "OnDelete"})
    await until_on(cluster, ["a", "b"])
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)

    async def observed():
        status = (await cluster.document(key()))["status"]
        return status["observedGeneration"] == 2 and status["updatedNumberScheduled"] == 0

    await cluster.until(observed)
    old = next(pod for pod in map(pod_view, await cluster.pods()) if pod.node == "a")
    await cluster.delete(ObjectKey("pods", "default", old.meta.name))

    async def replaced():
        return await images(cluster) == {"a": ["i:2"], "b": ["i:1"]}

    await cluster.until(replaced, "pods")


async def test_with_a_surge_the_new_pod_is_there_first(cluster):
    await cluster.node("a")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    await daemons(cluster, strategy=rolling)
    await until_on(cluster, ["a"])
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)

    async def both():
        return sorted((await images(cluster))["a"]) == ["i:1", "i:2"]

    await cluster.until(both, "pods")
    await until_on(cluster, ["a"], "i:2")


async def test_taints_keep_pods_away_or_drive_them_out(cluster):
    await daemons(cluster)
    view = daemon_set_view(await cluster.store.get(key()))

    async def runs(effect, **spec):
        taints = [{"key": "k", "effect": effect}] if effect else []
        body = {"spec": {"taints": taints, **spec}}
        name = f"n-{len((await cluster.store.list('nodes')).objects)}"
        return runs_on(view.pod_spec, node_view(await cluster.create("nodes", name, body=body)))

    assert await runs("") == (True, True)
    assert await runs("", unschedulable=True) == (True, True)
    assert await runs("PreferNoSchedule") == (True, True)
    assert await runs("NoSchedule") == (False, True)
    assert await runs("NoExecute") == (False, False)
