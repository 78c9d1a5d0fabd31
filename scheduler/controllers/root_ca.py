"""Publishes the certificate of the cluster's CA in every namespace, for pods to trust.

Kubernetes' root CA certificate publisher. As long as there is no certificate, nothing is published.
"""

import asyncio
import contextlib
import logging
from datetime import timedelta

from ..errors import NotFound
from ..informer import Informer
from ..objects.root_ca import (
    CONFIG_MAPS,
    KEY,
    NAME,
    ConfigMap,
    certificate_in,
    published,
)
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .clock import Clock
from .fenced_store import FencedStore
from .informers import Informers
from .namespace_provision import NamespaceProvision
from .settings import ControllerSettings
from .work_queue import WorkQueue

_DESCRIPTION = {
    "kubernetes.io/description": "The certificate by which pods know the cluster's own API."
}
_log = logging.getLogger(__name__)


def _itself(stored: StoredObject) -> StoredObject:
    return stored


class RootCA:
    """Looks at a ConfigMap when it or its namespace changes, at all when the certificate does."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._keys = Informer[StoredObject](store.store, KEY.resource, _itself)
        self._config_maps = informers.config_maps
        self._provision = NamespaceProvision(store, informers, clock, CONFIG_MAPS, NAME)
        self._settings = settings
        self._queue = WorkQueue[ObjectKey]("root CA", clock)
        self._certificate = ""

    async def run(self) -> None:
        """Publish, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keys.run())
            group.create_task(self._follow_key())
            group.create_task(self._provision.follow(self._queue.add))
            group.create_task(self._provision.follow_room(self._queue.add))
            group.create_task(self._follow_config_maps())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_key(self) -> None:
        async for deltas in self._keys.subscribe():
            for delta in deltas:
                if delta.key == KEY:
                    self._queue.add(KEY)

    async def _follow_config_maps(self) -> None:
        async for deltas in self._config_maps.subscribe():
            for delta in deltas:
                if delta.key.name == NAME:
                    self._queue.add(delta.key)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        if key == KEY:
            await self._read()
        elif self._certificate and not self._provision.lacks(key.namespace):
            await self._publish(key, self._config_maps.get(key.namespace, key.name))
        return None

    async def _read(self) -> None:
        """Learn the certificate; a new one is published everywhere."""
        key = await self._store.get(KEY)
        found = certificate_in(key) if key is not None else ""
        if key is not None and not found:
            _log.warning(
                "the cluster's key has no certificate, so none is published; start the service anew"
            )
        if found == self._certificate:
            return
        self._certificate = found
        for key in self._provision.keys() if found else ():
            self._queue.add(key)

    async def _publish(self, key: ObjectKey, present: ConfigMap | None) -> None:
        body = published(self._certificate)
        if present is None:
            await self._provision.make(key.namespace, body, _DESCRIPTION)
        elif present.certificate != self._certificate:
            write = Replace(key.resource, present.meta, body, b"", present.revision)
            with contextlib.suppress(NotFound):  # the news of that has it made anew
                await self._store.write(write)
