"""A simulated host: what it runs, and what can be done to it from outside.

The faults of docker-notes are methods: `power_off` and `power_on`, `partition` and `heal`,
`exit_container`; images are made absent with `withhold`, and what an image does is a `Behaviour`.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from scheduler.drivers import (
    ContainerSpec,
    ContainerStatus,
    EngineState,
    HostEvent,
    PodIdentity,
    PodObservation,
    SandboxSpec,
    SandboxStatus,
)
from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.streams import ContainerUsage, DiskUsage, Level, Signals

from .shape import Shape

_PIDS = 32768
_BACKLOG = 1024  # events a subscriber may be behind; more are dropped, they are only hints


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What containers of an image do.

    Args:
        run_seconds: after which they exit; None runs until stopped.
        start_error: the engine's words when the command cannot start; "" starts.
        lines: of output, written at start.
        ignores_term: only KILL ends it.
        exec_code: of every command that is run in it.
        memory: bytes that it uses. processes: that it has.
        disk: bytes that it has written into its layer; volumes: into volumes, by their names.
    """

    run_seconds: float | None = None
    exit_code: int = 0
    oom_killed: bool = False
    start_error: str = ""
    lines: tuple[str, ...] = ()
    ignores_term: bool = False
    exec_code: int = 0
    memory: int = 16 << 20
    processes: int = 1
    disk: int = 0
    volumes: tuple[tuple[str, int], ...] = ()


_PLAIN = Behaviour()


@dataclass(slots=True)
class Process:
    """A container, with its output and the timer of its exit."""

    status: ContainerStatus
    behaviour: Behaviour
    spec: ContainerSpec
    output: list[tuple[datetime, bytes]] = field(default_factory=list[tuple[datetime, bytes]])
    changed: asyncio.Event | None = None
    timer: asyncio.TimerHandle | None = None

    async def wait(self) -> bool:
        """Return whether it still runs, once it has ended or said something more."""
        if self.status.state is not EngineState.RUNNING:
            return False
        said = len(self.output)
        self.changed = self.changed or asyncio.Event()
        self.changed.clear()
        await self.changed.wait()
        return self.status.state is EngineState.RUNNING or len(self.output) > said

    def say(self, line: bytes) -> None:
        """Write to its output."""
        self.output.append((datetime.now(UTC), line))
        if self.changed is not None:
            self.changed.set()


@dataclass(slots=True)
class PodPlace:
    """What the host has of one pod; `cluster` is the installation that it is of."""

    identity: PodIdentity
    cluster: str = ""
    sandbox: SandboxStatus | None = None
    ports: tuple[tuple[str, str, int], ...] = ()
    processes: dict[tuple[str, int], Process] = field(
        default_factory=dict[tuple[str, int], Process]
    )


