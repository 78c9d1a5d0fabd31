"""What a container that somebody else made is, as far as a pod can say it."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from scheduler.foreign import ForeignDescription, ForeignMount

from . import wire
from .foreign import Ids, holdings, published, quota
from .labels import CLUSTER, POD_UID
from .observation import RUNNING

_COMPOSE = "com.docker.compose."
PROJECT = _COMPOSE + "project"
_MANAGERS = (
    ("io.kubernetes.", "Kubernetes"),
    ("com.docker.swarm.", "Docker Swarm"),
    ("com.hashicorp.nomad.", "Nomad"),
    ("com.amazonaws.ecs.", "Amazon ECS"),
)
_RESTARTS = {"always": "Always", "unless-stopped": "Always", "on-failure": "OnFailure"}
_PLAIN_NETWORKS = frozenset({"", "default", "bridge", "host", "none"})


def description(
    found: wire.Foreign, offered: Ids, labels: Mapping[str, str], memory: int
) -> ForeignDescription:
    """Describe a container.

    Args:
        offered: resource → ids of the devices that pods may be given.
        labels: those that it has here.
        memory: bytes it uses, which count where none were set aside for it.
    """
    config, limits = found.config, found.host_config
    holds = holdings(found, offered)
    if not holds.memory:
        holds = replace(holds, memory=memory, measured=True)
    number = labels.get(_COMPOSE + "container-number", "")
    policy = limits.restart_policy.name if limits.restart_policy else ""
    return ForeignDescription(
        holds=holds,
        running=found.state is not None and found.state.status in RUNNING,
        manager=_manager(labels),
        project=labels.get(PROJECT, ""),
        service=labels.get(_COMPOSE + "service", ""),
        number=int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 0,
        entrypoint=tuple(config.entrypoint or ()),
        command=tuple(config.cmd or ()),
        env=tuple(config.env or ()),
        working_dir=config.working_dir,
        user=config.user,
        tty=config.tty,
        stdin=config.open_stdin,
        mounts=tuple(_mounts(found)),
        ports=tuple(sorted(published(found))),
        restart=_RESTARTS.get(policy, "Never"),
        cpu_limit=quota(limits),
        memory_limit=max(limits.memory, 0),
        host_network=limits.network_mode == "host",
        host_pid=limits.pid_mode == "host",
        host_ipc=limits.ipc_mode == "host",
        privileged=limits.privileged,
        read_only_root=limits.readonly_rootfs,
        capabilities_added=tuple(each.removeprefix("CAP_") for each in limits.cap_add or ()),
        capabilities_dropped=tuple(each.removeprefix("CAP_") for each in limits.cap_drop or ()),
        lost=tuple(_lost(found)),
    )


def _manager(labels: Mapping[str, str]) -> str:
    if POD_UID in labels or CLUSTER in labels:
        return "Ironfree"
    return next((who for each, who in _MANAGERS if any(k.startswith(each) for k in labels)), "")


def _mounts(found: wire.Foreign) -> Iterator[ForeignMount]:
    for mount in found.mounts or []:
        if mount.type in {"bind", "volume"}:
            source = mount.name if mount.type == "volume" else mount.source
            yield ForeignMount(mount.type, source, mount.destination, not mount.rw)
        elif mount.type == "tmpfs":
            yield ForeignMount("tmpfs", "", mount.destination)
    for path in found.host_config.tmpfs or {}:
        yield ForeignMount("tmpfs", "", path)


def _lost(found: wire.Foreign) -> Iterator[str]:
    """What a pod that takes its place will not have."""
    config, limits = found.config, found.host_config
    networks = found.network_settings.networks if found.network_settings else None
    named = [each for each in networks or {} if each not in _PLAIN_NETWORKS]
    if named:
        yield f"its place in the networks {', '.join(named[:8])}, and the names it has there"
    if limits.network_mode.startswith("container:"):
        yield "the network of another container, which it shares"
    if config.healthcheck is not None and config.healthcheck.test not in (None, ["NONE"]):
        yield "the engine's health check (write a probe)"
    if limits.auto_remove:
        yield "its removal by the engine as soon as it ends"
    if config.user and not all(part.isdecimal() for part in config.user.split(":")):
        yield f"its user {config.user[:64]}, which is not a number: the image's counts"
    others = {
        "extra hosts": limits.extra_hosts,
        "name servers": limits.dns,
        "sysctls": limits.sysctls,
        "security options": limits.security_opt,
        "further groups": limits.group_add,
        "links": limits.links,
        "ulimits": limits.ulimits,
        "device files": limits.devices,
    }
    for what, given in others.items():
        if given:
            yield f"its {what}"
