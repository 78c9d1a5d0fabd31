import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from aiohttp import web

from scheduler.api.openapi import OpenApiKind, document, documents, index

KINDS = [
    OpenApiKind(
        "", "v1", "Pod", "pods", "core.v1.Pod", subresources={"status": ("get", "put", "patch")}
    ),
    OpenApiKind("", "v1", "Node", "nodes", "core.v1.Node", namespaced=False),
    OpenApiKind(
        "ironfree.dev",
        "v1",
        "DockerHost",
        "dockerhosts",
        "ironfree.v1.DockerHost",
        namespaced=False,
        builtin=False,
    ),
]
DOCUMENTS = documents(KINDS)
KUBECTL = Path(sys.executable).parent / "kubectl"


def test_every_reference_resolves_and_every_schema_is_reached():
    assert [*DOCUMENTS] == ["api/v1", "apis/ironfree.dev/v1"]
    for body in DOCUMENTS.values():
        text = body.decode()
        schemas = json.loads(text)["components"]["schemas"]
        assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= schemas.keys()
        assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in schemas


def test_top_kinds_and_lists_carry_their_group_version_kind():
    schemas = json.loads(DOCUMENTS["apis/ironfree.dev/v1"])["components"]["schemas"]
    for kind in ("DockerHost", "DockerHostList"):
        assert schemas[f"dev.ironfree.v1.{kind}"]["x-kubernetes-group-version-kind"] == [
            {"group": "ironfree.dev", "version": "v1", "kind": kind}
        ]


def test_list_fields_carry_merge_extensions():
    schemas = json.loads(DOCUMENTS["api/v1"])["components"]["schemas"]
    ports = schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert {key: value for key, value in ports.items() if key.startswith("x-")} == {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "containerPort",
    }
    assert schemas["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]


def patches(body):
    for operations in json.loads(body)["paths"].values():
        if "patch" in operations:
            yield operations["patch"]


@pytest.mark.parametrize(("path", "strategic"), [("api/v1", True), ("apis/ironfree.dev/v1", False)])
def test_every_patch_takes_field_validation_and_names_its_types(path, strategic):
    found = [*patches(DOCUMENTS[path])]
    assert found
    for patch in found:
        assert "fieldValidation" in [each["name"] for each in patch["parameters"]]
        types = patch["requestBody"]["content"]
        assert ("application/strategic-merge-patch+json" in types) is strategic
        assert "application/apply-patch+yaml" in types


def test_the_hash_changes_with_the_content():
    def url(body):
        return json.loads(index({"api/v1": body}))["paths"]["api/v1"]["serverRelativeURL"]

    assert url(DOCUMENTS["api/v1"]) == url(DOCUMENTS["api/v1"])
    assert url(DOCUMENTS["api/v1"]) != url(document("api/v1", KINDS[:1]))


def group_list():
    version = {"groupVersion": "ironfree.dev/v1", "version": "v1"}
    group = {"name": "ironfree.dev", "versions": [version], "preferredVersion": version}
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}


def resource_list(path):
    resources = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": [*kind.verbs],
        }
        for kind in KINDS
        if kind.path == path
    ]
    version = path.partition("/")[2]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


async def answer(request):
    path = request.path.strip("/")
    if path == "openapi/v3":
        return web.Response(body=index(DOCUMENTS), content_type="application/json")
    if path.startswith("openapi/v3/"):
        body = DOCUMENTS[path.removeprefix("openapi/v3/")]
        return web.Response(body=body, content_type="application/json")
    if path == "api":
        return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
    if path == "apis":
        return web.json_response(group_list())
    if path in DOCUMENTS:
        return web.json_response(resource_list(path))
    return web.Response(status=404)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("pods.spec.containers.ports", "containerPort\t<integer> -required-"),
        ("nodes.status", "addresses\t<[]NodeAddress>"),
        ("dockerhosts.spec", "capacity\t<map[string]Quantity>"),
    ],
)
async def test_kubectl_explains_the_kinds(what, says, tmp_path, unused_tcp_port):
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
        server = f"http://127.0.0.1:{unused_tcp_port}"
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            f"--server={server}",
            f"--cache-dir={tmp_path}",
            "explain",
            what,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")},
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    finally:
        await runner.cleanup()
    assert process.returncode == 0, out.decode()
    assert says in out.decode()