class Machine:
    """One simulated host. Its state outlives connections."""

    def __init__(self, name: str, index: int, shape: Shape) -> None:
        self.name = name
        self.index = index
        self.shape = shape
        self.pods: dict[str, PodPlace] = {}
        self.starts: list[tuple[str, str, int]] = []  # (pod uid, container, attempt) in order
        self.commands: list[tuple[str, tuple[str, ...]]] = []  # (container id, command) in order
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}  # by pod uid and volume
        self.pulled: set[str] = set()
        self.loaded: set[str] = set()
        self.image_size = 0  # bytes of each
        self.filled = 0  # bytes of the disk that are neither images' nor pods'
        self.spare: Signals | None = None  # what containers find of memory and process ids
        self._missing: set[str] = set()
        self._behaviours: dict[str, Behaviour] = {}
        self._reachable = True
        self._subscribers: dict[asyncio.Queue[HostEvent | None], str] = {}  # with installation
        self._next_ip = 0
        self._next_id = 0
        self._zero = datetime.now(UTC) - timedelta(seconds=asyncio.get_running_loop().time())

    # --- what tests and demonstrations do to a host ---------------------------------------

    def withhold(self, image: str) -> None:
        """Make an image impossible to pull."""
        self._missing.add(image)

    def provide(self, image: str) -> None:
        """Make a withheld image available."""
        self._missing.discard(image)

    def script(self, image: str, behaviour: Behaviour) -> None:
        """Say what containers of an image do."""
        self._behaviours[image] = behaviour

    def behaviour(self, image: str) -> Behaviour:
        """Return what containers of an image do if they are asked now."""
        return self._behaviours.get(image, _PLAIN)

    def partition(self) -> None:
        """Make the host unreachable; what runs goes on."""
        self._reachable = False
        for queue in self._subscribers:
            _put(queue, None)

    def heal(self) -> None:
        """Make the host reachable again."""
        self._reachable = True

    def power_off(self) -> None:
        """Stop everything at once, as a power loss does, and be unreachable."""
        self.partition()
        for place in self.pods.values():
            if place.sandbox is not None:
                place.sandbox = replace(place.sandbox, running=False, ip="")
            for process in place.processes.values():
                self._end(process, 137)

    def power_on(self) -> None:
        """Come back; nothing starts by itself."""
        self.heal()

    def exit_container(self, container_id: str, code: int, *, oom_killed: bool = False) -> None:
        """End a container as if its process had exited."""
        place, process = self.find(container_id)
        self._end(process, code, oom_killed=oom_killed)
        self.publish(place, "die")

    def kill_sandbox(self, uid: str) -> None:
        """End a pod's sandbox; its containers stay, in a dead network namespace."""
        place = self.pods[uid]
        if place.sandbox is not None:
            place.sandbox = replace(place.sandbox, running=False, ip="")
        self.publish(place, "die")

    # --- what a connection asks -------------------------------------------------------------

    def now(self) -> datetime:
        """Return the host's time, on the event loop's clock."""
        return self._zero + timedelta(seconds=asyncio.get_running_loop().time())

    def check(self) -> None:
        """Raise HostUnreachable while the host is off or cut off."""
        if not self._reachable:
            raise HostUnreachable(f"simulated host {self.name} does not answer: it is cut off")

    def has_image(self, image: str) -> bool:
        """Return whether an image can be pulled."""
        return image not in self._missing

    def images_in_use(self) -> set[str]:
        """Return the images of all containers, running or not."""
        places = self.pods.values()
        return {p.spec.image for place in places for p in place.processes.values()}

    def observe(self, cluster: str | None = None) -> tuple[PodObservation, ...]:
        """Return everything the host has, or what of it an installation may see."""
        return tuple(
            PodObservation(
                place.identity,
                place.sandbox,
                tuple(process.status for process in place.processes.values()),
            )
            for place in self.pods.values()
            if cluster is None or place.cluster in {"", cluster}
        )

    def usage(self, cluster: str) -> dict[str, ContainerUsage]:
        """Return what an installation's running containers have used."""
        now = self.now()
        return {
            process.status.id: ContainerUsage(
                now,
                round((now - started).total_seconds() * process.spec.cpu_request * 500_000),
                process.behaviour.memory,
                process.behaviour.processes,
            )
            for place in self.pods.values()
            if place.cluster in {"", cluster}
            for process in place.processes.values()
            if process.status.state is EngineState.RUNNING
            and (started := process.status.started_at) is not None
        }

    def disk_usage(self, containers: Collection[str], cluster: str) -> DiskUsage:
        """Return what pods have written."""
        pods = [place for place in self.pods.values() if place.cluster in {"", cluster}]
        layers = {
            process.status.id: process.behaviour.disk
            for place in pods
            for process in place.processes.values()
        }
        volumes = {
            (place.identity.uid, name): size
            for place in pods
            for process in place.processes.values()
            for name, size in process.behaviour.volumes
        }
        return DiskUsage({each: layers[each] for each in containers if each in layers}, volumes)

    def disk(self) -> Level | None:
        """Return what is left of the disk, None where there is none."""
        if not self.shape.disk:
            return None
        written = sum(
            process.behaviour.disk + sum(size for _, size in process.behaviour.volumes)
            for place in self.pods.values()
            for process in place.processes.values()
        )
        filled = self.filled + self.image_size * len(self.pulled) + written
        return Level(max(0, self.shape.disk - filled), self.shape.disk)

    def signals(self) -> Signals | None:
        """Return what is left beside containers; None while nobody has said what they find."""
        disk = self.disk()
        if self.spare is None:
            plenty = Level(self.shape.memory, self.shape.memory)
            return Signals(plenty, Level(_PIDS, _PIDS), disk) if disk is not None else None
        processes = [
            process.behaviour
            for place in self.pods.values()
            for process in place.processes.values()
            if process.status.state is EngineState.RUNNING
        ]
        return Signals(
            _less(self.spare.memory, sum(each.memory for each in processes)),
            _less(self.spare.pids, sum(each.processes for each in processes)),
            disk,
        )

    def subscribe(self, cluster: str = "") -> asyncio.Queue[HostEvent | None]:
        """Return a queue of an installation's events; None says the connection broke."""
        queue: asyncio.Queue[HostEvent | None] = asyncio.Queue(_BACKLOG)
        self._subscribers[queue] = cluster
        return queue

    def unsubscribe(self, queue: asyncio.Queue[HostEvent | None]) -> None:
        """Forget a queue."""
        self._subscribers.pop(queue, None)

    def publish(self, place: PodPlace, action: str) -> None:
        """Tell subscribers that something of a pod changed."""
        for queue, cluster in self._subscribers.items():
            if place.cluster in {"", cluster}:
                _put(queue, HostEvent(place.identity.uid, action))

    def ensure_sandbox(self, spec: SandboxSpec, cluster: str = "") -> SandboxStatus:
        """Make the sandbox, or adopt it; a taken host port is refused."""
        place, made = self._sandbox(spec, cluster, self.now())
        if made:
            self.publish(place, "start")
        assert place.sandbox is not None
        return place.sandbox

    def _sandbox(self, spec: SandboxSpec, cluster: str, now: datetime) -> tuple[PodPlace, bool]:
        """Return the pod's place, where its sandbox is now, and whether that was made."""
        uid = spec.identity.uid
        place = self.pods.setdefault(uid, PodPlace(spec.identity, cluster))
        if place.cluster not in {"", cluster}:
            raise EngineRejected(f"pod {uid} on the host is of another installation", 409)
        present = place.sandbox
        if present is not None and present.running and present.attempt == spec.attempt:
            return place, False
        ports = tuple((p.host_ip, p.protocol, p.host_port) for p in spec.ports)
        for other in self.pods.values() if ports else ():
            live = other is not place and other.sandbox is not None and other.sandbox.running
            taken = set(other.ports) & set(ports) if live else None
            if taken:
                raise EngineRejected(f"port is already allocated: {min(taken)[2]}", 500)
        place.ports = ports
        place.sandbox = SandboxStatus(
            identity=spec.identity,
            id=self._new_id(),
            attempt=spec.attempt,
            running=True,
            ip=self._new_ip(),
            created_at=now,
            runtime=spec.runtime,
        )
        return place, True

    def start_pods(
        self, sandboxes: Sequence[SandboxSpec], containers: Sequence[ContainerSpec], cluster: str
    ) -> list[PodObservation | None]:
        """Start many pods; None for one that is refused. The last one's event stands for all."""
        started: list[PodObservation | None] = []
        now = self.now()
        place: PodPlace | None = None
        for spec in sandboxes:
            try:
                place, _ = self._sandbox(spec, cluster, now)
                made = [self._process(place, each, now)[0].status for each in containers]
                started.append(PodObservation(spec.identity, place.sandbox, tuple(made)))
            except EngineRejected:
                started.append(None)
        if place is not None:
            self.publish(place, "start")
        return started

    def ensure_container(self, uid: str, spec: ContainerSpec) -> ContainerStatus:
        """Start an attempt, once; an attempt that exists is returned as it is."""
        place = self.pods.get(uid)
        if place is None or place.sandbox is None or not place.sandbox.running:
            raise EngineRejected(f"pod {uid} has no running sandbox", 409)
        process, started = self._process(place, spec, self.now())
        if started:
            self.publish(place, "start")
        return process.status

    def _process(self, place: PodPlace, spec: ContainerSpec, now: datetime) -> tuple[Process, bool]:
        """Return an attempt of a container, and whether it has just started."""
        present = place.processes.get((spec.name, spec.attempt))
        if present is not None:
            return present, False
        behaviour = self._behaviours.get(spec.image, _PLAIN)
        process = Process(self._status(spec, behaviour, now), behaviour, spec)
        place.processes[spec.name, spec.attempt] = process
        if behaviour.start_error:
            return process, False
        self.starts.append((place.identity.uid, spec.name, spec.attempt))
        for line in behaviour.lines or (f"simulated {spec.image} started",):
            process.output.append((now, f"{line}\n".encode()))
        if behaviour.run_seconds is not None:
            loop = asyncio.get_running_loop()
            process.timer = loop.call_later(behaviour.run_seconds, self._expire, place, process)
        return process, True

    def _status(self, spec: ContainerSpec, behaviour: Behaviour, now: datetime) -> ContainerStatus:
        failed = bool(behaviour.start_error)
        return ContainerStatus(
            name=spec.name,
            id=self._new_id(),
            attempt=spec.attempt,
            spec_hash=spec.spec_hash,
            state=EngineState.CREATED if failed else EngineState.RUNNING,
            image=spec.image,
            image_id=f"simulated://{spec.image}",
            exit_code=127 if failed else 0,
            created_at=now,
            started_at=None if failed else now,
            reason="StartError" if failed else "",
            message=behaviour.start_error,
        )

    def find(self, container_id: str) -> tuple[PodPlace, Process]:
        """Return a container by id; KeyError when there is none."""
        for place in self.pods.values():
            for process in place.processes.values():
                if process.status.id == container_id:
                    return place, process
        raise KeyError(container_id)

    def stop(self, container_id: str, *, killed: bool) -> None:
        """Stop a container or a sandbox; gone or stopped is fine."""
        for place in self.pods.values():
            if place.sandbox is not None and place.sandbox.id == container_id:
                place.sandbox = replace(place.sandbox, running=False, ip="")
                self.publish(place, "die")
                return
        try:
            place, process = self.find(container_id)
        except KeyError:
            return
        self._end(process, 137 if killed else 143)
        self.publish(place, "die")

    def remove(self, container_id: str) -> None:
        """Remove a stopped container or sandbox; gone is fine."""
        for place in self.pods.values():
            if place.sandbox is not None and place.sandbox.id == container_id:
                _refuse_running(container_id, running=place.sandbox.running)
                place.sandbox = None
            for key, process in tuple(place.processes.items()):
                if process.status.id == container_id:
                    state = process.status.state
                    _refuse_running(container_id, running=state is EngineState.RUNNING)
                    del place.processes[key]
        self.pods = {u: p for u, p in self.pods.items() if p.sandbox or p.processes}

    def remove_pod(self, uid: str, cluster: str | None = None) -> None:
        """Kill and remove all of a pod; gone, or another installation's, is fine."""
        place = self.pods.get(uid)
        if place is None or (cluster is not None and place.cluster not in {"", cluster}):
            return
        del self.pods[uid]
        for process in place.processes.values():
            self._end(process, 137)
        self.publish(place, "destroy")

    def _expire(self, place: PodPlace, process: Process) -> None:
        behaviour = process.behaviour
        self._end(process, behaviour.exit_code, oom_killed=behaviour.oom_killed)
        self.publish(place, "die")

    def _end(self, process: Process, code: int, *, oom_killed: bool = False) -> None:
        if process.timer is not None:
            process.timer.cancel()
        if process.status.state is EngineState.RUNNING:
            process.status = replace(
                process.status,
                state=EngineState.EXITED,
                exit_code=code,
                oom_killed=oom_killed,
                finished_at=self.now(),
            )
        if process.changed is not None:
            process.changed.set()

    def _new_id(self) -> str:
        self._next_id += 1
        return f"{self.index:08x}{self._next_id:08x}"

    def _new_ip(self) -> str:
        self._next_ip = self._next_ip % 253 + 1
        high, low = divmod(self.index % 65536, 256)
        return f"10.{high}.{low}.{self._next_ip + 1}"


def _refuse_running(container_id: str, *, running: bool) -> None:
    if running:
        raise EngineRejected(f"container {container_id} is running: stop it first", 409)


def _put(queue: asyncio.Queue[HostEvent | None], event: HostEvent | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)


def _less(level: Level | None, used: int) -> Level | None:
    return level and Level(max(0, level.available - used), level.capacity)
