"""From a pod's specification to the bodies of `POST /containers/create`."""

from collections.abc import Mapping

from scheduler.drivers import ContainerSpec, PidMode, SandboxSpec, SandboxStatus
from scheduler.objects.json import Json, JsonObject
from scheduler.volumes import HostPathVolume, Mount, NamedVolume

from .labels import engine_volume
from .mounts import Mounts
from .pause import IMAGE, MESSAGES, VOLUME_DIRECTORIES
from .termination_messages import messages_volume

_PERIOD = 100_000  # microseconds; the kernel's default for CPU quotas
_LEAST_QUOTA = 1_000  # what the kernel takes at least
_LOG: JsonObject = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
_NEVER: JsonObject = {"Name": "no"}  # restarts have one owner, and it is not the engine
_UNCHECKED: JsonObject = {"Test": ["NONE"]}
"""No HEALTHCHECK of the image (kubelet): each is an exec, and nobody asks for what they find."""


def sandbox_body(
    spec: SandboxSpec,
    image: str,
    labels: dict[str, str],
    network: str = "",
    making: Mapping[str, JsonObject] | None = None,
) -> JsonObject:
    """The infra container: namespaces, names, ports, and a first mount of every volume.

    Directories of the host that are mounted in parts are there, too: missing parts are made
    through it.

    Mounting the volumes here keeps a tmpfs volume's content while apps restart, and gives every
    volume mode 0777 as Kubernetes' emptyDir has (the engine copies the mode of the image's
    directory onto an empty volume).

    Args:
        network: the engine's name of the one it is in, "" for its default.
        making: how the engine is to make volumes that are mounted, by their names.
    """
    ports: dict[str, Json] = {}
    for port in spec.ports:
        bindings = ports.setdefault(f"{port.container_port}/{port.protocol.lower()}", [])
        assert isinstance(bindings, list)
        bindings.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
    mounts = _sandbox_mounts(spec, image, making or {})
    host: JsonObject = {
        "IpcMode": "host" if spec.host_ipc else "shareable",
        "Sysctls": dict(spec.sysctls),
        "RestartPolicy": _NEVER,
        "LogConfig": _LOG,
        "CpuShares": 2,
        "Mounts": mounts.mounts,
        "Binds": mounts.binds,
        "Dns": list(spec.dns_servers),
        "DnsSearch": list(spec.dns_searches),
        "DnsOptions": list(spec.dns_options),
        "ExtraHosts": [f"{name}:{ip}" for name, ip in spec.host_aliases],
    }
    if spec.runtime:
        host["Runtime"] = spec.runtime
    body: JsonObject = {
        "Image": image,
        "Labels": _json(labels),
        "Healthcheck": _UNCHECKED,
        "HostConfig": host,
    }
    if spec.host_network:
        host["NetworkMode"] = "host"
    else:
        if network:
            host["NetworkMode"] = network
        body["Hostname"] = spec.hostname
        body["Domainname"] = spec.domain
        body["ExposedPorts"] = {port: {} for port in ports}
        host["PortBindings"] = ports
    return body


def _sandbox_mounts(spec: SandboxSpec, image: str, making: Mapping[str, JsonObject]) -> Mounts:
    found, uid = Mounts(), spec.identity.uid
    for index, volume in enumerate(spec.volumes[:VOLUME_DIRECTORIES]):
        place = f"/volumes/{index}"
        if isinstance(volume, HostPathVolume):
            found.bind(Mount(volume.name, place, host_path=volume.path, create=volume.create))
            continue
        name = engine_volume(uid, volume)
        remote = isinstance(volume, NamedVolume) and volume.options
        # A file server may not let us set a mode.
        options: JsonObject | None = {"NoCopy": True} if remote else making.get(name)
        found.mounts.append(_volume(name, place, options))
    if image == IMAGE:
        messages = messages_volume(uid)
        found.mounts.append(_volume(messages, MESSAGES, making.get(messages)))
    return found


def container_body(
    sandbox: SandboxStatus,
    spec: ContainerSpec,
    labels: dict[str, str],
    mounts: Mounts,
    devices: JsonObject | None = None,
) -> JsonObject:
    """An app container inside a sandbox's network and IPC namespaces.

    Args:
        devices: what HostConfig says of them.
    """
    joined = f"container:{sandbox.id}"
    host: JsonObject = {
        "NetworkMode": joined,
        "IpcMode": "host" if spec.host_ipc else joined,
        "RestartPolicy": _NEVER,
        "LogConfig": _LOG,
        "Mounts": mounts.mounts,
        "Binds": mounts.binds,
        "CpuShares": cpu_shares(spec.cpu_request),
        "ReadonlyRootfs": spec.read_only_root,
        "Privileged": spec.privileged,
        "GroupAdd": [str(group) for group in spec.groups],
        "CapAdd": list(spec.capabilities_added),
        "CapDrop": list(spec.capabilities_dropped),
        "SecurityOpt": _security_options(spec),
        "OomScoreAdj": spec.oom_score,
        **(devices or {}),
    }
    if sandbox.runtime:
        host["Runtime"] = sandbox.runtime
    if spec.pids_limit:
        host["PidsLimit"] = spec.pids_limit
    if spec.ulimits:
        host["Ulimits"] = [
            {"Name": n, "Soft": soft, "Hard": hard} for n, soft, hard in spec.ulimits
        ]
    if spec.process_namespace_of:
        host["PidMode"] = f"container:{spec.process_namespace_of}"
    elif spec.pid is not PidMode.CONTAINER:
        host["PidMode"] = "host" if spec.pid is PidMode.HOST else joined
    if spec.proc_unmasked:
        host["MaskedPaths"], host["ReadonlyPaths"] = [], []
    if spec.cpu_limit:
        host["CpuPeriod"] = _PERIOD
        host["CpuQuota"] = max(spec.cpu_limit * _PERIOD // 1000, _LEAST_QUOTA)
    if spec.memory_limit:
        host["Memory"] = spec.memory_limit
        host["MemorySwap"] = spec.memory_limit + spec.swap  # of both together
    body: JsonObject = {
        "Image": spec.image,
        "Labels": _json(labels),
        "Env": [f"{name}={value}" for name, value in spec.env],
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin and spec.stdin_once,
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "Healthcheck": _UNCHECKED,
        "HostConfig": host,
    }
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    if spec.stop_signal:
        body["StopSignal"] = spec.stop_signal
    return body


def _security_options(spec: ContainerSpec) -> list[Json]:
    options: list[Json] = ["no-new-privileges"] if spec.no_new_privileges else []
    if spec.seccomp:
        options.append(f"seccomp={spec.seccomp}")
    if spec.apparmor:
        options.append(f"apparmor={spec.apparmor}")
    return options


def cpu_shares(millis: int) -> int:
    """Relative weight of a CPU request in thousandths of a core (Kubernetes MilliCPUToShares)."""
    return min(max(millis * 1024 // 1000, 2), 262_144)


def _volume(name: str, path: str, options: JsonObject | None) -> JsonObject:
    body: JsonObject = {"Type": "volume", "Source": name, "Target": path}
    if options:
        body["VolumeOptions"] = options
    return body


def _json(labels: dict[str, str]) -> JsonObject:
    return dict(labels)
