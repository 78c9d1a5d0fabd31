"""Controllers make as many pods as quotas let them, say so, and go on when there is room."""

import asyncio
import contextlib
import json

import pytest

from scheduler.controllers.quota_waits import QuotaWaits
from scheduler.informer import Informer
from scheduler.objects.resource_quota import RESOURCE, quota_view
from scheduler.objects.stored import ObjectKey

QUOTA = ObjectKey("resourcequotas", "default", "q")
RC = ObjectKey("replicationcontrollers", "default", "web")


async def failed(cluster, key=RC):
    """Wait for the condition that pods could not be made, and return its message."""

    async def told():
        status = (await cluster.document(key)).get("status", {})
        return next(
            (c for c in status.get("conditions", ()) if c["type"] == "ReplicaFailure"), None
        )

    condition = await cluster.until(told)
    assert (condition["status"], condition["reason"]) == ("True", "FailedCreate")
    return condition["message"]


async def quota(cluster, pods):
    await cluster.create("resourcequotas", "q", body={"spec": {"hard": {"pods": str(pods)}}})


async def used(cluster):
    return json.loads((await cluster.store.get(QUOTA)).status)["used"]


@pytest.mark.parametrize(("wanted", "fits", "raised"), [(5, 2, 4), (100, 45, 70)])
async def test_as_many_as_fit_and_more_when_it_is_raised(cluster, wanted, fits, raised):
    """With rows of their own, and as a cohort."""
    await quota(cluster, fits)
    await cluster.replication("web", wanted)
    await cluster.running(fits)
    said = await failed(cluster)
    assert f"exceeded quota: q, requested: pods=1, used: pods={fits}, limited: pods={fits}" in said
    await cluster.change(QUOTA, body={"hard": {"pods": str(raised)}})
    await cluster.running(raised)
    await cluster.delete(QUOTA)
    await cluster.running(wanted)

    async def mended():
        status = (await cluster.document(RC)).get("status", {})
        return status.get("replicas") == wanted and not status.get("conditions")

    await cluster.until(mended)


async def test_it_is_told_as_an_event(cluster):
    await quota(cluster, 0)
    await cluster.replication("web", 1)
    await failed(cluster)

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        bodies = [json.loads(event.body.json) for event in events]
        return [each for each in bodies if each["reason"] == "FailedCreate"]

    event = (await cluster.until(told, "events"))[0]
    assert event["type"] == "Warning"
    assert event["message"] == (
        'Error creating: pods "web-" is forbidden: exceeded quota: q, requested: pods=1, '
        "used: pods=0, limited: pods=0"
    )


async def test_what_ends_makes_room(cluster):
    """The Job's second pod comes when the first has ended, whatever the back-off says."""
    await quota(cluster, 1)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    spec = {
        "completions": 2,
        "parallelism": 2,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "selector": {"matchLabels": {"job": "j"}},
        "template": {"metadata": {"labels": {"job": "j"}}, **template},
    }
    await cluster.create("jobs.batch", "j", body={"spec": spec})
    (first,) = await cluster.running(1)
    assert await used(cluster) == {"pods": "1"}
    await cluster.change(first.key, status={"phase": "Succeeded"})

    async def second():
        return [p for p in await cluster.pods() if p.meta.uid != first.meta.uid]

    await cluster.until(second, "pods")
    assert await used(cluster) == {"pods": "1"}


async def test_a_daemon_is_forbidden_by_itself(cluster):
    await quota(cluster, 1)
    for name in ("a", "b"):
        await cluster.node(name)
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
    await cluster.create("daemonsets.apps", "d", body={"spec": spec})
    await cluster.running(1, app="d")
    await cluster.change(QUOTA, body={"hard": {"pods": "2"}})
    await cluster.running(2, app="d")


async def test_claims_of_a_stateful_set_are_counted(cluster):
    """The pod whose claim may not be waits for it."""
    hard = {"requests.storage": "1Gi"}
    await cluster.create("resourcequotas", "q", body={"spec": {"hard": hard}})
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {
        "serviceName": "db",
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "db"}},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    await cluster.create("statefulsets.apps", "db", body={"spec": spec})

    async def told():
        events = (await cluster.store.list("events", "default")).objects
        return [e for e in events if b"exceeded quota: q" in e.body.json]

    await cluster.until(told, "events")
    assert await used(cluster) == {"requests.storage": "1Gi"}
    await cluster.change(QUOTA, body={"hard": {"requests.storage": "2Gi"}})
    await cluster.running(2, app="db")
    assert await used(cluster) == {"requests.storage": "2Gi"}


@contextlib.asynccontextmanager
async def running(*tasks):
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(each) for each in tasks]
        try:
            yield
        finally:
            for each in started:
                each.cancel()


async def test_who_waits_for_quota_is_looked_at_when_there_is_room(cluster):
    informer = Informer(cluster.store, RESOURCE, quota_view)
    waits, looked = QuotaWaits(informer), asyncio.Queue()
    gone = ObjectKey("replicationcontrollers", "default", "gone")
    await quota(cluster, 2)
    async with running(informer.run(), waits.follow(looked.put_nowait)):
        await informer.synced()

        async def after(change):
            """Return who is looked at because of a change, and nobody for what came before."""
            waits.add(RC)
            waits.add(gone)
            waits.discard(gone)
            await change
            found = [await looked.get()]
            return found if looked.empty() else None

        assert await after(cluster.change(QUOTA, body={"hard": {"pods": "3"}})) == [RC]
        pod = await cluster.pod("p")
        waits.add(RC)
        await cluster.pod("p2")  # takes room, and so wakes nobody
        await cluster.change(QUOTA, body={"hard": {"pods": "2"}})
        await informer.reached(await cluster.store.revision())
        assert looked.empty()
        assert await after(cluster.delete(pod.key)) == [RC]
        assert await after(cluster.delete(QUOTA)) == [RC]
