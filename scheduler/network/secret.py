"""What hosts show each other, so that nobody else is let through to pods."""

import secrets
from base64 import b64decode, b64encode

import msgspec

from ..errors import AlreadyExists
from ..objects.meta import ObjectMeta, new_uid, now_seconds
from ..objects.stored import Body, ObjectKey
from ..store.operations import Create
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
        found = b64decode(_decoder.decode(stored.body.json).data.get(_FIELD, "")) if stored else b""
        if len(found) == _BYTES:
            return found.hex()
        if stored is not None:
            raise ValueError(
                f"secret {KEY.namespace}/{KEY.name} has no {_FIELD} of {_BYTES} bytes; delete it, "
                "and it is made anew"
            )
        made = {"type": "Opaque", "data": {_FIELD: b64encode(secrets.token_bytes(_BYTES)).decode()}}
        meta = ObjectMeta(
            name=KEY.name, namespace=KEY.namespace, uid=new_uid(), creation_timestamp=now_seconds()
        )
        try:
            await store.write(
                Create(KEY.resource, meta, Body(msgspec.json.encode(made)), b"", epoch=epoch)
            )
        except AlreadyExists:
            continue
