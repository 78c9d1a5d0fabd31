"""Whether a host is short of memory, process ids or disk, and which pod has to go for it. Pure.

Source: kubelet's eviction manager: hard thresholds, the order of victims (rankMemoryPressure,
rankPIDPressure, rankDiskPressureFunc), what is said of them, and conditions that outlast the
shortage for a while.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..objects.eviction_signals import (
    DISK_AVAILABLE,
    INODES_FREE,
    MEMORY_AVAILABLE,
    PID_AVAILABLE,
    Threshold,
    minimum_reclaims,
    thresholds,
)
from ..objects.pod import Pod
from ..objects.quantity import format_binary, value
from ..objects.resources import EPHEMERAL_STORAGE, MEMORY, pod_requests
from ..streams import Level, Signals
from .docker_host import DockerHostSpec

_CONDITIONS = {
    MEMORY_AVAILABLE: "MemoryPressure",
    PID_AVAILABLE: "PIDPressure",
    DISK_AVAILABLE: "DiskPressure",
    INODES_FREE: "DiskPressure",
}
PRESSURES = tuple(dict.fromkeys(_CONDITIONS.values()))
ON_DISK = (DISK_AVAILABLE, INODES_FREE)
"""Signals of the disk, the one of bytes first."""

_RESOURCES = {
    MEMORY_AVAILABLE: MEMORY,
    PID_AVAILABLE: "pids",
    DISK_AVAILABLE: EPHEMERAL_STORAGE,
    INODES_FREE: "inodes",
}
_BYTES = (MEMORY_AVAILABLE, DISK_AVAILABLE)
_CRITICAL = 2_000_000_000  # the least priority of what the system needs


@dataclass(frozen=True, slots=True)
class PressureLimits:
    """When a host is under pressure.

    Args:
        lasts: seconds that a condition stays after its threshold was met last.
        reclaims: how much more than the thresholds there is to be again once they were met.
    """

    thresholds: tuple[Threshold, ...]
    lasts: float
    reclaims: tuple[Threshold, ...] = ()


def pressure_limits(spec: DockerHostSpec) -> PressureLimits:
    """Return what a DockerHost says of it."""
    return PressureLimits(
        thresholds(spec.eviction_hard),
        spec.eviction_pressure_transition_seconds,
        minimum_reclaims(spec.eviction_minimum_reclaim),
    )


@dataclass(frozen=True, slots=True)
class Shortage:
    """A threshold that is met, or was and has not been left far enough behind.

    Args:
        enough: the amount from which on it is over.
    """

    threshold: Threshold
    level: Level
    enough: int

    @property
    def signal(self) -> str:
        """What there is too little of."""
        return self.threshold.signal

    @property
    def condition(self) -> str:
        """The Node's condition of that."""
        return _CONDITIONS[self.signal]

    @property
    def resource(self) -> str:
        """The same, as events name it."""
        return _RESOURCES[self.signal]


def shortages(
    limits: PressureLimits, signals: Signals, before: Container[str] = ()
) -> list[Shortage]:
    """Return the thresholds that are met, memory's first.

    Args:
        before: signals whose threshold was met at the look before.
    """
    levels = {
        MEMORY_AVAILABLE: signals.memory,
        PID_AVAILABLE: signals.pids,
        DISK_AVAILABLE: signals.disk,
        INODES_FREE: signals.inodes,
    }
    reclaims = {each.signal: each for each in limits.reclaims if each.signal in before}
    found: list[Shortage] = []
    for threshold in limits.thresholds:
        level, reclaim = levels[threshold.signal], reclaims.get(threshold.signal)
        if level is None:
            continue
        least = threshold.of(level.capacity)
        enough = least + reclaim.of(level.capacity) if least and reclaim is not None else least
        if level.available < enough:
            found.append(Shortage(threshold, level, enough))
    return found


def pressures(met: Mapping[str, float], now: float, limits: PressureLimits) -> frozenset[str]:
    """Return the conditions that hold.

    Args:
        met: condition → when its threshold was met last, on the clock of `now`; seconds.
    """
    return frozenset(kind for kind, at in met.items() if at == now or now - at < limits.lasts)


@dataclass(frozen=True, slots=True)
class PodUsage:
    """A pod that may have to go, and what it uses.

    Args:
        used: bytes of what is short, be it memory, sandbox included, or disk; None where nothing
            of it was measured.
        containers: bytes of each measured container by name.
        processes: and threads.
    """

    pod: Pod
    used: int | None = None
    containers: Mapping[str, int] = field(default_factory=dict[str, int])
    processes: int = 0

    def excess(self, resource: str) -> int:
        """Return by how many bytes it uses more than it requests; negative for less."""
        return (self.used or 0) - pod_requests(self.pod.spec).amounts.get(resource, 0)


def ranked(shortage: Shortage, usages: Iterable[PodUsage]) -> list[PodUsage]:
    """Return the pods that may be evicted, that first which has to go first.

    For memory and disk: who uses more than it requests, then low priority, then by how much. For
    process ids: low priority, then how many it has. For inodes as for disk, since nobody counts
    those of a pod. Who was not measured goes before the others. Who is critical to the system is
    not among them.
    """
    resource = MEMORY if shortage.signal == MEMORY_AVAILABLE else EPHEMERAL_STORAGE
    by_processes = shortage.signal == PID_AVAILABLE
    return sorted(
        (each for each in usages if not is_critical(each.pod)),
        key=_pid_rank if by_processes else partial(_byte_rank, resource),
    )


def is_critical(pod: Pod) -> bool:
    """Return whether the system needs a pod, so that it is not evicted."""
    return _priority(pod) >= _CRITICAL


def _byte_rank(resource: str, each: PodUsage) -> tuple[float | str, ...]:
    priority, uid = _priority(each.pod), each.pod.meta.uid
    if each.used is None:
        return (0, 0, priority, 0, uid)
    excess = each.excess(resource)
    return (1, excess <= 0, priority, -excess, uid)


def _pid_rank(each: PodUsage) -> tuple[float | str, ...]:
    measured = each.used is not None
    return (_priority(each.pod), measured, -each.processes, each.pod.meta.uid)


def _priority(pod: Pod) -> int:
    return pod.spec.priority or 0


def words(shortage: Shortage, usage: PodUsage) -> str:
    """Return why a pod is evicted, in kubelet's words."""
    threshold, level = shortage.threshold, shortage.level
    told = [
        f"The node was low on resource: {shortage.resource}. "
        f"Threshold quantity: {_amount(shortage, threshold.of(level.capacity))}, "
        f"available: {_amount(shortage, level.available)}. "
    ]
    if shortage.signal in _BYTES:
        told += _greedy(usage, shortage.resource)
    return "".join(told)


def _greedy(usage: PodUsage, resource: str) -> Sequence[str]:
    spec = usage.pod.spec
    requests = {
        container.name: value(str(container.resources.requests.get(resource, 0)))
        for container in (*spec.init_containers, *spec.containers)
    }
    return [
        f"Container {name} was using {format_binary(used >> 10 << 10)}, "
        f"request is {format_binary(requests[name])}, has larger consumption of {resource}. "
        for name, used in usage.containers.items()
        if name in requests and used > requests[name]
    ]


def _amount(shortage: Shortage, amount: int) -> str:
    return format_binary(amount >> 10 << 10) if shortage.signal in _BYTES else str(amount)
