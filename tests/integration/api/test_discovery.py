"""Discovery, versions, health."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_legacy_discovery(api):
    assert (await api.get("/api/")).body["versions"] == ["v1"]
    groups = (await api.get("/apis")).body
    assert groups["kind"] == "APIGroupList"
    assert "ironfree.dev" in [group["name"] for group in groups["groups"]]
    one = (await api.get("/apis/ironfree.dev")).body
    assert one["preferredVersion"]["groupVersion"] == "ironfree.dev/v1"
    resources = {r["name"]: r for r in (await api.get("/api/v1")).body["resources"]}
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods/binding"]["kind"] == "Binding"
    scale = resources["replicationcontrollers/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "configmaps/status" not in resources


async def test_aggregated_discovery_only_for_v2(api):
    core = await api.get("/api", headers={"Accept": AGGREGATED})
    assert core.headers["Content-Type"] == AGGREGATED
    assert [item["metadata"] for item in core.body["items"]] == [{}]
    pods = next(
        r for r in core.body["items"][0]["versions"][0]["resources"] if r["resource"] == "pods"
    )
    assert pods["scope"] == "Namespaced"
    assert {s["subresource"] for s in pods["subresources"]} == {
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "status",
    }
    old = f"{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
    assert (await api.get("/apis", headers={"Accept": old})).body["kind"] == "APIGroupList"


async def test_version_and_health(api):
    version = (await api.get("/version/")).body
    assert version["gitVersion"].startswith("v1.37.0+ironfree-")
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await api.get(path)
        assert (answer.code, answer.body) == (200, "ok")


_WITHOUT_PATCH = ("apiextensions", "authentication", "authorization", "metrics")


async def test_every_patch_offers_field_validation(api):
    index = (await api.get("/openapi/v3")).body["paths"]
    assert set(index) >= {"api/v1", "apis/ironfree.dev/v1"}
    for entry in index.values():
        document = (await api.get(entry["serverRelativeURL"])).body
        patches = [path["patch"] for path in document["paths"].values() if "patch" in path]
        url = entry["serverRelativeURL"]
        assert bool(patches) is not any(f"/{group}.k8s.io/" in url for group in _WITHOUT_PATCH)
        for patch in patches:
            assert "fieldValidation" in [p["name"] for p in patch["parameters"]]


async def test_there_are_no_custom_resource_definitions(api):
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    listed = await api.get(path)
    assert (listed.code, listed.body["items"]) == (200, [])
    assert listed.body["kind"] == "CustomResourceDefinitionList"
    query = {
        "watch": "1",
        "sendInitialEvents": "1",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "1",
        "timeoutSeconds": "5",
    }
    async with api.session.get(api.url + path, params=query) as response:
        first = json.loads(await response.content.readline())
    assert first["type"] == "BOOKMARK"
    assert first["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (await api.get(f"{path}/toys.example.com")).code == 404
    for method, where in (("POST", path), ("DELETE", path), ("PUT", f"{path}/x")):
        refused = await api.call(method, where, {"metadata": {"name": "x"}})
        assert (refused.code, refused.body["reason"]) == (405, "MethodNotAllowed")
    resources = (await api.get("/apis/apiextensions.k8s.io/v1")).body["resources"]
    assert [(r["name"], r["verbs"]) for r in resources] == [
        ("customresourcedefinitions", ["get", "list", "watch"])
    ]
