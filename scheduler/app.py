"""The composition root: builds every part, wires them, and runs them in one TaskGroup.

The API serves at once and goes on serving. Placement, controllers and node agents run only while
this process leads; every write they make carries the leader's epoch. When leadership or the
database is lost they are stopped, and started anew once it is back. A part that fails by a bug
ends the process: a half-working scheduler is worse than one that is restarted.
"""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from .access import have_keys
from .api import server
from .api.backend import Answer, Consulted
from .api.configuration import ApiSettings
from .api.pods_door import pods_door
from .api.traffic import Telemetry, Traffic
from .bootstrap import API_PORT, bootstrap
from .controllers.controllers import Controllers
from .controllers.fenced_store import FencedStore
from .controllers.informers import NODE_INDEXERS, POD_INDEXERS, Informers
from .controllers.settings import ControllerSettings
from .drivers import Host, HostDirectory
from .errors import ConfigurationError, Fenced, LeadershipLost, Unavailable
from .informer import Informer
from .meter import Meter
from .metrics import Leading, Rooms, exposition, register
from .network import NetworkBook, NetworkSettings
from .nodes.adoption_planner import AdoptionPlanner
from .nodes.api_gateway import ApiService
from .nodes.directory import NodeAgents, Shared
from .nodes.image_collection import CollectionLimits
from .nodes.pod_tokens import ApiForPods
from .nodes.settings import NodeSettings
from .objects.kinds import REGISTRY, adoption, explanation, simulation
from .objects.node import node_view
from .objects.pod import pod_view
from .placement.batch.jobs import Placements
from .placement.batch.relocation import Relocation
from .placement.binding_review import BindingReview
from .placement.cycle import Placement
from .placement.explainer import Explainer
from .placement.measures import PlacementMeasures
from .placement.rebalance.jobs import Rebalances, Unschedulable
from .placement.rebalance.lookout import Lookout
from .placement.rebalance.marks import Marks
from .placement.simulator import Simulator
from .plugin_manager import PluginManager
from .profile import Profile, by_name, read_profiles
from .settings import NO_NETWORK, Settings
from .store import migration
from .store.compaction import Retention
from .store.embedded import EmbeddedPostgres
from .store.store import Store

logger = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds before leading again, or before asking an absent database again


class Started:
    """Tells whoever started the service when it serves, and where."""

    def __init__(self) -> None:
        self.url = ""
        self._event = asyncio.Event()

    def at(self, url: str) -> None:
        """The API answers at this URL (called by the service)."""
        self.url = url
        self._event.set()

    async def wait(self) -> str:
        """Wait until the API answers; returns its URL."""
        await self._event.wait()
        return self.url


class LeaderHosts:
    """The hosts of the node agents while this process leads; none otherwise."""

    def __init__(self) -> None:
        self.current: HostDirectory | None = None

    def host(self, node_name: str) -> Host | None:
        """Return the open connection of a node, or None when there is none now."""
        return None if self.current is None else self.current.host(node_name)


