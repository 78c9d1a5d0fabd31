"""Between an object as clients see it (one JSON document) and as the store keeps it (parts).

The binding is its own row, so a bound pod's spec.nodeName and its PodScheduled condition are added
here when the document is composed, and spec.nodeName is taken out again when one comes in.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import cast

import msgspec
from msgspec.structs import replace

from .json import Json, JsonObject
from .kind import Kind
from .meta import ObjectMeta
from .stored import Binding, Body, StoredObject, intern_body

_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "status"})
_SCHEDULED = b'"type":"PodScheduled","status":"True"'  # as agents write it; quotes: no text has it
_encode = msgspec.json.encode
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """An object taken apart for the store."""

    meta: ObjectMeta
    body: Body
    status: bytes


def compose(stored: StoredObject, kind: Kind) -> bytes:
    """Return the object's JSON document as clients see it.

    Args:
        stored: the object; its revision becomes metadata.resourceVersion.
        kind: of the same resource; the version that clients see.
    """
    if kind.conversion is not None:
        return _encode(kind.conversion.outward(document(stored, kind.stored)))
    meta = _encode(replace(stored.meta, resource_version=str(stored.revision)))
    body, status = stored.body.json, stored.status
    if stored.binding is not None:
        body = _with_node_name(body, stored.binding.node)
        status = _with_scheduled(status, stored.binding.bound_at)
    head = f'{{"kind":"{kind.kind}","apiVersion":"{kind.group_version}","metadata":'.encode()
    inner = body.strip()[1:-1]
    tail = b',"status":' + status if status else b""
    return b"".join((head, meta, b"," if inner.strip() else b"", inner, tail, b"}"))


def document(stored: StoredObject, kind: Kind) -> JsonObject:
    """Return the object as a fresh JSON value, safe to change."""
    return _object.decode(compose(stored, kind))


def decompose(obj: JsonObject, kind: Kind, binding: Binding | None = None) -> Parts:
    """Take a whole JSON document apart.

    Args:
        obj: a document that passed the schema check.
        binding: the pod's binding, whose node is taken out of the spec again.

    Raises:
        msgspec.ValidationError: metadata does not fit its types (a missed schema check).
    """
    meta = _meta(obj.get("metadata"))
    rest = {k: v for k, v in obj.items() if k not in _ENVELOPE}
    spec = rest.get("spec")
    if binding is not None and isinstance(spec, dict) and spec.get("nodeName") == binding.node:
        rest["spec"] = {k: v for k, v in spec.items() if k != "nodeName"}
    canonical = _encode(rest, order="deterministic")
    status = obj.get("status")
    return Parts(
        meta=replace(meta, resource_version=""),
        body=intern_body(canonical) if kind.interned else Body(canonical),
        status=_encode(status) if status else b"",
    )


def _meta(value: Json) -> ObjectMeta:
    fields = dict(value) if isinstance(value, dict) else {}
    managed = fields.pop("managedFields", None)
    meta = msgspec.convert({k: v for k, v in fields.items() if v is not None}, ObjectMeta)
    return replace(meta, managed_fields=msgspec.Raw(_encode(managed))) if managed else meta


def _with_node_name(body: bytes, node: str) -> bytes:
    if b'"nodeName"' in body:
        value = _object.decode(body)
        cast(JsonObject, value["spec"])["nodeName"] = node
        return _encode(value)
    before, after = _opened(body)
    return b"".join((before, b'"nodeName":', _encode(node), b",", after))


@lru_cache(maxsize=64)
def _opened(body: bytes) -> tuple[bytes, bytes]:
    """Return a pod's body up to the first field of its spec, and from there on."""
    start = body.index(b"{", body.index(b'"spec"')) + 1
    return body[:start], body[start:]


def _with_scheduled(status: bytes, bound_at: datetime) -> bytes:
    return status if _SCHEDULED in status else _with_condition(status, bound_at)


@lru_cache(maxsize=1024)
def _with_condition(status: bytes, bound_at: datetime) -> bytes:
    value = _object.decode(status or b"{}")
    conditions = cast(list[JsonObject], value.get("conditions") or [])
    if any(c.get("type") == "PodScheduled" and c.get("status") == "True" for c in conditions):
        return status
    scheduled: JsonObject = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": bound_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    rest: list[Json] = [c for c in conditions if c.get("type") != "PodScheduled"]
    value["conditions"] = [scheduled, *rest]
    return _encode(value)
