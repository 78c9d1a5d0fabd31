"""What Ironfree asks of a container engine: the driver protocol and the values it speaks in.

A driver is stateless about intent: it is told to *ensure* something and makes it so, however often
it is told (a crash between two calls leaves nothing double). It never decides to restart, never
keeps a queue and never writes to the store. The shape follows the Kubernetes CRI: a pod is a
sandbox (network namespace, hostname, ports, volumes) and containers that live in it.

Every coroutine raises DriverError only: HostUnreachable when the outcome is unknown (ask again by
name, never under a new name), EngineRejected when the engine said no, ImageUnavailable for images.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from .images import ImageStore
from .volumes import FilesVolume, Mount, SandboxVolume


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM texts for mutual TLS with an engine; never printed."""

    ca: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HostAddress:
    """Where an engine listens.

    Args:
        name: the Node's name; also in every message about the host.
        url: unix:///path, tcp://host:port, or what the driver understands.
        tls: client certificate and CA, for tcp only.
        options: the DockerHost's spec.options, for the driver alone.
        devices: resource → ids of the devices that containers asking for it are given, each to one
            container at a time; what an id may be is the driver's to say.
        cluster: this installation's id. What a pod has on the engine carries it, and what carries
            another is somebody else's and never touched. What carries none is ours.
    """

    name: str
    url: str
    tls: TlsMaterial | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    cluster: str = ""
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class Finding:
    """Something examined of a host.

    Args:
        check: what, as one CamelCase word; becomes a condition of the DockerHost.
        message: what is; and where it is not sound, what to mend.
    """

    check: str
    sound: bool
    message: str


@dataclass(frozen=True, slots=True)
class HostInfo:
    """What the engine says of its host (docker: /info and /version).

    Args:
        engine_id: the same by whatever address the engine is reached, and no other engine's;
            "" when the driver cannot tell.
    """

    engine: str  # "docker://20.10.24"
    api_version: str
    hostname: str
    operating_system: str  # "Debian GNU/Linux 12 (bookworm)"
    os: str  # "linux"
    architecture: str  # GOARCH spelling: "amd64", "arm64"
    kernel: str
    cpus: int
    memory_bytes: int
    disk_bytes: int = 0  # 0: unknown
    live_restore: bool = True
    resources: Mapping[str, int] = field(default_factory=dict[str, int])  # extended, e.g. GPUs
    address: str = ""  # an IP that other hosts can reach, if known
    warnings: tuple[str, ...] = ()
    engine_id: str = ""
    findings: tuple[Finding, ...] = ()
    runtimes: tuple[str, ...] = ()  # what a sandbox's runtime can be


class PullPolicy(StrEnum):
    """Kubernetes imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class PodIdentity(msgspec.Struct, frozen=True, gc=False):
    """Which pod a sandbox and its containers belong to; kept in labels on the engine.

    Args:
        epoch: of the leader that created it (a fence: newer leaders win).
    """

    uid: str
    namespace: str
    name: str
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A container port published on the host; host_port is never 0 (the scheduler allocates)."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


class SandboxSpec(msgspec.Struct, frozen=True, gc=False):
    """The part of a pod that its containers share.

    Args:
        domain: what /etc/hosts has behind the host name, "" for nothing.
        volumes: a FilesVolume is made empty here, and filled by write_volumes.
        fs_group: whom the volumes belong to, None for nobody in particular.
        runtime: the engine's name of it, "" for its default.
        subnet: of the network that it is in (scheduler.networks), "" for the engine's default.
        api_access: its volumes include what its containers ask the API with; see SandboxStatus.
    """

    identity: PodIdentity
    hostname: str
    attempt: int = 0
    ports: tuple[PortMapping, ...] = ()
    volumes: tuple[SandboxVolume, ...] = ()
    host_network: bool = False
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_aliases: tuple[tuple[str, str], ...] = ()  # (hostname, ip)
    domain: str = ""
    host_ipc: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    fs_group: int | None = None
    runtime: str = ""
    subnet: str = ""
    api_access: bool = False


class Ulimit(NamedTuple):
    """A limit of a container's processes (getrlimit(2)), e.g. "nofile"; -1 is none."""

    name: str
    soft: int
    hard: int


