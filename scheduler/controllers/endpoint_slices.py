"""Keeps EndpointSlices and Endpoints of Services with a selector: where their pods are found."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import timedelta

from msgspec.structs import replace

from ..informer import AnyDelta, CohortDelta, Delta
from ..objects.endpoints import CONTROLLER, ENDPOINTS, KEPT_BY_US, MANAGED_BY, SERVICE_NAME
from ..objects.pod import Pod
from ..objects.pod_class import SERVICES
from ..objects.service import Service
from ..objects.stored import ObjectKey
from ..store.operations import Remove, Replace
from .clock import Clock
from .endpoint_plan import Backends, endpoints_of, plan_slices
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import NAMESPACE, OWNER, Informers
from .pod_control import Certainty
from .settings import ControllerSettings
from .work_queue import WorkQueue

_ZONE = "topology.kubernetes.io/zone"


class EndpointSlices:
    """Looks at a Service whenever it, its slices or pods that it selects change."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._services = informers.services
        self._slices = informers.slices
        self._pods = informers.pods
        self._nodes = informers.nodes
        self._settings = settings
        self._clock = clock
        self._certainty = Certainty(store, informers.slices)
        self._queue = WorkQueue[ObjectKey]("endpoints", clock)
        self._behind: dict[ObjectKey, set[ObjectKey]] = {}  # Service → pods

    async def run(self) -> None:
        """Keep them, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_services())
            group.create_task(self._follow_slices())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_services(self) -> None:
        async for deltas in self._services.subscribe():
            asking = [each for each in deltas if _selects_others(each)]
            spaces = {each.key.namespace for each in asking if each.new is not None}
            pods = self._pods.in_namespaces(spaces)
            for delta in asking:
                self._look_behind(delta, pods.get(delta.key.namespace, ()))
            for delta in deltas:
                self._queue.add(delta.key)

    def _look_behind(self, delta: Delta[Service], pods: Iterable[tuple[ObjectKey, Pod]]) -> None:
        """Find a Service's pods among those of its namespace."""
        service = delta.new
        if service is None or service.selector.nothing:
            self._behind.pop(delta.key, None)
            return
        labels = ((key, pod.meta.labels) for key, pod in pods)
        self._behind[delta.key] = {key for key, own in labels if service.selector.matches(own)}

    async def _follow_slices(self) -> None:
        async for deltas in self._slices.subscribe():
            for delta in deltas:
                for each in (delta.old, delta.new):
                    if each is not None and each.meta.labels.get(MANAGED_BY) == CONTROLLER:
                        name = each.meta.labels.get(SERVICE_NAME, "")
                        self._queue.add(ObjectKey(SERVICES, delta.key.namespace, name))

    async def _follow_pods(self) -> None:
        async for deltas in self._pods.subscribe_whole():
            for whole in deltas if self._behind else ():
                for delta in self._singly(whole):
                    self._concern(delta)

    def _singly(self, whole: AnyDelta[Pod]) -> Iterator[Delta[Pod]]:
        """Yield changes pod by pod, of cohorts only where a Service selects them."""
        if not isinstance(whole, CohortDelta):
            yield whole
            return
        sample = whole.one(0).new
        if sample is not None and any(self._selecting(sample)):
            yield from whole.each()

    def _selecting(self, pod: Pod) -> Iterator[Service]:
        for service in self._services.by_index(NAMESPACE, pod.meta.namespace):
            if service.selector.matches(pod.meta.labels):
                yield service

    def _concern(self, delta: Delta[Pod]) -> None:
        for service in self._services.by_index(NAMESPACE, delta.key.namespace):
            pods = self._behind.get(service.key)
            if pods is None:
                continue
            if delta.new is not None and service.selector.matches(delta.new.meta.labels):
                pods.add(delta.key)
            elif delta.key in pods:
                pods.discard(delta.key)
            else:
                continue
            self._queue.add(service.key)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._certainty.of(key):
            service = self._services.get(key.namespace, key.name)
            if service is None:
                await self._forget(key)
            elif not service.selector.nothing and service.meta.deletion_timestamp is None:
                await self._keep(service)
        return None

    async def _keep(self, service: Service) -> None:
        pods = [
            pod
            for each in self._behind.get(service.key, ())
            if (pod := self._pods.get(each.namespace, each.name)) is not None
        ]
        nodes = {pod.node: self._nodes.get("", pod.node) for pod in pods if pod.node}
        zones = {name: node.meta.labels.get(_ZONE, "") for name, node in nodes.items() if node}
        backends = Backends.of(service, pods, {name: zone for name, zone in zones.items() if zone})
        known = [
            each
            for each in self._slices.by_index(OWNER, service.meta.uid)
            if each.meta.labels.get(MANAGED_BY) == CONTROLLER
        ]
        writes = plan_slices(backends, known, self._clock.now())
        results = await self._store.write_many(writes)
        await self._write_endpoints(backends)
        await self._slices.reached(latest_revision(results))
        raise_failures(results)

    async def _write_endpoints(self, backends: Backends) -> None:
        made = endpoints_of(backends, self._clock.now())
        present = await self._store.get(ObjectKey(ENDPOINTS, made.meta.namespace, made.meta.name))
        if present is None:
            await self._store.write(made)
            return
        meta = replace(present.meta, labels=made.meta.labels, annotations=made.meta.annotations)
        if meta != present.meta or made.body.json != present.body.json:
            await self._store.write(Replace(ENDPOINTS, meta, made.body, b"", present.revision))

    async def _forget(self, key: ObjectKey) -> None:
        """Remove the Endpoints of a Service that is gone; its slices are collected."""
        present = await self._store.get(ObjectKey(ENDPOINTS, key.namespace, key.name))
        if present is not None and KEPT_BY_US.items() <= present.meta.labels.items():
            removal = Remove(present.key, present.meta.uid, present.revision)
            raise_failures(await self._store.write_many([removal]))


def _selects_others(delta: Delta[Service]) -> bool:
    """Tell whether a Service is new or gone, or selects other pods than before."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.selector != new.selector
