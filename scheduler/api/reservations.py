"""Things of which each is one Service's at most: unique by the store's primary key.

Everything in use is a small record named after it, created before its Service is, so two Services
can never hold one thing, whoever creates them. A record left behind by a crash is taken over when
its turn comes.
"""

from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

from msgspec.structs import replace

from ..errors import AlreadyExists, Conflict, NotFound
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.service import service_view
from ..objects.service_records import Holder, holder_of, records_of
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from ..store.store import Store

_ABANDONED = timedelta(minutes=1)  # a record's Service is created within this time, or never


class Reserved(NamedTuple):
    """A record as it was known at some moment; whoever takes the thing anew changes it."""

    key: ObjectKey
    uid: str
    revision: int


class Reservations:
    """Hands out things by the keys of their records."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, key: ObjectKey, meta: ObjectMeta) -> Reserved | None:
        """Reserve a thing for the Service with this metadata; None when it is another's."""
        record = ObjectMeta(name=key.name, uid=str(uuid4()), creation_timestamp=now_seconds())
        holder = Holder(meta.namespace, meta.name, meta.uid)
        try:
            made = await self._store.write(Create(key.resource, record, holder.body()))
        except AlreadyExists:
            return await self._take_over(key, holder)
        return _reserved(made)

    async def held(self, key: ObjectKey, uid: str) -> Reserved | None:
        """Return a thing as the Service with this uid holds it now, None when it does not."""
        record = await self._store.get(key)
        return _reserved(record) if record and holder_of(record).uid == uid else None

    async def give_back(self, reserved: Reserved) -> None:
        """Free a thing, unless it has been taken anew since, be it by the same Service."""
        try:
            await self._store.write(Remove(*reserved))
        except (NotFound, Conflict):
            return

    async def _take_over(self, key: ObjectKey, holder: Holder) -> Reserved | None:
        record = await self._store.get(key)
        if record is None or not await self._abandoned(record):
            return None
        fresh = replace(record.meta, creation_timestamp=now_seconds())
        taken = Replace(key.resource, fresh, holder.body(), b"", record.revision)
        try:
            return _reserved(await self._store.write(taken))
        except (NotFound, Conflict):
            return None

    async def _abandoned(self, record: StoredObject) -> bool:
        created = record.meta.creation_timestamp
        if created is None or now_seconds() - created < _ABANDONED:
            return False
        holder = holder_of(record)
        service = await self._store.get(holder.key)
        if service is None or service.meta.uid != holder.uid:
            return True
        return record.key not in records_of(service_view(service).spec)


def _reserved(record: StoredObject) -> Reserved:
    return Reserved(record.key, record.meta.uid, record.revision)