@dataclass(frozen=True)
class Service:
    """What outlives the terms in which this process leads."""

    store: Store
    plugins: PluginManager
    profiles: Mapping[str, Profile]
    settings: Settings
    hosts: LeaderHosts
    meter: Meter
    rooms: Rooms
    network: NetworkSettings | None
    pods_api: ApiForPods | None
    gateway: ApiService | None


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date and stop again."""
    async with _database(settings):
        logger.info("the schema is current")


async def serve(settings: Settings, started: Started) -> None:
    """Run everything until cancelled. Containers keep running afterwards.

    Raises:
        ConfigurationError: settings, data directory or plugins cannot work; says why.
        PluginError: a plugin breaks its contract.
    """
    plugins = PluginManager.load()
    profiles = _profiles(settings, plugins)
    async with (
        _database(settings) as url,
        Store.open(url, retention=_retention(settings)) as store,
        asyncio.TaskGroup() as parts,
    ):
        network = _network(settings)
        await bootstrap(store, network.api if network is not None else "")
        keys = await have_keys(store)
        hosts = LeaderHosts()
        meter = Meter(hosts)
        rooms = Rooms(store, Leading(), PlacementMeasures(), Traffic())
        registry = CollectorRegistry()
        register(registry, rooms)
        rules = {name: plugins.rules(profile) for name, profile in profiles.items()}
        answers: Mapping[str, Answer] = {
            simulation.KIND.resource: Simulator(store, plugins, profiles).simulate,
            explanation.KIND.resource: Explainer(store, plugins, profiles).explain,
            adoption.KIND.resource: AdoptionPlanner(hosts).adoption,
        }
        telemetry = Telemetry(rooms.traffic, exposition(registry))
        consulted = Consulted(answers, BindingReview(store, rules).review)
        api_settings = _api_settings(settings)
        api = server.build(store, REGISTRY, meter, consulted, api_settings, telemetry, keys)
        async with AsyncExitStack() as stack:
            pods_api, gateway = None, None
            if network is not None:
                door = pods_door(server.for_pods(api), keys.authority, network.api_names)
                connect = await stack.enter_async_context(door)
                pods_api = ApiForPods(keys.tokens, keys.authority.certificate)
                gateway = ApiService(network.api, API_PORT, connect)
            service = Service(
                store,
                plugins,
                profiles,
                settings,
                hosts,
                meter,
                rooms,
                network,
                pods_api,
                gateway,
            )
            leading = parts.create_task(_lead(service), name="leader")
            stack.callback(leading.cancel)
            await _serve_api(api, api_settings, started)


def _profiles(settings: Settings, plugins: PluginManager) -> Mapping[str, Profile]:
    """Return the profiles by schedulerName, once every one of them has been seen to work."""
    given: tuple[Profile, ...] = ()
    if settings.profiles is not None:
        try:
            given = read_profiles(yaml.safe_load(settings.profiles.read_text()))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read profiles: {error}") from error
    profiles = by_name(given)
    for profile in profiles.values():
        plugins.rules(profile)
    return profiles


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[str, None]:
    """Yield the URL of a migrated database: somebody's PostgreSQL, or the embedded one."""
    if not settings.database_url:
        async with EmbeddedPostgres(settings.data_dir).run() as url:
            await migration.upgrade(url)
            yield url
        return
    while True:
        try:
            await migration.upgrade(settings.database_url)
            break
        except Unavailable as error:
            logger.warning("%s; asking again in %g s", error, _PAUSE)
            await asyncio.sleep(_PAUSE)
    yield settings.database_url


def _retention(settings: Settings) -> Retention:
    return Retention(
        tombstones=timedelta(seconds=settings.tombstone_seconds),
        events=timedelta(seconds=settings.event_seconds),
        decisions=timedelta(days=settings.decision_days),
    )


def _api_settings(settings: Settings) -> ApiSettings:
    return ApiSettings(
        host=settings.listen,
        port=settings.port,
        tls_certificate=settings.tls_certificate,
        tls_key=settings.tls_key,
        token=settings.token,
        toleration_seconds=settings.toleration_seconds,
        service_range=settings.service_range,
    )


def _network(settings: Settings) -> NetworkSettings | None:
    if settings.pod_range == NO_NETWORK:
        return None
    return NetworkSettings(settings.pod_range, settings.service_range, settings.peer_port)


async def _serve_api(application: web.Application, settings: ApiSettings, started: Started) -> None:
    """Serve HTTP until cancelled."""
    scheme = "https" if settings.tls_certificate else "http"
    listening = asyncio.get_running_loop().create_future()

    def announce(port: asyncio.Future[int]) -> None:
        if not port.cancelled():
            _settle_memory()
            started.at(f"{scheme}://{settings.host}:{port.result()}")

    listening.add_done_callback(announce)
    try:
        await server.serve(application, settings, listening)
    except OSError as error:
        if listening.done():
            raise
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose "
            "another with --port or IRONFREE_PORT"
        ) from error


