"""A Docker host as scheduler.drivers.Host: sandboxes are infra containers, apps live in them."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from scheduler.drivers import (
    Connection,
    ContainerSpec,
    ContainerStatus,
    DialFailure,
    ExecOutcome,
    HostAddress,
    HostEvent,
    HostInfo,
    LogOptions,
    PodObservation,
    SandboxSpec,
    SandboxStatus,
)
from scheduler.errors import DriverError, HostUnreachable, ImageUnavailable
from scheduler.foreign import Adopted, ForeignContainer, ForeignDescription
from scheduler.images import Filesystem
from scheduler.networks import Connect, Gateway, NetworkFeed, PodNetwork
from scheduler.streams import (
    ContainerUsage,
    DiskUsage,
    Ends,
    Level,
    PortStream,
    ProcessStream,
    Signals,
)
from scheduler.volumes import FilesVolume

from . import wire
from .adoption import Adoption
from .app_containers import AppContainers, AppParts
from .containers import Containers, LogQuery
from .devices import Devices
from .dialer import Dialer
from .disk_usage import DiskMeter
from .engine import INSPECT, Engine
from .examination import examine
from .execs import Execs
from .foreign import Foreign
from .gateway import MEMORY, WHAT, carried
from .host_program import running
from .image_builds import BuildingImages
from .image_names import ImageNames
from .infra_image import InfraImage, has_tools
from .inspections import Inspections
from .labels import (
    POD_UID,
)
from .mounts import MountResolver
from .named_volumes import NamedVolumes
from .observation import is_infra
from .observer import Observer
from .pod_network import PodNetworkOfHost
from .pod_volumes import PodVolumes
from .podman import PodmanContainers, PodmanVolumes
from .podman import examined as examined_podman
from .ports import Ports
from .processes import Processes
from .sandboxes import Sandboxes, SandboxParts
from .termination_messages import TerminationMessages
from .together import together
from .usage import Usage
from .volume_files import VolumeFiles
from .volume_parts import VolumeParts
from .volumes import Volumes

_log = logging.getLogger(__name__)
_RESTORES = 1, 44
_NO_ROOM = "no space left on device"
_FULL = Signals(None, None, Level(0, 0))


class DockerHost:
    """An open engine.

    Options: `infraImage` (default: an image made on the host), `address`, `imageGC` ("all": images
    that others put there are removed, too, when the disk is full), `network` ("none": its pods are
    on the engine's own network, without Services).
    """

    def __init__(self, engine: Engine, address: HostAddress) -> None:
        self._engine = engine
        self._address = address
        self._live_restore = False
        podman = engine.version.podman
        self._containers = PodmanContainers(engine) if podman else Containers(engine)
        self._usage = Usage(engine, self._containers, address.cluster)
        self._foreign = Foreign(self._containers, self._usage, address.cluster)
        self._adoption = Adoption(self._containers, self._usage, address.cluster)
        self._devices = Devices(self._containers, address.devices, self._foreign.devices)
        self._volumes = PodmanVolumes(engine) if podman else Volumes(engine)
        self._disk = DiskMeter(self._containers, self._volumes, address.cluster)
        self._lasting = NamedVolumes(self._volumes, address.cluster)
        self._execs = Execs(engine)
        self._files = VolumeFiles(engine, self._execs)
        self._messages = TerminationMessages(engine, self._volumes)
        self._network = PodNetworkOfHost(engine, self._containers, address.cluster)
        self._has_tools = has_tools(engine.version.arch)
        every = address.options.get("imageGC", "") == "all"
        look = self._filesystem if self._has_tools else None
        self._images = BuildingImages(engine, self._containers, address.cluster, look, every=every)
        self._image_names = ImageNames(self._images)
        self._infra_image = InfraImage(
            engine.name, engine.version.arch, self._images, address.options.get("infraImage", "")
        )
        self._dialer = Dialer(
            engine, self._containers, address.cluster, self._infra_image.have_tools
        )
        self._processes = Processes(engine, self._containers, address.cluster)
        self._ports = Ports(engine, self._containers, address.cluster)
        self._inspections = Inspections(self._containers)
        self._observer = Observer(
            self._containers,
            address.cluster,
            self._inspections,
            self._image_names,
            self._execs,
            self._foreign,
        )
        messages = self._infra_image.has_messages
        self._pod_volumes = PodVolumes(
            self._volumes,
            address.cluster,
            self._lasting,
            messages=messages,
            forgetful=self._forgets_memory,
        )
        self._sandboxes = Sandboxes(self._sandbox_parts())
        self._apps = AppContainers(self._app_parts())

    def _sandbox_parts(self) -> SandboxParts:
        return SandboxParts(
            host=self._engine.name,
            cluster=self._address.cluster,
            containers=self._containers,
            inspections=self._inspections,
            image=self._infra_image,
            network=self._network,
            volumes=self._pod_volumes,
            files=self._files,
        )

    def _app_parts(self) -> AppParts:
        engine, cluster = self._engine, self._address.cluster
        return AppParts(
            api=engine.api,
            cluster=cluster,
            containers=self._containers,
            inspections=self._inspections,
            image_names=self._image_names,
            mounts=MountResolver(engine, self._volumes, cluster),
            parts=VolumeParts(engine, self._containers, self._volumes),
            messages=self._messages,
            devices=self._devices,
        )

    async def info(self) -> HostInfo:
        """Return the engine's facts."""
        asked = datetime.now(UTC)
        info = await self._engine.read("/info", wire.Info, within=INSPECT)
        api = self._engine.api_version
        version = self._engine.version
        self._live_restore = info.live_restore_enabled
        findings = examine(self._address, info, api, asked, datetime.now(UTC))
        if version.podman:
            findings = examined_podman(findings, info, api)
        swarm = info.swarm.node_addr if info.swarm else ""
        return HostInfo(
            engine=f"{'podman' if version.podman else 'docker'}://"
            f"{info.server_version or version.version}",
            api_version=api,
            hostname=info.name,
            operating_system=info.operating_system,
            os=version.os,
            architecture=version.arch,
            kernel=info.kernel_version,
            cpus=info.cpus,
            memory_bytes=info.mem_total,
            live_restore=info.live_restore_enabled or version.podman,
            resources=self._devices.offered(info),
            address=self._address.options.get("address", "") or self._engine.route.host or swarm,
            warnings=(*(info.warnings or ()), *(f.message for f in findings if not f.sound)),
            engine_id="" if version.podman else _engine_id(info),  # Podman's is new at each look
            findings=findings,
            runtimes=tuple(sorted(info.runtimes or ())),
        )

    def _forgets_memory(self) -> bool:
        """Tell whether containers that start after a live-restore find volumes in memory empty.

        Source: moby/moby#46366, mended in 24.0.6.
        """
        return self._live_restore and self._engine.api < _RESTORES

    async def ping(self) -> None:
        """Return when the engine answers; HostUnreachable otherwise."""
        await self._engine.ping()

    async def observe(self) -> tuple[PodObservation, ...]:
        """List every pod of this installation here."""
        return await self._observer.observe()

    async def events(self) -> AsyncIterator[HostEvent]:
        """Stream hints. The first, without a pod, says that the stream is open: list after it."""
        async with aclosing(self._observer.events()) as events:
            async for event in events:
                yield event
        raise HostUnreachable(f"host {self._engine.name} ended its stream of events")

    async def foreign(self) -> tuple[ForeignContainer, ...]:
        """Every running container that is not this installation's."""
        return await self._foreign.all(self._devices.ids)

    async def describe(
        self, containers: Sequence[str], project: str
    ) -> tuple[ForeignDescription, ...]:
        """Describe containers by name or id, and those of a Compose project."""
        return await self._adoption.describe(containers, project, self._devices.ids)

    async def adopt(self, adopted: Mapping[str, Adopted]) -> None:
        """Treat these containers as attempts of pods, and no others."""
        await self._adoption.adopt(adopted)

    @property
    def images(self) -> BuildingImages:
        """The host's images."""
        return self._images

    async def ensure_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Have volumes and infra container; an infra container that has ended runs again."""
        return await self._sandboxes.ensure(spec)

    async def ensure_container(
        self, sandbox: SandboxStatus, spec: ContainerSpec
    ) -> ContainerStatus:
        """Have this attempt created and started once."""
        return await self._apps.ensure(sandbox, spec)

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """TERM, after the grace KILL; returns when it has stopped."""
        await self._containers.stop(container_id, grace_seconds)

    async def remove_container(self, container_id: str) -> None:
        """Remove a stopped container."""
        await self._containers.remove(container_id)

    async def remove_pod(self, pod_uid: str) -> None:
        """Kill and remove what is left of the pod: apps, then infra, then volumes."""
        cluster = self._address.cluster
        listed = await self._containers.ours(cluster, f"{POD_UID}={pod_uid}")
        apps = [each.id for each in listed if not is_infra(each.labels or {})]
        infra = [each.id for each in listed if is_infra(each.labels or {})]
        for ids in apps, infra:
            await together(*(self._containers.remove(each, force=True) for each in ids))
            joined = self._containers.retired & {*ids}  # by some that are gone now
            await together(*(self._containers.remove(each, force=True) for each in joined))
        await self._pod_volumes.remove(pod_uid)
        self._files.forget(pod_uid, infra)
        self._devices.forget(pod_uid)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Stream raw output."""
        query = LogQuery(
            follow=options.follow,
            tail=options.tail,
            since=options.since,
            timestamps=options.timestamps,
        )
        left = options.limit_bytes
        found = await self._containers.of(self._address.cluster, container_id)
        async with aclosing(self._containers.logs(found, query)) as chunks:
            async for chunk in chunks:
                part = chunk if left is None else chunk[:left]
                if left is not None:
                    left -= len(part)
                if part:
                    yield part
                if left == 0:
                    return

    async def remove_volume(self, name: str) -> None:
        """Remove a volume that outlived its pods."""
        await self._lasting.remove(name)

    async def termination_message(self, container_id: str, path: str, most: int) -> bytes:
        """The end of what an ended container left at that path."""
        found = await self._containers.of(self._address.cluster, container_id)
        return await self._messages.read(found.id, path, most)

    async def write_volumes(
        self, sandbox: SandboxStatus, spec: SandboxSpec, volumes: Sequence[FilesVolume]
    ) -> None:
        """Have exactly these files in volumes of a running sandbox."""
        await self._files.write(sandbox.id, spec, volumes)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], within: float
    ) -> ExecOutcome | None:
        """Run a command; None when it does not end in time (and goes on)."""
        return await self._execs.run(container_id, command, within)

    async def dial(self, address: str, port: int, within: float) -> Connection | DialFailure:
        """Connect from the host's network, by a container that is there for that."""
        return await self._dialer.dial(address, port, within)

    async def image_user(self, image: str) -> str:
        """The user an image runs as, "" for root."""
        found = await self._images.look(image)
        if found is None:
            raise ImageUnavailable(f"host {self._engine.name} has no image {image} any more")
        return found.config.user if found.config else ""

    def exec(
        self, container_id: str, command: tuple[str, ...], ends: Ends
    ) -> AbstractAsyncContextManager[ProcessStream]:
        """Run a command in a running container."""
        return self._processes.exec(container_id, command, ends)

    def attach(self, container_id: str, ends: Ends) -> AbstractAsyncContextManager[ProcessStream]:
        """Join a container's own process."""
        return self._processes.attach(container_id, ends)

    def connect(self, pod_uid: str, port: int) -> AbstractAsyncContextManager[PortStream]:
        """Connect to a port of the pod's loopback."""
        return self._ports.connect(pod_uid, port)

    async def usage(self) -> Mapping[str, ContainerUsage]:
        """Look once at every running container of this installation."""
        return await self._usage.all()

    async def signals(self) -> Signals | None:
        """Look at the host through the dialer; None where it cannot run."""
        if not self._has_tools:
            return None
        found = await self._filesystem()
        if not found.capacity:
            return _FULL
        inodes = Level(found.inodes_free, found.inodes) if found.inodes else None
        disk = Level(found.available, found.capacity)
        return replace(await self._dialer.signals(), disk=disk, inodes=inodes)

    async def _filesystem(self) -> Filesystem:
        """Look at the disk; one without room for the dialer is full, of whatever size."""
        try:
            return await self._dialer.filesystem()
        except DriverError as error:
            if _NO_ROOM not in str(error):
                raise
            return Filesystem(0, 0)

    async def disk_usage(self, containers: Collection[str], *, volumes: bool) -> DiskUsage:
        """Measure layers and volumes, which is dear."""
        return await self._disk.look(containers, volumes=volumes)

    async def subnet(self) -> str:
        """The subnet of pods that the engine has a network for."""
        return "" if self._engine.version.podman else await self._network.subnet()

    async def join(self, network: PodNetwork) -> bool:
        """Have the subnet; not on Podman, not where no program of ours runs, nor unasked."""
        if self._engine.version.podman or not self._has_tools:
            return False
        if self._address.options.get("network", "") == "none":
            return False
        await self._network.join(network)
        return True

    @asynccontextmanager
    async def network(self, network: PodNetwork) -> AsyncGenerator[NetworkFeed]:
        """Have the program run that serves the network, and tell it."""
        async with self._network.serve(network, await self._infra_image.have_tools()) as feed:
            yield feed

    @asynccontextmanager
    async def gateway(self, connect: Connect) -> AsyncGenerator[Gateway]:
        """Have the program run that takes pods' connections to the API in, and carry them."""
        engine, cluster = self._engine, self._address.cluster
        image = await self._infra_image.have_tools()
        program = running(engine, self._containers, cluster, image, WHAT, MEMORY)
        async with program as stream, carried(engine.name, stream, connect) as gateway:
            yield gateway

    async def leave(self) -> None:
        """Remove the program's container and the subnet."""
        await self._network.leave()

    async def close(self) -> None:
        """Release the connections."""
        try:
            await self._dialer.close()
        finally:
            await self._engine.close()


def _engine_id(info: wire.Info) -> str:
    """Machines cloned from one image share the engine's id, but hardly the host's name too."""
    return f"{info.id}/{info.name}" if info.id else ""
