"""Cluster IPs of Services: unique by the store's primary key.

Every address in use is a small record named after it, created before its Service is, so two
Services can never hold one address, whoever creates them. A record left behind by a crash or by a
Service that went with its namespace is taken over when its turn comes.
"""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from uuid import uuid4

import msgspec

from ..errors import AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from ..store.store import Store

RESOURCE = "ipaddresses.networking.k8s.io"
_ABANDONED = timedelta(minutes=5)  # a record's Service is created within this time, or never
_RESERVED = 16  # the first addresses, for the API itself and for DNS
_TRIES = 256


class _Holder(msgspec.Struct):
    namespace: str
    name: str
    uid: str


_holder = msgspec.json.Decoder(_Holder)


class ServiceAddresses:
    """Hands out and takes back the addresses of one network.

    Args:
        network: e.g. 10.96.0.0/16.
    """

    def __init__(self, store: Store, network: str) -> None:
        self._store = store
        self._network = IPv4Network(network)

    async def take(self, meta: ObjectMeta, wanted: str = "") -> str:
        """Reserve an address for a Service.

        Args:
            meta: of the Service, uid included.
            wanted: an address the client asks for.

        Raises:
            Invalid: the wanted address is outside the network or in use.
            Unavailable: the network has no free address left.
        """
        if wanted:
            return await self._take_wanted(meta, wanted)
        for candidate in self._candidates(meta.uid):
            if await self._reserve(candidate, meta):
                return candidate
        raise Unavailable(f"no free cluster IP found in {self._network}; delete unused Services")

    async def give_back(self, address: str, uid: str) -> None:
        """Free the address of a Service that is gone, unless it is another's by now."""
        key = ObjectKey(RESOURCE, "", address)
        record = await self._store.get(key)
        if record is None or _holder.decode(record.body.json).uid != uid:
            return
        try:
            await self._store.write(Remove(key, record.meta.uid, record.revision))
        except (NotFound, Conflict):
            return

    async def _take_wanted(self, meta: ObjectMeta, wanted: str) -> str:
        if IPv4Address(wanted) not in self._network:
            why = f"the provided IP ({wanted}) is not in the valid range: {self._network}"
        elif await self._reserve(wanted, meta):
            return wanted
        else:
            why = f"failed to allocate IP {wanted}: provided IP is already allocated"
        text = f'spec.clusterIPs: Invalid value: ["{wanted}"]: {why}'
        raise Invalid(f'Service "{meta.name}" is invalid: {text}', kind="Service", name=meta.name)

    def _candidates(self, seed: str) -> Iterator[str]:
        """Yield addresses in an order that differs from Service to Service."""
        size = self._network.num_addresses - _RESERVED - 1
        for attempt in range(_TRIES):
            digest = hashlib.blake2b(f"{seed}/{attempt}".encode(), digest_size=8).digest()
            yield str(self._network[_RESERVED + int.from_bytes(digest) % size])

    async def _reserve(self, address: str, meta: ObjectMeta) -> bool:
        record = ObjectMeta(name=address, uid=str(uuid4()), creation_timestamp=now_seconds())
        body = Body(msgspec.json.encode(_Holder(meta.namespace, meta.name, meta.uid)))
        try:
            await self._store.write(Create(RESOURCE, record, body))
        except AlreadyExists:
            return await self._take_over(address, body)
        return True

    async def _take_over(self, address: str, body: Body) -> bool:
        record = await self._store.get(ObjectKey(RESOURCE, "", address))
        if record is None or not await self._abandoned(record, address):
            return False
        fresh = msgspec.structs.replace(record.meta, creation_timestamp=now_seconds())
        try:
            await self._store.write(Replace(RESOURCE, fresh, body, b"", record.revision))
        except (NotFound, Conflict):
            return False
        return True

    async def _abandoned(self, record: StoredObject, address: str) -> bool:
        created = record.meta.creation_timestamp
        if created is None or now_seconds() - created < _ABANDONED:
            return False
        holder = _holder.decode(record.body.json)
        service = await self._store.get(ObjectKey("services", holder.namespace, holder.name))
        if service is None or service.meta.uid != holder.uid:
            return True
        return f'"{address}"'.encode() not in service.body.json