def _settle_memory() -> None:
    """Take what lives for ever out of the collector's sight, and let it look less often.

    With many objects kept, collections cost five times what the work does (docs/benchmarks.md).
    Nothing else goes on during one. With a million pods, collecting the middle generation took
    0.4 s at 2.5 million objects and all there is 3 s: so the first comes at 200,000 objects, the
    second after 100 million new ones at the earliest.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 500)


async def _lead(service: Service) -> None:
    """Run the leader's parts whenever this process leads, until cancelled."""
    leading = service.rooms.leading
    identity = f"{socket.gethostname()}-{os.getpid()}"
    while True:
        try:
            # A task of its own: until Python 3.13 a TaskGroup whose child fails at its end leaves
            # its task as if somebody had cancelled it, which would end all leading below.
            await asyncio.create_task(_lead_once(service, identity), name="term")
        except* (LeadershipLost, Fenced, Unavailable) as lost:
            logger.warning("no longer leading: %s", "; ".join(map(str, _leaves(lost))))
        finally:
            service.hosts.current = None
            leading.placement, leading.agents, leading.rules = None, None, {}
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # a failure in the same moment hid it
            raise asyncio.CancelledError
        await asyncio.sleep(_PAUSE)


async def _lead_once(service: Service, identity: str) -> None:
    async with service.store.leadership(identity).hold() as epoch:
        logger.info("leading, epoch %d", epoch)
        await _run_parts(service, epoch)


async def _run_parts(service: Service, epoch: int) -> None:
    """Run placement, controllers and node agents as the leader of an epoch."""
    store, plugins, settings = service.store, service.plugins, service.settings
    leading = service.rooms.leading
    pods = Informer(store, "pods", pod_view, POD_INDEXERS)
    nodes = Informer(store, "nodes", node_view, NODE_INDEXERS)
    informers = Informers.open(store, REGISTRY, pods, nodes)
    rules = {name: plugins.rules(profile) for name, profile in service.profiles.items()}
    measures = service.rooms.placement
    placement = Placement(store, rules, epoch, pods=pods, nodes=nodes, measures=measures)
    leading.placement, leading.rules = placement, rules
    marks, lookout = Marks(store, epoch, pods, nodes), Lookout(pods, nodes)
    unschedulable = Unschedulable(
        lambda: placement.queue.counts()["parked"], placement.reporter.hopeless
    )
    rebalances = Rebalances(
        store, rules, epoch, marks=marks, unschedulable=unschedulable, lookout=lookout
    )
    relocation = Relocation(
        store,
        epoch,
        marks=marks,
        pods=pods,
        lookout=lookout,
        preempted=placement.reporter.preempted,
    )
    placements = Placements(store, rules, epoch, relocation, placement.still)
    pace = ControllerSettings(
        node_grace=settings.node_grace_seconds,
        node_startup_grace=max(60.0, settings.node_grace_seconds),
        toleration_seconds=settings.toleration_seconds,
    )
    fenced = FencedStore(store, epoch)
    controllers = Controllers(fenced, REGISTRY, informers, service.meter, pace)
    heartbeat = NodeSettings(
        lease=settings.heartbeat_seconds,
        pressure=settings.pressure_seconds,
        storage_limits=settings.storage_limit_seconds,
        lease_duration=settings.node_grace_seconds,
        pulls_per_host=settings.pulls_per_host,
        pulls_per_registry=settings.pulls_per_registry,
        share_images=settings.share_images,
        collection=CollectionLimits(settings.image_gc_high_percent, settings.image_gc_low_percent),
    )
    book = None
    if service.network is not None:
        book = NetworkBook(store, epoch, service.network, pods, nodes)
    shared = Shared(pods, service.rooms.pulls, book, service.pods_api, service.gateway)
    agents = NodeAgents(store, plugins.drivers, epoch, heartbeat, shared)
    service.hosts.current = leading.agents = agents
    async with asyncio.TaskGroup() as group:
        group.create_task(informers.run(), name="informers")
        group.create_task(placement.run(), name="placement")
        group.create_task(placements.run(), name="placements")
        group.create_task(rebalances.run(), name="rebalances")
        group.create_task(controllers.run(), name="controllers")
        group.create_task(agents.run(), name="node agents")
        if book is not None:
            group.create_task(book.run(), name="network")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in cast(BaseExceptionGroup[BaseException], error).exceptions:
        yield from _leaves(inner)
