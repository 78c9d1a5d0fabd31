"""Whether a host is short of memory or process ids, and which pod has to go for it. Pure.

Source: kubelet's eviction manager: hard thresholds, the order of victims (rankMemoryPressure,
rankPIDPressure), what is said of them, and conditions that outlast the shortage for a while.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..objects.eviction_signals import MEMORY_AVAILABLE, PID_AVAILABLE, Threshold, thresholds
from ..objects.pod import Pod
from ..objects.quantity import format_binary, value
from ..objects.resources import MEMORY, pod_requests
from ..streams import Level, Signals
from .docker_host import DockerHostSpec

_CONDITIONS = {MEMORY_AVAILABLE: "MemoryPressure", PID_AVAILABLE: "PIDPressure"}
_RESOURCES = {MEMORY_AVAILABLE: "memory", PID_AVAILABLE: "pids"}
_CRITICAL = 2_000_000_000  # the least priority of what the system needs


@dataclass(frozen=True, slots=True)
class PressureLimits:
    """When a host is under pressure.

    Args:
        lasts: seconds that a condition stays after its threshold was met last.
    """

    thresholds: tuple[Threshold, ...]
    lasts: float


def pressure_limits(spec: DockerHostSpec) -> PressureLimits:
    """Return what a DockerHost says of it."""
    return PressureLimits(thresholds(spec.eviction_hard), spec.eviction_pressure_transition_seconds)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A threshold that is met."""

    threshold: Threshold
    level: Level

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


def shortages(limits: PressureLimits, signals: Signals) -> list[Shortage]:
    """Return the thresholds that are met, memory's first."""
    levels = {MEMORY_AVAILABLE: signals.memory, PID_AVAILABLE: signals.pids}
    found = (Shortage(each, levels[each.signal]) for each in limits.thresholds)
    return [s for s in found if s.level.available < s.threshold.of(s.level.capacity)]


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
        memory: bytes, sandbox included; None where nothing of it was measured.
        containers: bytes of each measured container by name.
        processes: and threads.
    """

    pod: Pod
    memory: int | None = None
    containers: Mapping[str, int] = field(default_factory=dict[str, int])
    processes: int = 0

    @property
    def excess(self) -> int:
        """Bytes by which it uses more than it requests; negative for less."""
        return (self.memory or 0) - pod_requests(self.pod.spec).amounts.get(MEMORY, 0)


def ranked(shortage: Shortage, usages: Iterable[PodUsage]) -> list[PodUsage]:
    """Return the pods that may be evicted, that first which has to go first.

    For memory: who uses more than it requests, then low priority, then by how much. For process
    ids: low priority, then how many it has. Who was not measured goes before the others. Who is
    critical to the system is not among them.
    """
    return sorted(
        (each for each in usages if _priority(each.pod) < _CRITICAL),
        key=_memory_rank if shortage.signal == MEMORY_AVAILABLE else _pid_rank,
    )


def _memory_rank(each: PodUsage) -> tuple[float | str, ...]:
    priority, uid = _priority(each.pod), each.pod.meta.uid
    if each.memory is None:
        return (0, 0, priority, 0, uid)
    excess = each.excess
    return (1, excess <= 0, priority, -excess, uid)


def _pid_rank(each: PodUsage) -> tuple[float | str, ...]:
    measured = each.memory is not None
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
    if shortage.signal == MEMORY_AVAILABLE:
        told += _greedy(usage)
    return "".join(told)


def _greedy(usage: PodUsage) -> Sequence[str]:
    spec = usage.pod.spec
    requests = {
        container.name: value(str(container.resources.requests.get(MEMORY, 0)))
        for container in (*spec.init_containers, *spec.containers)
    }
    return [
        f"Container {name} was using {format_binary(used >> 10 << 10)}, "
        f"request is {format_binary(requests[name])}, has larger consumption of memory. "
        for name, used in usage.containers.items()
        if name in requests and used > requests[name]
    ]


def _amount(shortage: Shortage, amount: int) -> str:
    if shortage.signal == PID_AVAILABLE:
        return str(amount)
    return format_binary(amount >> 10 << 10)
