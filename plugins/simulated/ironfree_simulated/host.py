"""An open connection to a simulated host."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from scheduler.drivers import (
    ContainerSpec,
    ContainerStatus,
    EngineState,
    ExecOutcome,
    HostEvent,
    HostInfo,
    LogOptions,
    PodObservation,
    PullPolicy,
    SandboxSpec,
    SandboxStatus,
)
from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.streams import (
    ContainerUsage,
    DiskUsage,
    Ends,
    PortStream,
    ProcessStream,
    Signals,
)
from scheduler.volumes import FilesVolume

from .images import Images
from .machine import Machine, Process
from .streams import Attached, Command, Echo


class SimulatedHost:
    """Implements scheduler.drivers.Host on a Machine, for one installation."""

    def __init__(self, machine: Machine, cluster: str) -> None:
        self._machine = machine
        self._cluster = cluster
        self._images = Images(machine, self._call)

    @property
    def images(self) -> Images:
        """The host's images."""
        return self._images

    async def info(self) -> HostInfo:
        """Return the host's shape as an engine would tell it."""
        await self._call()
        shape = self._machine.shape
        high, low = divmod(self._machine.index % 65536, 256)
        return HostInfo(
            engine="simulated://1.0",
            api_version="1.0",
            hostname=self._machine.name,
            operating_system="Simulated",
            os="linux",
            architecture=shape.arch,
            kernel="simulated",
            cpus=shape.cpu,
            memory_bytes=shape.memory,
            disk_bytes=shape.disk,
            resources=shape.resources,
            address=f"10.{high}.{low}.1",
            engine_id=f"simulated/{self._machine.name}",
        )

    async def ping(self) -> None:
        """Return while the host is reachable."""
        await self._call()

    async def observe(self) -> tuple[PodObservation, ...]:
        """Return everything of the installation on the host."""
        await self._call()
        return self._machine.observe(self._cluster)

    async def events(self) -> AsyncIterator[HostEvent]:
        """Stream events until the host becomes unreachable."""
        self._machine.check()
        queue = self._machine.subscribe(self._cluster)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._machine.unsubscribe(queue)
        raise HostUnreachable(f"simulated host {self._machine.name}: the event stream broke")

    async def ensure_image(self, image: str, policy: PullPolicy) -> str:
        """Return the image's id, as Images has it, but in one call."""
        await self._call(self._machine.shape.pull)
        if not self._machine.has_image(image):
            words = "not present" if policy is PullPolicy.NEVER else "no such image to pull"
            raise ImageUnavailable(f"image {image}: {words}")
        self._machine.pulled.add(image)
        return f"simulated://{image}"

    async def ensure_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Make or adopt the pod's sandbox."""
        await self._call()
        return self._machine.ensure_sandbox(spec, self._cluster)

    async def ensure_container(
        self, sandbox: SandboxStatus, spec: ContainerSpec
    ) -> ContainerStatus:
        """Start or adopt an attempt of a container."""
        await self._call(self._machine.shape.start)
        return self._machine.ensure_container(sandbox.identity.uid, spec)

    async def start_pods(
        self, sandboxes: Sequence[SandboxSpec], containers: Sequence[ContainerSpec]
    ) -> Sequence[PodObservation | None]:
        """Start or adopt many pods of the same containers."""
        await self._call(self._machine.shape.start)
        return self._machine.start_pods(sandboxes, containers, self._cluster)

    async def write_volumes(
        self, sandbox: SandboxStatus, spec: SandboxSpec, volumes: Sequence[FilesVolume]
    ) -> None:
        """Keep the files, for whoever asks the machine."""
        await self._call()
        for volume in volumes:
            files = {file.path: file.content for file in volume.files}
            self._machine.files[spec.identity.uid, volume.name] = files

    async def exec_sync(
        self, container_id: str, command: Sequence[str], within: float
    ) -> ExecOutcome | None:
        """Answer as the image's behaviour says now."""
        await self._call()
        process = self._process(container_id)
        if process is None:
            raise EngineRejected(f"no such container: {container_id}", 404)
        self._machine.commands.append((container_id, tuple(command)))
        return ExecOutcome(self._machine.behaviour(process.spec.image).exec_code, "")

    async def image_user(self, image: str) -> str:
        """Simulated images run as root."""
        await self._call()
        return ""

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Stop a container; one that ignores TERM takes the whole grace."""
        await self._call()
        killed = False
        process = self._process(container_id)
        if process is not None and process.behaviour.ignores_term:
            await asyncio.sleep(grace_seconds)
            self._machine.check()
            killed = True
        self._machine.stop(container_id, killed=killed)

    async def remove_container(self, container_id: str) -> None:
        """Remove a stopped container or sandbox."""
        await self._call()
        self._machine.remove(container_id)

    async def remove_pod(self, pod_uid: str) -> None:
        """Remove all of a pod."""
        await self._call()
        self._machine.remove_pod(pod_uid, self._cluster)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Stream a container's simulated output."""
        await self._call()
        process = self._process(container_id)
        if process is None:
            raise EngineRejected(f"no such container: {container_id}", 404)
        left = options.limit_bytes
        position = 0 if options.tail is None else max(0, len(process.output) - options.tail)
        while True:
            for moment, line in process.output[position:]:
                position += 1
                if options.since is not None and moment < options.since:
                    continue
                stamp = f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z ".encode()
                chunk = stamp + line if options.timestamps else line
                yield chunk if left is None else chunk[:left]
                left = None if left is None else left - len(chunk)
                if left is not None and left <= 0:
                    return
            if not options.follow or not await process.wait():
                return

    @asynccontextmanager
    async def exec(
        self, container_id: str, command: tuple[str, ...], ends: Ends
    ) -> AsyncGenerator[ProcessStream]:
        """Run one of the commands that are known; others say their name."""
        await self._call()
        self._running(container_id)
        yield Command(command, ends)

    @asynccontextmanager
    async def attach(self, container_id: str, ends: Ends) -> AsyncGenerator[ProcessStream]:
        """Join a container's output; what it is told it says."""
        await self._call()
        yield Attached(self._running(container_id), ends)

    @asynccontextmanager
    async def connect(self, pod_uid: str, port: int) -> AsyncGenerator[PortStream]:
        """Connect to an echo, which listens on every port."""
        await self._call()
        place = self._machine.pods.get(pod_uid)
        if place is None or place.sandbox is None or not place.sandbox.running:
            raise EngineRejected(f"pod {pod_uid} has no running sandbox", 409)
        yield Echo()

    async def close(self) -> None:
        """Nothing is held."""

    async def usage(self) -> Mapping[str, ContainerUsage]:
        """Half of the requested processor, and a fixed amount of memory."""
        await self._call()
        return self._machine.usage(self._cluster)

    async def signals(self) -> Signals | None:
        """What is left, on a machine that has been told how much there is."""
        await self._call()
        return self._machine.signals()

    async def disk_usage(self, containers: Collection[str], *, volumes: bool) -> DiskUsage:
        """What pods have written, whether or not volumes are asked for."""
        await self._call()
        return self._machine.disk_usage(containers, self._cluster)

    def _running(self, container_id: str) -> Process:
        process = self._process(container_id)
        if process is None:
            raise EngineRejected(f"no such container: {container_id}", 404)
        if process.status.state is not EngineState.RUNNING:
            raise EngineRejected(f"container {container_id} is not running", 409)
        return process

    def _process(self, container_id: str) -> Process | None:
        try:
            return self._machine.find(container_id)[1]
        except KeyError:
            return None

    async def _call(self, further: float = 0.0) -> None:
        """Take the time a call takes; the host may be cut off before or meanwhile."""
        self._machine.check()
        delay = self._machine.shape.latency + further
        if delay:
            await asyncio.sleep(delay)
            self._machine.check()