class PidMode(StrEnum):
    """Whose processes a container sees (CRI NamespaceMode)."""

    CONTAINER = "container"
    POD = "pod"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a pod, everything resolved (no references left).

    Args:
        command, args: Kubernetes' command (entrypoint) and args; None keeps the image's own.
        env: in order; values may be secret, so they are never printed.
        cpu_request, cpu_limit: thousandths of a core; 0 means none.
        memory_limit: bytes; 0 means none.
        swap: bytes it may swap besides, where it has a memory limit.
        oom_score: added to the score by which the kernel picks whom to kill (oom_score_adj).
        pids_limit: most processes and threads; 0 means no limit.
        devices: resource and how many of its devices.
        attempt: 0, 1, 2 … one per restart; part of the container's name.
        spec_hash: of everything that cannot change in place; differs → not the same container.
        user: "uid", "uid:gid", or "" for the image's own.
        groups: further group ids.
        capabilities_added, capabilities_dropped: without "CAP_"; "ALL" is all of them.
        seccomp, apparmor: "" for the engine's own profile, "unconfined", or (AppArmor) a profile
            loaded on the host.
        proc_unmasked: nothing of /proc is hidden or read-only.
        process_namespace_of: id of a running container whose processes it is to see; "" for none.
        stdin_once: stdin ends with that of the first client that attached to it.
        message_path: where it may leave a message about its end, "" for nowhere.
        position: among all containers of its pod.
    """

    name: str
    image: str
    attempt: int
    spec_hash: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    cpu_request: int = 0
    cpu_limit: int = 0
    memory_limit: int = 0
    swap: int = 0
    oom_score: int = 0
    pids_limit: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[tuple[str, int], ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    user: str = ""
    read_only_root: bool = False
    privileged: bool = False
    stop_signal: str = ""
    pid: PidMode = PidMode.CONTAINER
    host_ipc: bool = False
    groups: tuple[int, ...] = ()
    capabilities_added: tuple[str, ...] = ()
    capabilities_dropped: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    proc_unmasked: bool = False
    process_namespace_of: str = ""
    message_path: str = ""
    position: int = 0


class EngineState(StrEnum):
    """What the engine says of a container."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class ContainerStatus(msgspec.Struct, frozen=True, gc=False):
    """One container as the engine has it.

    Args:
        reason, message: the engine's own error when start failed; "" otherwise. Of a container that
            has ended, the message becomes what it says itself (termination_message.py).
    """

    name: str
    id: str
    attempt: int
    spec_hash: str
    state: EngineState
    image: str
    image_id: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""


class SandboxStatus(msgspec.Struct, frozen=True, gc=False):
    """A pod's sandbox as the engine has it.

    Args:
        runtime: that it was made with, and its containers will be; "" for the engine's default.
        api_access: as it was made with; containers of others find nothing to ask the API with.
    """

    identity: PodIdentity
    id: str
    attempt: int
    running: bool
    ip: str = ""
    created_at: datetime | None = None
    runtime: str = ""
    api_access: bool = False


class PodObservation(msgspec.Struct, frozen=True, gc=False):
    """Everything a host has of one pod; `sandbox` is None when only containers are left."""

    identity: PodIdentity
    sandbox: SandboxStatus | None
    containers: tuple[ContainerStatus, ...] = ()


