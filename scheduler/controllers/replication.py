"""Keeps every ReplicationController and ReplicaSet at its number of pods.

The decision is replication_plan.plan; pod_control carries it out. A controller's key runs with one
worker at a time.
"""

import asyncio
from datetime import timedelta

from ..errors import Forbidden, Invalid, StatusError
from ..informer import Informer
from ..objects.cohort import ALIKE_FROM
from ..objects.kind import KindRegistry
from ..objects.pod import Pod
from ..objects.pod_owner import REPLICA_SET, REPLICATION_CONTROLLER, OwnerKind
from ..objects.replication import Replication
from ..objects.stored import ObjectKey
from .clock import Clock
from .fenced_store import FencedStore
from .informers import OWNER, Informers, orphans
from .owned_pods import OwnedPods
from .pod_control import PodControl
from .pod_template import PodSeries
from .replication_plan import ReplicationPlan, plan, suffices, with_failure
from .settings import ControllerSettings
from .status_writes import write_status
from .work_queue import WorkQueue, follow

_COMPONENTS = {
    REPLICATION_CONTROLLER: "replication-controller",
    REPLICA_SET: "replicaset-controller",
}


class ReplicationController:
    """Runs the plans of all ReplicationControllers, or of all ReplicaSets."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
        kind: OwnerKind,
    ) -> None:
        self._store = store
        self._kind = kind
        self._owners: Informer[Replication] = informers.replications[kind]
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._control = PodControl(store, registry, informers, settings, clock, _COMPONENTS[kind])
        self._queue = WorkQueue[ObjectKey](kind.resource, clock)

    def enrol(self, pods: OwnedPods) -> None:
        """Hear of pods."""
        pods.enrol(self._kind, self._queue.add, self._owners)

    async def run(self) -> None:
        """Keep the numbers, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._owners, self._queue))
            group.create_task(self._control.waits.follow(self._queue.add))
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._control.certainty.of(key):
            controller = self._owners.get(key.namespace, key.name)
            if controller is None:
                self._control.forget(key)
                return None
            return await self._carry_out(controller, self._plan(controller))

    def _plan(self, controller: Replication) -> ReplicationPlan:
        now, burst = self._clock.now(), self._settings.burst
        uid, namespace = controller.meta.uid, controller.meta.namespace
        strays = orphans(self._pods, namespace, controller.selector)
        single, crowds = self._pods.in_crowds(OWNER, uid)
        pods: list[Pod] = [*(pod for pod in single if pod.meta.namespace == namespace), *strays]
        crowds = [crowd for crowd in crowds if crowd.sample.meta.namespace == namespace]
        if suffices(controller, pods, crowds):
            return plan(controller, pods, now, burst, crowds)
        owned = (p for p in self._pods.by_index(OWNER, uid) if p.meta.namespace == namespace)
        return plan(controller, (*owned, *strays), now, burst)

    async def _carry_out(
        self, controller: Replication, planned: ReplicationPlan
    ) -> timedelta | None:
        failure: StatusError | None = None
        control = self._control
        try:
            await control.adopt(controller, planned.adopt)
            await control.release(controller, planned.orphan)
            await control.delete(controller, planned.deletes)
            if planned.creates:
                await self._create(controller, planned)
        except (Invalid, Forbidden) as error:
            failure = error
        reason, message = ("FailedCreate", failure.message) if failure is not None else ("", "")
        status = with_failure(planned.status, reason, message, self._clock.now())
        if status != controller.status:
            seen = controller.stored
            await write_status(self._store, self._kind, controller.meta, status, seen)
        if failure is not None:
            await control.tell_failure(controller, failure)
        return planned.look_again

    async def _create(self, controller: Replication, planned: ReplicationPlan) -> None:
        shape = await self._control.shape(controller)
        owner, namespace = controller.reference, controller.meta.namespace
        count, successions = planned.creates, planned.successions
        if count - len(successions) >= ALIKE_FROM:
            series = PodSeries(shape, owner, namespace, set(), self._clock.now())
            await self._control.create_alike(controller, series, count - len(successions))
            return
        taken = {pod.meta.name for pod in self._pods.by_index(OWNER, owner.uid)}
        series = PodSeries(shape, owner, namespace, taken, self._clock.now())
        writes = [series.succeed(each.uid, each.node) for each in successions]
        writes += [series.next() for _ in range(count - len(successions))]
        await self._control.create(controller, writes)
