"""Gives every namespace its ServiceAccount "default" (Kubernetes' ServiceAccounts controller)."""

import asyncio
from datetime import timedelta

from ..objects.stored import Body, ObjectKey
from .clock import Clock
from .fenced_store import FencedStore
from .informers import Informers
from .namespace_provision import NamespaceProvision
from .settings import ControllerSettings
from .work_queue import WorkQueue

_ACCOUNTS = "serviceaccounts"
_NAME = "default"


class ServiceAccounts:
    """Looks at an account when its namespace changes, or when it is gone."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._accounts = informers.others[_ACCOUNTS]
        self._provision = NamespaceProvision(store, informers, clock, _ACCOUNTS, _NAME)
        self._settings = settings
        self._queue = WorkQueue[ObjectKey]("service accounts", clock)

    async def run(self) -> None:
        """Make them, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._provision.follow(self._queue.add))
            group.create_task(self._provision.follow_room(self._queue.add))
            group.create_task(self._follow_accounts())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_accounts(self) -> None:
        async for deltas in self._accounts.subscribe():
            for delta in deltas:
                if delta.new is None and delta.key.name == _NAME:
                    self._queue.add(delta.key)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        missing = self._accounts.get(key.namespace, key.name) is None
        if missing and not self._provision.lacks(key.namespace):
            await self._provision.make(key.namespace, Body(b"{}"), {})
        return None
