"""What every host is told of the network now, and news of it."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from ..informer import Delta, Informer, Subscription
from ..networks import Entry, Key, Listener, Peer, PodNetwork
from ..objects.endpoints import SERVICE_NAME, SLICES, Endpoint, EndpointSlice, slice_view
from ..objects.node import NO_PART, SERVICE_NETWORK, Node
from ..objects.pod import Pod
from ..objects.pod_class import SERVICES
from ..objects.service import Service, service_view
from ..objects.stored import ObjectKey
from ..store.store import Store
from .links import API, links
from .secret import network_secret
from .settings import NetworkSettings
from .subnets import Subnets
from .table import Port, Surroundings, entries_of

_log = logging.getLogger(__name__)
_BY_SERVICE = "service"
_BY_NAMESPACE = "namespace"
_BY_NODE = "node"
_NO_NODE = ""
_SETTLE = 0.05  # seconds in which changes are collected


class NetworkNews:
    """What has changed for a host since it last asked; the latest word on each thing."""

    def __init__(self) -> None:
        self._changed: dict[Key, Entry | None] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key, entry: Entry | None) -> None:
        """Take in what a thing is now, None for nothing."""
        self._changed[key] = entry
        self._wake.set()

    async def next(self) -> Mapping[Key, Entry | None]:
        """Wait for changes."""
        await self._wake.wait()
        found, self._changed = self._changed, {}
        self._wake.clear()
        return found


class NetworkBook:
    """One per leader.

    Args:
        pods, nodes: informers that somebody else runs.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        settings: NetworkSettings,
        pods: Informer[Pod],
        nodes: Informer[Node],
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._settings = settings
        self._pods = pods
        self._nodes = nodes
        self._services = Informer[Service](
            store, SERVICES, service_view, {_BY_NAMESPACE: lambda each: [each.meta.namespace]}
        )
        self._slices = Informer[EndpointSlice](
            store, SLICES, slice_view, {_BY_SERVICE: _service, _BY_NODE: _nodes}
        )
        self._subnets = Subnets(settings.pod_range)
        self._around = Surroundings(settings.zone, self._reaches, self._inside, self._declared)
        self._places: dict[str, _Place] = {}  # by node
        self._said: dict[Key, dict[ObjectKey, Entry]] = {}  # by whom; those of one key agree
        self._of: dict[ObjectKey, dict[Key, Entry]] = {}
        self._behind: set[ObjectKey] = set()  # Services to look at
        self._wake = asyncio.Event()
        self._readers: set[NetworkNews] = set()
        self._part: set[str] = set()  # nodes that have a subnet
        self._unknown: set[str] = set()  # of them, whose address others do not know
        self._known = asyncio.Event()
        self._secret = ""

    async def run(self) -> None:
        """Keep it, until cancelled."""
        self._secret = await network_secret(self._store, self._epoch)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._slices.run())
            for informer in (self._pods, self._nodes, self._services, self._slices):
                await informer.synced()
            nodes, services = self._nodes.subscribe(), self._services.subscribe()
            slices = self._slices.subscribe()
            self._take(nodes, services, slices)
            self._known.set()
            group.create_task(self._follow_nodes(nodes))
            group.create_task(self._follow_services(services))
            group.create_task(self._follow_slices(slices))
            group.create_task(self._keep_up())

    async def join(self, node: str, present: str = "") -> PodNetwork | None:
        """Return a host's part of the network, None when there is no subnet left for it.

        Args:
            present: the subnet that it has from before, "" for none.
        """
        await self._known.wait()
        settings, subnet = self._settings, self._subnets.of(node, present)
        if subnet is None:
            _log.warning(
                "node %s gets no network: every subnet of %s is taken; set a larger pod range",
                node,
                settings.pods,
            )
            return None
        ranges, resolver = settings.ranges(subnet), settings.resolver
        return PodNetwork(subnet, ranges, resolver, settings.zone, settings.port, self._secret)

    def links(self, pod: Pod) -> dict[str, str]:
        """Return the variables that tell a pod's containers of Services and of the API."""
        wanted = pod.spec.enable_service_links
        own = self._services.by_index(_BY_NAMESPACE, pod.meta.namespace) if wanted else ()
        return links(own, self._services.get("default", API))

    def entries(self) -> list[Entry]:
        """Return everything that a host is told."""
        return [next(iter(each.values())) for each in self._said.values()]

    def subscribe(self) -> NetworkNews:
        """Return a feed of what changes from now on."""
        news = NetworkNews()
        self._readers.add(news)
        return news

    def unsubscribe(self, news: NetworkNews) -> None:
        """Let go of a feed."""
        self._readers.discard(news)

    # --- what is followed -------------------------------------------------------------------

    def _take(
        self,
        nodes: Subscription[Node],
        services: Subscription[Service],
        slices: Subscription[EndpointSlice],
    ) -> None:
        """Take in what there is at the beginning."""
        for delta in nodes.take():
            self._node(delta)
        for delta in services.take():
            self._behind.add(delta.key)
        slices.take()
        self._catch_up()

    async def _follow_nodes(self, feed: Subscription[Node]) -> None:
        async for deltas in feed:
            for delta in deltas:
                self._node(delta)

    async def _follow_services(self, feed: Subscription[Service]) -> None:
        async for deltas in feed:
            for delta in deltas:
                self._look_at(delta.key)

    async def _follow_slices(self, feed: Subscription[EndpointSlice]) -> None:
        async for deltas in feed:
            for delta in deltas:
                for each in (delta.old, delta.new):
                    if each is not None:
                        self._look_behind(each)

    def _node(self, delta: Delta[Node]) -> None:
        """Take in where a node is and which subnet is its; that bears on everybody there."""
        name, node = delta.key.name, delta.new
        place = _place(node) if node is not None else _NOWHERE
        subnet = _subnet(node) if node is not None else None
        if subnet is not None:
            self._subnets.keep(name, str(subnet))
        elif node is None:
            self._subnets.forget(name)
        if self._places.get(name, _NOWHERE) == place:
            return
        if node is None:
            del self._places[name]
        else:
            self._places[name] = place
        peer = place.subnet is not None and place.known
        self._say(delta.key, [Peer(str(place.subnet), place.address)] if peer else [])
        self._note_part(name, place)
        for where in (name, _NO_NODE):  # what names no node must be no node's own address
            for each in self._slices.by_index(_BY_NODE, where):
                self._look_behind(each)

    def _note_part(self, name: str, place: "_Place") -> None:
        """Say of whom the others have no address, as soon as there are others."""
        for noted in (self._part, self._unknown):
            noted.discard(name)
        if place.subnet is not None:
            self._part.add(name)
            if not place.known:
                self._unknown.add(name)
        if len(self._part) < 2:
            return
        for each in sorted(self._unknown):
            _log.warning(
                "node %s: other hosts cannot reach its pods, for %s means themselves to them; "
                "set spec.options.address of its DockerHost to where they reach it",
                each,
                self._places[each].address or "no address",
            )
        self._unknown.clear()

    def _look_behind(self, known: EndpointSlice) -> None:
        name = known.meta.labels.get(SERVICE_NAME, "")
        if name:
            self._look_at(ObjectKey(SERVICES, known.meta.namespace, name))

    def _look_at(self, service: ObjectKey) -> None:
        self._behind.add(service)
        self._wake.set()

    async def _keep_up(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_SETTLE)
            self._wake.clear()
            self._catch_up()

    def _catch_up(self) -> None:
        behind, self._behind = self._behind, set()
        for key in behind:
            service = self._services.get(key.namespace, key.name)
            slices = self._slices.by_index(_BY_SERVICE, f"{key.namespace}/{key.name}")
            entries = entries_of(service, [*slices], self._around) if service else []
            self._say(key, filter(self._may_be_told, entries))

    def _may_be_told(self, entry: Entry) -> bool:
        """Tell whether an entry leaves the name server alone."""
        return not isinstance(entry, Listener) or entry.address != self._settings.resolver

    # --- what is said -----------------------------------------------------------------------

    def _say(self, who: ObjectKey, entries: Iterable[Entry]) -> None:
        """Say exactly this of a Node or a Service."""
        fresh = {entry.key: entry for entry in entries}
        before = self._of.pop(who, {})
        if fresh:
            self._of[who] = fresh
        for key in before.keys() - fresh.keys():
            others = self._said[key]
            del others[who]
            if not others:
                del self._said[key]
            self._tell(key)
        for key, entry in fresh.items():
            if before.get(key) != entry:
                self._said.setdefault(key, {})[who] = entry
                self._tell(key)

    def _tell(self, key: Key) -> None:
        entry = next(iter(self._said.get(key, {}).values()), None)
        for reader in self._readers:
            reader.add(key, entry)

    def _reaches(self, endpoint: Endpoint) -> bool:
        """Tell whether every host can reach an endpoint: in the network, or on its host's own.

        A pod that was made before its host had a subnet has an address that means something else
        on every host. Anybody may write slices: what is told must lead to no host itself, as
        127.0.0.1 would, nor from a Service's address to another one (Kubernetes forbids most of
        it). So an endpoint at a host's own address must name its node.
        """
        try:
            address = IPv4Address(endpoint.addresses[0])
        except ValueError:
            return False
        own = (
            address.is_loopback or address.is_link_local or address in self._settings.service_range
        )
        if own or address.is_unspecified or address.is_multicast:
            return False
        place = self._places.get(endpoint.node_name or "", _NOWHERE)
        if str(address) == place.address:
            return True
        if endpoint.node_name is None and not self._inside(str(address)):
            return all(str(address) != each.address for each in self._places.values())
        places = [place] if endpoint.node_name else self._places.values()
        return any(_is_a_pods(address, each.subnet) for each in places if each.subnet)

    def _inside(self, address: str) -> bool:
        return IPv4Address(address) in self._settings.pod_range

    def _declared(self, endpoint: Endpoint) -> Iterator[Port]:
        target = endpoint.target_ref
        pod = self._pods.get(target.namespace, target.name) if target is not None else None
        for container in pod.spec.containers if pod is not None else ():
            for port in container.ports:
                yield port.container_port, port.protocol


