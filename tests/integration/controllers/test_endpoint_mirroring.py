"""Endpoints that somebody wrote are in slices for as long as their Service has no selector."""

import msgspec
import pytest
from msgspec.structs import replace

from scheduler.objects.endpoints import MANAGED_BY, SERVICE_NAME, slice_view
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Replace

SLICES, ENDPOINTS = "endpointslices.discovery.k8s.io", "endpoints"
MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP = {"endpointslice.kubernetes.io/skip-mirror": "true"}
LEADER = {"control-plane.alpha.kubernetes.io/leader": "{}"}
WEB = ObjectKey(ENDPOINTS, "default", "web")


def subset(*ready, waiting=(), port=80, name="http"):
    return {
        "addresses": [{"ip": each} for each in ready],
        "notReadyAddresses": [{"ip": each} for each in waiting],
        "ports": [{"name": name, "port": port}],
    }


async def service(cluster, name="web", **spec):
    body = {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], **spec}}
    return await cluster.create("services", name, body=body)


async def endpoints(cluster, *subsets, name="web", **meta):
    return await cluster.create(ENDPOINTS, name, body={"subsets": list(subsets)}, **meta)


async def rewrite(cluster, *subsets, **meta):
    present = await cluster.store.get(WEB)
    body = Body(msgspec.json.encode({"subsets": list(subsets)}))
    await cluster.store.write(Replace(ENDPOINTS, replace(present.meta, **meta), body, b"", None))


async def mirrored(cluster, name="web"):
    found = (await cluster.store.list(SLICES, "default")).objects
    wanted = {SERVICE_NAME: name, MANAGED_BY: MIRROR}
    return [slice_view(each) for each in found if wanted.items() <= each.meta.labels.items()]


async def until_mirrored(cluster, wanted, name="web"):
    """Wait until there is a slice for each port, with these addresses and whether each is ready."""

    async def as_wanted():
        slices = await mirrored(cluster, name)
        told = {
            each.ports[0].port: {e.addresses[0]: e.conditions.ready for e in each.endpoints}
            for each in slices
        }
        return slices or [True] if told == wanted and len(slices) == len(wanted) else None

    return await cluster.until(as_wanted, SLICES)


async def a_stray_slice_goes(cluster):
    """See the Endpoints looked at and not mirrored: a slice that there should not be is removed."""
    body = {"addressType": "IPv4", "endpoints": [], "ports": []}
    labels = {SERVICE_NAME: "web", MANAGED_BY: MIRROR}
    stray = await cluster.create(SLICES, "stray", body=body, labels=labels)
    await cluster.gone(stray.key)
    assert await mirrored(cluster) == []


async def test_a_slice_says_what_the_endpoints_say(cluster):
    await service(cluster)
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "x"}
    address = {"ip": "192.0.2.1", "nodeName": "n1", "hostname": "a"}
    ports = [{"port": 80}, {"name": "dns", "port": 53, "protocol": "UDP", "appProtocol": "x/dns"}]
    body = {"addresses": [address], "ports": ports}
    made = await endpoints(cluster, body, labels={"team": "a"}, annotations=applied)
    (found,) = await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    assert found.meta.name.startswith("web-")
    assert found.meta.generate_name == "web-"
    assert found.meta.labels == {"team": "a", SERVICE_NAME: "web", MANAGED_BY: MIRROR}
    assert found.meta.annotations == {"note": "x"}
    (owner,) = found.meta.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("Endpoints", made.meta.uid, True)
    told = [(each.name, each.port, each.protocol, each.app_protocol) for each in found.ports]
    assert told == [("", 80, "TCP", None), ("dns", 53, "UDP", "x/dns")]
    (endpoint,) = found.endpoints
    assert (endpoint.node_name, endpoint.hostname) == ("n1", "a")


async def test_slices_follow_the_endpoints(cluster):
    await service(cluster)
    await endpoints(cluster, subset("192.0.2.1", waiting=["192.0.2.2"]))
    (first,) = await until_mirrored(cluster, {80: {"192.0.2.1": True, "192.0.2.2": False}})
    await rewrite(cluster, subset("192.0.2.1", "192.0.2.2"), subset("192.0.2.3", port=81))
    both = {80: {"192.0.2.1": True, "192.0.2.2": True}, 81: {"192.0.2.3": True}}
    found = await until_mirrored(cluster, both)
    assert first.meta.uid in {each.meta.uid for each in found}
    await rewrite(cluster, subset("192.0.2.3", port=82))
    await until_mirrored(cluster, {82: {"192.0.2.3": True}})
    await rewrite(cluster)
    await until_mirrored(cluster, {})


