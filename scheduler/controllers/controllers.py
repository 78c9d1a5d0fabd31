"""All controllers as one thing that runs while this process leads."""

import asyncio

from ..objects.kind import KindRegistry
from ..store.store import Store
from .clock import Clock, SystemClock
from .cron_jobs import CronJobController
from .daemon_sets import DaemonSetController
from .deployments import DeploymentController
from .disruption import Disruption
from .endpoint_slices import EndpointSlices
from .fenced_store import FencedStore
from .garbage_collection import GarbageCollection
from .informers import Informers
from .jobs import JobController
from .maintenance import Maintenance
from .namespace_content import NamespaceContent
from .node_lifecycle import NodeLifecycle
from .owned_pods import OwnedPods
from .pod_collection import PodCollection
from .pod_groups import PodGroupController
from .replication import ReplicationController
from .settings import ControllerSettings
from .stateful_sets import StatefulSetController
from .taint_eviction import TaintEviction
from .volume_binding import VolumeBinding


class Controllers:
    """Runs every controller under one leader epoch.

    Args:
        informers: run by the caller; they must start after leadership was won.
        epoch: of this leader; carried by every write.
    """

    def __init__(
        self,
        store: Store,
        registry: KindRegistry,
        informers: Informers,
        epoch: int,
        settings: ControllerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        fenced = FencedStore(store, epoch)
        settings = settings or ControllerSettings()
        clock = clock or SystemClock()
        self._store = fenced
        self._informers = informers
        replicating = [
            ReplicationController(fenced, registry, informers, settings, clock, kind)
            for kind in informers.replications
        ]
        deployments = DeploymentController(fenced, informers, settings, clock)
        pods = OwnedPods(informers)
        jobs = JobController(fenced, registry, informers, settings, clock)
        daemons = DaemonSetController(fenced, registry, informers, settings, clock)
        stateful = StatefulSetController(fenced, registry, informers, settings, clock)
        for controller in (*replicating, deployments, jobs, daemons, stateful):
            controller.enrol(pods)
        self._controllers = (
            pods,
            *replicating,
            deployments,
            jobs,
            daemons,
            stateful,
            CronJobController(fenced, registry, informers, settings, clock),
            NodeLifecycle(fenced, informers, settings, clock),
            TaintEviction(fenced, informers, settings, clock),
            Disruption(fenced, registry, informers, settings, clock),
            Maintenance(fenced, informers, settings, clock),
            PodCollection(fenced, informers, settings, clock),
            PodGroupController(fenced, informers, settings, clock),
            EndpointSlices(fenced, informers, settings, clock),
            VolumeBinding(fenced, informers, settings, clock),
            GarbageCollection(fenced, registry, informers, settings, clock),
            NamespaceContent(fenced, registry, informers, settings, clock),
        )

    async def run(self) -> None:
        """Control, until cancelled.

        Raises:
            Fenced: (in an exception group) another leader has taken over.
        """
        await self._informers.synced()
        await self._informers.reached(await self._store.revision())
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run(), name=type(controller).__name__)