class _Place(NamedTuple):
    """Where a node is: the subnet of its pods, and the address that others know it by."""

    subnet: IPv4Network | None
    address: str

    @property
    def known(self) -> bool:
        """Whether others can reach it there: a local engine may have no other than 127.0.0.1."""
        try:
            return not IPv4Address(self.address).is_loopback
        except ValueError:
            return False


_NOWHERE = _Place(None, "")


def _place(node: Node) -> _Place:
    known = (each.address for each in node.status.addresses if each.type == "InternalIP")
    served = node.status.condition(SERVICE_NETWORK)
    apart = served is not None and served.reason == NO_PART  # what old pods have nobody reaches
    return _Place(None if apart else _subnet(node), next(known, ""))


def _subnet(node: Node) -> IPv4Network | None:
    try:
        return IPv4Network(node.spec.pod_cidr)
    except ValueError:  # none, or what somebody else has written
        return None


def _is_a_pods(address: IPv4Address, subnet: IPv4Network) -> bool:
    """Tell whether an address of a subnet may be a pod's: the first is the host's own there."""
    return address in subnet and subnet[1] < address < subnet[-1]


def _service(known: EndpointSlice) -> list[str]:
    """Return the Service of a slice, as indexers do."""
    name = known.meta.labels.get(SERVICE_NAME, "")
    return [f"{known.meta.namespace}/{name}"] if name else []


def _nodes(known: EndpointSlice) -> list[str]:
    """Return the nodes of a slice's endpoints, as indexers do."""
    return [*{each.node_name or _NO_NODE for each in known.endpoints}]