class HostEvent(msgspec.Struct, frozen=True, gc=False):
    """A hint that something of a pod changed on the host; the list is the truth."""

    pod_uid: str
    action: str


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines of a container's output (Kubernetes PodLogOptions).

    Args:
        since: only lines at or after this time. tail: last lines only; None for all.
        timestamps: prefix RFC 3339 nanoseconds and a space. limit_bytes: stop after so many.
    """

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


class Host(Protocol):
    """An open connection to one host's engine. Safe for concurrent use; bounds itself."""

    async def info(self) -> HostInfo:
        """Return the engine's facts: capacity, platform, version."""
        ...

    async def ping(self) -> None:
        """Return when the engine answers; HostUnreachable otherwise (within about 3 s)."""
        ...

    async def observe(self) -> tuple[PodObservation, ...]:
        """List every pod of this installation on this host, running or not, in one sweep."""
        ...

    def events(self) -> AsyncIterator[HostEvent]:
        """Stream hints on such pods until the connection breaks; raises HostUnreachable then."""
        ...

    @property
    def images(self) -> ImageStore:
        """The host's images."""
        ...

    async def ensure_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Have the pod's sandbox and volumes running; adopts one that is the same."""
        ...

    async def ensure_container(
        self, sandbox: SandboxStatus, spec: ContainerSpec
    ) -> ContainerStatus:
        """Have this attempt of the container created and started once; adopts one that is.

        A command that cannot start is a status with state CREATED or EXITED and a reason
        (Kubernetes: RunContainerError, StartError, exit code 127/128), not an exception.
        An attempt that has exited is returned as it is, never started again.
        """
        ...

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Send TERM, after grace_seconds KILL; returns when it has stopped. Gone is fine."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Remove a stopped container. Gone is fine."""
        ...

    async def remove_pod(self, pod_uid: str) -> None:
        """Kill and remove what is left of the pod: containers, sandbox, volumes. Idempotent."""
        ...

    def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Stream raw output, stdout and stderr merged in order of arrival."""
        ...

    async def close(self) -> None:
        """Release connections. Containers keep running."""
        ...


@runtime_checkable
class CrowdHost(Protocol):
    """What a Host may offer besides: to start many pods that differ by identity alone."""

    async def ensure_image(self, image: str, policy: PullPolicy) -> str:
        """Have the image on the host by policy; returns its id, or raises ImageUnavailable."""
        ...

    async def start_pods(
        self, sandboxes: Sequence[SandboxSpec], containers: Sequence[ContainerSpec]
    ) -> Sequence[PodObservation | None]:
        """Do ensure_sandbox and ensure_container for each; their images are there.

        Returns:
            In order, what the host has of each pod then; None where something went wrong, and
            what there is must be looked at. One event may stand for all of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExecOutcome:
    """A command that has ended inside a container; the output is its beginning."""

    exit_code: int
    output: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DialFailure:
    """Why there is no connection: the other side's doing, not the host's.

    Args:
        timed_out: nobody answered; a caller should ask whether the host itself still does.
    """

    reason: str
    timed_out: bool = False


class Connection(Protocol):
    """A TCP connection made on a host."""

    async def send(self, data: bytes) -> None:
        """Send; a connection that has ended swallows it."""
        ...

    async def receive(self) -> bytes:
        """Return what came, b"" once it has ended."""
        ...

    async def close(self) -> None:
        """Let it go; closed already is fine."""
        ...


@runtime_checkable
class ExecHost(Protocol):
    """What a Host offers to probes and hooks that are commands (CRI: ExecSync)."""

    async def exec_sync(
        self, container_id: str, command: Sequence[str], within: float
    ) -> ExecOutcome | None:
        """Run a command in a running container; None when it has not ended in `within` seconds.

        It may go on then, for an engine cannot end it. How many start at once is for the host to
        bound.
        """
        ...


@runtime_checkable
class DialHost(Protocol):
    """What a Host offers to probes and hooks over its network, as kubelet is in it."""

    async def dial(self, address: str, port: int, within: float) -> Connection | DialFailure:
        """Connect from the host's own network, as seen there: a pod's address, 127.0.0.1."""
        ...


@runtime_checkable
class FilesHost(Protocol):
    """What a Host offers to fill a pod's FilesVolumes."""

    async def write_volumes(
        self, sandbox: SandboxStatus, spec: SandboxSpec, volumes: Sequence[FilesVolume]
    ) -> None:
        """Have these files, and no others, in volumes of a running sandbox.

        Each volume changes at once: readers see all old files or all new ones.

        Args:
            spec: that the sandbox was made of.
        """
        ...


@runtime_checkable
class MessageHost(Protocol):
    """What a Host offers to know what a container has said about its end."""

    async def termination_message(self, container_id: str, path: str, most: int) -> bytes:
        """Return the end of what an ended container left at its `message_path`.

        Returns:
            At most `most` bytes, b"" if there is nothing.
        """
        ...


@runtime_checkable
class VolumeHost(Protocol):
    """What a Host offers to remove volumes that outlive their pods."""

    async def remove_volume(self, name: str) -> None:
        """Remove a lasting volume of this installation, and its data. Gone is fine.

        EngineRejected while a container uses it, or when it is somebody else's.
        """
        ...


@runtime_checkable
class ImageHost(Protocol):
    """What a Host offers to know of an image before it is run."""

    async def image_user(self, image: str) -> str:
        """Return the user an image on the host runs as, "" for root (OCI image, config.User)."""
        ...


class Driver(Protocol):
    """Opens hosts of one sort ("docker", "simulated")."""

    @property
    def name(self) -> str:
        """The word in DockerHost spec.driver."""
        ...

    async def connect(self, address: HostAddress) -> Host:
        """Open a host; raises DriverError saying what to mend."""
        ...


class HostDirectory(Protocol):
    """Finds the open connection of a node; how the API reaches pods without knowing agents."""

    def host(self, node_name: str) -> Host | None:
        """Return the open connection, or None when there is none now."""
        ...
