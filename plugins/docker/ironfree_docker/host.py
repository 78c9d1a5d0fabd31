"""A Docker host as scheduler.drivers.Host: sandboxes are infra containers, apps live in them."""

import asyncio
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
from scheduler.errors import DriverError, EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.foreign import FOREIGN, Adopted, ForeignContainer, ForeignDescription
from scheduler.images import Filesystem
from scheduler.networks import NetworkFeed, PodNetwork
from scheduler.streams import (
    ContainerUsage,
    DiskUsage,
    Ends,
    Level,
    PortStream,
    ProcessStream,
    Signals,
)
from scheduler.volumes import EmptyDir, FilesVolume, NamedVolume

from . import pause, wire
from .container_spec import container_body, sandbox_body
from .containers import Containers, LogQuery
from .descriptions import PROJECT, description
from .devices import Devices, device_label, device_options
from .dialer import Dialer
from .disk_usage import DiskMeter
from .engine import INSPECT, Engine
from .ensure import Ensured, ensure_created, ensure_started
from .examination import examine
from .execs import Execs
from .foreign import Foreign
from .image_builds import BuildingImages
from .image_names import ImageNames
from .inspections import Inspections
from .labels import (
    ATTEMPT,
    CONTENT,
    INFRA,
    POD_UID,
    SANDBOX,
    adopted_labels,
    belongs,
    container_labels,
    container_name,
    is_ours,
    number,
    pod_labels,
    sandbox_labels,
    volume_name,
)
from .mounts import MountResolver
from .named_volumes import NamedVolumes
from .observation import container_status, is_infra, observations, sandbox_status, start_failed
from .pod_network import PodNetworkOfHost
from .podman import PodmanContainers, PodmanVolumes
from .podman import examined as examined_podman
from .ports import Ports
from .processes import Processes
from .termination_messages import TerminationMessages, messages_volume
from .together import together
from .usage import Usage
from .volume_files import VolumeFiles
from .volume_parts import VolumeParts
from .volumes import Volumes

_log = logging.getLogger(__name__)
_NO_ROOM = "no space left on device"
_FULL = Signals(None, None, Level(0, 0))
_FALLBACK_IMAGE = "registry.k8s.io/pause:3.10"
_UNSHIELDED = ("oom_score_adj", "child's PID from pipe: EOF")  # said by runc, and by runc 1.1.5


