"""The write of a status that a controller has worked out."""

import contextlib

import msgspec

from ..errors import Conflict, NotFound
from ..objects.meta import ObjectMeta
from ..objects.pod_owner import OwnerKind
from ..objects.stored import StoredObject
from ..store.operations import Replace
from .fenced_store import FencedStore


async def write_status(
    store: FencedStore,
    kind: OwnerKind,
    meta: ObjectMeta,
    status: msgspec.Struct,
    seen: StoredObject | None = None,
) -> int:
    """Put a status in place of an object's; one that is gone needs none.

    Args:
        kind, meta: whose status.
        seen: the object as it was seen last: where it is still so, it need not be read again.

    Returns:
        The revision of the write, 0 where none was needed.

    Raises:
        Conflict: it changed in the same moment.
    """
    encoded = msgspec.json.encode(status)
    if seen is not None:
        with contextlib.suppress(NotFound, Conflict):
            return await _replace(store, seen, encoded)
    stored = await store.get(kind.key(meta))
    if stored is None or stored.meta.uid != meta.uid or stored.status == encoded:
        return 0
    with contextlib.suppress(NotFound):
        return await _replace(store, stored, encoded)
    return 0


async def _replace(store: FencedStore, stored: StoredObject, status: bytes) -> int:
    write = Replace(stored.resource, stored.meta, stored.body, status, stored.revision)
    return (await store.write(write)).revision
