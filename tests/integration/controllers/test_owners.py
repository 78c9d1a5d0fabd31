"""Garbage collection by owner references, and the end of namespaces."""

import uuid

import msgspec

from scheduler.api.service_claims import ServiceClaims
from scheduler.errors import Forbidden
from scheduler.objects.meta import ObjectMeta, OwnerReference
from scheduler.objects.service_records import record_keys
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Create
from tests.store_values import key


def owned_by(owner, block=False, kind="ConfigMap"):
    return (OwnerReference("v1", kind, owner.meta.name, owner.meta.uid, None, block or None),)


async def family(cluster, block=False):
    """A grandparent, a parent and a child, each owned by the one before."""
    first = await cluster.create("configmaps", "first")
    second = await cluster.create("configmaps", "second", owner_references=owned_by(first, block))
    third = await cluster.create("configmaps", "third", owner_references=owned_by(second, block))
    return first, second, third


async def test_in_the_background_dependents_go_after_their_owner(cluster):
    first, second, third = await family(cluster)
    await cluster.delete(first.key)
    await cluster.gone(second.key)
    await cluster.gone(third.key)


async def test_in_the_foreground_dependents_go_first(cluster):
    first, second, third = await family(cluster, block=True)
    since = await cluster.store.revision()
    await cluster.delete(first.key, "foregroundDeletion")
    await cluster.gone(first.key)
    order = []
    async for batch in cluster.store.watch({"configmaps"}, since):
        order += [c.object.meta.name for c in batch.changes if c.type == "DELETED"]
        if len(order) == 3:
            break
    assert order == ["third", "second", "first"]
    assert await cluster.store.get(second.key) is await cluster.store.get(third.key) is None


async def test_a_host_is_emptied_before_its_node_goes_in_the_foreground(cluster):
    hold = ("ironfree.dev/containers",)
    host = await cluster.create("dockerhosts.ironfree.dev", "h1", finalizers=hold)
    owner = OwnerReference("ironfree.dev/v1", "DockerHost", "h1", host.meta.uid, True, True)
    node = await cluster.create("nodes", "h1", owner_references=(owner,))
    await cluster.delete(host.key, "foregroundDeletion")
    for number in range(3):  # by then the collector has looked at the node too
        absent = (OwnerReference("v1", "ConfigMap", "x", f"absent-{number}"),)
        dependent = await cluster.create("configmaps", "later", owner_references=absent)
        await cluster.gone(dependent.key)
    assert (await cluster.store.get(node.key)).meta.deletion_timestamp is None
    await cluster.change(host.key, finalizers=("foregroundDeletion",))
    await cluster.gone(node.key)
    await cluster.gone(host.key)


async def test_orphans_outlive_their_owner(cluster):
    first, second, third = await family(cluster)
    await cluster.delete(first.key, "orphan")
    await cluster.gone(first.key)
    assert (await cluster.store.get(second.key)).meta.owner_references == ()
    assert (await cluster.store.get(third.key)).meta.owner_references != ()


async def test_a_second_owner_keeps_an_object(cluster):
    first = await cluster.create("configmaps", "first")
    other = await cluster.create("configmaps", "other")
    both = (*owned_by(first), *owned_by(other))
    child = await cluster.create("configmaps", "child", owner_references=both)
    await cluster.delete(first.key)

    async def forgotten():
        return len((await cluster.store.get(child.key)).meta.owner_references) == 1

    await cluster.until(forgotten, "configmaps")
    await cluster.delete(other.key)
    await cluster.gone(child.key)


async def test_an_owner_that_never_was_counts_as_gone_and_an_unknown_kind_does_not(cluster):
    first = await cluster.create("configmaps", "first")
    wrong_uid = (OwnerReference("v1", "ConfigMap", "first", "another-uid"),)
    child = await cluster.create("configmaps", "child", owner_references=wrong_uid)
    foreign = (OwnerReference("example.com/v1", "Thing", "x", "some-uid"),)
    kept = await cluster.create("configmaps", "kept", owner_references=foreign)
    await cluster.gone(child.key)
    assert await cluster.store.get(first.key) is not None
    assert await cluster.store.get(kept.key) is not None


