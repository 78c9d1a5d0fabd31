"""OpenAPI v3 documents, one per group and version, generated from the schema.

kubectl reads them for `explain`, to validate, and to learn what PATCH accepts; it wants the query
parameter fieldValidation on every kind's PATCH and the patch types among its content types.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ..objects.json import Json, JsonObject
from ..objects.schema import Field, Type, load

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PREFIXES = {
    "apiextensions.": "io.k8s.apiextensions-apiserver.pkg.apis.",
    "metrics.": "io.k8s.metrics.pkg.apis.",
    "apis.": "io.k8s.apimachinery.pkg.",
    "runtime.": "io.k8s.apimachinery.pkg.",
    "util.": "io.k8s.apimachinery.pkg.",
    "api.resource.": "io.k8s.apimachinery.pkg.",
    "ironfree.": "dev.",
}
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
_ACTIONS = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
_COLLECTION_ACTIONS = {"list": "get", "create": "post", "deletecollection": "delete"}
_METHODS = {"get": "get", "post": "create", "put": "update", "patch": "patch", "delete": "delete"}


@dataclass(frozen=True)
class OpenApiKind:
    """What a document says of one kind.

    Args:
        group: "" for core; version: "v1"; kind: "Pod"; plural: "pods".
        message: name in the schema.
        verbs: get, list, create, update, patch, delete, deletecollection, watch.
        subresources: name → HTTP methods in lower case, e.g. {"status": ("get", "put", "patch")}.
        builtin: strategic merge patch is offered.
    """

    group: str
    version: str
    kind: str
    plural: str
    message: str
    namespaced: bool = True
    verbs: tuple[str, ...] = (
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
    )
    subresources: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    builtin: bool = True

    @property
    def path(self) -> str:
        """The group-version's path without its leading slash: "api/v1", "apis/apps/v1"."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"


def schema_name(message: str) -> str:
    """Return a message's name in OpenAPI: "core.v1.Pod" → "io.k8s.api.core.v1.Pod"."""
    for package, prefix in _PREFIXES.items():
        if message.startswith(package):
            return prefix + message
    return f"io.k8s.api.{message}"


def index(documents: Mapping[str, bytes]) -> bytes:
    """Return the body of /openapi/v3.

    Args:
        documents: group-version path ("api/v1", "apis/apps/v1") → its document.
    """
    paths = {
        path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest(body)}"}
        for path, body in documents.items()
    }
    return msgspec.json.encode({"paths": paths})


def digest(body: bytes) -> str:
    """Return what changes with a document's content; clients cache by it."""
    return hashlib.sha256(body).hexdigest()[:32].upper()


def documents(kinds: Iterable[OpenApiKind]) -> dict[str, bytes]:
    """Return every group-version's document by its path."""
    by_path: dict[str, list[OpenApiKind]] = {}
    for kind in kinds:
        by_path.setdefault(kind.path, []).append(kind)
    return {path: document(path, members) for path, members in by_path.items()}


def document(path: str, kinds: Sequence[OpenApiKind]) -> bytes:
    """Return one group-version's OpenAPI 3.0 document as JSON.

    Args:
        path: "api/v1" or "apis/{group}/{version}".
        kinds: all of that group and version.
    """
    schemas: dict[str, Json] = {}
    paths: dict[str, Json] = {}
    for kind in kinds:
        _add_message(schemas, kind.message)
        _add_kind(schemas, kind)
        paths.update(_paths(kind))
    return msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Ironfree", "version": "v1.37.0"},
            "paths": paths,
            "components": {"schemas": dict(sorted(schemas.items()))},
        }
    )


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _gvk(kind: OpenApiKind, name: str = "") -> JsonObject:
    return {"group": kind.group, "version": kind.version, "kind": name or kind.kind}


