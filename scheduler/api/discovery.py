"""Discovery: which groups, versions and resources there are (legacy and aggregated)."""

import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed

import msgspec

from ..objects.json import Json, JsonObject
from ..objects.kind import Kind, KindRegistry
from . import openapi
from .routes import subresources, unknown_path

KUBERNETES = ("1", "37")
_SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_SUB_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "binding": ("create",),
    "context": ("update",),
    "eviction": ("create",),
    "log": ("get",),
    "ephemeralcontainers": ("get", "patch", "update"),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "token": ("create",),
}
_METHODS = {"create": "post", "get": "get", "patch": "patch", "update": "put"}
_SUB_KINDS = {
    "scale": _SCALE,
    "binding": {"group": "", "version": "v1", "kind": "Binding"},
    "eviction": {"group": "policy", "version": "v1", "kind": "Eviction"},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_encode = msgspec.json.encode


def version() -> JsonObject:
    """Return what /version answers."""
    return {
        "major": KUBERNETES[0],
        "minor": KUBERNETES[1],
        "gitVersion": f"v{'.'.join(KUBERNETES)}.0+ironfree-{installed('ironfree')}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{_architecture()}",
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class Discovery:
    """The discovery documents of a registry, each made once."""

    registry: KindRegistry

    @cached_property
    def group_versions(self) -> dict[str, list[str]]:
        """Versions by named group, in order of the registry; the core group is ""."""
        found: dict[str, list[str]] = {"": ["v1"]}
        for kind in self.registry.kinds:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return found

    @cached_property
    def core(self) -> bytes:
        """The answer to /api."""
        return _encode(
            {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            }
        )

    @cached_property
    def groups(self) -> bytes:
        """The answer to /apis."""
        groups: list[Json] = [self._group(name) for name in self.group_versions if name]
        return _encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def group(self, name: str) -> bytes:
        """Return the answer to /apis/{group}.

        Raises:
            NotFound: there is no such group.
        """
        if not name or name not in self.group_versions:
            raise unknown_path()
        return _encode({"kind": "APIGroup", "apiVersion": "v1", **self._group(name)})

    def _group(self, name: str) -> JsonObject:
        versions: list[Json] = [
            {"groupVersion": f"{name}/{each}", "version": each}
            for each in self.group_versions[name]
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def resources(self, group: str, version_name: str) -> bytes:
        """Return the answer to /api/v1 or /apis/{group}/{version}.

        Raises:
            NotFound: there is no such group or version.
        """
        if version_name not in self.group_versions.get(group, ()):
            raise unknown_path()
        listed: list[Json] = []
        for kind in self._kinds(group, version_name):
            listed.append(_resource(kind))
            listed.extend(_subresource(kind, name) for name in subresources(kind))
        group_version = f"{group}/{version_name}" if group else version_name
        return _encode(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": group_version,
                "resources": listed,
            }
        )

    @cached_property
    def _openapi(self) -> dict[str, bytes]:
        return openapi.documents(map(_described, self.registry.kinds))

    def openapi(self, path: str) -> bytes:
        """Return an OpenAPI v3 document, the index of them all for "".

        Raises:
            NotFound: there is no such group or version.
        """
        if not path:
            return openapi.index(self._openapi)
        if path not in self._openapi:
            raise unknown_path()
        return self._openapi[path]

    def _kinds(self, group: str, version_name: str) -> list[Kind]:
        return [k for k in self.registry.kinds if (k.group, k.version) == (group, version_name)]

    @cached_property
    def aggregated_core(self) -> bytes:
        """The aggregated answer to /api: the core group only."""
        return self._aggregated([""])

    @cached_property
    def aggregated_groups(self) -> bytes:
        """The aggregated answer to /apis: every named group."""
        return self._aggregated([name for name in self.group_versions if name])

    def _aggregated(self, groups: list[str]) -> bytes:
        items: list[Json] = []
        for name in groups:
            versions: list[Json] = [
                {
                    "version": each,
                    "freshness": "Current",
                    "resources": [_aggregated_resource(k) for k in self._kinds(name, each)],
                }
                for each in self.group_versions[name]
            ]
            metadata: JsonObject = {"name": name} if name else {}
            items.append({"metadata": metadata, "versions": versions})
        return _encode(
            {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": items,
            }
        )


def singular(kind: Kind) -> str:
    """Return the kind's singular name."""
    return kind.singular or kind.kind.lower()


def _described(kind: Kind) -> openapi.OpenApiKind:
    return openapi.OpenApiKind(
        group=kind.group,
        version=kind.version,
        kind=kind.kind,
        plural=kind.plural,
        message=kind.message,
        namespaced=kind.namespaced,
        verbs=kind.verbs,
        subresources={
            name: tuple(_METHODS[verb] for verb in _SUB_VERBS.get(name, ("get",)))
            for name in subresources(kind)
        },
        builtin=kind.builtin,
    )


def _resource(kind: Kind) -> JsonObject:
    found: JsonObject = {
        "name": kind.plural,
        "singularName": singular(kind),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    return found


def _subresource(kind: Kind, name: str) -> JsonObject:
    other = _SUB_KINDS.get(name)
    found: JsonObject = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": other["kind"] if other else kind.kind,
        "verbs": list(_SUB_VERBS.get(name, ("get",))),
    }
    if other and other["group"] != kind.group:
        found["group"], found["version"] = other["group"], other["version"]
    return found


def _aggregated_resource(kind: Kind) -> JsonObject:
    own: JsonObject = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    found: JsonObject = {
        "resource": kind.plural,
        "responseKind": own,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": singular(kind),
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    nested: list[Json] = [
        {
            "subresource": name,
            "responseKind": dict(_SUB_KINDS[name]) if name in _SUB_KINDS else own,
            "verbs": list(_SUB_VERBS.get(name, ("get",))),
        }
        for name in subresources(kind)
    ]
    if nested:
        found["subresources"] = nested
    return found
