"""The ResourceQuotas of namespaces as of the head, so that most batches of writes read none.

A process's own commits leave it the quotas they counted on; others' commits are noticed by the
hub, or by the head's revision where the hub is behind. A namespace without quotas is remembered
as such and costs a look-up. When a process first meets a namespace's quotas it counts them anew,
so that what an older version may have counted otherwise does not stay.
"""
# ruff: noqa: S608 - statements are built from constants of this package alone

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from ..objects.kinds.quota_charge import OLD_CLASS, Charge, charge_of, counted_resource
from ..objects.resource_quota import RESOURCE, quota_view
from ..objects.stored import Body, StoredObject
from .hub import Hub
from .operations import AnyWrite
from .postgres import Connection
from .quota_ledger import Census, HeldQuota, charged_namespaces, recounted
from .reader import BodyMissing, Reader
from .rows import COLUMNS, stored
from .verdict import Present

_MOST = 16_384  # namespaces

_QUOTAS = (
    f"SELECT {COLUMNS} FROM objects o LEFT JOIN bindings b ON b.pod_uid = o.uid"
    f" WHERE o.resource = '{RESOURCE}' AND o.namespace = ANY ($1::text[])"
)
# What objects cost follows from these columns; objects that cost the same are one row.
_ALONE = (
    "SELECT resource, digest, CASE WHEN resource = ANY"
    " ('{pods,services,persistentvolumeclaims}'::text[]) THEN body END,"
    " CASE WHEN resource = 'pods' THEN status ->> 'phase' IN ('Succeeded', 'Failed') END,"
    " CASE WHEN resource = 'persistentvolumeclaims' THEN"
    f" metadata -> 'annotations' ->> '{OLD_CLASS}' END,"
    " count(*) FROM objects WHERE resource = ANY ($2::text[]) AND namespace = $1"
    " GROUP BY 1, 2, 3, 4, 5"
)
_LODGED = "SELECT digest, size, gone FROM cohorts WHERE namespace = $1"


class QuotaBook:
    """Knows the quotas of namespaces that were written to."""

    def __init__(self, reader: Reader, hub: Hub) -> None:
        self._reader = reader
        self._hub = hub
        self._kept: OrderedDict[str, tuple[HeldQuota, ...]] = OrderedDict()
        self._revision = -1  # as of which they are true
        self._counted: set[str] = set()  # namespaces, by this process

    async def lay_open(
        self, connection: Connection, ops: Sequence[AnyWrite], present: Present
    ) -> None:
        """Add to what a batch is decided on the quotas it may bear on.

        Args:
            connection: in the transaction that holds the head lock, or of a commit that fails if
                the head has moved.
            present: complete but for them.

        Raises:
            BodyMissing: without the lock, somebody has deleted what is read.
        """
        self._check(present.revision)
        namespaces = charged_namespaces(ops)
        missing = [name for name in namespaces if name not in self._kept]
        if missing:
            await self._read(connection, missing)
        for name in namespaces:
            self._kept.move_to_end(name)
            if held := self._kept[name]:
                if name not in self._counted:
                    held = tuple(each._replace(counted=False) for each in held)
                present.quotas[name] = held
                present.objects.update({each.stored.key: each.stored for each in held})
        anew = recounted(ops, present.objects)
        for name, held in present.quotas.items():
            if not all(each.counted for each in held):
                anew.setdefault(name, [])
        for name, wanted in anew.items():
            quotas = [*wanted, *(each.stored for each in present.quotas.get(name, ()))]
            present.census[name] = await self._census(connection, name, quotas)

    def keep(self, held: Mapping[str, tuple[HeldQuota, ...]], after: int, revision: int) -> None:
        """Remember quotas as they are after this process's commit of (after, revision]."""
        if self._revision != after:
            self._kept.clear()
        self._revision = revision
        self._kept.update(held)
        self._counted.update(held)
        while len(self._kept) > _MOST:
            self._counted.discard(self._kept.popitem(last=False)[0])

    def _check(self, head: int) -> None:
        """Forget what others may have changed since."""
        if self._revision != head:
            hub = self._hub
            if hub.revision != head or self._revision < 0:
                self._kept.clear()
            elif hub.moved(RESOURCE, "") > self._revision:
                for name in list(self._kept):
                    if hub.moved(RESOURCE, name) > self._revision:
                        del self._kept[name]
            self._revision = head

    async def _read(self, connection: Connection, namespaces: Sequence[str]) -> None:
        found: dict[str, list[HeldQuota]] = {name: [] for name in namespaces}
        for row in await connection.fetch(_QUOTAS, namespaces):
            quota = stored(row, {})
            held = HeldQuota(quota, quota.revision, quota_view(quota).counted)
            found[quota.meta.namespace].append(held)
        self._kept.update({name: tuple(held) for name, held in found.items()})

    async def _census(
        self, connection: Connection, namespace: str, quotas: Iterable[StoredObject]
    ) -> Census:
        """Count everything in a namespace that some quotas are about."""
        resources = {counted_resource(name) for each in quotas for name in quota_view(each).hard}
        alone = await connection.fetch(_ALONE, namespace, list(resources))
        lodged = await connection.fetch(_LODGED, namespace) if "pods" in resources else []
        digests = [row[1] for row in alone if row[1]] + [row[0] for row in lodged]
        bodies = await self._reader.bodies_of(connection, digests)
        if bodies is None:
            raise BodyMissing("an interned body is missing from specs")
        census: list[tuple[Charge, int]] = []
        for resource, digest, body, over, old, count in alone:
            of = bodies[digest] if digest else Body(body or b"")
            cost = charge_of(resource, of, ended=bool(over), old_class=old or "")
            census.append((cost, count))
        for digest, size, gone in lodged:
            living = size - int.from_bytes(gone or b"", "little").bit_count()
            census.append((charge_of("pods", bodies[digest], ended=False), living))
        return census
