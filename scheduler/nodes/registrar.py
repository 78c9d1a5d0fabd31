"""What a host's Node is made of, and that the store has it so.

The host's sessions tell here what they find out of it; that is kept from one to the next.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ..drivers import Host, HostInfo
from ..errors import AlreadyExists, Conflict, NotFound
from ..foreign import ForeignContainer
from ..objects.meta import now_seconds
from ..objects.node import ContainerImage
from ..objects.stored import ObjectKey, StoredObject
from .docker_host import DockerHost
from .network_part import joined, left
from .office import Office
from .registration import Part, Registration, disk_of, node_write, pressure_words, pressures_of

_RACES = 8  # optimistic writes tried before giving up until the next occasion


class Registrar:
    """One host's.

    Args:
        remade: takes in what the Node is made of, when it has changed for new containers.
    """

    def __init__(self, office: Office, node: str, remade: Callable[[Registration], None]) -> None:
        self._office = office
        self._node = node
        self._remade = remade
        self._known: Registration | None = None
        self._writing = asyncio.Lock()

    @property
    def made(self) -> Registration:
        """What the Node is made of, once the host was connected."""
        assert self._known is not None
        return self._known

    @property
    def pressures(self) -> frozenset[str]:
        """Which of MemoryPressure, PIDPressure and DiskPressure hold, as far as is known."""
        return self._known.pressures if self._known is not None else frozenset()

    # --- connections ------------------------------------------------------------------------

    def begin(self, docker_host: DockerHost, info: HostInfo) -> None:
        """Take in a new connection; what was known before, here or by the Node, lasts."""
        if self._known is not None:
            self._known = replace(self._known, host=docker_host, info=info, stuck="")
            return
        node = self._office.nodes.get("", self._node)
        made = Registration(docker_host, info, self._office.settings.max_pods, self._office.epoch)
        self._known = replace(made, pressures=pressures_of(node), disk=disk_of(node))

    async def join(self, host: Host) -> Registration:
        """Have the host be part of the network of pods; returns what its Node is made of then."""
        self._known = await joined(self._office.network, host, self.made)
        return self._known

    async def changed(self, docker_host: DockerHost) -> None:
        """Take in a DockerHost that changed, and register what follows."""
        self._known = replace(self.made, host=docker_host)
        self._remade(self._known)
        await self.register()

    def examined(self, docker_host: DockerHost, info: HostInfo) -> None:
        """Take in what the engine says now."""
        self._known = replace(self.made, host=docker_host, info=info)

    # --- what sessions find out -------------------------------------------------------------

    async def stored(self, images: tuple[ContainerImage, ...]) -> None:
        """Put on the Node which images its host has."""
        self._known = replace(self.made, images=images)
        await self.register()

    async def shared(self, foreign: tuple[ForeignContainer, ...]) -> None:
        """Put on the Node what else runs on its host, and keep from pods what that holds."""
        self._known = replace(self.made, foreign=foreign)
        self._remade(self._known)
        await self.register()

    async def sized(self, disk: int) -> None:
        """Put on the Node how large its host's disk is, in bytes."""
        self._known = replace(self.made, disk=disk)
        self._remade(self._known)
        await self.register()

    async def pressed(self, conditions: frozenset[str]) -> None:
        """Put on the Node, and tell, which of its resources run short."""
        before, self._known = self.made.pressures, replace(self.made, pressures=conditions)
        for kind in sorted(conditions ^ before):
            words = pressure_words(kind, holds=kind in conditions)
            message = f"Node {self._node} status is now: {words}"
            self._office.events.record_node(self._node, ("Normal", words, message))
        await self.register()

    async def stuck(self, why: str) -> None:
        """Put on the Node, and tell, that the engine does not do what it is told; "": it does."""
        self._known = replace(self.made, stuck=why)
        words = (
            ("Warning", "EngineStuck", f"Nothing new is started here: {why}")
            if why
            else ("Normal", "EngineWorks", "The container engine does again what it is told")
        )
        self._office.events.record_node(self._node, words)
        await self.register()

    async def networked(self, why: str) -> None:
        """Put on the Node, and tell, why Services are not served on its host; "": they are."""
        if self.made.offline == why:
            return
        self._known = replace(self.made, offline=why)
        if why:
            self._office.events.record_node(self._node, ("Warning", "ServicesNotServed", why))
        await self.register()

    async def leave(self, host: Host) -> None:
        """Have the host leave the network if no pod keeps it, and its Node have no subnet."""
        if self.made.part is not Part.LEAVING:
            return
        part = (await left(host, self.made)).part
        self._known = replace(self.made, part=part)
        await self.register()

    # --- the Node in the store --------------------------------------------------------------

    def differs(self, node: StoredObject | None) -> bool:
        """Return whether the Node in the store is not what it is made of."""
        return node_write(self.made, node, now_seconds()) is not None

    async def register(self) -> None:
        """Make the Node in the store what the host is; a lost race is run again."""
        made, store = self.made, self._office.store
        async with self._writing:
            present = self._office.nodes.get("", self._node)
            for _ in range(_RACES):
                operation = node_write(made, present, now_seconds())
                if operation is None:
                    return
                try:
                    await store.write(operation)
                except (Conflict, AlreadyExists, NotFound):
                    present = await store.get(ObjectKey("nodes", "", self._node))
                else:
                    return
