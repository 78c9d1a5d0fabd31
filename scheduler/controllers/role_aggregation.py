"""Fills the rules of ClusterRoles that are made of others' (Kubernetes' ClusterRole aggregation).

Of roles that choose each other the rules only grow, as upstream: what one of them has had, it has
from the other.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

from ..errors import NotFound
from ..objects.cluster_role import ClusterRole, with_rules
from ..objects.role import CLUSTER_ROLES
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .clock import Clock
from .fenced_store import FencedStore
from .informers import AGGREGATED, LABEL, Informers, places
from .settings import ControllerSettings
from .work_queue import WorkQueue


class RoleAggregation:
    """Looks at an aggregated ClusterRole when it changes, or one that it chooses or chose."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._roles = informers.cluster_roles
        self._settings = settings
        self._queue = WorkQueue[ObjectKey]("role aggregation", clock)

    async def run(self) -> None:
        """Fill them, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow(self) -> None:
        async for deltas in self._roles.subscribe():
            for delta in deltas:
                if delta.new is not None and delta.new.selectors:
                    self._queue.add(delta.key)
                for changed in (delta.old, delta.new):
                    if changed is not None:
                        self._look_above(changed)

    def _look_above(self, role: ClusterRole) -> None:
        for each in self._roles.by_index(AGGREGATED, AGGREGATED):
            if each.chooses(role):
                self._queue.add(ObjectKey(CLUSTER_ROLES, "", each.name))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        role = self._roles.get("", key.name)
        if role is None or not role.selectors:
            return None
        chosen = {each.name: each for each in self._near(role) if role.chooses(each)}
        rules = tuple(dict.fromkeys(rule for name in sorted(chosen) for rule in chosen[name].rules))
        if rules != role.rules:
            await self._fill(with_rules(role, rules))
        return None

    async def _fill(self, filled: StoredObject) -> None:
        write = Replace(CLUSTER_ROLES, filled.meta, filled.body, b"", filled.revision)
        with contextlib.suppress(NotFound):
            await self._roles.reached((await self._store.write(write)).revision)

    def _near(self, role: ClusterRole) -> Iterator[ClusterRole]:
        """Yield the roles that a role may choose, and a few more."""
        for selector in role.selectors:
            yield from self._found(selector)

    def _found(self, selector: Selector) -> Iterator[ClusterRole]:
        named = places("", selector)
        if not named and not selector.nothing:
            yield from self._roles.items.values()
        for place in named:
            yield from self._roles.by_index(LABEL, place)
