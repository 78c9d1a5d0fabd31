"""What hosts show each other, so that nobody else is let through to pods."""

import secrets
from base64 import b64decode, b64encode
from binascii import Error
from contextlib import suppress

import msgspec

from ..errors import AlreadyExists, Conflict, NotFound
from ..objects.meta import ObjectMeta, new_uid, now_seconds
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Replace
from ..store.store import Store

KEY = ObjectKey("secrets", "kube-system", "ironfree-network")
_BYTES = 32
_FIELD = "secret"


class _Secret(msgspec.Struct):
    data: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Secret)


async def have_secret(store: Store, epoch: int) -> str:
    """Return the cluster's secret, 64 hexadecimal digits; makes it the first time."""
    while True:
        stored = await store.get(KEY)
        found = _bytes(stored) if stored is not None else b""
        if len(found) == _BYTES:
            return found.hex()
        made = {"type": "Opaque", "data": {_FIELD: b64encode(secrets.token_bytes(_BYTES)).decode()}}
        meta = ObjectMeta(
            name=KEY.name, namespace=KEY.namespace, uid=new_uid(), creation_timestamp=now_seconds()
        )
        body = Body(msgspec.json.encode(made))
        write: Create | Replace = Create(KEY.resource, meta, body, b"", epoch=epoch)
        if stored is not None:  # somebody has spoilt it
            write = Replace(KEY.resource, stored.meta, body, b"", stored.revision, epoch)
        with suppress(AlreadyExists, Conflict, NotFound):
            await store.write(write)


def _bytes(stored: StoredObject) -> bytes:
    try:
        return b64decode(_decoder.decode(stored.body.json).data.get(_FIELD, ""))
    except (msgspec.DecodeError, Error):
        return b""
