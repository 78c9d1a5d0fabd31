"""How objects become rows and rows become objects."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from ..errors import Invalid, StatusError
from ..objects.cohort import Cohort
from ..objects.meta import ObjectMeta
from ..objects.stored import Binding, Body, StoredObject
from .operations import Create, Replace
from .postgres import Row

encode_json = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(ObjectMeta).decode

# \u0000 that is not an escaped backslash followed by "u0000"; JSONB cannot hold the character.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_COLUMNS = frozenset({"cpu", "memory", "pods"})  # "pods" is 1 and needs none

#: The columns that `stored` reads, of objects o left-joined to bindings b.
COLUMNS = (
    "o.resource, o.revision, o.created_revision, o.metadata, o.digest, o.body, o.status,"
    " b.node, b.bound_at, b.revision"
)


class ObjectRow(NamedTuple):
    """One row of `objects`, in the order of OBJECT_COLUMNS."""

    resource: str
    namespace: str
    name: str
    uid: str
    revision: int
    created_revision: int
    metadata: bytes
    digest: bytes | None
    body: bytes | None
    status: bytes | None


OBJECT_TYPES: Mapping[str, str] = {
    "resource": "text",
    "namespace": "text",
    "name": "text",
    "uid": "uuid",
    "revision": "bigint",
    "created_revision": "bigint",
    "metadata": "jsonb",
    "digest": "bytea",
    "body": "jsonb",
    "status": "jsonb",
}


class Bodies:
    """Interned bodies by digest, the most recently used; bounded by bytes."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._bodies: OrderedDict[bytes, Body] = OrderedDict()
        self._limit = limit
        self._size = 0

    def get(self, digest: bytes) -> Body | None:
        """Return the body of that digest, if it is held."""
        body = self._bodies.get(digest)
        if body is not None:
            self._bodies.move_to_end(digest)
        return body

    def put(self, body: Body) -> Body:
        """Hold a body; returns the one held before if there is one, so that it is shared."""
        held = self._bodies.setdefault(body.digest, body)
        if held is body:
            self._size += len(body.json) + 200
            while self._size > self._limit and len(self._bodies) > 1:
                _, dropped = self._bodies.popitem(last=False)
                self._size -= len(dropped.json) + 200
        return held


def stored(row: Row, bodies: Mapping[bytes, Body]) -> StoredObject:
    """Return the object of a row of COLUMNS.

    Args:
        row: values of COLUMNS in their order.
        bodies: must have the row's digest, if it has one.
    """
    resource, revision, created, metadata, digest, body, status, node, bound_at, bound = row
    binding = None
    if node is not None:
        binding = Binding(node, bound_at, bound)
        revision = max(revision, bound)
    return StoredObject(
        resource,
        _decode_meta(metadata),
        revision,
        created,
        Body(body) if digest is None else bodies[digest],
        status or b"",
        binding,
    )


def object_row(obj: StoredObject, metadata: bytes, revision: int) -> ObjectRow:
    """Return the row of an object; `revision` is of its own row, without the binding's."""
    meta = obj.meta
    digest = obj.body.digest
    return ObjectRow(
        obj.resource,
        meta.namespace,
        meta.name,
        meta.uid,
        revision,
        obj.created_revision,
        metadata,
        digest or None,
        None if digest else obj.body.json,
        obj.status or None,
    )


def checked_metadata(op: Create | Replace | Cohort) -> bytes | StatusError:
    """Return the metadata's JSON, or the error that the operation's JSON cannot be stored."""
    metadata = encode_json(op.meta)
    resource = "pods" if isinstance(op, Cohort) else op.resource
    for text, field in ((metadata, "metadata"), (op.body.json, "spec"), (op.status, "status")):
        if b"\\u0000" in text and _NUL.search(text):
            return Invalid(
                f'{resource} "{op.meta.name}" is invalid: {field}: contains the NUL character '
                "(\\u0000), which cannot be stored; remove it",
                **names(resource, op.meta.name),
            )
    return metadata


def names(resource: str, name: str) -> dict[str, Any]:
    """Return the keyword arguments that name an object in a StatusError."""
    kind, _, group = resource.partition(".")
    return {"kind": kind, "group": group, "name": name}


class BindingRow(NamedTuple):
    """One row of `bindings`, in its columns' order."""

    pod_uid: str
    node: str
    revision: int
    bound_at: datetime
    epoch: int
    cpu_milli: int
    memory_bytes: int
    requests: bytes | None
    decision: int
    released: bool


class Terms(Protocol):
    """What a binding was made with."""

    @property
    def requests(self) -> dict[str, int]:
        """Of one pod: milli-units for cpu, base units otherwise."""
        ...

    @property
    def decision(self) -> int:
        """Id of the decision record, 0 for none."""
        ...

    @property
    def epoch(self) -> int | None:
        """Of the leader that binds; 0 or None is anybody else."""
        ...


def binding_row(uid: str, binding: Binding, terms: Terms) -> BindingRow:
    """Return the row of a pod's binding."""
    cpu, memory, rest = split_requests(terms.requests)
    return BindingRow(
        pod_uid=uid,
        node=binding.node,
        revision=binding.revision,
        bound_at=binding.bound_at,
        epoch=terms.epoch or 0,
        cpu_milli=cpu,
        memory_bytes=memory,
        requests=rest,
        decision=terms.decision,
        released=False,
    )


def split_requests(requests: Mapping[str, int]) -> tuple[int, int, bytes | None]:
    """Return cpu and memory, and the others as JSON if there are any but one "pods"."""
    rest: dict[str, int] = {}
    if not requests.keys() <= _COLUMNS or requests.get("pods", 1) != 1:
        rest = {name: n for name, n in requests.items() if name not in {"cpu", "memory"}}
    return requests.get("cpu", 0), requests.get("memory", 0), encode_json(rest) if rest else None


BINDING_TYPES: Mapping[str, str] = {
    "pod_uid": "uuid",
    "node": "text",
    "revision": "bigint",
    "bound_at": "timestamptz",
    "epoch": "bigint",
    "cpu_milli": "bigint",
    "memory_bytes": "bigint",
    "requests": "jsonb",
    "decision": "bigint",
    "released": "boolean",
}
