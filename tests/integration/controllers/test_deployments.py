"""Deployments and ReplicaSets against a real store."""

import pytest

from scheduler.objects.stored import ObjectKey

REVISION = "deployment.kubernetes.io/revision"


def key(name="web"):
    return ObjectKey("deployments.apps", "default", name)


def template(image="i:1", labels=None):
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }


def spec(replicas=3, image="i:1", **more):
    return {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(image),
        **more,
    }


async def deploy(cluster, **more):
    return await cluster.create("deployments.apps", "web", body={"spec": spec(**more)})


async def sets(cluster):
    found = (await cluster.store.list("replicasets.apps", "default")).objects
    return sorted(found, key=lambda each: int(each.meta.annotations.get(REVISION, 0)))


async def images(cluster):
    """Return how many live pods there are of each image."""
    found = {}
    for pod in await cluster.pods():
        if pod.meta.deletion_timestamp is None:
            document = await cluster.document(pod.key)
            image = document["spec"]["containers"][0]["image"]
            found[image] = found.get(image, 0) + 1
    return found


async def get_ready(cluster):
    """What agents do: every pod that is not ready becomes it. Returns how many there were."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    waiting = [pod for pod in await cluster.pods() if b"Running" not in pod.status]
    for pod in waiting:
        if await cluster.store.get(pod.key) is not None:
            await cluster.change(pod.key, status=status)
    return len(waiting)


async def settled(cluster, replicas, image, generation):
    """Bring pods up until all are of an image and the status says that the rollout is over."""

    async def over():
        await get_ready(cluster)
        status = (await cluster.document(key())).get("status", {})
        counts = [
            status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")
        ]
        done = counts == [replicas] * 3 and status.get("observedGeneration") == generation
        reason = {c["type"]: c["reason"] for c in status.get("conditions", [])}
        complete = reason.get("Progressing") == "NewReplicaSetAvailable"
        return done and complete and await images(cluster) == {image: replicas} and status

    return await cluster.until(over)


async def test_it_makes_a_replica_set_that_makes_pods(cluster):
    made = await deploy(cluster)
    pods = await cluster.running(3)
    status = await settled(cluster, 3, "i:1", 1)
    assert "unavailableReplicas" not in status
    (only,) = await sets(cluster)
    label = only.meta.labels["pod-template-hash"]
    assert only.meta.name == f"web-{label}"
    assert only.meta.controller_owner().uid == made.meta.uid
    assert only.meta.annotations["deployment.kubernetes.io/desired-replicas"] == "3"
    assert only.meta.annotations["deployment.kubernetes.io/max-replicas"] == "4"
    for pod in pods:
        assert pod.meta.labels == {"app": "web", "pod-template-hash": label}
        assert pod.meta.controller_owner().kind == "ReplicaSet"
    assert (await cluster.store.get(key())).meta.annotations[REVISION] == "1"


async def test_it_rolls_within_its_limits_and_back(cluster):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await deploy(cluster, strategy=rolling)
    await cluster.running(3)
    await settled(cluster, 3, "i:1", 1)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)

    async def surged():
        found = await images(cluster)
        assert sum(found.values()) <= 4
        return found.get("i:2") == 1 and found

    assert await cluster.until(surged, "pods") == {"i:1": 3, "i:2": 1}
    await settled(cluster, 3, "i:2", 2)
    first, second = await sets(cluster)
    assert first.meta.annotations[REVISION] == "1"
    assert second.meta.annotations[REVISION] == "2"
    await cluster.change(key(), body={"template": template("i:1")}, generation=3)
    await settled(cluster, 3, "i:1", 3)
    second, first = await sets(cluster)
    assert first.meta.annotations[REVISION] == "3"
    assert first.meta.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert (await cluster.store.get(key())).meta.annotations[REVISION] == "3"


async def test_recreate_waits_until_the_old_pods_are_gone(cluster):
    await cluster.node("a")
    await deploy(cluster, replicas=2, strategy={"type": "Recreate"})
    for pod in await cluster.running(2):
        await cluster.bind(pod, "a")
    await settled(cluster, 2, "i:1", 1)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)

    async def stopping():
        pods = await cluster.pods()
        return all(pod.meta.deletion_timestamp is not None for pod in pods) and pods

    for pod in await cluster.until(stopping, "pods"):
        assert len(await sets(cluster)) == 1
        await cluster.delete(pod.key)
    await settled(cluster, 2, "i:2", 2)


async def test_a_paused_one_is_scaled_but_not_rolled(cluster):
    await deploy(cluster, replicas=2, paused=False)
    await cluster.running(2)
    await settled(cluster, 2, "i:1", 1)
    changed = {"paused": True, "template": template("i:2"), "replicas": 4}
    await cluster.change(key(), body=changed, generation=2)
    await cluster.running(4)
    assert await images(cluster) == {"i:1": 4}

    async def paused():
        conditions = (await cluster.document(key()))["status"]["conditions"]
        return any(c["reason"] == "DeploymentPaused" for c in conditions)

    await cluster.until(paused)
    await cluster.change(key(), body={"paused": False}, generation=3)
    await settled(cluster, 4, "i:2", 3)


async def test_it_is_overdue_when_pods_do_not_become_ready(cluster):
    await deploy(cluster, replicas=1, progressDeadlineSeconds=60)
    await cluster.running(1)

    async def condition(reason):
        status = (await cluster.document(key())).get("status", {})
        found = {c["type"]: c for c in status.get("conditions", [])}
        return found if found.get("Progressing", {}).get("reason") == reason else None

    await cluster.until(lambda: condition("ReplicaSetUpdated"))

    found = None
    while found is None:  # the timer is set some time after the condition
        cluster.clock.pass_time(30)
        found = await condition("ProgressDeadlineExceeded")
    assert (found["Progressing"]["status"], found["Available"]["status"]) == ("False", "False")
    await get_ready(cluster)
    await settled(cluster, 1, "i:1", 1)


async def test_old_replica_sets_beyond_the_limit_go(cluster):
    await deploy(cluster, replicas=1, revisionHistoryLimit=1)
    await cluster.running(1)
    for number in range(1, 4):
        await cluster.change(key(), body={"template": template(f"i:{number}")}, generation=number)
        await settled(cluster, 1, f"i:{number}", number)

    async def two():
        found = await sets(cluster)
        return len(found) == 2 and [each.meta.annotations[REVISION] for each in found]

    assert await cluster.until(two) == ["2", "3"]


async def test_it_takes_over_the_replica_set_of_its_template(cluster):
    labels = {"app": "web", "pod-template-hash": "x"}
    body = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": template(labels=labels),
    }
    orphan = await cluster.create("replicasets.apps", "old", body={"spec": body}, labels=labels)
    pods = await cluster.running(2)
    await deploy(cluster, replicas=2)
    await settled(cluster, 2, "i:1", 1)
    (only,) = await sets(cluster)
    assert only.meta.uid == orphan.meta.uid
    assert {p.meta.uid for p in await cluster.running(2)} == {p.meta.uid for p in pods}


async def test_many_pods_are_made_as_cohorts(cluster):
    await deploy(cluster, replicas=100)
    assert all(pod.lodged for pod in await cluster.running(100))
    await cluster.change(key(), body={"replicas": 150}, generation=2)
    assert all(pod.lodged for pod in await cluster.running(150))


async def test_its_pods_go_with_it(cluster):
    await deploy(cluster)
    await cluster.running(3)
    await cluster.delete(key())
    await cluster.running(0)

    async def none():
        return not await sets(cluster)

    await cluster.until(none)


async def test_a_name_that_another_has_is_avoided(cluster):
    await deploy(cluster, replicas=1)
    await cluster.running(1)
    (only,) = await sets(cluster)
    await cluster.delete(key(), "orphan")
    await cluster.gone(key())
    stranger = {**template("other"), "metadata": {"labels": {"app": "other"}}}
    changed = {"selector": {"matchLabels": {"app": "other"}}, "template": stranger, "replicas": 0}
    await cluster.change(only.key, body=changed, labels={"app": "other"}, owner_references=())
    await deploy(cluster, replicas=1)

    async def two():
        return len(await sets(cluster)) == 2

    await cluster.until(two)
    assert (await cluster.document(key()))["status"]["collisionCount"] == 1


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
async def test_a_replica_set_adopts_by_any_selector(cluster, selector, matches):
    orphan = await cluster.pod("orphan", {"app": "web"})
    labels = {"app": "web"} if matches else {"tier": "front"}
    body = {"replicas": 1, "selector": selector, "template": template(labels=labels)}
    made = await cluster.create("replicasets.apps", "web", body={"spec": body})

    async def counted():
        status = (await cluster.document(made.key)).get("status", {})
        return status.get("replicas") == 1

    await cluster.until(counted)
    owner = (await cluster.store.get(orphan.key)).meta.controller_owner()
    assert (owner is not None and owner.uid == made.meta.uid) is matches
    assert len(await cluster.pods()) == (1 if matches else 2)
