"""Claims get volumes, volumes are let go of, and nothing in use disappears."""

import pytest

from scheduler.objects.deletion import DeletionRequest, delete
from scheduler.objects.storage import CLAIMS, CLASSES, DATA, VOLUMES
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Remove, Replace

CLAIM = ObjectKey(CLAIMS, "default", "c")


async def claim(cluster, kind="", size="1Gi", **spec):
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    spec = {**wanted, **({} if kind is None else {"storageClassName": kind}), **spec}
    held = ("kubernetes.io/pvc-protection",)
    status = {"phase": "Pending"}
    return await cluster.create(CLAIMS, "c", body={"spec": spec}, status=status, finalizers=held)


async def volume(cluster, name, size="1Gi", kind="", policy="Retain", **spec):
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": policy,
        "storageClassName": kind,
        "hostPath": {"path": "/x"},
        **spec,
    }
    held = ("kubernetes.io/pv-protection",)
    return await cluster.create(
        VOLUMES, name, body={"spec": spec}, status={"phase": "Pending"}, finalizers=held
    )


async def storage_class(cluster, name, provisioner, mode="WaitForFirstConsumer", **meta):
    body = {"provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete"}
    return await cluster.create(CLASSES, name, body=body, **meta)


async def claimed(cluster, phase="Bound"):
    """Wait until the claim is in a phase, and return it."""

    async def there():
        found = await cluster.document(CLAIM)
        return found if found["status"]["phase"] == phase else None

    return await cluster.until(there)


async def in_phase(cluster, name, phase):
    async def there():
        found = await cluster.document(ObjectKey(VOLUMES, "", name))
        return found if found and found["status"].get("phase") == phase else None

    return await cluster.until(there)


async def user(cluster, node=None):
    """Create a pod that mounts the claim, on a node if one is given."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    spec = {"containers": [{"name": "c", "image": "i:1"}], "volumes": volumes}
    made = await cluster.create("pods", "p", body={"spec": spec}, status={"phase": "Pending"})
    if node:
        await cluster.bind(made, node)
    return made


async def deleted(cluster, key):
    """Delete as the API does."""
    stored = await cluster.store.get(key)
    meta = delete(stored, DeletionRequest(), cluster.clock.now())
    if meta is None:
        await cluster.store.write(Remove(key, stored.meta.uid))
        return
    write = Replace(key.resource, meta, stored.body, stored.status, stored.revision)
    await cluster.store.write(write)


async def test_a_claim_gets_the_smallest_volume_that_fits(cluster):
    await volume(cluster, "small", "1Mi")
    await volume(cluster, "large", "9Gi")
    await volume(cluster, "right", "2Gi")
    await volume(cluster, "other", "2Gi", kind="x")
    for name in ("small", "large", "right", "other"):
        await in_phase(cluster, name, "Available")
    made = await claim(cluster)
    found = await claimed(cluster)
    assert found["spec"]["volumeName"] == "right"
    assert found["status"]["capacity"] == {"storage": "2Gi"}
    bound = await in_phase(cluster, "right", "Bound")
    assert bound["spec"]["claimRef"]["uid"] == made.meta.uid


async def test_a_claim_waits_and_takes_a_volume_that_comes_later(cluster):
    await claim(cluster)
    await volume(cluster, "late")
    assert (await claimed(cluster))["spec"]["volumeName"] == "late"


async def test_a_volume_is_made_where_the_first_pod_is_and_goes_with_the_claim(cluster):
    await cluster.node("n")
    stored = await cluster.store.get(ObjectKey("nodes", "", "n"))
    labels = {"kubernetes.io/hostname": "n"}
    meta = type(stored.meta)(name="n", uid=stored.meta.uid, labels=labels)
    await cluster.store.write(Replace("nodes", meta, stored.body, stored.status, stored.revision))
    marked = {"storageclass.kubernetes.io/is-default-class": "true"}
    await storage_class(cluster, "made", "ironfree.dev/docker-volume", annotations=marked)
    made = await claim(cluster, kind=None)
    pod = await user(cluster, "n")
    found = await claimed(cluster)
    name = f"pvc-{made.meta.uid}"
    assert (found["spec"]["volumeName"], found["spec"]["storageClassName"]) == (name, "made")
    bound = await in_phase(cluster, name, "Bound")
    assert bound["spec"]["csi"] == {"driver": "docker-volume.ironfree.dev", "volumeHandle": name}
    (term,) = bound["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["n"]
    await deleted(cluster, CLAIM)
    assert (await cluster.store.get(CLAIM)) is not None  # a pod on a node has it
    await cluster.store.write(Remove(pod.key, pod.meta.uid))
    await cluster.gone(CLAIM)

    async def left_to_the_host():
        stored = await cluster.store.get(ObjectKey(VOLUMES, "", name))
        return stored.meta.deletion_timestamp and stored.meta.finalizers == (DATA,)

    await cluster.until(left_to_the_host)


@pytest.mark.parametrize(("policy", "phase"), [("Retain", "Released"), ("Delete", "Failed")])
async def test_a_volume_without_its_claim(cluster, policy, phase):
    await volume(cluster, "v", policy=policy)
    await in_phase(cluster, "v", "Available")
    await claim(cluster)
    await claimed(cluster)
    await deleted(cluster, CLAIM)
    await cluster.gone(CLAIM)
    await in_phase(cluster, "v", phase)
    await claim(cluster)  # of the same name, but another: it does not get the data
    await deleted(cluster, ObjectKey(VOLUMES, "", "v"))
    await cluster.gone(ObjectKey(VOLUMES, "", "v"))
    assert (await claimed(cluster, "Pending"))["spec"].get("volumeName") is None


async def test_a_claim_that_names_its_volume_and_one_that_lost_it(cluster):
    await volume(cluster, "mine", "5Gi")
    await claim(cluster, volumeName="mine")
    await claimed(cluster)
    stored = await cluster.store.get(ObjectKey(VOLUMES, "", "mine"))
    await cluster.store.write(Remove(stored.key, stored.meta.uid))
    await claimed(cluster, "Lost")
