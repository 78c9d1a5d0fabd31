"""What a container may use of its host beyond its own CPU and memory limits. Pure.

Follows kubelet: limits of the pod where a container has none, swap (swap.go), the score by which
the kernel picks whom to kill when memory runs out (qos/policy.go), the limit of processes. An
engine has no cgroup of a pod, so what the pod requests as a whole is shared out, too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..drivers import ContainerSpec, Ulimit
from ..objects import quantity
from ..objects.pod import Container, EphemeralContainer, Pod
from .docker_host import DockerHostSpec
from .registration import Registration, capacity

LIMITED_SWAP = "LimitedSwap"

_CRITICAL = frozenset({"system-node-critical", "system-cluster-critical"})
_GUARANTEED_SCORE, _BEST_EFFORT_SCORE = -997, 1000

Quantities = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """What a node sets for all of its containers.

    Args:
        memory: the node's capacity in bytes.
        pids: most processes of a container; 0 for no limit.
        swap: bytes of swap that Burstable pods share; 0 for none.
        devices: resources that are devices, which a container is given by name.
    """

    memory: int = 0
    pids: int = 0
    swap: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    devices: frozenset[str] = frozenset()


def node_limits(made: Registration) -> NodeLimits:
    """Return what a registered host sets."""
    spec = made.host.spec
    limited = spec.swap_behavior == LIMITED_SWAP
    return NodeLimits(
        memory=quantity.value(str(capacity(made)["memory"])),
        pids=spec.pod_pids_limit,
        swap=quantity.value(str(spec.swap)) if limited else 0,
        ulimits=_ulimits(spec),
        devices=frozenset(made.info.resources),
    )


def _ulimits(spec: DockerHostSpec) -> tuple[Ulimit, ...]:
    found: list[Ulimit] = []
    for name, text in sorted(spec.ulimits.items()):
        soft, _, hard = text.partition(":")
        found.append(Ulimit(name, int(soft), int(hard or soft)))
    return tuple(found)


def limited(spec: ContainerSpec, pod: Pod, container: Container, node: NodeLimits) -> ContainerSpec:
    """Return a container with the limits that its pod and its node set besides its own."""
    level = pod.spec.resources.limits if pod.spec.resources else {}
    return replace(
        spec,
        cpu_request=spec.cpu_request + _part(pod, container, "cpu", quantity.milli),
        cpu_limit=spec.cpu_limit or quantity.milli(str(level.get("cpu", 0))),
        memory_limit=spec.memory_limit or _memory(level),
        swap=_swap(pod, container, node),
        oom_score=_oom_score(pod, container, node.memory),
        pids_limit=node.pids,
        ulimits=node.ulimits,
        devices=_devices(container, node.devices),
    )


def _memory(amounts: Quantities) -> int:
    return quantity.value(str(amounts.get("memory", 0)))


def _requested(container: Container) -> int:
    resources = container.resources
    return _memory(resources.requests) or _memory(resources.limits)


def _swap(pod: Pod, container: Container, node: NodeLimits) -> int:
    """Return a Burstable pod's share of the swap, by its share of the memory (LimitedSwap)."""
    requested = _requested(container)
    equal = requested == _memory(container.resources.limits)
    critical = pod.spec.priority_class_name in _CRITICAL
    if pod.status.qos_class != "Burstable" or critical or equal or not node.memory:
        return 0
    return node.swap * requested // node.memory


def _oom_score(pod: Pod, container: Container, memory: int) -> int:
    """Return oom_score_adj (kubelet GetContainerOOMScoreAdjust)."""
    if pod.status.qos_class == "Guaranteed":
        return _GUARANTEED_SCORE
    if pod.spec.priority_class_name == "system-node-critical":
        return _GUARANTEED_SCORE
    if pod.status.qos_class != "Burstable" or not memory:
        return _BEST_EFFORT_SCORE
    part = _part(pod, container, "memory", quantity.value)
    requested = _memory(container.resources.requests) + part
    if container.restart_policy == "Always":  # a sidecar goes after the containers it serves
        least = min((_memory(c.resources.requests) for c in pod.spec.containers), default=0)
        requested = max(requested, least + part)
    score = _BEST_EFFORT_SCORE - _BEST_EFFORT_SCORE * requested // memory
    lowest = _BEST_EFFORT_SCORE + _GUARANTEED_SCORE
    return min(max(score, lowest), _BEST_EFFORT_SCORE - 1)


def _part(pod: Pod, container: Container, resource: str, amount: Callable[[str], int]) -> int:
    """Return a container's part of what its pod requests beyond its containers' requests.

    Source: kubelet's remainingPodMemReqPerContainer. An ephemeral container gets none.
    """
    spec = pod.spec
    level = spec.resources.requests if spec.resources else {}
    if resource not in level or isinstance(container, EphemeralContainer):
        return 0
    sidecars = (c for c in spec.init_containers if c.restart_policy == "Always")
    running = (*spec.containers, *sidecars)
    asked = sum(amount(str(c.resources.requests.get(resource, 0))) for c in running)
    return max(0, amount(str(level[resource])) - asked) // len(running)


def _devices(container: Container, known: frozenset[str]) -> tuple[tuple[str, int], ...]:
    amounts = {**container.resources.requests, **container.resources.limits}
    counts = ((name, quantity.value(str(amounts[name]))) for name in sorted(known & set(amounts)))
    return tuple((name, count) for name, count in counts if count)
