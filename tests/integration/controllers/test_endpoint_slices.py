"""Services are told where their pods are found, while pods come, get ready and go."""

import contextlib

import msgspec

from scheduler.objects.endpoints import MANAGED_BY, slice_view
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Remove, Replace

SLICES = "endpointslices.discovery.k8s.io"


async def service(cluster, name="web", labels=None, **spec):
    port = {"port": 80, "protocol": "TCP", "targetPort": 8080}
    selector = {"app": name} if labels is None else labels
    body = {"spec": {"selector": selector, "ports": [port], **spec}}
    return await cluster.create("services", name, body=body)


async def run(cluster, pod, number, ready="True"):
    """Do what an agent does."""
    conditions = [{"type": "Ready", "status": ready}]
    status = {"phase": "Running", "podIP": f"10.0.0.{number}", "conditions": conditions}
    await cluster.change(pod.key, status=status)


async def told(cluster, name="web"):
    """Return address → ready of all slices of a Service, and the Endpoints' ready addresses."""
    found = {}
    for stored in (await cluster.store.list(SLICES, "default")).objects:
        if stored.meta.labels["kubernetes.io/service-name"] == name:
            for each in slice_view(stored).endpoints:
                found[each.addresses[0]] = each.conditions.ready
    document = await cluster.document(ObjectKey("endpoints", "default", name)) or {}
    ready = {a["ip"] for s in document.get("subsets", ()) for a in s.get("addresses", ())}
    return found, ready


async def until_told(cluster, wanted, ready):
    async def as_wanted():
        return await told(cluster) == (wanted, ready)

    await cluster.until(as_wanted, SLICES, "endpoints")


async def test_readiness_decides_who_is_used(cluster):
    await service(cluster)
    pods = [await cluster.pod(f"p{n}", {"app": "web"}) for n in range(3)]
    await cluster.pod("other", {"app": "db"})
    for number, pod in enumerate(pods):
        await run(cluster, pod, number, ready="True" if number else "False")
    every = {"10.0.0.0": False, "10.0.0.1": True, "10.0.0.2": True}
    await until_told(cluster, every, {"10.0.0.1", "10.0.0.2"})
    await run(cluster, pods[0], 0)
    await cluster.delete(pods[1].key)
    await until_told(cluster, {"10.0.0.0": True, "10.0.0.2": True}, {"10.0.0.0", "10.0.0.2"})
    await cluster.change(pods[2].key, status={"phase": "Failed"})
    await until_told(cluster, {"10.0.0.0": True}, {"10.0.0.0"})


async def test_pods_of_a_cohort_are_found_by_a_service_made_later(cluster):
    await cluster.replication("web", 40)
    pods = await cluster.running(40)
    assert all(pod.lodged for pod in pods)
    await run(cluster, pods[0], 1)
    await service(cluster)
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})
    await run(cluster, pods[1], 2)
    await until_told(cluster, {"10.0.0.1": True, "10.0.0.2": True}, {"10.0.0.1", "10.0.0.2"})


async def test_another_selector_finds_others(cluster):
    made = await service(cluster)
    for number, app in enumerate(("web", "api")):
        await run(cluster, await cluster.pod(app, {"app": app}), number)
    await until_told(cluster, {"10.0.0.0": True}, {"10.0.0.0"})
    await cluster.change(made.key, body={"selector": {"app": "api"}})
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})


async def test_what_others_spoil_is_mended_and_their_own_left_alone(cluster):
    await service(cluster)
    await run(cluster, await cluster.pod("a", {"app": "web"}), 1)
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})
    labels = {"kubernetes.io/service-name": "web", MANAGED_BY: "somebody"}
    await cluster.create(
        SLICES, "theirs", body={"addressType": "IPv4", "endpoints": []}, labels=labels
    )
    (mine,) = [
        each
        for each in (await cluster.store.list(SLICES, "default")).objects
        if each.meta.name != "theirs"
    ]
    body = msgspec.json.encode({"addressType": "IPv4", "endpoints": [], "ports": []})
    await cluster.store.write(Replace(SLICES, mine.meta, Body(body), b"", None))
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})
    for each in (await cluster.store.list(SLICES, "default")).objects:
        if each.meta.name != "theirs":
            with contextlib.suppress(Exception):
                await cluster.store.write(Remove(each.key))
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})
    assert await cluster.store.get(ObjectKey(SLICES, "default", "theirs")) is not None


async def test_with_the_service_all_of_it_goes(cluster):
    made = await service(cluster)
    await run(cluster, await cluster.pod("a", {"app": "web"}), 1)
    await until_told(cluster, {"10.0.0.1": True}, {"10.0.0.1"})
    (found,) = (await cluster.store.list(SLICES, "default")).objects
    await cluster.delete(made.key)
    await cluster.gone(found.key)
    await cluster.gone(ObjectKey("endpoints", "default", "web"))


async def test_services_without_a_selector_are_their_owners_business(cluster):
    await service(cluster, "bare", {})
    await service(cluster)
    await until_told(cluster, {}, set())

    async def web():
        return (await cluster.store.list(SLICES, "default")).objects

    (only,) = await cluster.until(web, SLICES)
    assert only.meta.labels["kubernetes.io/service-name"] == "web"
    assert await cluster.store.get(ObjectKey("endpoints", "default", "bare")) is None
