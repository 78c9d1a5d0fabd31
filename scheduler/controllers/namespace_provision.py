"""Makes the object that every namespace has, in namespaces that are not being deleted."""

import contextlib
from collections.abc import Callable

from ..errors import AlreadyExists, Forbidden, NotFound
from ..objects.meta import ObjectMeta, new_uid
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create
from .clock import Clock
from .fenced_store import FencedStore
from .informers import NAMESPACES, Informers, Named
from .quota_waits import QuotaWaits


class NamespaceProvision:
    """The namespaces, and what one controller makes in each of them.

    Args:
        resource, name: of the object that is made.
    """

    def __init__(
        self, store: FencedStore, informers: Informers, clock: Clock, resource: str, name: str
    ) -> None:
        self._store = store
        self._namespaces = informers.others[NAMESPACES]
        self._clock = clock
        self._resource = resource
        self._name = name
        self._waits = QuotaWaits(informers.quotas)

    def key(self, namespace: str) -> ObjectKey:
        """Return the key of a namespace's object."""
        return ObjectKey(self._resource, namespace, self._name)

    def keys(self) -> list[ObjectKey]:
        """Return the keys of all namespaces' objects."""
        return [self.key(each.name) for each in self._namespaces.items]

    def lacks(self, namespace: str) -> bool:
        """Tell whether a namespace is to have nothing: it is gone, or being deleted."""
        return _ends(self._namespaces.get("", namespace))

    async def follow(self, look: Callable[[ObjectKey], None]) -> None:
        """Have the objects of new and changed namespaces looked at, until cancelled."""
        async for deltas in self._namespaces.subscribe():
            for delta in deltas:
                if delta.new is None:
                    self._waits.discard(self.key(delta.key.name))
                else:
                    look(self.key(delta.key.name))

    async def follow_room(self, look: Callable[[ObjectKey], None]) -> None:
        """Have objects looked at that quotas have room for now, until cancelled."""
        await self._waits.follow(look)

    async def make(self, namespace: str, body: Body, annotations: dict[str, str]) -> None:
        """Make a namespace's object, unless it is there or the namespace ends meanwhile.

        Raises:
            Forbidden: a quota has no room for it.
        """
        meta = ObjectMeta(
            name=self._name,
            namespace=namespace,
            uid=new_uid(),
            creation_timestamp=self._clock.now(),
            annotations=annotations,
        )
        key = self.key(namespace)
        self._waits.add(key)
        try:
            with contextlib.suppress(AlreadyExists, NotFound):  # in NotFound, the namespace is gone
                await self._store.write(Create(self._resource, meta, body))
        except Forbidden:
            if not _ends(await self._store.get(ObjectKey(NAMESPACES, "", namespace))):
                raise
        self._waits.discard(key)


def _ends(namespace: Named | StoredObject | None) -> bool:
    return namespace is None or namespace.meta.deletion_timestamp is not None
