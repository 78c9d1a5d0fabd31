"""Controllers and many pods at once: made as cohorts, treated as pods."""

import json
from collections import Counter

import pytest

from scheduler.controllers import replication
from scheduler.objects.deletion import FOREGROUND, ORPHAN
from scheduler.objects.disruption import RESOURCE as BUDGETS
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import BindCohort, CreateCohort, Remove
from tests.store_values import cohort


def rc(name="web"):
    return ObjectKey("replicationcontrollers", "default", name)


def uids(pods):
    return {pod.meta.uid for pod in pods}


async def board(cluster, pods, node):
    """Bind lodged pods as the scheduler does."""
    lots = {}
    for pod in pods:
        assert pod.lodged
        lots.setdefault(pod.meta.uid[:28], []).append(int(pod.meta.uid[28:], 16))
    for lot, some in lots.items():
        op = BindCohort(
            "default",
            lot + "00000000",
            tuple(some),
            (node,) * len(some),
            await cluster.store.revision(),
            {"pods": 1},
        )
        (done,) = await cluster.store.write_cohorts((op,))
        assert not done.refused


async def gone(cluster, pods):
    """Wait until pods are away, or on their way."""

    async def away():
        cluster.clock.pass_time(60)
        kept = [await cluster.store.get(pod.key) for pod in pods]
        return not any(each and each.meta.deletion_timestamp is None for each in kept)

    await cluster.until(away, "pods")


async def test_pods_bound_to_a_node_with_a_taint_leave_it(cluster):
    await cluster.node("a")
    taint = {"key": "mine", "effect": "NoExecute"}
    await cluster.change(ObjectKey("nodes", "", "a"), body={"taints": [taint]})
    await cluster.replication("web", 40)
    pods = await cluster.running(40)
    await board(cluster, pods, "a")
    await gone(cluster, pods)


async def test_pods_bound_to_a_node_that_is_not_there_are_removed(cluster):
    await cluster.node("a")
    await cluster.replication("web", 40)
    pods = await cluster.running(40)
    await board(cluster, pods, "a")
    await cluster.delete(ObjectKey("nodes", "", "a"))
    await gone(cluster, pods)