async def test_what_others_spoil_is_mended(cluster):
    await service(cluster)
    await endpoints(cluster, subset("192.0.2.1"))
    (found,) = await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    body = msgspec.json.encode({"addressType": "IPv4", "endpoints": [], "ports": []})
    await cluster.store.write(Replace(SLICES, found.meta, Body(body), b"", None))
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    (found,) = await mirrored(cluster)
    await cluster.delete(found.stored.key)
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})


@pytest.mark.parametrize("first", ["service", "endpoints"])
async def test_either_may_be_first_and_slices_go_with_either(cluster, first):
    await (service(cluster) if first == "service" else endpoints(cluster, subset("192.0.2.1")))
    await (endpoints(cluster, subset("192.0.2.1")) if first == "service" else service(cluster))
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    await cluster.delete(WEB if first == "endpoints" else ObjectKey("services", "default", "web"))
    await until_mirrored(cluster, {})


async def test_slices_of_orphaned_endpoints_go_too(cluster):
    await service(cluster)
    await endpoints(cluster, subset("192.0.2.1"))
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    await cluster.delete(WEB, finalizer="orphan")
    await cluster.gone(WEB)
    await until_mirrored(cluster, {})


async def test_those_of_a_service_with_a_selector_are_not_mirrored(cluster):
    made = await service(cluster)
    await endpoints(cluster, subset("192.0.2.1"))
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    pod = await cluster.pod("p", {"app": "web"})
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": ready}
    await cluster.change(pod.key, status=status)
    await cluster.change(made.key, body={"selector": {"app": "web"}})
    await until_mirrored(cluster, {})

    async def written_by_us():
        subsets = (await cluster.document(WEB)).get("subsets")
        return subsets and subsets[0]["addresses"][0]["ip"] == "10.0.0.1"

    await cluster.until(written_by_us, ENDPOINTS)
    await cluster.change(made.key, body={"selector": {}})
    await a_stray_slice_goes(cluster)


@pytest.mark.parametrize("how", [{"labels": SKIP}, {"annotations": LEADER}])
async def test_those_that_say_so_are_not_mirrored(cluster, how):
    await service(cluster)
    await endpoints(cluster, subset("192.0.2.1"), **how)
    await a_stray_slice_goes(cluster)
    await rewrite(cluster, subset("192.0.2.1"), labels={}, annotations={})
    await until_mirrored(cluster, {80: {"192.0.2.1": True}})
    await rewrite(cluster, subset("192.0.2.1"), **how)
    await until_mirrored(cluster, {})


async def test_what_is_left_out_is_told(cluster):
    await service(cluster)
    many = [f"192.0.{n // 250}.{n % 250 + 1}" for n in range(1003)]
    await endpoints(cluster, subset(*many, "2001:db8::1"))
    await until_mirrored(cluster, {80: dict.fromkeys(many[:1000], True)})

    async def told():
        events = [
            msgspec.json.decode(e.body.json) for e in (await cluster.store.list("events")).objects
        ]
        found = {e["reason"]: e["message"] for e in events if e["involvedObject"]["name"] == "web"}
        return found if len(found) == 2 else None

    found = await cluster.until(told, "events")
    assert "3 addresses" in found["TooManyAddressesToMirror"]
    assert "1 addresses" in found["InvalidIPAddress"]


async def test_a_namespace_that_is_deleted_ends(cluster):
    made = await cluster.create("namespaces", "doomed", status={"phase": "Active"})
    body = {"spec": {"ports": [{"port": 80}]}}
    await cluster.create("services", "web", "doomed", body=body)
    await endpoints(cluster, subset("192.0.2.1"), namespace="doomed")

    async def there():
        return (await cluster.store.list(SLICES, "doomed")).objects

    await cluster.until(there, SLICES)
    await cluster.delete(made.key)
    await cluster.gone(made.key)
    assert await there() == ()
