"""Things of which each is one Service's at most: unique by the store's primary key.

Everything in use is a small record named after it, created before its Service is, so two Services
can never hold one thing, whoever creates them. A record left behind by a crash or by a Service
that went with its namespace is taken over when its turn comes.
"""

from datetime import timedelta
from uuid import uuid4

import msgspec

from ..errors import AlreadyExists, Conflict, NotFound
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from ..store.store import Store

_ABANDONED = timedelta(minutes=1)  # a record's Service is created within this time, or never


class _Holder(msgspec.Struct):
    namespace: str
    name: str
    uid: str


_holder = msgspec.json.Decoder(_Holder)


class Reservations:
    """One sort of thing.

    Args:
        resource: what the records are.
        written: how a thing is written in the body of a Service that has it; {} is its name.
    """

    def __init__(self, store: Store, resource: str, written: str) -> None:
        self._store = store
        self._resource = resource
        self._written = written

    async def take(self, thing: str, meta: ObjectMeta) -> bool:
        """Reserve a thing for the Service with this metadata; False when it is another's."""
        record = ObjectMeta(name=thing, uid=str(uuid4()), creation_timestamp=now_seconds())
        body = Body(msgspec.json.encode(_Holder(meta.namespace, meta.name, meta.uid)))
        try:
            await self._store.write(Create(self._resource, record, body))
        except AlreadyExists:
            return await self._take_over(thing, body)
        return True

    async def give_back(self, thing: str, uid: str) -> None:
        """Free what a Service held that is gone, unless it is another's by now."""
        key = ObjectKey(self._resource, "", thing)
        record = await self._store.get(key)
        if record is None or _holder.decode(record.body.json).uid != uid:
            return
        try:
            await self._store.write(Remove(key, record.meta.uid, record.revision))
        except (NotFound, Conflict):
            return

    async def _take_over(self, thing: str, body: Body) -> bool:
        record = await self._store.get(ObjectKey(self._resource, "", thing))
        if record is None or not await self._abandoned(record, thing):
            return False
        fresh = msgspec.structs.replace(record.meta, creation_timestamp=now_seconds())
        try:
            await self._store.write(Replace(self._resource, fresh, body, b"", record.revision))
        except (NotFound, Conflict):
            return False
        return True

    async def _abandoned(self, record: StoredObject, thing: str) -> bool:
        created = record.meta.creation_timestamp
        if created is None or now_seconds() - created < _ABANDONED:
            return False
        holder = _holder.decode(record.body.json)
        service = await self._store.get(ObjectKey("services", holder.namespace, holder.name))
        if service is None or service.meta.uid != holder.uid:
            return True
        return self._written.format(thing).encode() not in service.body.json
