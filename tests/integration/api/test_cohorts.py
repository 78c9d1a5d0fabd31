"""Pods that live in a cohort, over HTTP: nobody can tell."""

import json

import msgspec
import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.meta import ObjectMeta, new_uid
from scheduler.objects.stored import Body, intern_body
from scheduler.store.operations import BindCohort, Create, CreateCohort
from tests.integration.api.test_eviction import evict, status_of, with_status
from tests.integration.api.test_watch import watching
from tests.store_values import cohort

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERGE = {"Content-Type": "application/merge-patch+json"}


def path(ns, name=""):
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "")


async def lodge(api, ns, size, start=0, **labels):
    """Make a cohort as a controller does, of pods as the API would store them."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    }
    kind = REGISTRY.by_resource("pods")
    kind.complete(pod)
    kind.default(pod)
    body = intern_body(msgspec.json.encode({"spec": pod["spec"]}, order="deterministic"))
    lot = cohort(size, start, body, namespace=ns, labels=labels or {"app": "web"}, generation=1)
    lot = msgspec.structs.replace(lot, status=b'{"phase":"Pending","qosClass":"BestEffort"}')
    (made,) = await api.store.create_cohorts((CreateCohort(lot),))
    return made


async def node(api, name):
    meta = ObjectMeta(name=name, uid=new_uid())
    room = b'{"allocatable":{"cpu":"8","memory":"8Gi","pods":"100"}}'
    await api.store.write(Create("nodes", meta, Body(b'{"spec":{}}'), room))


async def board(api, lot, ordinals, name):
    seen = await api.store.revision()
    nodes = (name,) * len(ordinals)
    op = BindCohort(lot.namespace, lot.uid, tuple(ordinals), nodes, seen, {"pods": 1})
    (done,) = await api.store.write_cohorts((op,))
    assert not done.refused


async def names(api, ns, **params):
    found = await api.get(path(ns), **params)
    assert found.code == 200, found.body
    return [item["metadata"]["name"] for item in found.body["items"]]


async def test_get_and_list_show_them(api, ns):
    lot = await lodge(api, ns, 5)
    await node(api, f"{ns}-n")
    await board(api, lot, (1, 3), f"{ns}-n")
    everybody = sorted(lot.name(n) for n in range(5))
    assert await names(api, ns) == everybody
    assert await names(api, ns, labelSelector="app=web") == everybody
    assert await names(api, ns, labelSelector="app!=web") == []
    bound = sorted((lot.name(1), lot.name(3)))
    assert await names(api, ns, fieldSelector=f"spec.nodeName={ns}-n") == bound
    assert len(await names(api, ns, fieldSelector="spec.nodeName=")) == 3
    assert await names(api, ns, fieldSelector=f"metadata.name={lot.name(2)}") == [lot.name(2)]
    assert len(await names(api, ns, fieldSelector="status.phase=Pending")) == 5
    one = (await api.get(path(ns, lot.name(3)))).body
    assert one["spec"]["nodeName"] == f"{ns}-n"
    assert one["metadata"]["uid"] == lot.pod_uid(3)
    (scheduled,) = [c for c in one["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert scheduled["status"] == "True"
    assert (await api.get(path(ns, lot.name(9)))).code == 404


async def test_pages_of_a_list_are_one_state(api, ns):
    lot = await lodge(api, ns, 7)
    seen, token = [], ""
    first = (await api.get(path(ns), limit="3")).body
    version = first["metadata"]["resourceVersion"]
    page = first
    await api.call("DELETE", path(ns, max(lot.name(n) for n in range(7))))
    while True:
        seen += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == version
        token = page["metadata"].get("continue", "")
        if not token:
            break
        page = (await api.get(path(ns), **{"limit": "3", "continue": token})).body
    assert seen == sorted(lot.name(n) for n in range(7))


async def test_a_watch_goes_on_where_a_list_ended(api, ns):
    await node(api, f"{ns}-n")
    first = await lodge(api, ns, 2)
    version = (await api.get(path(ns))).body["metadata"]["resourceVersion"]
    selector = f"spec.nodeName={ns}-n"
    async with (
        watching(api, path(ns), resourceVersion=version) as all_,
        watching(api, path(ns), resourceVersion=version, fieldSelector=selector) as some,
    ):
        second = await lodge(api, ns, 2, 10)
        await board(api, first, (1,), f"{ns}-n")
        await board(api, second, (0,), f"{ns}-n")
        patch = {"metadata": {"labels": {"x": "y"}}}
        await api.call("PATCH", path(ns, first.name(1)), patch, headers=MERGE)
        await api.call("DELETE", path(ns, second.name(1)))
        events = [await all_.next() for _ in range(6)]
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
            ("ADDED", second.name(0)),
            ("ADDED", second.name(1)),
            ("MODIFIED", first.name(1)),
            ("MODIFIED", second.name(0)),
            ("MODIFIED", first.name(1)),
            ("DELETED", second.name(1)),
        ]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert versions == list(range(int(version) + 1, int(version) + 7))
        assert [await some.short() for _ in range(3)] == [
            ("ADDED", first.name(1)),
            ("ADDED", second.name(0)),
            ("MODIFIED", first.name(1)),
        ]


async def test_from_the_middle_of_a_cohort_a_watch_tells_the_rest(api, ns):
    lot = await lodge(api, ns, 4)
    version = str(lot.created_revision + 1)
    async with watching(api, path(ns), resourceVersion=version) as stream:
        assert [await stream.short() for _ in range(2)] == [
            ("ADDED", lot.name(2)),
            ("ADDED", lot.name(3)),
        ]


async def test_patches_and_conflicts(api, ns):
    lot = await lodge(api, ns, 3)
    before = (await api.get(path(ns, lot.name(1)))).body
    stale = {"metadata": {"resourceVersion": str(lot.created_revision), "labels": {"a": "b"}}}
    refused = await api.call("PATCH", path(ns, lot.name(1)), stale, headers=MERGE)
    assert refused.code == 409
    fresh = {"metadata": {**stale["metadata"]}}
    fresh["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
    after = (await api.call("PATCH", path(ns, lot.name(1)), fresh, headers=MERGE)).body
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == {"app": "web", "a": "b"}
    assert after["spec"] == before["spec"]
    status = {"status": {"phase": "Running"}}
    where = path(ns, lot.name(2)) + "/status"
    assert (await api.call("PATCH", where, status, headers=MERGE)).code == 200
    assert (await api.get(path(ns, lot.name(2)))).body["status"]["phase"] == "Running"
    assert sorted(await names(api, ns)) == sorted(lot.name(n) for n in range(3))


async def test_deletion_by_name_and_by_selector(api, ns):
    lot = await lodge(api, ns, 4)
    other = await lodge(api, ns, 2, 10, app="other")
    wrong = {"preconditions": {"uid": lot.pod_uid(1)}}
    assert (await api.call("DELETE", path(ns, lot.name(0)), wrong)).code == 409
    right = {"preconditions": {"uid": lot.pod_uid(0)}}
    assert (await api.call("DELETE", path(ns, lot.name(0)), right)).code == 200
    assert (await api.get(path(ns, lot.name(0)))).code == 404
    await api.call("DELETE", path(ns), labelSelector="app=web")
    assert await names(api, ns) == sorted(other.name(n) for n in range(2))


async def test_a_name_in_use_is_not_given_twice(api, ns, pod):
    lot = await lodge(api, ns, 2)
    assert (await api.post(path(ns), pod(lot.name(1)))).code == 409
    await api.call("DELETE", path(ns, lot.name(1)))
    assert (await api.post(path(ns), pod(lot.name(1)))).code == 201


async def test_a_client_may_bind_one(api, ns):
    lot = await lodge(api, ns, 2)
    await node(api, f"{ns}-n")
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": lot.name(0)},
        "target": {"kind": "Node", "name": f"{ns}-n"},
    }
    where = path(ns, lot.name(0)) + "/binding"
    assert (await api.post(where, binding)).code == 201
    assert (await api.post(where, binding)).code == 409
    shown = [(await api.get(path(ns, lot.name(n)))).body["spec"].get("nodeName") for n in (0, 1)]
    assert shown == [f"{ns}-n", None]


async def test_evictions_ask_budgets(api, ns):
    lot = await lodge(api, ns, 3)
    await node(api, f"{ns}-n")
    await board(api, lot, (0, 1, 2), f"{ns}-n")
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for n in (0, 1):
        where = path(ns, lot.name(n)) + "/status"
        assert (await api.call("PATCH", where, ready, headers=MERGE)).code == 200
    await with_status(api, ns, currentHealthy=2, expectedPods=3, disruptionsAllowed=1)
    assert (await evict(api, ns, lot.name(2))).code == 201  # Pending ones may always go
    assert (await evict(api, ns, lot.name(0))).code == 201
    assert (await evict(api, ns, lot.name(1))).code == 429
    assert (await status_of(api, ns))["disruptionsAllowed"] == 0


async def test_kubectl_sees_pods(api, ns):
    lot = await lodge(api, ns, 3)
    lines = (await api.kubectl("-n", ns, "get", "pods", "--no-headers")).splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(lot.name(n) for n in range(3))
    assert {line.split()[2] for line in lines} == {"Pending"}
    found = await api.kubectl("-n", ns, "get", "pod", lot.name(1), "-o", "json")
    assert json.loads(found)["metadata"]["uid"] == lot.pod_uid(1)
    await api.kubectl("-n", ns, "label", "pod", lot.name(1), "a=b")
    await api.kubectl("-n", ns, "delete", "pod", lot.name(0), "--wait=false")
    assert await names(api, ns) == sorted(lot.name(n) for n in (1, 2))
