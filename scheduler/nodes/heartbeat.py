"""The heartbeat of a node: its Lease, which is renewed as long as its engine answers.

The node lifecycle controller believes a Node that says it is ready for as long as this goes on.
"""

import asyncio
import random
import uuid
from datetime import UTC, datetime

import msgspec

from ..errors import AlreadyExists, Conflict, NotFound
from ..objects.meta import ObjectMeta
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Replace
from .office import Office

LEASES = "leases.coordination.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"


class Heartbeat:
    """One node's; outlives its sessions.

    Args:
        lease: as last written, None where there is none.
    """

    def __init__(self, office: Office, node: str, lease: StoredObject | None) -> None:
        self.lease = lease
        self.due = 0.0  # loop time
        self._office = office
        self._node = node
        self._renewed_at = float("-inf")

    @property
    def arrives(self) -> bool:
        """Whether the Lease was renewed lately, so that the Node may say that it is ready."""
        silence = asyncio.get_running_loop().time() - self._renewed_at
        return silence <= self._office.settings.lease_duration / 2

    def write(self) -> Create | Replace:
        """Return the write that renews the Lease."""
        now, epoch, present = datetime.now(UTC), self._office.epoch, self.lease
        spec = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": self._office.settings.lease_duration,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        body = Body(msgspec.json.encode({"spec": spec}))
        if present is not None:
            return Replace(LEASES, present.meta, body, b"", expected_revision=None, epoch=epoch)
        meta = ObjectMeta(
            name=self._node,
            namespace=LEASE_NAMESPACE,
            uid=str(uuid.uuid4()),
            creation_timestamp=now.replace(microsecond=0),
        )
        return Create(LEASES, meta, body, epoch=epoch)

    def written(self, lease: StoredObject) -> None:
        """Hear that the Lease was renewed."""
        now = asyncio.get_running_loop().time()
        self.lease = lease
        self._renewed_at = now
        self.due = now + self._office.settings.lease * random.uniform(0.8, 1.0)

    async def read(self) -> None:
        """Read the Lease again, after a write of it has failed."""
        self.lease = await self._office.store.get(lease_key(self._node))

    async def renew(self) -> int:
        """Renew the Lease before the Node is said to be ready; returns a revision since then."""
        try:
            lease = await self._office.store.write(self.write())
        except (Conflict, AlreadyExists, NotFound):
            await self.read()
            return await self._office.store.revision()
        self.written(lease)
        return lease.revision


def lease_key(node: str) -> ObjectKey:
    """Return the key of a node's Lease."""
    return ObjectKey(LEASES, LEASE_NAMESPACE, node)