async def test_many_pods_are_made_at_once_and_told_of(cluster):
    await cluster.replication("web", 50)
    pods = await cluster.running(50)
    assert all(pod.lodged for pod in pods)
    document = await cluster.document(pods[7].key)
    assert document["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert document["metadata"]["ownerReferences"][0]["name"] == "web"

    async def counted():
        status = (await cluster.document(rc())).get("status", {})
        return status.get("replicas") == 50 and status

    assert (await cluster.until(counted))["fullyLabeledReplicas"] == 50

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        found = [json.loads(event.body.json) for event in events]
        return len(found) == 4 and found

    assert sum(event["count"] for event in await cluster.until(told)) == 50


async def test_numbers_go_up_and_down(cluster):
    await cluster.replication("web", 40)
    first = await cluster.running(40)
    await cluster.change(rc(), body={"replicas": 90})
    second = await cluster.running(90)
    assert uids(first) < uids(second)
    await cluster.node("n")
    bound = sorted(second, key=lambda pod: pod.meta.uid)[:30]
    await board(cluster, bound, "n")
    await cluster.change(rc(), body={"replicas": 45})
    third = await cluster.running(45)
    assert uids(bound) < uids(third) < uids(second)  # who has no node goes first
    await cluster.change(rc(), body={"replicas": 80})
    assert uids(third) < uids(await cluster.running(80))
    await cluster.change(rc(), body={"replicas": 0})
    await cluster.running(0)


async def test_pods_that_leave_their_cohort_count_on(cluster):
    await cluster.replication("web", 40)
    pods = await cluster.running(40)
    await cluster.change(pods[0].key, status={"phase": "Running"})
    await cluster.delete(pods[1].key)
    await cluster.change(pods[2].key, labels={"app": "other"})
    await cluster.change(pods[3].key, status={"phase": "Failed"})

    async def healed():
        now = await cluster.pods()
        return (
            len(now) == 42 and now
        )  # one let go and one that failed are not replaced, but made up

    now = {pod.meta.uid: pod for pod in await cluster.until(healed, "pods")}
    assert pods[0].meta.uid in now
    assert pods[1].meta.uid not in now

    async def let_go():
        other = await cluster.store.get(pods[2].key)
        return other.meta.controller_owner() is None

    assert await cluster.until(let_go, "pods")


async def test_another_selector_lets_them_go_and_back(cluster):
    await cluster.replication("web", 40)
    first = await cluster.running(40)
    template = {
        "metadata": {"labels": {"app": "new"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    }
    changed = {"selector": {"app": "new"}, "template": template}
    await cluster.change(rc(), body=changed)
    await cluster.running(40, app="new")

    async def let_go():
        old = [pod for pod in await cluster.pods() if pod.meta.uid in uids(first)]
        return len(old) == 40 and not any(pod.meta.owner_references for pod in old)

    assert await cluster.until(let_go, "pods")
    await cluster.replication("other", 35, {"app": "web"})
    adopted = await cluster.running(35, app="web")
    assert uids(adopted) < uids(first)


async def test_orphans_in_a_cohort_are_adopted(cluster):
    lot = cohort(40, prefix="free-", labels={"app": "web"})
    await cluster.store.create_cohorts((CreateCohort(lot),))
    made = await cluster.replication("web", 36)

    async def adopted():
        now = await cluster.pods()
        owners = Counter(o.uid for pod in now for o in pod.meta.owner_references)
        return len(now) == 36 and owners == {made.meta.uid: 36}

    assert await cluster.until(adopted, "pods")


@pytest.mark.parametrize("how", ["", FOREGROUND, ORPHAN])
async def test_deletion_cascades(cluster, how):
    await cluster.replication("web", 60)
    pods = await cluster.running(60)
    await cluster.change(pods[5].key, status={"phase": "Running"})
    await cluster.delete(rc(), how)
    await cluster.gone(rc())
    if how != ORPHAN:
        await cluster.running(0)
        return
    left = await cluster.running(60)
    assert uids(left) == uids(pods)
    assert not any(pod.meta.owner_references for pod in left)


@pytest.mark.parametrize("how", ["", FOREGROUND])
async def test_a_controller_deleted_while_its_pods_are_made(cluster, monkeypatch, how):
    """Its last cohort is committed after its deletion."""
    real = replication.FencedStore.create_cohorts
    late = []

    async def create_cohorts(store, lots):
        if not late:
            late.append(await cluster.delete(rc(), how))
        return await real(store, lots)

    monkeypatch.setattr(replication.FencedStore, "create_cohorts", create_cohorts)
    since = await cluster.store.revision()
    await cluster.replication("web", 40)

    async def over():
        made = any(
            change.cohort.size == 40
            for batch in cluster.store._hub.since(since, frozenset({"pods"})) or ()
            for change in batch.changes
            if hasattr(change, "cohort")
        )
        return made and not await cluster.pods() and await cluster.store.get(rc()) is None

    assert await cluster.until(over)


async def test_names_that_are_taken_are_tried_again(cluster, monkeypatch):
    starts = iter([0, 0, 20, 500, 500, 900])
    monkeypatch.setattr("random.randrange", lambda _: next(starts))
    await cluster.replication("web", 40)
    first = await cluster.running(40)
    await cluster.change(rc(), body={"replicas": 80})
    assert uids(first) < uids(await cluster.running(80))


async def test_a_namespace_that_ends_takes_cohorts_along(cluster):
    await cluster.create("namespaces", "other", status={"phase": "Active"})
    lot = cohort(40, namespace="other", labels={"app": "x"})
    await cluster.store.create_cohorts((CreateCohort(lot),))
    where = ObjectKey("namespaces", "", "other")
    await cluster.change(where, deletion_timestamp=cluster.clock.now())
    await cluster.gone(where)
    assert await cluster.pods("other") == ()


async def test_a_budget_counts_lodged_pods(cluster):
    spec = {"minAvailable": 10, "selector": {"matchLabels": {"app": "web"}}}
    await cluster.create(BUDGETS, "b", body={"spec": spec})
    await cluster.replication("web", 40)
    pods = await cluster.running(40)

    async def counted(healthy):
        status = (await cluster.document(ObjectKey(BUDGETS, "default", "b"))).get("status", {})
        right = (status.get("expectedPods"), status.get("currentHealthy")) == (40, healthy)
        return right and status

    assert (await cluster.until(lambda: counted(0)))["disruptionsAllowed"] == 0
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    for pod in pods[:12]:
        await cluster.change(pod.key, status=ready)
    assert (await cluster.until(lambda: counted(12)))["disruptionsAllowed"] == 2


async def test_pods_of_lost_nodes_are_collected(cluster):
    await cluster.node("n")
    await cluster.replication("web", 40)
    pods = await cluster.running(40)
    await board(cluster, pods[:15], "n")
    await cluster.store.write(Remove(ObjectKey("nodes", "", "n")))

    async def replaced():
        cluster.clock.pass_time(60)
        now = await cluster.pods()
        return len(now) == 40 and not uids(pods[:15]) & uids(now)

    assert await cluster.until(replaced)
