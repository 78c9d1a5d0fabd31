"""The patch types, and server-side apply with its owners."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def config(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


async def make(api, ns, **data):
    return (await api.post(config(ns), {"metadata": {"name": "a"}, "data": data})).body


async def test_json_patch_is_all_or_nothing(api, ns):
    await make(api, ns, k="1")
    good = [
        {"op": "test", "path": "/data/k", "value": "1"},
        {"op": "add", "path": "/data/l", "value": "2"},
    ]
    answer = await api.call("PATCH", config(ns, "a"), good, headers=JSON)
    assert answer.body["data"] == {"k": "1", "l": "2"}
    bad = [{"op": "remove", "path": "/data/k"}, {"op": "test", "path": "/data/l", "value": "x"}]
    answer = await api.call("PATCH", config(ns, "a"), bad, headers=JSON)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert (await api.get(config(ns, "a"))).body["data"] == {"k": "1", "l": "2"}


async def test_merge_patch_deletes_by_null(api, ns):
    await make(api, ns, k="1", m="2")
    answer = await api.call("PATCH", config(ns, "a"), {"data": {"k": None}}, headers=MERGE)
    assert answer.body["data"] == {"m": "2"}


async def test_strategic_patch_merges_containers_by_name(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods"
    await api.post(path, pod())
    patch = {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}
    answer = await api.call("PATCH", f"{path}/web", patch, headers=STRATEGIC)
    assert [c["image"] for c in answer.body["spec"]["containers"]] == ["nginx:2"]
    assert answer.body["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


async def test_own_kinds_have_no_strategic_patch(api):
    path = "/apis/ironfree.dev/v1/dockerhosts"
    await api.post(path, {"metadata": {"name": "h"}, "spec": {"address": "unix:///run/x.sock"}})
    answer = await api.call("PATCH", f"{path}/h", {"spec": {}}, headers=STRATEGIC)
    assert (answer.code, answer.body["reason"]) == (415, "UnsupportedMediaType")
    merged = await api.call("PATCH", f"{path}/h", {"spec": {"zone": "z"}}, headers=MERGE)
    assert merged.body["spec"] == {"address": "unix:///run/x.sock", "driver": "docker", "zone": "z"}


async def test_a_patch_with_a_version_is_pinned(api, ns):
    made = await make(api, ns, k="1")
    version = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"k": "2"}}
    assert (await api.call("PATCH", config(ns, "a"), patch, headers=MERGE)).code == 200
    patch["data"]["k"] = "3"
    answer = await api.call("PATCH", config(ns, "a"), patch, headers=MERGE)
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")


async def test_a_patch_of_status_leaves_the_spec(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods"
    await api.post(path, pod())
    patch = {"status": {"phase": "Running"}, "spec": {"containers": None}}
    answer = await api.call("PATCH", f"{path}/web/status", patch, headers=MERGE)
    assert answer.body["status"]["phase"] == "Running"
    assert answer.body["spec"]["containers"]


async def test_a_patch_is_validated(api, ns):
    await make(api, ns, k="1")
    wrong = await api.call("PATCH", config(ns, "a"), {"data": {"k": 5}}, headers=MERGE)
    assert (wrong.code, wrong.body["reason"]) == (400, "BadRequest")
    renamed = {"metadata": {"name": "b"}}
    assert (await api.call("PATCH", config(ns, "a"), renamed, headers=MERGE)).code == 400
    labels = {"metadata": {"labels": {"-": "x"}}}
    assert (await api.call("PATCH", config(ns, "a"), labels, headers=MERGE)).code == 422


async def apply(api, path, body, manager, **query):
    return await api.call(
        "PATCH", path, data=json.dumps(body).encode(), headers=APPLY, fieldManager=manager, **query
    )


def wanted(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


async def test_apply_creates_merges_and_takes_back(api, ns):
    made = await apply(api, config(ns, "a"), wanted(x="1", y="1"), "one")
    assert made.code == 201
    owners = made.body["metadata"]["managedFields"]
    assert [(o["manager"], o["operation"]) for o in owners] == [("one", "Apply")]
    same = await apply(api, config(ns, "a"), wanted(x="1", y="1"), "one")
    assert same.code == 200
    assert same.body["metadata"]["resourceVersion"] == made.body["metadata"]["resourceVersion"]
    await apply(api, config(ns, "a"), wanted(z="1"), "two")
    less = await apply(api, config(ns, "a"), wanted(x="1"), "one")
    assert less.body["data"] == {"x": "1", "z": "1"}


async def test_apply_conflicts_name_the_other_owner(api, ns):
    await apply(api, config(ns, "a"), wanted(x="1"), "one")
    clash = await apply(api, config(ns, "a"), wanted(x="2"), "two")
    assert (clash.code, clash.body["reason"]) == (409, "Conflict")
    cause = clash.body["details"]["causes"][0]
    assert cause["reason"] == "FieldManagerConflict"
    assert cause["field"] == ".data.x"
    forced = await apply(api, config(ns, "a"), wanted(x="2"), "two", force="true")
    assert forced.body["data"] == {"x": "2"}


async def test_updates_are_recorded_as_owners(api, ns):
    await apply(api, config(ns, "a"), wanted(x="1"), "one")
    patch = {"data": {"x": "5"}}
    await api.call("PATCH", config(ns, "a"), patch, headers=MERGE, fieldManager="edit")
    clash = await apply(api, config(ns, "a"), wanted(x="1"), "one")
    assert 'conflict with "edit"' in clash.body["message"]


async def test_pods_are_applied_too(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods/web"
    made = await apply(api, path, pod(), "helm")
    assert made.code == 201, made.body
    again = await apply(api, path, pod(), "helm")
    assert again.body["metadata"]["resourceVersion"] == made.body["metadata"]["resourceVersion"]
    plain = pod("plain")
    await api.post(f"/api/v1/namespaces/{ns}/pods", plain)
    plain["metadata"]["labels"]["app"] = "other"
    clash = await apply(api, f"/api/v1/namespaces/{ns}/pods/plain", plain, "helm")
    assert "before-first-apply" in clash.body["message"]


async def test_apply_needs_a_manager_and_an_object(api, ns):
    bare = await api.call("PATCH", config(ns, "a"), data=b"{}", headers=APPLY)
    assert bare.code == 400
    for body in (b"- 1", b"a: [", b"{}", b"kind: ConfigMap"):
        answer = await api.call(
            "PATCH", config(ns, "a"), data=body, headers=APPLY, fieldManager="m"
        )
        assert (answer.code, answer.body["kind"]) == (400, "Status")
    assert (await api.get(config(ns, "a"))).code == 404