class DockerHost:
    """An open engine.

    Options: `infraImage` (default: an image made on the host), `address`, `imageGC` ("all": images
    that others put there are removed, too, when the disk is full), `network` ("none": its pods are
    on the engine's own network, without Services).
    """

    def __init__(self, engine: Engine, address: HostAddress) -> None:
        self._engine = engine
        self._address = address
        podman = engine.version.podman
        self._containers = PodmanContainers(engine) if podman else Containers(engine)
        self._usage = Usage(engine, self._containers, address.cluster)
        self._foreign = Foreign(self._containers, self._usage, address.cluster)
        self._devices = Devices(self._containers, address.devices, self._foreign.devices)
        self._volumes = PodmanVolumes(engine) if podman else Volumes(engine)
        self._disk = DiskMeter(self._containers, self._volumes, address.cluster)
        self._lasting = NamedVolumes(self._volumes, address.cluster)
        self._execs = Execs(engine)
        self._files = VolumeFiles(engine, self._execs)
        self._messages = TerminationMessages(engine, self._volumes)
        self._mounts = MountResolver(engine, self._volumes, address.cluster)
        self._parts = VolumeParts(engine, self._containers, self._volumes)
        self._dialer = Dialer(engine, self._containers, address.cluster, self._tools_image)
        self._network = PodNetworkOfHost(engine, self._containers, address.cluster)
        self._has_tools = pause.program(engine.version.arch) is not None
        every = address.options.get("imageGC", "") == "all"
        look = self._filesystem if self._has_tools else None
        self._images = BuildingImages(engine, self._containers, address.cluster, look, every=every)
        self._image_names = ImageNames(self._images)
        self._processes = Processes(engine, self._containers, address.cluster)
        self._ports = Ports(engine, self._containers, address.cluster)
        self._infra_image = address.options.get("infraImage", "")
        self._infra_lock = asyncio.Lock()
        self._known_image = ""  # of infra containers, that was there lately
        self._unprotected = False  # the engine cannot shield processes from the kernel's OOM killer
        self._inspections = Inspections(self._containers)
        self._seen: list[wire.Container] = []
        self._observed: tuple[PodObservation, ...] = ()

    async def info(self) -> HostInfo:
        """Return the engine's facts."""
        asked = datetime.now(UTC)
        info = await self._engine.read("/info", wire.Info, within=INSPECT)
        api = self._engine.api_version
        version = self._engine.version
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

    async def ping(self) -> None:
        """Return when the engine answers; HostUnreachable otherwise."""
        await self._engine.ping()

    async def observe(self) -> tuple[PodObservation, ...]:
        """List every pod of this installation here."""
        retired = self._containers.retired
        listed = [each for each in await self._list(POD_UID) if each.id not in retired]
        self._execs.forget({each.id for each in listed if each.state == "running"})
        found = await self._inspections.look(listed)
        if list(map(id, found)) != list(map(id, self._seen)):  # else nothing has changed
            await self._image_names.learn(each for each in found if not is_infra(each.labels))
            self._seen, self._observed = found, observations(found)
        return self._observed

    async def events(self) -> AsyncIterator[HostEvent]:
        """Stream hints. The first, without a pod, says that the stream is open: list after it."""
        try:
            async with aclosing(self._containers.events()) as events:
                async for event in events:
                    if event is None:
                        self._inspections.listen(on=True)
                        yield HostEvent(pod_uid="", action="open")
                        continue
                    actor = event.actor
                    attributes = self._containers.labels_of(actor.id, actor.attributes or {})
                    if not is_ours(attributes, self._address.cluster):
                        self._foreign.heard(actor.id)
                        yield HostEvent(pod_uid="", action=FOREIGN)
                    elif POD_UID in attributes and not event.action.startswith("exec_"):
                        self._inspections.heard(actor.id, event.action)
                        yield HostEvent(pod_uid=attributes[POD_UID], action=event.action)
        finally:
            self._inspections.listen(on=False)
        raise HostUnreachable(f"host {self._engine.name} ended its stream of events")

    async def foreign(self) -> tuple[ForeignContainer, ...]:
        """Every running container that is not this installation's."""
        return await self._foreign.all(self._devices.ids)

    async def describe(
        self, containers: Sequence[str], project: str
    ) -> tuple[ForeignDescription, ...]:
        """Describe containers by name or id, and those of a Compose project."""
        ids = [*containers]
        if project:
            ids += [each.id for each in await self._containers.list(f"{PROJECT}={project}")]
        found = await together(*(self._containers.foreign(each) for each in ids))
        there = {each.id: each for each in found if each is not None}
        used = await self._usage.of(tuple(there))
        return tuple(
            description(
                each,
                self._devices.ids,
                self._containers.labels_of(each.id, each.config.labels or {}),
                used[each.id].memory_bytes if each.id in used else 0,
            )
            for each in there.values()
        )

    async def adopt(self, adopted: Mapping[str, Adopted]) -> None:
        """Treat these containers as attempts of pods, and no others."""
        before = self._containers.adopted
        cluster = self._address.cluster
        self._containers.adopted = {
            name: before.get(name) or adopted_labels(name, each, cluster)
            for name, each in adopted.items()
        }
        for name in self._containers.adopted.keys() - before.keys():
            found = await self._containers.foreign(name)
            policy = found.host_config.restart_policy if found else None
            if policy is None or policy.name in {"", "no"}:
                continue
            try:
                await self._containers.restart_no_more(name)
            except EngineRejected as error:
                _log.warning("%s: the engine will restart it, too: %s", name[:12], error)

    @property
    def images(self) -> BuildingImages:
        """The host's images."""
        return self._images

    async def ensure_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Have volumes and infra container; an infra container that has ended runs again."""
        await self._end_older_sandboxes(spec)
        if spec.subnet:
            await self._network.have(spec.subnet)
        named = [each for each in spec.volumes if isinstance(each, NamedVolume)]
        others = (each for each in spec.volumes if isinstance(each, EmptyDir | FilesVolume))
        await together(
            self._ensure_messages(spec), *(self._ensure_volume(spec, volume) for volume in others)
        )
        fresh = await together(*(self._lasting.ensure(spec.identity, volume) for volume in named))
        name = container_name(spec.identity, INFRA, spec.attempt)
        labels = sandbox_labels(spec, self._address.cluster)
        infra = await self._infra(spec, name, labels)
        found = infra.found
        if found is None or found.state.status != "running":
            made = [each for each, new in zip(named, fresh, strict=True) if new]
            await self._files.give_to_group(infra.id, spec, made)
            try:
                found = await self._started(infra.id)
            except EngineRejected:
                self._network.doubt()  # somebody may have removed it
                raise
        if found.state.status != "running":
            self._network.doubt()
            raise EngineRejected(
                f"host {self._engine.name} cannot start the sandbox of pod "
                f"{spec.identity.namespace}/{spec.identity.name}: {found.state.error}",
                500,
            )
        return sandbox_status(found)

    async def ensure_container(
        self, sandbox: SandboxStatus, spec: ContainerSpec
    ) -> ContainerStatus:
        """Have this attempt created and started once."""
        if spec.oom_score < 0 and self._unprotected:
            spec = replace(spec, oom_score=0)
        found = await self._start(sandbox, spec)
        said = found.state.error if start_failed(found) else ""
        if spec.oom_score < 0 and any(words in said for words in _UNSHIELDED):
            await self._containers.remove(found.id, force=True)
            found = await self._start(sandbox, replace(spec, oom_score=0))
            # An engine without CAP_SYS_RESOURCE, in a container or so; its words may mean another.
            self._unprotected = _UNSHIELDED[0] in said or not start_failed(found)
        return container_status(found)

    async def _start(self, sandbox: SandboxStatus, spec: ContainerSpec) -> wire.Container:
        name = container_name(sandbox.identity, spec.name, spec.attempt)
        labels = container_labels(sandbox, spec, self._address.cluster)
        mounts = await self._mounts.resolve(sandbox.identity, spec.mounts)
        await self._parts.have(sandbox, spec.mounts)
        message = await self._messages.mount(sandbox, spec)
        mounts.mounts += [message] if message is not None else []
        async with self._devices.given(sandbox.identity, spec, self._engine.api) as devices:
            labels |= device_label(devices)
            body = container_body(sandbox, spec, labels, mounts, device_options(devices))
            made = await ensure_created(self._containers, name, labels, body)
        found = made.found
        if found is None or (found.state.status == "created" and not start_failed(found)):
            found = await self._started(made.id)
        await self._image_names.learn((found,))
        return found

    async def _started(self, container_id: str) -> wire.Container:
        asked = self._inspections.heard_until
        found = await ensure_started(self._containers, container_id)
        self._inspections.keep(found, asked)
        return found

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """TERM, after the grace KILL; returns when it has stopped."""
        await self._containers.stop(container_id, grace_seconds)

    async def remove_container(self, container_id: str) -> None:
        """Remove a stopped container."""
        await self._containers.remove(container_id)

    async def remove_pod(self, pod_uid: str) -> None:
        """Kill and remove what is left of the pod: apps, then infra, then volumes."""
        label = f"{POD_UID}={pod_uid}"
        listed = await self._list(label)
        apps = [each.id for each in listed if not is_infra(each.labels or {})]
        infra = [each.id for each in listed if is_infra(each.labels or {})]
        for ids in apps, infra:
            await together(*(self._containers.remove(each, force=True) for each in ids))
            joined = self._containers.retired & {*ids}  # by some that are gone now
            await together(*(self._containers.remove(each, force=True) for each in joined))
        volumes = await self._volumes.list(label)
        ours = (v.name for v in volumes if belongs(v.labels or {}, self._address.cluster))
        await together(*(self._volumes.remove(name) for name in ours))
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
        """Have the subnet; not on Podman, and not where no program of ours runs."""
        if self._engine.version.podman or not self._has_tools:
            return False
        if self._address.options.get("network", "") == "none":
            await self._network.end()
            raise EngineRejected(
                "it takes no part in the network, as its DockerHost has it (spec.options.network)",
                409,
            )
        await self._network.have(network.subnet)
        return True

    @asynccontextmanager
    async def network(self, network: PodNetwork) -> AsyncGenerator[NetworkFeed]:
        """Have the program run that serves the network, and tell it."""
        async with self._network.serve(network, await self._tools_image()) as feed:
            yield feed

    async def leave(self) -> None:
        """Remove the program's container and the subnet."""
        await self._network.leave()

    async def close(self) -> None:
        """Release the connections."""
        try:
            await self._dialer.close()
        finally:
            await self._engine.close()

    # ---------------------------------------------------------------------------------------

    async def _list(self, label: str) -> list[wire.Summary]:
        """Ours only. The engine cannot be asked for "this label or none", so it lists all."""
        listed = await self._containers.list(label)
        return [each for each in listed if belongs(each.labels or {}, self._address.cluster)]

    async def _have_image(self, image: str) -> None:
        if await self._images.find(image) is None:
            await self._images.pull(image)

    async def _infra(self, spec: SandboxSpec, name: str, labels: dict[str, str]) -> Ensured:
        """Have an infra container created; its image is looked for once, until it is missing."""
        image = self._known_image
        network = self._network.name if spec.subnet else ""
        if image:
            try:
                body = sandbox_body(spec, image, labels, network)
                return await ensure_created(self._containers, name, labels, body)
            except ImageUnavailable:
                self._known_image = ""
        image = await self._ensure_infra_image()
        made = await ensure_created(
            self._containers, name, labels, sandbox_body(spec, image, labels, network)
        )
        self._known_image = image
        return made

    async def _ensure_infra_image(self) -> str:
        async with self._infra_lock:
            if self._infra_image:
                await self._have_image(self._infra_image)
                return self._infra_image
            if not await self._have_own_image():
                await self._have_image(_FALLBACK_IMAGE)
                return _FALLBACK_IMAGE
            return pause.IMAGE

    async def _tools_image(self) -> str:
        async with self._infra_lock:
            if await self._have_own_image():
                return pause.IMAGE
        raise DriverError(
            f"host {self._engine.name}: there is no program to reach its pods with for its "
            f"processor ({self._engine.version.arch}); use exec probes"
        )

    async def _have_own_image(self) -> bool:
        """Have the image that is made here; False when there is none for this processor."""
        architecture = self._engine.version.arch
        if pause.program(architecture) is None:
            return False
        if await self._images.find(pause.IMAGE) is None:
            archive = pause.archive(architecture)
            assert archive is not None
            await self._images.load(archive)
        return True

    async def _ensure_messages(self, spec: SandboxSpec) -> None:
        """Have a volume for messages; the infra container's image fills it, if it is made here."""
        if not self._infra_image and self._has_tools:
            labels = pod_labels(spec.identity, self._address.cluster)
            await self._volumes.create(messages_volume(spec.identity.uid), labels, {})

    async def _ensure_volume(self, spec: SandboxSpec, volume: EmptyDir | FilesVolume) -> None:
        """Disk volumes have no size limit here: the engine's local driver knows none."""
        labels = pod_labels(spec.identity, self._address.cluster)
        memory, size = False, ""
        if isinstance(volume, FilesVolume):
            memory, labels[CONTENT] = volume.memory, "files"
        elif volume.medium == "Memory":
            memory, size = True, "" if volume.size_limit is None else f",size={volume.size_limit}"
        options: dict[str, str] = {}
        if memory:
            mode = "0777" if spec.fs_group is None else f"2777,gid={spec.fs_group}"
            options = {"type": "tmpfs", "device": "tmpfs", "o": f"mode={mode}{size}"}
        name = volume_name(spec.identity.uid, volume.name)
        await self._volumes.create(name, labels, options)

    async def _end_older_sandboxes(self, spec: SandboxSpec) -> None:
        """A new attempt of the sandbox ends the ones before, which may hold its ports.

        Apps in them are killed, for they have no network any more; what they were stays readable.
        """
        if spec.attempt == 0:
            return
        listed = await self._list(f"{POD_UID}={spec.identity.uid}")
        older = {
            each.id
            for each in listed
            if is_infra(each.labels or {}) and number(each.labels or {}, ATTEMPT) < spec.attempt
        }
        current = container_name(spec.identity, INFRA, spec.attempt)
        found = await self._containers.inspect(current)
        stale = [
            each.id
            for each in listed
            if not is_infra(each.labels or {})
            and each.state == "running"
            and (each.labels or {}).get(SANDBOX) != (found.id if found else "")
        ]
        await together(*(self._containers.kill(each) for each in stale))
        await together(*(self._containers.remove(each, force=True) for each in older))


def _engine_id(info: wire.Info) -> str:
    """Machines cloned from one image share the engine's id, but hardly the host's name too."""
    return f"{info.id}/{info.name}" if info.id else ""
