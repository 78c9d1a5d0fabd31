"""What only the cluster's own processes know, made once and at random.

Objects of a resource that the API does not serve: who may read every Secret is no administrator
by that.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from .errors import AlreadyExists, Conflict, NotFound
from .objects.meta import ObjectMeta, new_uid, now_seconds
from .objects.stored import Body, ObjectKey, StoredObject
from .store.operations import Create, Replace
from .store.store import Store

Data = Mapping[str, bytes]


KEYS = "keys.ironfree.dev"


class _Secret(msgspec.Struct):
    data: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Secret)


async def have_secret(
    store: Store,
    name: str,
    make: Callable[[], Data],
    sound: Callable[[Data], bool],
    epoch: int | None = None,
) -> Data:
    """Return a secret of the cluster's; makes it the first time, and if it is spoilt.

    Args:
        sound: whether it is whole.
        epoch: of the leader, None for what every process may do.
    """
    key = ObjectKey(KEYS, "", name)
    while True:
        stored = await store.get(key)
        found: Data = {} if stored is None else _data(stored)
        if sound(found):
            return found
        data = {each: b64encode(value).decode() for each, value in make().items()}
        meta = ObjectMeta(name=name, uid=new_uid(), creation_timestamp=now_seconds())
        body = Body(msgspec.json.encode({"data": data}))
        if stored is None:
            with suppress(AlreadyExists):
                await store.write(Create(key.resource, meta, body, b"", epoch=epoch))
        else:
            with suppress(Conflict, NotFound):
                await store.write(
                    Replace(key.resource, stored.meta, body, b"", stored.revision, epoch)
                )


def _data(stored: StoredObject) -> Data:
    try:
        data = _decoder.decode(stored.body.json).data
        return {key: b64decode(value) for key, value in data.items()}
    except (msgspec.DecodeError, Error):
        return {}
