"""Writes the status of an object that somebody works on, whatever else is written to it."""

import msgspec

from ..errors import Conflict, NotFound, Unavailable
from ..objects.stored import ObjectKey
from .operations import Replace
from .store import Store

_TRIES = 5


async def write_status(
    store: Store, key: ObjectKey, uid: str, status: msgspec.Struct, epoch: int
) -> None:
    """Put a status in place of an object's; one that was deleted meanwhile needs none.

    Raises:
        Fenced: another leader has taken over.
        Unavailable: the database does not answer, or the object keeps changing.
    """
    encoded = msgspec.json.encode(status)
    for _ in range(_TRIES):
        stored = await store.get(key)
        if stored is None or stored.meta.uid != uid:
            return
        write = Replace(key.resource, stored.meta, stored.body, encoded, stored.revision, epoch)
        try:
            await store.write(write)
        except Conflict:
            continue
        except NotFound:
            return
        return
    raise Unavailable(f"the status of {key.resource} {key.name} keeps changing; try again")
