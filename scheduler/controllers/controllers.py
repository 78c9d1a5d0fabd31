"""All controllers as one thing that runs while this process leads."""

import asyncio

from ..meter import Meter
from ..objects.kind import KindRegistry
from .clock import Clock, SystemClock
from .cron_jobs import CronJobController
from .daemon_sets import DaemonSetController
from .deployments import DeploymentController
from .disruption import Disruption
from .endpoint_mirroring import EndpointMirroring
from .endpoint_slices import EndpointSlices
from .fenced_store import FencedStore
from .garbage_collection import GarbageCollection
from .horizontal_pod_autoscaling import HorizontalPodAutoscaling
from .informers import Informers
from .jobs import JobController
from .maintenance import Maintenance
from .namespace_content import NamespaceContent
from .node_lifecycle import NodeLifecycle
from .owned_pods import OwnedPods
from .pod_collection import PodCollection
from .pod_groups import PodGroupController
from .replication import ReplicationController
from .role_aggregation import RoleAggregation
from .root_ca import RootCA
from .service_accounts import ServiceAccounts
from .settings import ControllerSettings
from .stateful_sets import StatefulSetController
from .taint_eviction import TaintEviction
from .volume_binding import VolumeBinding


class Controllers:
    """Runs every controller under one leader epoch.

    Args:
        store: carries the epoch of this leader with every write.
        informers: run by the caller; they must start after leadership was won.
        meter: measures what pods use.
    """

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        meter: Meter,
        settings: ControllerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = settings or ControllerSettings()
        clock = clock or SystemClock()
        self._store = store
        self._informers = informers
        replicating = [
            ReplicationController(store, registry, informers, settings, clock, kind)
            for kind in informers.replications
        ]
        deployments = DeploymentController(store, informers, settings, clock)
        pods = OwnedPods(informers)
        jobs = JobController(store, registry, informers, settings, clock)
        daemons = DaemonSetController(store, registry, informers, settings, clock)
        stateful = StatefulSetController(store, registry, informers, settings, clock)
        for controller in (*replicating, deployments, jobs, daemons, stateful):
            controller.enrol(pods)
        self._controllers = (
            pods,
            *replicating,
            deployments,
            jobs,
            daemons,
            stateful,
            CronJobController(store, registry, informers, settings, clock),
            NodeLifecycle(store, informers, settings, clock),
            TaintEviction(store, informers, settings, clock),
            HorizontalPodAutoscaling(store, registry, informers, meter, settings, clock),
            Disruption(store, registry, informers, settings, clock),
            Maintenance(store, informers, settings, clock),
            PodCollection(store, informers, settings, clock),
            PodGroupController(store, informers, settings, clock),
            EndpointSlices(store, informers, settings, clock),
            EndpointMirroring(store, informers, settings, clock),
            ServiceAccounts(store, informers, settings, clock),
            RootCA(store, informers, settings, clock),
            RoleAggregation(store, informers, settings, clock),
            VolumeBinding(store, informers, settings, clock),
            GarbageCollection(store, registry, informers, settings, clock),
            NamespaceContent(store, registry, informers, settings, clock),
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
