"""The parts of the engine's answers that we read, as typed structs; the rest is skipped.

Go writes empty maps and lists as null, hence the many `| None`.
Source: Docker Engine API 1.41 to 1.44.
"""

from datetime import datetime

import msgspec


class Component(msgspec.Struct, rename="pascal"):
    """One of the programs of an engine."""

    name: str = ""


class Version(msgspec.Struct, rename="pascal"):
    """`GET /version`."""

    version: str
    api_version: str
    os: str = "linux"
    arch: str = ""  # GOARCH
    min_api: str = msgspec.field(default="", name="MinAPIVersion")
    components: list[Component] | None = None

    @property
    def podman(self) -> bool:
        """Whether it is Podman that answers."""
        return any(each.name == "Podman Engine" for each in self.components or ())


class Swarm(msgspec.Struct, rename="pascal"):
    """The part of `/info` that knows an address of the host."""

    node_addr: str = ""


class Device(msgspec.Struct, rename="pascal"):
    """One of `DiscoveredDevices` (since API 1.50)."""

    source: str = ""
    id: str = msgspec.field(default="", name="ID")


class Info(msgspec.Struct, rename="pascal"):
    """`GET /info`."""

    name: str
    mem_total: int
    cpus: int = msgspec.field(name="NCPU")
    id: str = msgspec.field(default="", name="ID")
    operating_system: str = ""
    kernel_version: str = ""
    server_version: str = ""
    live_restore_enabled: bool = False
    warnings: list[str] | None = None
    swarm: Swarm | None = None
    driver: str = ""
    system_time: datetime | None = None
    cgroup_version: str = ""
    cgroup_driver: str = ""
    memory_limit: bool | None = None
    cpu_cfs_quota: bool | None = None
    pids_limit: bool | None = None
    discovered_devices: list[Device] | None = None
    docker_root_dir: str = ""
    runtimes: dict[str, msgspec.Raw] | None = None


class State(msgspec.Struct, rename="pascal"):
    """`State` of an inspected container."""

    status: str
    exit_code: int = 0
    oom_killed: bool = msgspec.field(default=False, name="OOMKilled")
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Config(msgspec.Struct, rename="pascal"):
    """`Config` of an inspected container."""

    image: str = ""
    labels: dict[str, str] | None = None
    env: list[str] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False


class Endpoint(msgspec.Struct, rename="pascal"):
    """One network of a container."""

    ip_address: str = msgspec.field(default="", name="IPAddress")


class Networks(msgspec.Struct, rename="pascal"):
    """`NetworkSettings`."""

    networks: dict[str, Endpoint | None] | None = None


class Subnet(msgspec.Struct, rename="pascal"):
    """One of a network's."""

    subnet: str = ""


class Ipam(msgspec.Struct, rename="pascal"):
    """`IPAM` of a network."""

    config: list[Subnet] | None = None


class Network(msgspec.Struct, rename="pascal"):
    """`GET /networks/{name}`, and one of `GET /networks` (without containers)."""

    id: str
    name: str = ""
    ipam: Ipam = msgspec.field(default_factory=Ipam, name="IPAM")
    labels: dict[str, str] | None = None
    containers: dict[str, object] | None = None

    @property
    def subnet(self) -> str:
        """Its only subnet, "" for none or several."""
        known = [each.subnet for each in self.ipam.config or ()]
        return known[0] if len(known) == 1 else ""


class Container(msgspec.Struct, rename="pascal"):
    """`GET /containers/{id}/json`."""

    id: str
    state: State
    config: Config
    name: str = ""
    image: str = ""  # the image's id
    digest: str = ""  # not the engine's word: see image_names
    created: datetime | None = None
    network_settings: Networks | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.config.labels or {}


class PortBinding(msgspec.Struct, rename="pascal"):
    """Where a port of a container is published."""

    host_ip: str = ""
    host_port: str = ""


class DeviceFile(msgspec.Struct, rename="pascal"):
    """One of `HostConfig.Devices`."""

    path_on_host: str = ""


