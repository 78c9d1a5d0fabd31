"""Which pods' volumes are made of what, and word of its changes.

ConfigMaps, Secrets, claims and ServiceAccounts change when somebody writes them, tokens with time.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

import msgspec

from ..informer import Delta, Informer
from ..objects.meta import ObjectMeta
from ..objects.storage import CLAIMS
from ..objects.stored import ObjectKey, StoredObject
from ..store.store import Store
from .api_access import Account, account_view
from .token_renewal import TokenRenewals
from .volume_content import ACCOUNTS

RESOURCES = ("configmaps", "secrets", CLAIMS)
_PATIENCE = 2.0  # seconds for an account that is being made just now, with its namespace

T = TypeVar("T")


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """Of an object only that it changed; its contents are read when they are needed."""

    meta: ObjectMeta
    revision: int


def _seen(stored: StoredObject) -> _Seen:
    bare = ObjectMeta(name=stored.meta.name, namespace=stored.meta.namespace, uid=stored.meta.uid)
    return _Seen(bare, stored.revision)


class VolumeSources:
    """One per leader."""

    def __init__(self, store: Store) -> None:
        self._informers = {each: Informer(store, each, _seen) for each in RESOURCES}
        self._accounts = Informer[Account](store, ACCOUNTS, account_view)
        self._renewals = TokenRenewals()
        self._readers: dict[ObjectKey, dict[str, Callable[[], None]]] = {}
        self._reads: dict[str, frozenset[ObjectKey]] = {}
        self._numbers = count()

    def register(
        self,
        uid: str,
        keys: frozenset[ObjectKey],
        changed: Callable[[], None],
        renewal: float | None = None,
    ) -> None:
        """Have a pod hear of every later change of these objects, and of no others.

        Args:
            renewal: when a token of its volumes is due, in seconds since 1970; it hears of that.
        """
        self.forget(uid)
        if keys:
            self._reads[uid] = keys
        for key in keys:
            self._readers.setdefault(key, {})[uid] = changed
        if renewal is not None:
            self._renewals.put(uid, renewal, changed)

    def forget(self, uid: str) -> None:
        """Let a pod hear of nothing any more."""
        self._renewals.forget(uid)
        for key in self._reads.pop(uid, frozenset()):
            readers = self._readers[key]
            readers.pop(uid, None)
            if not readers:
                del self._readers[key]

    @contextmanager
    def news(self, key: ObjectKey) -> Generator[asyncio.Event]:
        """Have an event set at every change of an object, for as long as the context lasts."""
        changed, reader = asyncio.Event(), f"#{next(self._numbers)}"
        self.register(reader, frozenset({key}), changed.set)
        try:
            yield changed
        finally:
            self.forget(reader)

    async def account(self, key: ObjectKey) -> Account | None:
        """Return a ServiceAccount, None without; waits a little for one that is on its way."""
        await self._accounts.synced()
        found = self._accounts.get(key.namespace, key.name)
        if found is not None:
            return found
        with self.news(key) as changed:
            try:
                async with asyncio.timeout(_PATIENCE):
                    while (found := self._accounts.get(key.namespace, key.name)) is None:
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                return None
        return found

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renewals.run())
            group.create_task(self._accounts.run())
            group.create_task(self._follow(self._accounts))
            for informer in self._informers.values():
                group.create_task(informer.run())
                group.create_task(self._follow(informer))

    @staticmethod
    def _is_lost_account(delta: Delta[T]) -> bool:
        """Return whether an account is gone: no other token can be made before there is one."""
        return delta.key.resource == ACCOUNTS and delta.new is None

    async def _follow(self, informer: Informer[T]) -> None:
        async for deltas in informer.subscribe():
            for delta in deltas:
                if delta.old == delta.new or self._is_lost_account(delta):
                    continue
                for changed in tuple(self._readers.get(delta.key, {}).values()):
                    changed()
