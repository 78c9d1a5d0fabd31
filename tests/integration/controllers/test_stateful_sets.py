"""StatefulSets against a real store."""

from scheduler.objects.stored import ObjectKey

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
LABEL = "controller-revision-hash"


def key(name="db"):
    return ObjectKey("statefulsets.apps", "default", name)


def pod_key(number):
    return ObjectKey("pods", "default", f"db-{number}")


def template(image="i:1"):
    mounts = [{"name": "data", "mountPath": "/data"}]
    return {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "c", "image": image, "volumeMounts": mounts}]},
    }


async def databases(cluster, replicas=3, **more):
    claim = {
        "metadata": {"name": "data", "labels": {"tier": "disk"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    spec = {
        "replicas": replicas,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": template(),
        "volumeClaimTemplates": [claim],
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **more,
    }
    return await cluster.create("statefulsets.apps", "db", body={"spec": spec})


async def there(cluster):
    return {pod.meta.name: pod for pod in await cluster.pods()}


async def ready(cluster, number):
    """Wait for a pod, and have it ready."""

    async def made():
        return await cluster.store.get(pod_key(number))

    pod = await cluster.until(made, "pods")
    await cluster.change(pod.key, status=READY)
    return pod


async def images(cluster):
    found = {}
    for name, pod in (await there(cluster)).items():
        document = await cluster.document(pod.key)
        found[name] = document["spec"]["containers"][0]["image"]
    return found


async def status(cluster, **counts):
    """Wait until the status has these fields; None is for one that is left out."""

    async def look():
        found = (await cluster.document(key())).get("status", {})
        return all(found.get(name) == value for name, value in counts.items()) and found

    return await cluster.until(look, "statefulsets.apps")


async def test_pods_come_one_after_another_with_names_and_claims(cluster):
    made = await databases(cluster)
    first = await ready(cluster, 0)
    assert first.meta.controller_owner().uid == made.meta.uid
    assert first.meta.labels["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert first.meta.labels["apps.kubernetes.io/pod-index"] == "0"
    assert first.meta.labels[LABEL].startswith("db-")
    spec = (await cluster.document(first.key))["spec"]
    assert (spec["hostname"], spec["subdomain"]) == ("db-0", "db")
    (volume,) = spec["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    await status(cluster, replicas=2, readyReplicas=1)
    assert set(await there(cluster)) == {"db-0", "db-1"}
    await ready(cluster, 1)
    await ready(cluster, 2)
    await status(cluster, replicas=3, readyReplicas=3, currentReplicas=3, updatedReplicas=3)
    claims = (await cluster.store.list("persistentvolumeclaims", "default")).objects
    assert [claim.meta.name for claim in claims] == ["data-db-0", "data-db-1", "data-db-2"]
    assert claims[0].meta.labels == {"app": "db", "tier": "disk"}
    assert claims[0].meta.owner_references == ()


async def test_it_shrinks_from_the_top_and_keeps_the_claims(cluster):
    await cluster.node("a")
    await databases(cluster)
    for number in range(3):
        await cluster.bind(await ready(cluster, number), "a")
    await status(cluster, readyReplicas=3)
    await cluster.change(key(), body={"replicas": 1})

    async def going(number):
        pod = await cluster.store.get(pod_key(number))
        return pod.meta.deletion_timestamp is not None

    await cluster.until(lambda: going(2), "pods")
    assert not await going(1)
    await cluster.delete(pod_key(2))
    await cluster.until(lambda: going(1), "pods")
    await cluster.delete(pod_key(1))
    await status(cluster, replicas=1)
    assert set(await there(cluster)) == {"db-0"}
    assert len((await cluster.store.list("persistentvolumeclaims", "default")).objects) == 3


async def test_an_update_goes_downwards_and_waits_for_each(cluster):
    await databases(cluster)
    for number in range(3):
        await ready(cluster, number)
    before = await status(cluster, readyReplicas=3, updatedReplicas=3)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)
    await status(cluster, observedGeneration=2, updatedReplicas=1)
    assert await images(cluster) == {"db-0": "i:1", "db-1": "i:1", "db-2": "i:2"}
    await ready(cluster, 2)
    await status(cluster, updatedReplicas=2)
    assert await images(cluster) == {"db-0": "i:1", "db-1": "i:2", "db-2": "i:2"}
    await ready(cluster, 1)
    await status(cluster, updatedReplicas=3)
    await ready(cluster, 0)
    after = await status(cluster, readyReplicas=3, currentReplicas=3)
    assert after["currentRevision"] == after["updateRevision"] != before["updateRevision"]


async def test_a_partition_keeps_the_lower_ones_as_they_are(cluster):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await databases(cluster, replicas=2, updateStrategy=rolling)
    for number in range(2):
        await ready(cluster, number)
    await status(cluster, readyReplicas=2)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)
    await status(cluster, observedGeneration=2, updatedReplicas=1)
    await ready(cluster, 1)
    found = await status(cluster, readyReplicas=2)
    assert found["currentRevision"] != found["updateRevision"]
    assert await images(cluster) == {"db-0": "i:1", "db-1": "i:2"}
    old = await cluster.store.get(pod_key(0))
    await cluster.delete(old.key)

    async def again():
        pod = await cluster.store.get(pod_key(0))
        return pod is not None and pod.meta.uid != old.meta.uid

    await cluster.until(again, "pods")
    assert (await images(cluster))["db-0"] == "i:1"


async def test_in_parallel_all_come_and_go_at_once(cluster):
    await databases(cluster, podManagementPolicy="Parallel")
    await cluster.running(3)
    await cluster.change(key(), body={"replicas": 0})
    await cluster.running(0)


async def test_on_delete_waits_for_somebody_to_delete(cluster):
    await databases(cluster, replicas=1, updateStrategy={"type": "OnDelete"})
    old = await ready(cluster, 0)
    await status(cluster, readyReplicas=1)
    await cluster.change(key(), body={"template": template("i:2")}, generation=2)
    await status(cluster, observedGeneration=2, updatedReplicas=None)
    assert await images(cluster) == {"db-0": "i:1"}
    await cluster.delete(old.key)
    await status(cluster, updatedReplicas=1)
    assert await images(cluster) == {"db-0": "i:2"}


async def test_a_pod_that_is_still_going_is_not_replaced(cluster):
    await cluster.node("a")
    await databases(cluster, replicas=1)
    pod = await ready(cluster, 0)
    await cluster.bind(pod, "a")
    await status(cluster, readyReplicas=1)
    going = {"deletion_timestamp": cluster.clock.now(), "deletion_grace_period_seconds": 30}
    await cluster.change(pod.key, **going)
    await status(cluster, currentReplicas=None)
    assert [each.meta.uid for each in await cluster.pods()] == [pod.meta.uid]
    await cluster.delete(pod.key)
    await cluster.running(1)


async def test_a_pod_that_has_failed_is_made_again(cluster):
    await databases(cluster, replicas=1)
    old = await ready(cluster, 0)
    await cluster.change(old.key, status={"phase": "Failed"})

    async def again():
        pod = await cluster.store.get(pod_key(0))
        return pod is not None and pod.meta.uid != old.meta.uid

    assert await cluster.until(again, "pods")


async def test_names_begin_at_the_first_ordinal(cluster):
    await databases(cluster, replicas=2, ordinals={"start": 5})
    await ready(cluster, 5)
    await ready(cluster, 6)
    await status(cluster, readyReplicas=2)
    assert set(await there(cluster)) == {"db-5", "db-6"}
