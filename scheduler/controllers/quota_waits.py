"""Has owners of pods looked at again once a quota that may have forbidden some has room.

Their queue tries again by itself, at ever longer intervals; this is so that nobody waits for that.
"""

from collections.abc import Callable

from ..informer import Informer
from ..objects.resource_quota import ResourceQuota
from ..objects.stored import ObjectKey


class QuotaWaits:
    """The owners of one controller that are making pods, or were forbidden to."""

    def __init__(self, quotas: Informer[ResourceQuota]) -> None:
        self._quotas = quotas
        self._waiting: dict[str, set[ObjectKey]] = {}

    def add(self, owner: ObjectKey) -> None:
        """Have an owner looked at when there is room; said before it tries, none is missed."""
        self._waiting.setdefault(owner.namespace, set()).add(owner)

    def discard(self, owner: ObjectKey) -> None:
        """Forget an owner that has its pods, or is gone."""
        waiting = self._waiting.get(owner.namespace)
        if waiting is not None:
            waiting.discard(owner)
            if not waiting:
                del self._waiting[owner.namespace]

    async def follow(self, look: Callable[[ObjectKey], None]) -> None:
        """Have owners looked at as quotas get room, until cancelled."""
        async for deltas in self._quotas.subscribe():
            for delta in deltas:
                namespace = delta.key.namespace
                if namespace in self._waiting and _relieved(delta.old, delta.new):
                    for owner in self._waiting.pop(namespace):
                        look(owner)


def _relieved(old: ResourceQuota | None, new: ResourceQuota | None) -> bool:
    """Tell whether something may fit that did not before."""
    if old is None or new is None:
        return new is None
    return any(
        name not in new.limits
        or new.limits[name] > limit
        or new.used.get(name, 0) < old.used.get(name, 0)
        for name, limit in old.limits.items()
    )
