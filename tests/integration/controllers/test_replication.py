"""ReplicationControllers against a real store."""

import asyncio
import contextlib

import pytest

from scheduler.controllers.controllers import Controllers
from scheduler.controllers.fenced_store import FencedStore
from scheduler.controllers.informers import Informers
from scheduler.errors import Fenced, NotFound
from scheduler.meter import Meter
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.stored import ObjectKey
from tests.store_values import create


def rc(name):
    return ObjectKey("replicationcontrollers", "default", name)


async def test_it_makes_the_pods_and_tells_so(cluster):
    made = await cluster.replication("web", 3)
    pods = await cluster.running(3)
    assert len({pod.body.digest for pod in pods}) == 1
    for pod in pods:
        assert pod.meta.name.startswith("web-")
        assert len(pod.meta.name) == len("web-12345")
        assert pod.meta.generate_name == "web-"
        owner = pod.meta.controller_owner()
        assert (owner.uid, owner.kind, owner.block_owner_deletion) == (
            made.meta.uid,
            "ReplicationController",
            True,
        )
    document = await cluster.document(pods[0].key)
    assert document["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    spec = document["spec"]
    assert (spec["restartPolicy"], spec["priority"]) == ("Always", 0)
    assert {t["key"] for t in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }

    async def counted():
        status = (await cluster.document(rc("web"))).get("status", {})
        return status.get("replicas") == 3 and status

    status = await cluster.until(counted)
    assert (status["fullyLabeledReplicas"], status["readyReplicas"]) == (3, 0)
    assert status["observedGeneration"] == 1
    events = (await cluster.store.list("events", "default")).objects
    assert len(events) == 3
    assert all(b"SuccessfulCreate" in event.body.json for event in events)


async def test_it_follows_the_number(cluster):
    await cluster.replication("web", 2)
    pods = await cluster.running(2)
    await cluster.change(rc("web"), body={"replicas": 5})
    assert {p.meta.uid for p in pods} < {p.meta.uid for p in await cluster.running(5)}
    await cluster.change(rc("web"), body={"replicas": 1})
    await cluster.running(1)
    await cluster.change(rc("web"), body={"replicas": 0})
    await cluster.running(0)


async def test_it_replaces_pods_that_end_or_go(cluster):
    await cluster.replication("web", 3)
    first, second, third = await cluster.running(3)
    await cluster.change(first.key, status={"phase": "Failed"})
    await cluster.delete(second.key)

    async def healed():
        pods = {p.meta.uid: p for p in await cluster.pods()}
        return len(pods) == 4 and pods

    pods = await cluster.until(healed, "pods")
    assert {first.meta.uid, third.meta.uid} < set(pods)
    assert second.meta.uid not in pods


async def test_it_adopts_orphans_and_deletes_the_excess(cluster):
    orphans = [await cluster.pod(f"orphan-{n}", {"app": "web"}) for n in range(3)]
    other = await cluster.pod("other", {"app": "else"})
    made = await cluster.replication("web", 2)
    kept = await cluster.running(2, app="web")

    async def adopted():
        pods = [await cluster.store.get(pod.key) for pod in kept]
        return all(p.meta.controller_owner() for p in pods) and pods

    for pod in await cluster.until(adopted, "pods"):
        assert pod.meta.controller_owner().uid == made.meta.uid
        assert pod.meta.uid in {o.meta.uid for o in orphans}
    assert (await cluster.store.get(other.key)).meta.owner_references == ()


async def test_it_lets_go_of_pods_that_stop_matching(cluster):
    await cluster.replication("web", 2)
    first, _second = await cluster.running(2)
    await cluster.change(first.key, labels={"app": "quarantined"})
    assert first.meta.uid not in {p.meta.uid for p in await cluster.running(2, app="web")}

    async def released():
        return (await cluster.store.get(first.key)).meta.owner_references == ()

    await cluster.until(released, "pods")


async def test_a_terminating_pod_is_replaced_before_it_is_gone(cluster):
    await cluster.node("a")
    await cluster.replication("web", 1)
    (pod,) = await cluster.running(1)
    await cluster.bind(pod, "a")
    await cluster.change(
        pod.key, deletion_timestamp=cluster.clock.now(), deletion_grace_period_seconds=30
    )

    async def both():
        pods = {p.meta.uid for p in await cluster.pods()}
        return len(pods) == 2 and pods

    assert pod.meta.uid in await cluster.until(both, "pods")


async def test_a_bound_excess_pod_gets_its_grace(cluster):
    await cluster.node("a")
    await cluster.replication("web", 1)
    (pod,) = await cluster.running(1)
    await cluster.bind(pod, "a")
    await cluster.change(rc("web"), body={"replicas": 0})
    await cluster.running(0)
    stored = await cluster.store.get(pod.key)
    assert stored.meta.deletion_grace_period_seconds == 30


async def test_an_impossible_template_is_reported_and_harms_nobody_else(cluster):
    await cluster.replication("bad", 2, spec={"priorityClassName": "absent"})
    await cluster.replication("good", 2)
    await cluster.running(2, app="good")

    async def condition():
        status = (await cluster.document(rc("bad"))).get("status", {})
        return status.get("conditions")

    (failure,) = await cluster.until(condition)
    assert (failure["type"], failure["reason"]) == ("ReplicaFailure", "FailedCreate")
    assert "no PriorityClass with name absent was found" in failure["message"]

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        return [e for e in events if b"FailedCreate" in e.body.json]

    assert len(await cluster.until(told)) == 1


async def test_pods_take_over_what_their_runtime_class_says(cluster):
    await cluster.replication("web", 1, spec={"runtimeClassName": "sandboxed"})

    async def refused():
        document = await cluster.document(rc("web"))
        return document.get("status", {}).get("conditions")

    (failure,) = await cluster.until(refused)
    assert 'RuntimeClass "sandboxed" not found' in failure["message"]
    body = b'{"handler":"runsc","overhead":{"podFixed":{"cpu":"250m"}}}'
    await cluster.store.write(create("runtimeclasses.node.k8s.io", "sandboxed", "", body))
    cluster.clock.pass_time(60)
    (pod,) = await cluster.running(1)
    document = await cluster.document(pod.key)
    assert document["spec"]["overhead"] == {"cpu": "250m"}


async def test_a_flood_of_pods_is_told_in_few_events(cluster):
    await cluster.replication("web", 200)
    await cluster.running(200)

    async def combined():
        events = (await cluster.store.list("events", "default")).objects
        return any(b"combined from similar events" in e.body.json for e in events) and events

    assert len(await cluster.until(combined, "events")) <= 25


async def test_changes_of_the_number_while_pods_die_end_at_the_number(cluster):
    await cluster.replication("web", 5)
    await cluster.running(5)
    for number in (9, 3, 7):
        await asyncio.gather(
            cluster.change(rc("web"), body={"replicas": number}),
            *(cluster.delete(pod.key) for pod in (await cluster.pods())[:2]),
            return_exceptions=True,
        )
    await cluster.running(7)


async def test_it_never_makes_more_than_the_number(cluster):
    since = await cluster.store.revision()
    made = await cluster.replication("web", 30)
    for _ in range(5):
        for pod in (await cluster.running(30))[:7]:
            await cluster.delete(pod.key)
    await cluster.running(30)
    until, alive, most = await cluster.store.revision(), set(), 0
    async with contextlib.aclosing(cluster.store.watch({"pods"}, since)) as batches:
        async for batch in batches:
            for change in batch.changes:
                if change.type == "ADDED":
                    assert change.object.meta.controller_owner().uid == made.meta.uid
                    alive.add(change.object.meta.uid)
                elif change.type == "DELETED":
                    alive.discard(change.object.meta.uid)
                most = max(most, len(alive))
            if batch.revision >= until:
                break
    assert most == 30


async def test_a_deposed_leader_writes_nothing(cluster, settings):
    informers = Informers.open(cluster.store, REGISTRY)
    deposed = Controllers(
        FencedStore(cluster.store, cluster.epoch - 1), REGISTRY, informers, Meter(None), settings
    )
    await cluster.replication("web", 3)
    following = asyncio.create_task(informers.run())
    ending = asyncio.create_task(deposed.run())
    while not ending.done():
        for pod in await cluster.pods():
            with contextlib.suppress(NotFound):
                await cluster.delete(pod.key)
        await asyncio.wait({ending}, timeout=0.05)
    with pytest.raises(ExceptionGroup) as caught:
        await ending
    assert caught.group_contains(Fenced)
    following.cancel()
    await cluster.running(3)  # the leader goes on


async def test_limit_ranges_complete_and_refuse_pods_of_templates(cluster):
    limits = {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}}
    made = await cluster.create("limitranges", "l", body={"spec": {"limits": [limits]}})
    await cluster.replication("web", 1)
    [pod] = await cluster.running(1, app="web")
    found = await cluster.document(pod.key)
    wanted = {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
    assert found["spec"]["containers"][0]["resources"] == wanted
    assert "limit-ranger" in str(found["metadata"]["annotations"])
    tight = {"type": "Pod", "max": {"memory": "1Gi"}}
    await cluster.change(made.key, body={"limits": [tight]})
    key = ObjectKey("replicationcontrollers", "default", "web")
    await cluster.change(key, body={"replicas": 2})

    async def refused():
        status = (await cluster.document(key))["status"]
        return [c["message"] for c in status.get("conditions", ()) if c["reason"] == "FailedCreate"]

    [said] = await cluster.until(refused)
    assert "maximum memory usage per Pod is 1Gi. No limit is specified" in said
