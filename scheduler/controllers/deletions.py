"""Deletions by controllers, after which nobody has what a Service held (as after the API's)."""

from collections.abc import Sequence

from ..objects.pod_class import SERVICES
from ..objects.service import service_view
from ..objects.service_records import holder_of, records_of
from ..objects.stored import StoredObject
from ..store.operations import Remove, Replace
from .deletion_writes import removal
from .fenced_store import FencedStore, raise_failures


async def delete(store: FencedStore, writes: Sequence[Remove | Replace]) -> None:
    """Carry out deletions, and free the addresses and ports of nodes of Services that went.

    Raises:
        StatusError: any failure but that an object is gone.
    """
    outcomes = await store.write_many(writes)
    for write, outcome in zip(writes, outcomes, strict=True):
        if isinstance(write, Remove) and isinstance(outcome, StoredObject):
            await _free(store, outcome)
    raise_failures(outcomes)


async def _free(store: FencedStore, gone: StoredObject) -> None:
    """Remove the records of what an object held, unless somebody else has it by now."""
    if gone.resource != SERVICES:
        return
    removals: list[Remove] = []
    for key in records_of(service_view(gone).spec):
        record = await store.get(key)
        if record is not None and holder_of(record).uid == gone.meta.uid:
            removals.append(removal(record))
    await store.write_many(removals)