class DeviceRequest(msgspec.Struct, rename="pascal"):
    """One of `HostConfig.DeviceRequests`; a count of -1 is all of them."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = msgspec.field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None


class RestartPolicy(msgspec.Struct, rename="pascal"):
    """`HostConfig.RestartPolicy`."""

    name: str = ""


class HostConfig(msgspec.Struct, rename="pascal"):
    """`HostConfig` of a container that somebody else made."""

    network_mode: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    restart_policy: RestartPolicy | None = None
    auto_remove: bool = False
    privileged: bool = False
    readonly_rootfs: bool = False
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    tmpfs: dict[str, str] | None = None
    extra_hosts: list[str] | None = None
    dns: list[str] | None = None
    sysctls: dict[str, str] | None = None
    security_opt: list[str] | None = None
    group_add: list[str] | None = None
    links: list[str] | None = None
    ulimits: list[msgspec.Raw] | None = None
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    nano_cpus: int = 0
    memory: int = 0
    memory_reservation: int = 0
    devices: list[DeviceFile] | None = None
    device_requests: list[DeviceRequest] | None = None
    runtime: str = ""


class Healthcheck(msgspec.Struct, rename="pascal"):
    """`Config.Healthcheck`."""

    test: list[str] | None = None


class ForeignConfig(msgspec.Struct, rename="pascal"):
    """`Config` of a container that somebody else made."""

    image: str = ""
    env: list[str] | None = None
    exposed_ports: dict[str, msgspec.Raw] | None = None
    labels: dict[str, str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    healthcheck: Healthcheck | None = None


class MountPoint(msgspec.Struct, rename="pascal"):
    """One of `Mounts`."""

    type: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    rw: bool = msgspec.field(default=True, name="RW")


class PublishedPorts(msgspec.Struct, rename="pascal"):
    """`NetworkSettings` of a container that somebody else made."""

    ports: dict[str, list[PortBinding] | None] | None = None
    networks: dict[str, Endpoint | None] | None = None


class Foreign(msgspec.Struct, rename="pascal"):
    """`GET /containers/{id}/json`, of a container that somebody else made."""

    id: str
    name: str = ""
    config: ForeignConfig = msgspec.field(default_factory=ForeignConfig)
    host_config: HostConfig = msgspec.field(default_factory=HostConfig)
    network_settings: PublishedPorts | None = None
    state: State | None = None
    mounts: list[MountPoint] | None = None


class Summary(msgspec.Struct, rename="pascal"):
    """One item of `GET /containers/json`."""

    id: str
    state: str
    labels: dict[str, str] | None = None
    names: list[str] | None = None


class Sized(msgspec.Struct, rename="pascal"):
    """One item of `GET /containers/json?size=1`, as far as its layer goes; bytes."""

    id: str
    size_rw: int = 0


class ImageConfig(msgspec.Struct, rename="pascal"):
    """`Config` of an image."""

    user: str = ""
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    labels: dict[str, str] | None = None


class Image(msgspec.Struct, rename="pascal"):
    """`GET /images/{name}/json`."""

    id: str
    config: ImageConfig | None = None
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    size: int = 0


class Descriptor(msgspec.Struct):
    """A manifest's descriptor (OCI)."""

    digest: str = ""


class Platform(msgspec.Struct):
    """What an image is made for (OCI)."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Distribution(msgspec.Struct, rename="pascal"):
    """`GET /distribution/{name}/json`."""

    descriptor: Descriptor = msgspec.field(default_factory=Descriptor)
    platforms: list[Platform] | None = None


class ImageSummary(msgspec.Struct, rename="pascal"):
    """One item of `GET /images/json`."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    size: int = 0


class ImageUse(msgspec.Struct, rename="pascal"):
    """One item of `GET /containers/json`, as far as its image goes."""

    image_id: str = msgspec.field(default="", name="ImageID")


class Created(msgspec.Struct, rename="pascal"):
    """`POST /containers/create`."""

    id: str


class Exit(msgspec.Struct, rename="pascal"):
    """`POST /containers/{id}/wait`."""

    status_code: int


class Exec(msgspec.Struct, rename="pascal"):
    """`GET /exec/{id}/json`."""

    running: bool
    exit_code: int | None = None
    pid: int = 0


class CpuUsage(msgspec.Struct):
    """`cpu_usage`; nanoseconds."""

    total_usage: int = 0


class CpuStats(msgspec.Struct):
    """`cpu_stats`."""

    cpu_usage: CpuUsage = msgspec.field(default_factory=CpuUsage)


class MemoryStats(msgspec.Struct):
    """`memory_stats`; bytes."""

    usage: int | None = None
    stats: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class PidsStats(msgspec.Struct):
    """`pids_stats`; processes and threads."""

    current: int = 0


class Stats(msgspec.Struct):
    """`GET /containers/{id}/stats`."""

    read: datetime
    cpu_stats: CpuStats = msgspec.field(default_factory=CpuStats)
    memory_stats: MemoryStats = msgspec.field(default_factory=MemoryStats)
    pids_stats: PidsStats = msgspec.field(default_factory=PidsStats)


class Volume(msgspec.Struct, rename="pascal"):
    """One volume."""

    name: str
    labels: dict[str, str] | None = None
    mountpoint: str = ""
    options: dict[str, str] | None = None


class Volumes(msgspec.Struct, rename="pascal"):
    """`GET /volumes`."""

    volumes: list[Volume] | None = None


class UsageData(msgspec.Struct, rename="pascal"):
    """`UsageData` of a volume; -1 bytes where the engine cannot tell."""

    size: int = -1


class UsedVolume(msgspec.Struct, rename="pascal"):
    """One volume of `GET /system/df`, of which Podman tells no more."""

    name: str
    usage_data: UsageData | None = None


class Usage(msgspec.Struct, rename="pascal"):
    """`GET /system/df`."""

    volumes: list[UsedVolume] | None = None


class Actor(msgspec.Struct, rename="pascal"):
    """What an event is about."""

    id: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] | None = None


class Event(msgspec.Struct):
    """One line of `GET /events`."""

    action: str = msgspec.field(default="", name="Action")
    actor: Actor = msgspec.field(default_factory=Actor, name="Actor")


class ProgressDetail(msgspec.Struct):
    """Bytes of one layer; some lines count in other units."""

    current: int | None = None
    total: int | None = None


class Pushed(msgspec.Struct, rename="pascal"):
    """`aux` of a push's last line; a build has others."""

    digest: str = ""


class Progress(msgspec.Struct):
    """One line of a pull's, push's, load's or build's progress; an error may come inside a 200."""

    error: str = ""
    status: str = ""
    id: str = ""
    stream: str = ""
    aux: Pushed | None = None
    progress_detail: ProgressDetail | None = msgspec.field(name="progressDetail", default=None)


class Message(msgspec.Struct):
    """The body of an error."""

    message: str = ""
