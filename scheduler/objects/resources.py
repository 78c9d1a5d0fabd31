"""What a pod asks for and what a node offers, as integers by the rules of Kubernetes.

cpu counts in thousandths of a core, everything else in its base unit (bytes, pieces), each rounded
up. "pods" is a resource like any other: a pod asks for one.
"""

from collections.abc import Iterable, Mapping

import msgspec

from . import quantity
from .pod import Container, PodSpec

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

# Beyond any machine (64 PiB), and small enough that sums and hundredfolds stay inside int64.
LARGEST = 2**56

# What scoring assumes of a container that asks for nothing (kube-scheduler's
# DefaultMilliCPURequest and DefaultMemoryRequest); feasibility never assumes it.
_ASSUMED = {CPU: 100, MEMORY: 200 * 1024 * 1024}

_POD_LEVEL = (CPU, MEMORY)

Quantities = Mapping[str, str | int | float]
Amounts = dict[str, int]


class PodRequests(msgspec.Struct, frozen=True):
    """What one pod asks of its node.

    Args:
        amounts: resource → integer, "pods": 1 included; zero requests are left out.
        assumed_cpu, assumed_memory: the same with kube-scheduler's defaults for containers that
            request nothing; only scores look at them.
    """

    amounts: Amounts
    assumed_cpu: int
    assumed_memory: int


def pod_requests(spec: PodSpec) -> PodRequests:
    """Add up a pod (Kubernetes component-helpers, resource.PodRequests).

    Containers and sidecars (init containers with restartPolicy Always) run together and add up;
    an ordinary init container runs before the rest but beside the sidecars declared before it,
    and counts where it needs more. Pod-level requests replace the sum for their resource; overhead
    comes on top.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    plain = _total(spec, {})
    assumed = _total(spec, _ASSUMED)
    plain[PODS] = 1
    return PodRequests(
        amounts={name: amount for name, amount in plain.items() if amount > 0},
        assumed_cpu=assumed.get(CPU, 0),
        assumed_memory=assumed.get(MEMORY, 0),
    )


def amounts(quantities: Quantities) -> Amounts:
    """Return quantities as integers.

    A negative or absurdly large amount is cut to [0, LARGEST + 1].

    Raises:
        BadRequest: a quantity cannot be read.
    """
    return {name: _amount(name, text) for name, text in quantities.items()}


def allocatable(quantities: Quantities) -> Amounts:
    """Return what a node offers; no offer exceeds LARGEST, so an absurd request never fits."""
    return {name: min(amount, LARGEST) for name, amount in amounts(quantities).items()}


def _total(spec: PodSpec, assumed: Mapping[str, int]) -> Amounts:
    total: Amounts = {}
    for container in spec.containers:
        _add(total, _of(container, assumed).items())
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.init_containers:
        needed = _of(container, assumed)
        if container.restart_policy == "Always":
            _add(total, needed.items())
            _add(sidecars, needed.items())
            needed = sidecars
        else:
            _add(needed, sidecars.items())
        _raise(peak, needed.items())
    _raise(total, peak.items())
    if spec.resources is not None:
        level = amounts(spec.resources.requests)
        total.update({name: level[name] for name in level if _is_pod_level(name)})
    _add(total, amounts(spec.overhead).items())
    return total


def _is_pod_level(name: str) -> bool:
    return name in _POD_LEVEL or name.startswith("hugepages-")


def _of(container: Container, assumed: Mapping[str, int]) -> Amounts:
    return {**assumed, **amounts(container.resources.requests)}


def _amount(name: str, text: str | int | float) -> int:
    read = quantity.milli if name == CPU else quantity.value
    return max(0, min(read(str(text)), LARGEST + 1))


def _add(into: Amounts, other: Iterable[tuple[str, int]]) -> None:
    for name, amount in other:
        into[name] = into.get(name, 0) + amount


def _raise(into: Amounts, other: Iterable[tuple[str, int]]) -> None:
    for name, amount in other:
        into[name] = max(into.get(name, 0), amount)
