"""All agents of one leader: one per DockerHost, coming and going with them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from ..drivers import Driver, Host, HostDirectory
from ..errors import Conflict, Fenced, NotFound, StatusError, Unavailable
from ..informer import CohortDelta, Delta, Informer
from ..network import NetworkBook
from ..objects.pod import Pod, pod_view
from ..objects.stored import StoredObject
from ..store.store import Store
from .adopter import Adopter
from .agent import Connects, NodeAgent
from .api_gateway import ApiService
from .assigned_pod import BY_NODE, assigned
from .build_sources import BuildSources
from .build_work import BuildTools
from .circuit import CircuitState
from .config_json import ConfigJson, default_path
from .decommission import unregister
from .docker_host import BY_ENGINE, RESOURCE, DockerHost, docker_host_view, engines_of
from .engines import Engines, recorded_engine
from .event_recorder import EventRecorder
from .heartbeat import LEASE_NAMESPACE, LEASES
from .image_architectures import ImageArchitectures
from .image_builds import BuildLimits, ImageBuilds
from .image_pre_pulls import ImagePrePulls
from .image_pulling import ImagePuller
from .image_sharing import ImageSharing
from .muster import Company, Muster
from .office import Office
from .pod_tokens import ApiForPods
from .pull_measures import PullMeasures
from .pull_pacing import PacingLimits, PullPacer
from .pulse import Pulse
from .registry_logins import RegistryLogins
from .settings import NodeSettings
from .status_writer import StatusWriter
from .volume_removal import VolumeRemoval
from .volume_sources import VolumeSources

_log = logging.getLogger(__name__)
_CONNECTS = 64  # hosts being connected to at once
_TICK = 0.5  # seconds between looks for heartbeats that are due


def _itself(stored: StoredObject) -> StoredObject:
    return stored


@dataclass(frozen=True, slots=True)
class Shared:
    """What agents share with other rooms.

    Args:
        pods: an informer with an index "node" that somebody else runs; None makes one.
        pulls: where pulls of images are counted.
        network: what hosts are told of Services; somebody else runs it. None tells them nothing.
        api: by which pods can ask the API; None where they cannot.
        gateway: where pods find it, which hosts lead to it.
    """

    pods: Informer[Pod] | None = None
    pulls: PullMeasures = field(default_factory=PullMeasures)
    network: NetworkBook | None = None
    api: ApiForPods | None = None
    gateway: ApiService | None = None


class NodeAgents(HostDirectory):
    """Runs agents for every DockerHost in the store.

    Args:
        drivers: by the word in spec.driver.
        epoch: of this leader; every write carries it.
        shared: what other rooms know, too.
    """

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, Driver],
        epoch: int,
        settings: NodeSettings | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._settings = settings or NodeSettings()
        self._epoch = epoch
        shared = shared or Shared()
        self._pods = shared.pods or Informer(
            store, "pods", pod_view, {BY_NODE: lambda pod: [pod.node]}
        )
        self._runs_pods = shared.pods is None
        self._hosts = Informer[DockerHost](
            store, RESOURCE, docker_host_view, {BY_ENGINE: engines_of}
        )
        self._nodes = Informer[StoredObject](store, "nodes", _itself, {BY_ENGINE: recorded_engine})
        self._engines = Engines(self._hosts, self._nodes)
        self._statuses = StatusWriter(store, self._pods, epoch)
        self._muster = Muster(store, epoch)
        self._events = EventRecorder(store, epoch, self._settings)
        self._adopter = Adopter(store, epoch, self.host, self._events)
        self._sources = VolumeSources(store)
        self._removal = VolumeRemoval(store, epoch, self._nodes, self.host)
        self._pulse = Pulse(self._settings)
        self._logins = RegistryLogins(store, ConfigJson(default_path()))
        limits = PacingLimits(self._settings.pulls_per_host, self._settings.pulls_per_registry)
        self._pacer = PullPacer(limits, shared.pulls)
        self._builds = ImageBuilds(store, epoch, self._build_tools(), BuildLimits())
        puller = self._puller()
        self._pre_pulls = ImagePrePulls(store, epoch, puller, lambda: self._nodes.items, self.host)
        self._architectures = ImageArchitectures(
            store, epoch, self._pods, self._nodes, self.host, self._logins
        )
        self._office = Office(
            store,
            epoch,
            self._settings,
            self._pods,
            self._engines,
            self._statuses,
            self._events,
            self._sources,
            puller,
            self._nodes,
            self._pulse,
            shared.network,
            shared.api,
            shared.gateway,
        )
        self._connects = Connects(asyncio.Semaphore(_CONNECTS), asyncio.Semaphore(_CONNECTS))
        self._agents: dict[str, NodeAgent] = {}
        self._leases: dict[str, StoredObject] = {}  # as found at the beginning
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changing: dict[str, bool] = {}  # being followed: whether there is more news
        self._group = asyncio.TaskGroup()

    def _puller(self) -> ImagePuller:
        settings = self._settings
        sharing = None
        if settings.share_images:
            sharing = ImageSharing(lambda: self._nodes.items, self.host)
        return ImagePuller(self._logins, self._pacer, settings.pull_timeout, sharing)

    def _build_tools(self) -> BuildTools:
        return BuildTools(
            BuildSources(self._store, self._logins),
            self._logins,
            self._pacer,
            nodes=lambda: self._nodes.items,
            host=self.host,
            pod=self._pods.get,
            within=self._settings.pull_timeout,
        )

    def host(self, node_name: str) -> Host | None:
        """Return the open connection of a node, or None when there is none now."""
        agent = self._agents.get(node_name)
        return agent.host if agent else None

    def circuits(self) -> Counter[CircuitState]:
        """Return how many hosts' circuits are in each state."""
        return Counter(agent.circuit for agent in self._agents.values())

    def pressures(self) -> Counter[str]:
        """Return how many hosts are short of memory or process ids, by condition."""
        registrars = (agent.registrar for agent in self._agents.values())
        return Counter(kind for each in registrars for kind in each.pressures)

    @property
    def evictions(self) -> Mapping[str, int]:
        """How many pods have been evicted by these agents, by the resource that was short."""
        return self._office.evictions

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            ExceptionGroup: with Fenced, when another leader has taken over.
        """
        async with self._group as group:
            if self._runs_pods:
                group.create_task(self._pods.run())
            group.create_task(self._hosts.run())
            group.create_task(self._nodes.run())
            await self._pods.synced()
            await self._nodes.synced()
            await self._hosts.synced()
            leases = await self._store.list(LEASES, LEASE_NAMESPACE)
            self._leases = {lease.meta.name: lease for lease in leases.objects}
            group.create_task(self._statuses.run(), name="pod statuses")
            group.create_task(self._events.run(), name="pod events")
            group.create_task(self._adopter.run(), name="adoption of containers")
            group.create_task(self._sources.run(), name="sources of volumes")
            group.create_task(self._removal.run(), name="removal of volumes")
            group.create_task(self._builds.run(), name="image builds")
            group.create_task(self._pre_pulls.run(), name="image pre-pulls")
            group.create_task(self._architectures.run(), name="architectures of images")
            group.create_task(self._muster.run(), name="pods of cohorts")
            group.create_task(self._heartbeats(), name="heartbeats")
            group.create_task(self._pulse.run(), name="pings")
            group.create_task(self._route_pods(), name="pods to agents")
            group.create_task(self._route_nodes(), name="nodes to agents")
            await self._route_hosts()

    # --- hosts come and go ------------------------------------------------------------------

    async def _route_hosts(self) -> None:
        async for deltas in self._hosts.subscribe():
            for delta in deltas:
                name = delta.key.name
                if name not in self._changing:
                    self._group.create_task(self._follow_host(name))
                self._changing[name] = True

    async def _follow_host(self, name: str) -> None:
        """Do what a DockerHost says now; a host that lets go late keeps no other waiting."""
        while self._changing[name]:
            self._changing[name] = False
            await self._host_changed(name, self._hosts.get("", name))
        del self._changing[name]

    async def _host_changed(self, name: str, docker_host: DockerHost | None) -> None:
        agent = self._agents.get(name)
        if docker_host is not None and docker_host.deleting and not docker_host.held:
            docker_host = None  # given up, or never registered: only others' finalizers are left
        if agent is not None and docker_host is not None:
            if docker_host.connects_like(agent.docker_host):
                same = docker_host.spec == agent.docker_host.spec
                asked = docker_host.examine != agent.docker_host.examine
                if not same or not docker_host.held:
                    await self._bravely(agent.changed(docker_host), name)
                if asked:
                    await self._bravely(agent.examine(docker_host), name)
                return
            await self._stop(name)
        if docker_host is not None:
            self._start(docker_host)
        elif agent is not None:
            await self._stop(name)
            self._engines.release(name)
            await self._bravely(unregister(self._office, name), name)

    def _start(self, docker_host: DockerHost) -> None:
        lease = self._leases.pop(docker_host.name, None)
        agent = NodeAgent(self._office, docker_host, self._drivers, self._connects, lease)
        self._agents[agent.name] = agent
        task = self._group.create_task(agent.run(), name=f"agent of {agent.name}")
        self._tasks[agent.name] = task

    async def _stop(self, name: str) -> None:
        self._agents.pop(name, None)
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait({task})

    async def _bravely(self, write: Awaitable[None], name: str) -> None:
        try:
            await write
        except StatusError as error:
            _log.warning("node %s: %s", name, error)

    # --- news of pods and nodes -------------------------------------------------------------

    async def _route_pods(self) -> None:
        async for deltas in self._pods.subscribe_whole():
            for delta in deltas:
                if isinstance(delta, CohortDelta):
                    self._route_cohort(delta)
                else:
                    self._route_pod(delta)

    def _route_cohort(self, delta: CohortDelta[Pod]) -> None:
        """Have pods that were bound together start together, where the hosts can."""
        change = delta.change
        if change.bound_at is None:
            return  # not bound yet, or reported by ourselves
        on: dict[str, list[int]] = {}
        for number, node in enumerate(change.nodes):
            on.setdefault(node, []).append(number)
        companies: list[tuple[Company, list[int]]] = []
        for node, numbers in on.items():
            agent = self._agents.get(node)
            company = agent.company if agent is not None else None
            if company is not None:
                companies.append((company, numbers))
            elif agent is not None:
                for number in numbers:
                    self._route_pod(delta.one(number))
        if companies:
            self._muster.add(change, companies)

    def _route_pod(self, delta: Delta[Pod]) -> None:
        self._adopter.notice(delta.old, delta.new)
        for version in (delta.old, delta.new):
            agent = self._agents.get(version.node) if version else None
            if agent is None or version is None:
                continue
            current = self._pods.get(delta.key.namespace, delta.key.name)
            uid = version.meta.uid
            here = current if current and current.meta.uid == uid else None
            here = here if here and here.node == agent.name else None
            agent.notice(uid, assigned(here) if here else None)

    async def _route_nodes(self) -> None:
        """Write a Node again when the store has it otherwise than its live host says."""
        async for deltas in self._nodes.subscribe():
            for delta in deltas:
                agent = self._agents.get(delta.key.name)
                if agent and agent.disagrees(self._nodes.get("", agent.name)):
                    await self._bravely(agent.registrar.register(), agent.name)

    # --- heartbeats -------------------------------------------------------------------------

    async def _heartbeats(self) -> None:
        """Renew the Leases of all hosts that answer, many in one write."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            due = [a for a in self._agents.values() if a.heartbeat.due <= now and a.alive]
            if not due:
                continue
            try:
                await self._renew(due)
            except Unavailable as error:
                _log.warning("heartbeats of %d nodes: %s", len(due), error)

    async def _renew(self, due: list[NodeAgent]) -> None:
        outcomes = await self._store.write_many([agent.heartbeat.write() for agent in due])
        for agent, outcome in zip(due, outcomes, strict=True):
            match outcome:
                case StoredObject():
                    agent.heartbeat.written(outcome)
                case Fenced():
                    raise outcome
                case Conflict() | NotFound():
                    await agent.heartbeat.read()
                case StatusError():
                    _log.warning("heartbeat of node %s: %s", agent.name, outcome)
                    await agent.heartbeat.read()