async def test_a_deleted_controller_takes_its_pods_along(cluster):
    made = await cluster.replication("web", 4)
    await cluster.running(4)
    await cluster.delete(made.key)
    await cluster.running(0)


async def test_a_controller_deleted_as_orphan_leaves_its_pods(cluster):
    made = await cluster.replication("web", 4)
    before = {p.meta.uid for p in await cluster.running(4)}
    await cluster.delete(made.key, "orphan")
    await cluster.gone(made.key)
    after = await cluster.running(4)
    assert {p.meta.uid for p in after} == before
    assert all(p.meta.owner_references == () for p in after)


async def test_a_namespace_goes_with_its_content(cluster):
    await cluster.create("namespaces", "doomed", status={"phase": "Active"})
    made = await cluster.replication("web", 3, namespace="doomed")
    await cluster.create("configmaps", "c", namespace="doomed")

    async def filled():
        return len(await cluster.pods("doomed")) == 3

    await cluster.until(filled, "pods")
    kept = await cluster.create("configmaps", "c")
    await cluster.delete(key("namespaces", "doomed"))
    await cluster.gone(key("namespaces", "doomed"))
    assert await cluster.pods("doomed") == ()
    assert await cluster.store.get(made.key) is None
    assert (await cluster.store.list("events", "doomed")).objects == ()
    assert await cluster.store.get(kept.key) is not None


async def exposed(cluster, namespace, **meta):
    """Create a Service with an address and a port of nodes, as the API does."""
    meta = ObjectMeta(name="web", namespace=namespace, uid=str(uuid.uuid4()), **meta)
    spec = {"type": "NodePort", "clusterIP": "10.96.7.7"}
    spec["ports"] = [{"port": 80, "protocol": "TCP", "nodePort": 31000}]
    await ServiceClaims(cluster.store, "10.96.0.0/16").take(meta, spec, {})
    body = Body(msgspec.json.encode({"spec": spec}))
    return await cluster.store.write(Create("services", meta, body))


async def test_what_services_held_is_free_when_their_namespace_is_gone(cluster):
    for _ in range(2):
        await cluster.create("namespaces", "doomed", status={"phase": "Active"})
        await exposed(cluster, "doomed")
        await cluster.delete(key("namespaces", "doomed"))
        await cluster.gone(key("namespaces", "doomed"))


async def test_what_a_service_held_is_freed_when_its_owner_is_gone(cluster):
    owner = await cluster.create("configmaps", "owner")
    await exposed(cluster, "default", owner_references=owned_by(owner))
    await cluster.delete(owner.key)
    for record in record_keys("10.96.7.7", [31000]):
        await cluster.gone(record)


async def test_a_namespace_waits_for_bound_pods_and_finalizers(cluster):
    await cluster.node("a")
    await cluster.create("namespaces", "doomed", status={"phase": "Active"})
    pod = await cluster.pod("p", namespace="doomed")
    await cluster.bind(pod, "a")
    held = await cluster.create("configmaps", "held", namespace="doomed", finalizers=("x/y",))
    await cluster.delete(key("namespaces", "doomed"))

    async def marked():
        both = [await cluster.store.get(pod.key), await cluster.store.get(held.key)]
        return all(o.meta.deletion_timestamp for o in both)

    await cluster.until(marked)
    try:
        await cluster.pod("late", namespace="doomed")
    except Forbidden:
        pass
    else:
        raise AssertionError("a terminating namespace took a pod")
    await cluster.delete(held.key)
    assert await cluster.store.get(key("namespaces", "doomed")) is not None
    await cluster.delete(pod.key)
    await cluster.gone(ObjectKey("namespaces", "", "doomed"))