def _add_kind(schemas: dict[str, Json], kind: OpenApiKind) -> None:
    """Mark a kind's own schema as a top kind, and add its list, DeleteOptions and Status."""
    name = schema_name(kind.message)
    schema = schemas[name]
    assert isinstance(schema, dict)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    schema["properties"] = {**_TYPE_META, **properties}
    schema["x-kubernetes-group-version-kind"] = [_gvk(kind)]
    schemas[f"{name}List"] = {
        "type": "object",
        "description": f"{kind.kind}List is a list of {kind.kind} objects.",
        "required": ["items"],
        "properties": {
            **_TYPE_META,
            "metadata": {**_META_LIST_REF},
            "items": {"type": "array", "items": _with_default(_ref(name))},
        },
        "x-kubernetes-group-version-kind": [_gvk(kind, f"{kind.kind}List")],
    }
    schemas.update(_META_SCHEMAS)
    _add_message(schemas, "apis.meta.v1.DeleteOptions")
    options = schemas[f"{_META}.DeleteOptions"]
    assert isinstance(options, dict)
    options["x-kubernetes-group-version-kind"] = [
        {"group": kind.group, "version": kind.version, "kind": "DeleteOptions"}
    ]


def _text(description: str = "") -> JsonObject:
    return {"type": "string", "description": description} if description else {"type": "string"}


_TYPE_META: JsonObject = {
    "apiVersion": _text("The group and version this representation follows, e.g. apps/v1."),
    "kind": _text("The kind of this object, in CamelCase."),
}
_META_LIST_REF: JsonObject = {"allOf": [_ref(f"{_META}.ListMeta")], "default": {}}
_INTEGER: JsonObject = {"type": "integer", "format": "int32"}
_META_SCHEMAS: JsonObject = {
    f"{_META}.ListMeta": {
        "type": "object",
        "properties": {
            "continue": _text(),
            "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": _text(),
            "selfLink": _text(),
        },
    },
    f"{_META}.StatusCause": {
        "type": "object",
        "properties": {"field": _text(), "message": _text(), "reason": _text()},
    },
    f"{_META}.StatusDetails": {
        "type": "object",
        "properties": {
            "causes": {
                "type": "array",
                "items": {"allOf": [_ref(f"{_META}.StatusCause")], "default": {}},
                "x-kubernetes-list-type": "atomic",
            },
            "group": _text(),
            "kind": _text(),
            "name": _text(),
            "retryAfterSeconds": _INTEGER,
            "uid": _text(),
        },
    },
    f"{_META}.Status": {
        "type": "object",
        "properties": {
            **_TYPE_META,
            "code": _INTEGER,
            "details": {"allOf": [_ref(f"{_META}.StatusDetails")]},
            "message": _text(),
            "metadata": {**_META_LIST_REF},
            "reason": _text(),
            "status": _text(),
        },
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Status"}],
    },
}
_SPECIAL: dict[Type, JsonObject] = {
    Type.QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    Type.TIME: {"type": "string", "format": "date-time"},
    Type.MICRO_TIME: {"type": "string", "format": "date-time"},
    Type.INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    Type.STRINGS: {"type": "array", "items": {"type": "string"}},
    Type.ANY: {"type": "object"},
}
_SCALARS: dict[Type, JsonObject] = {
    Type.STRING: {"type": "string"},
    Type.BOOL: {"type": "boolean"},
    Type.BYTES: {"type": "string", "format": "byte"},
}


def _add_message(schemas: dict[str, Json], name: str) -> None:
    """Add a message's schema and every schema it refers to."""
    full = schema_name(name)
    if full in schemas:
        return
    message = load().message(name)
    schema: JsonObject = {"type": "object", "properties": {}}
    schemas[full] = schema
    properties: JsonObject = {}
    for each in message.fields.values():
        properties[each.name] = _property(schemas, each)
    schema["properties"] = properties
    required: list[Json] = [each.name for each in message.fields.values() if each.required]
    if required:
        schema["required"] = required
    if message.atomic:
        schema["x-kubernetes-map-type"] = "atomic"


def _property(schemas: dict[str, Json], field: Field) -> JsonObject:
    item = _item(schemas, field)
    if field.repeated:
        return {"type": "array", "items": _with_default(item), **_list_extensions(field)}
    if field.map:
        atomic: JsonObject = {"x-kubernetes-map-type": "atomic"} if field.map_atomic else {}
        return {"type": "object", "additionalProperties": _with_default(item), **atomic}
    strategy: JsonObject = {}
    if field.retain_keys or field.replace:
        strategy["x-kubernetes-patch-strategy"] = "retainKeys" if field.retain_keys else "replace"
    return {"allOf": [item], **strategy} if "$ref" in item else {**item, **strategy}


