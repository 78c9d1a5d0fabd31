"""An object as the store keeps it: identity, metadata, interned body, status, binding."""

import hashlib
from datetime import datetime

import msgspec

from .meta import ObjectMeta


class ObjectKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Names one object. `resource` is "plural" or "plural.group"; namespace "" is cluster scope."""

    resource: str
    namespace: str
    name: str


class Body(msgspec.Struct, frozen=True, gc=False):
    """Everything of an object but apiVersion, kind, metadata and status, as JSON.

    For a Pod it is {"spec": …}, for a ConfigMap {"data": …}. Bodies of interned kinds carry a
    16-byte digest of their canonical JSON: equal digest means equal body, so a million pods of one
    template share one row, one decoded view and one scheduling class.
    """

    json: bytes
    digest: bytes = b""

    def __hash__(self) -> int:
        return hash(self.digest or self.json)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Body):
            return NotImplemented
        if self.digest and other.digest:
            return self.digest == other.digest
        return self.json == other.json


def intern_body(canonical: bytes) -> Body:
    """Return the body with its digest (BLAKE2b, 16 bytes) over canonical (key-sorted) JSON."""
    return Body(canonical, hashlib.blake2b(canonical, digest_size=16).digest())


class Binding(msgspec.Struct, frozen=True, gc=False):
    """Where a pod runs; written once, keyed by the pod's uid."""

    node: str
    bound_at: datetime
    revision: int = 0


class StoredObject(msgspec.Struct, frozen=True, gc=False):
    """One object at one revision.

    Args:
        meta: complete, name, namespace and uid included; resource_version is left empty, the
            revision is the truth.
        revision: database-wide commit order of the last change, binding included.
        created_revision: of its creation.
        status: JSON of .status, b"" when there is none.
        binding: for pods that have a node.
        lodged: it is kept as one of a cohort (see cohort), not as a row of its own.
    """

    resource: str
    meta: ObjectMeta
    revision: int
    created_revision: int
    body: Body
    status: bytes = b""
    binding: Binding | None = None
    lodged: bool = False

    @property
    def key(self) -> ObjectKey:
        """The object's key."""
        return ObjectKey(self.resource, self.meta.namespace, self.meta.name)
