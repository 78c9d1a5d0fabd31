"""The write that deletes an object, or lets go of a finalizer. Pure."""

from datetime import datetime

from msgspec.structs import replace

from ..objects.deletion import DeletionRequest, delete
from ..objects.stored import StoredObject
from ..store.operations import Remove, Replace


def deletion(
    stored: StoredObject, request: DeletionRequest, now: datetime
) -> Remove | Replace | None:
    """Return the write of a delete request, None when the object is deleting so already."""
    meta = delete(stored, request, now)
    if meta is None:
        return removal(stored)
    if meta == stored.meta:
        return None
    return Replace(stored.resource, meta, stored.body, stored.status, stored.revision)


def removal(stored: StoredObject) -> Remove:
    """Return the write that ends an object as it was read."""
    return Remove(stored.key, stored.meta.uid, stored.revision)


def finalized(stored: StoredObject, finalizer: str) -> Remove | Replace:
    """Return the write that drops a finalizer, and the object with its last one.

    A bound pod lives on until its node confirms, a namespace until it is empty.
    """
    left = tuple(f for f in stored.meta.finalizers if f != finalizer)
    graceful = bool(stored.meta.deletion_grace_period_seconds) and stored.binding is not None
    lives_on = left or graceful or stored.resource == "namespaces"
    if stored.meta.deletion_timestamp is not None and not lives_on:
        return removal(stored)
    meta = replace(stored.meta, finalizers=left)
    return Replace(stored.resource, meta, stored.body, stored.status, stored.revision)