def _with_default(item: JsonObject) -> JsonObject:
    return {"allOf": [item], "default": {}} if "$ref" in item else item


def _item(schemas: dict[str, Json], field: Field) -> JsonObject:
    if field.type is Type.MESSAGE:
        _add_message(schemas, field.message)
        return _ref(schema_name(field.message))
    if field.type is Type.INT:
        return {"type": "integer", "format": "int64" if field.int64 else "int32"}
    if field.type in _SCALARS:
        return {**_SCALARS[field.type]}
    schemas.setdefault(schema_name(field.message), {**_SPECIAL[field.type]})
    return _ref(schema_name(field.message))


def _list_extensions(field: Field) -> JsonObject:
    out: JsonObject = {}
    if field.list_keys:
        out["x-kubernetes-list-type"] = "map"
        out["x-kubernetes-list-map-keys"] = [*field.list_keys]
    else:
        out["x-kubernetes-list-type"] = "set" if field.list_set else "atomic"
    if field.merge:
        out["x-kubernetes-patch-strategy"] = "merge,retainKeys" if field.retain_keys else "merge"
    if field.merge_key:
        out["x-kubernetes-patch-merge-key"] = field.merge_key
    return out


def _query(name: str, kind: str = "string") -> JsonObject:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


def _in_path(name: str) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "post": _WRITE,
    "put": _WRITE,
    "patch": (*_WRITE, "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"),
    "get": (),
}


def _paths(kind: OpenApiKind) -> dict[str, Json]:
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    base = f"/{kind.path}{scope}/{kind.plural}"
    paths: dict[str, Json] = {}
    shared: list[Json] = [_in_path("namespace")] if kind.namespaced else []
    collection = {
        method: _operation(kind, method, verb)
        for verb, method in _COLLECTION_ACTIONS.items()
        if verb in kind.verbs
    }
    paths[base] = {**collection, "parameters": shared}
    if kind.namespaced and "list" in kind.verbs:
        paths[f"/{kind.path}/{kind.plural}"] = {"get": _operation(kind, "get", "list")}
    named: list[Json] = [_in_path("name"), *shared]
    item = {
        method: _operation(kind, method, verb)
        for verb, method in _ACTIONS.items()
        if verb in kind.verbs
    }
    paths[f"{base}/{{name}}"] = {**item, "parameters": named}
    for subresource, methods in kind.subresources.items():
        operations = {
            method: _operation(kind, method, _METHODS[method], subresource) for method in methods
        }
        paths[f"{base}/{{name}}/{subresource}"] = {**operations, "parameters": named}
    return paths


def _operation(kind: OpenApiKind, method: str, verb: str, subresource: str = "") -> JsonObject:
    """Return one operation; verb is the Kubernetes verb, method the HTTP method in lower case."""
    name = schema_name(kind.message)
    answer = f"{name}List" if verb == "list" else name
    if method == "delete":
        answer = f"{_META}.Status"
    parameters = _LIST if verb in ("list", "deletecollection") else _PARAMETERS[method]
    operation: JsonObject = {
        "tags": [f"{kind.group or 'core'}_{kind.version}"],
        "operationId": f"{verb}{kind.version.title()}{kind.kind}{subresource.title()}",
        "parameters": [_query(each) for each in parameters],
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": _ref(answer)}},
            }
        },
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if method == "patch":
        types = sorted((*_PATCH_TYPES, _STRATEGIC)) if kind.builtin else _PATCH_TYPES
        anything: JsonObject = {"schema": {"type": "object"}}
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, anything)}
    elif method in ("post", "put"):
        operation["requestBody"] = {"content": {"application/json": {"schema": _ref(name)}}}
    elif method == "delete":
        options = _ref(f"{_META}.DeleteOptions")
        operation["requestBody"] = {"content": {"application/json": {"schema": options}}}
    return operation
