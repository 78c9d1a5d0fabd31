"""The subnet of pods on one host: a bridge network of the engine's, and what serves it.

`tools network` (tools/network.c) runs in a container on the host's network. It is told by lines
what addresses and names mean, and goes on by itself when nobody tells it any more.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from urllib.parse import quote

import msgspec

from scheduler.errors import EngineRejected
from scheduler.networks import NetworkFeed, PodNetwork
from scheduler.objects.json import JsonObject

from . import tools, wire
from .containers import Containers, container_path
from .engine import CREATE, LIST, Engine
from .labels import CLUSTER, NETWORK, belongs
from .network_feed import StreamedFeed

_GRACE = 3
_NOWHERE = IPv4Network("0.0.0.0/32")


class PodNetworkOfHost:
    """One per open host."""

    def __init__(self, engine: Engine, containers: Containers, cluster: str) -> None:
        self._engine = engine
        self._containers = containers
        self._cluster = cluster
        short = f"-{cluster[:8]}" if cluster else ""
        self.name = f"ironfree{short}"
        self._server = f"ironfree-network{short}"
        self._having = asyncio.Lock()
        self._there = ""
        self._absent = False  # when it was last looked for, and nobody has asked for it since

    # --- the subnet -------------------------------------------------------------------------

    async def join(self, network: PodNetwork) -> None:
        """Have the subnet; whoever came first stays.

        Raises:
            EngineRejected: another installation has a subnet of the same range here. Its server
                would answer names in the place of ours, even if nobody tells it any more.
        """
        if not self._there:
            await self._refuse_others(network)
        await self.have(network.subnet)

    async def _refuse_others(self, network: PodNetwork) -> None:
        ranges = [IPv4Network(each) for each in (network.subnet, *network.ranges)]
        for other in await self._others():
            if any(_network(other.subnet).overlaps(each) for each in ranges):
                owner = f"{CLUSTER}={(other.labels or {})[CLUSTER]}"
                raise EngineRejected(
                    f"host {self._engine.name}: another installation serves pods in "
                    f"{other.subnet} here; set ranges and a port of one's own for one of them "
                    "(IRONFREE_POD_RANGE, IRONFREE_SERVICE_RANGE, IRONFREE_PEER_PORT). If it is "
                    f"gone, remove its containers (label {owner}) and its network {other.name}, "
                    "and restart Ironfree",
                    409,
                )

    async def _others(self) -> list[wire.Network]:
        """Networks of other installations."""
        query = {"filters": msgspec.json.encode({"label": [CLUSTER]}).decode()}
        found = await self._engine.read("/networks", list[wire.Network], query=query, within=LIST)
        return [each for each in found if not belongs(each.labels or {}, self._cluster)]

    async def have(self, subnet: str) -> None:
        """Have the engine's network with that subnet; looks once, until it is in doubt."""
        async with self._having:
            if self._there != subnet:
                await self._ensure(subnet)
                self._there = subnet

    async def subnet(self) -> str:
        """The subnet of the engine's network, "" when there is none of ours."""
        try:
            found = await self._inspect()
        except EngineRejected:
            return ""
        self._there, self._absent = found.subnet if found is not None else "", found is None
        return self._there

    def doubt(self) -> None:
        """Have the next call look for it again."""
        self._there = ""

    async def _ensure(self, subnet: str) -> None:
        found = None if self._absent else await self._inspect()
        self._absent = False
        if found is not None and found.subnet != subnet:
            if found.containers:
                raise EngineRejected(
                    f"host {self._engine.name}: its network {self.name} has the subnet "
                    f"{found.subnet or 'none'} and containers in it, but this node's is {subnet}; "
                    "remove them and the network",
                    409,
                )
            await self._remove()
            found = None
        if found is None:
            await self._create(subnet)

    async def _inspect(self) -> wire.Network | None:
        try:
            found = await self._engine.read(f"/networks/{quote(self.name)}", wire.Network)
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise
        if not belongs(found.labels or {}, self._cluster):
            raise EngineRejected(
                f"host {self._engine.name}: the network {self.name} is of another installation", 409
            )
        return found

    async def _create(self, subnet: str) -> None:
        body: JsonObject = {
            "Name": self.name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "IPAM": {"Config": [{"Subnet": subnet}]},
            "Labels": {CLUSTER: self._cluster},
        }
        try:
            await self._engine.change("POST", "/networks/create", body=body, within=CREATE)
        except EngineRejected as error:
            if error.code == 409:  # made by somebody at the same time
                return
            raise EngineRejected(
                f"{error}; if {subnet} is used otherwise there, set another pod range "
                "(IRONFREE_POD_RANGE)",
                error.code,
            ) from error

    async def _remove(self) -> None:
        try:
            await self._engine.change("DELETE", f"/networks/{quote(self.name)}", within=LIST)
        except EngineRejected as error:
            if error.code != 404:
                raise

    # --- what serves it ---------------------------------------------------------------------

    @asynccontextmanager
    async def serve(self, network: PodNetwork, image: str) -> AsyncGenerator[NetworkFeed]:
        """Have the program run, and tell it; it runs on afterwards.

        Args:
            image: with the program; it is there.
        """
        made = await self._have_server(network, image)
        query = {"stream": "1", "stdin": "1", "stdout": "1"}
        async with self._engine.hijack(f"{container_path(made)}/attach", query=query) as stream:
            await self._containers.start(made)
            feed = StreamedFeed(self._engine.name, stream, network)
            try:
                yield feed
            finally:
                await feed.close()

    async def _have_server(self, network: PodNetwork, image: str) -> str:
        """Have the container, and return its id; one that has ended or is older is replaced."""
        what = f"{image} {network.port}"
        found = await self._containers.inspect(self._server)
        if found is not None:
            if not belongs(found.labels, self._cluster):
                raise EngineRejected(
                    f"host {self._engine.name}: the container {self._server} is of another "
                    "installation",
                    409,
                )
            if found.state.status == "running" and found.labels.get(NETWORK) == what:
                return found.id
            await self._containers.remove(found.id, force=True)
        body = _body(image, network.port, {CLUSTER: self._cluster, NETWORK: what})
        return await self._containers.create(self._server, body)

    async def end(self) -> None:
        """Have nothing served any more; gone is fine."""
        await self._containers.stop(self._server, _GRACE)
        await self._containers.remove(self._server, force=True)

    async def leave(self) -> None:
        """Remove both; gone is fine."""
        await self.end()
        await self._remove()
        self.doubt()


def _network(subnet: str) -> IPv4Network:
    """What an engine calls a subnet, where it is none the one that overlaps with nothing in use."""
    try:
        return IPv4Network(subnet, strict=False)
    except ValueError:
        return _NOWHERE


def _body(image: str, port: int, labels: dict[str, str]) -> JsonObject:
    return {
        "Image": image,
        "Entrypoint": [tools.PATH, "network", str(port)],
        "User": "0:0",
        "OpenStdin": True,
        "StdinOnce": False,
        "Labels": dict(labels),
        "HostConfig": {
            "NetworkMode": "host",
            "UsernsMode": "host",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN", "NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 16,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "none"},
        },
    }
