"""Containers of an engine that are not ours: what they hold of their host."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.foreign import ForeignContainer
from scheduler.objects.pod_class import ANY_ADDRESS, HostPort

from . import wire
from .containers import Containers
from .labels import ADOPTED, is_ours
from .observation import RUNNING
from .together import together
from .usage import Usage

_OLD = 300.0  # seconds, after which a description is asked for again: engines may drop events
_ADDRESSES = frozenset({"", ANY_ADDRESS, "::"})
_PERIOD = 100_000  # microseconds; the kernel's default for CPU quotas
_NVIDIA, _VISIBLE = "nvidia.com/gpu", "NVIDIA_VISIBLE_DEVICES="

Ids = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    found: wire.Foreign
    until: float


class Foreign:
    """Of one engine, for one installation."""

    def __init__(self, containers: Containers, usage: Usage, cluster: str) -> None:
        self._containers = containers
        self._usage = usage
        self._cluster = cluster
        self._known: dict[str, _Known] = {}
        self._heard = 0

    def heard(self, container_id: str) -> None:
        """Take in that a container has changed."""
        self._heard += 1
        self._known.pop(container_id, None)

    async def all(self, offered: Ids) -> tuple[ForeignContainer, ...]:
        """Every one that runs; without a limit of its memory, with what it uses now.

        Args:
            offered: resource → ids of the devices that pods may be given.
        """
        running = await self._running()
        adopted = self._containers.adopted
        found = [holdings(each, offered) for each in running if each.id not in adopted]
        used = await self._usage.of([each.id for each in found if not each.memory])
        measured = [
            each if each.memory else _measured(each, used[each.id].memory_bytes)
            for each in found
            if each.memory or each.id in used
        ]
        return tuple(sorted(measured, key=lambda each: (each.name, each.id)))

    async def devices(self, offered: Ids) -> set[tuple[str, str]]:
        """The devices that they, and those adopted, hold: resource and id."""
        return {pair for each in await self._running() for pair in held_devices(each, offered)}

    async def _running(self) -> list[wire.Foreign]:
        """Those that we have not made, adopted ones too."""
        listed = [
            each.id
            for each in await self._containers.list()
            if each.state in RUNNING and not self._made_here(each)
        ]
        for gone in self._known.keys() - set(listed):
            del self._known[gone]
        found = await together(*map(self._look, listed))
        return [each for each in found if each is not None]

    def _made_here(self, listed: wire.Summary) -> bool:
        labels = listed.labels or {}
        return ADOPTED not in labels and is_ours(labels, self._cluster)

    async def _look(self, container: str) -> wire.Foreign | None:
        now = asyncio.get_running_loop().time()
        known = self._known.get(container)
        if known is not None and now < known.until:
            return known.found
        heard = self._heard
        found = await self._containers.foreign(container)
        if found is not None and heard == self._heard:
            self._known[container] = _Known(found, now + _OLD)
        return found


def holdings(found: wire.Foreign, offered: Ids) -> ForeignContainer:
    """What a container was promised: as a pod's, its requests count or, without them, its limits.

    CPU shares are what Kubernetes makes of a request; a reservation of memory is one, too.
    """
    limits = found.host_config
    return ForeignContainer(
        id=found.id,
        name=found.name.removeprefix("/"),
        image=found.config.image,
        cpu=_cpu(limits),
        memory=max(limits.memory_reservation or limits.memory, 0),
        devices=tuple(sorted(held_devices(found, offered))),
        ports=tuple(sorted({port for _, port in published(found)})),
    )


def _cpu(limits: wire.HostConfig) -> int:
    shares = limits.cpu_shares * 1000 // 1024
    return min((each for each in (shares, quota(limits)) if each > 0), default=0)


def quota(limits: wire.HostConfig) -> int:
    """Thousandths of a core that a container may use at most, 0 for any."""
    if limits.nano_cpus or limits.cpu_quota <= 0:
        return limits.nano_cpus // 1_000_000
    return limits.cpu_quota * 1000 // (limits.cpu_period or _PERIOD)


def _measured(container: ForeignContainer, memory: int) -> ForeignContainer:
    return ForeignContainer(
        container.id,
        container.name,
        container.image,
        container.cpu,
        memory,
        measured=True,
        devices=container.devices,
        ports=container.ports,
    )


def published(found: wire.Foreign) -> set[tuple[int, HostPort]]:
    """Ports of a container, and of the host where they are published.

    On the host's network, those that the image says it listens on.
    """
    if found.host_config.network_mode == "host":
        exposed = [
            _port(each, each.partition("/")[0], "") for each in found.config.exposed_ports or {}
        ]
        return {port for port in exposed if port is not None}
    ports = found.network_settings.ports if found.network_settings else None
    bound = (
        _port(name, binding.host_port, binding.host_ip)
        for name, bindings in (ports or {}).items()
        for binding in bindings or []
    )
    return {port for port in bound if port is not None}


def _port(name: str, host_port: str, address: str) -> tuple[int, HostPort] | None:
    """Both ports, from "80/tcp" and where that is published; None for what is no port."""
    number, _, protocol = name.partition("/")
    if not all(n.isascii() and n.isdecimal() and len(n) < 6 for n in (number, host_port)):
        return None
    where = ANY_ADDRESS if address in _ADDRESSES else address
    return int(number), HostPort(protocol.upper() or "TCP", int(host_port), where)


def held_devices(found: wire.Foreign, offered: Ids) -> set[tuple[str, str]]:
    """Which of the devices a container has; of a privileged one, only those that it names."""
    paths = {device.path_on_host for device in found.host_config.devices or []}
    held = {(name, id_) for name, ids in offered.items() for id_ in ids if id_ in paths}
    for request in found.host_config.device_requests or []:
        for name, ids in offered.items():
            held |= {(name, id_) for id_ in _requested(request, name, ids)}
    if found.host_config.runtime == "nvidia":
        words = [e.removeprefix(_VISIBLE) for e in found.config.env or [] if e.startswith(_VISIBLE)]
        visible = set(words[-1].split(",")) if words else set[str]()
        gpus = offered.get(_NVIDIA, ())
        held |= {(_NVIDIA, id_) for id_ in gpus if id_ in visible or "all" in visible}
    return held


def _requested(request: wire.DeviceRequest, resource: str, ids: tuple[str, ...]) -> set[str]:
    """Which devices of a resource a request means; a number takes the first, as the engine does."""
    wanted = request.device_ids or []
    if request.driver == "cdi":
        return set(ids) & set(wanted)
    domain, _, kind = resource.partition("/")
    capable = any(kind in each for each in request.capabilities or [])
    if not capable or request.driver not in {"", domain.partition(".")[0]}:
        return set()
    if wanted:
        return set(ids) & set(wanted)
    plain = [each for each in ids if not each.startswith("/")]
    return set(plain if request.count < 0 else plain[: request.count])
