"""Mirrors Endpoints that somebody wrote by hand, for a Service without a selector, into slices."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from ..objects.endpoints import ENDPOINTS, MANAGED_BY, MIRROR, SERVICE_NAME, Endpoints
from ..objects.stored import ObjectKey
from .clock import Clock
from .event_log import EventLog, note
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import MIRRORED, NAMESPACES, Informers
from .mirror_plan import Mirror, plan_mirror, removals
from .pod_control import Certainty
from .settings import ControllerSettings
from .slice_writes import SliceWrite
from .work_queue import WorkQueue, follow


class EndpointMirroring:
    """Looks at an Endpoints object when it, the Service of its name or its slices change."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._endpoints = informers.endpoints
        self._services = informers.services
        self._slices = informers.slices
        self._namespaces = informers.others[NAMESPACES]
        self._settings = settings
        self._clock = clock
        self._certainty = Certainty(store, informers.slices)
        self._events = EventLog(store, clock, "endpoint-slice-mirroring-controller")
        self._queue = WorkQueue[ObjectKey]("endpoint mirroring", clock)
        self._told: dict[ObjectKey, list[tuple[str, str]]] = {}  # of events

    async def run(self) -> None:
        """Mirror, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._endpoints, self._queue))
            group.create_task(self._follow_services())
            group.create_task(self._follow_slices())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_services(self) -> None:
        async for deltas in self._services.subscribe():
            for delta in deltas:
                self._queue.add(ObjectKey(ENDPOINTS, delta.key.namespace, delta.key.name))

    async def _follow_slices(self) -> None:
        async for deltas in self._slices.subscribe():
            for delta in deltas:
                for each in (delta.old, delta.new):
                    if each is not None and each.meta.labels.get(MANAGED_BY) == MIRROR:
                        name = each.meta.labels.get(SERVICE_NAME, "")
                        self._queue.add(ObjectKey(ENDPOINTS, delta.key.namespace, name))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._certainty.of(key):
            namespace = self._namespaces.get("", key.namespace)
            if namespace is not None and namespace.meta.deletion_timestamp is not None:
                return None  # all of it goes
            known = list(self._slices.by_index(MIRRORED, f"{key.namespace}/{key.name}"))
            endpoints = self._wanted(key)
            if endpoints is None:
                self._told.pop(key, None)
                await self._write(removals(known))
                return None
            mirror = Mirror.of(endpoints)
            await self._write(plan_mirror(endpoints, mirror, known, self._clock.now()))
            await self._tell(key, endpoints, mirror)
        return None

    def _wanted(self, key: ObjectKey) -> Endpoints | None:
        """Return the Endpoints of a key if they are to be in slices."""
        endpoints = self._endpoints.get(key.namespace, key.name)
        service = self._services.get(key.namespace, key.name)
        if endpoints is None or not endpoints.mirrored or service is None:
            return None
        leaving = endpoints.meta.deletion_timestamp is not None
        return None if leaving or service.spec.selector else endpoints

    async def _write(self, writes: Sequence[SliceWrite]) -> None:
        results = await self._store.write_many(writes)
        await self._slices.reached(latest_revision(results))
        raise_failures(results)

    async def _tell(self, key: ObjectKey, endpoints: Endpoints, mirror: Mirror) -> None:
        """Say once how many addresses are not mirrored, and why."""
        complaints = mirror.complaints()
        if not complaints:
            self._told.pop(key, None)
        elif self._told.get(key) != complaints:
            self._told[key] = complaints
            for reason, words in complaints:
                told = note("Endpoints", endpoints.meta, reason, words, warning=True)
                await self._events.tell(told)
