"""A further kind is one small declaration: paths, discovery and OpenAPI follow from it."""

import json

from scheduler.api.discovery import Discovery
from scheduler.api.routes import Place, find
from scheduler.objects.kind import Column, Kind, KindRegistry, Printer
from scheduler.objects.kinds import ALL_KINDS

TOY = Kind(
    kind="Toy",
    plural="toys",
    message="core.v1.ConfigMap",
    group="toys.example.com",
    short_names=("ty",),
    printer=Printer((Column("Name"),), lambda obj, _now: (obj["metadata"]["name"],)),
    builtin=False,
)
REGISTRY = KindRegistry((*ALL_KINDS, TOY))


def test_its_paths_are_found():
    parts = ["apis", "toys.example.com", "v1", "namespaces", "n", "toys", "t", "status"]
    assert find(parts, REGISTRY) == Place(TOY, "n", "t", "status")
    assert find([*parts[:3], "toys"], REGISTRY) == Place(TOY)


def test_it_is_discovered():
    found = Discovery(REGISTRY)
    groups = json.loads(found.groups)["groups"]
    assert "toys.example.com" in [group["name"] for group in groups]
    resources = json.loads(found.resources("toys.example.com", "v1"))["resources"]
    assert [r["name"] for r in resources] == ["toys", "toys/status"]
    document = json.loads(found.openapi("apis/toys.example.com/v1"))
    patch = document["paths"]["/apis/toys.example.com/v1/namespaces/{namespace}/toys/{name}"][
        "patch"
    ]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
