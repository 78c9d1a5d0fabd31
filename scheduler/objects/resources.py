"""What a pod asks for and what a node offers, as integers by the rules of Kubernetes.

cpu counts in thousandths of a core, everything else in its base unit (bytes, pieces). Amounts are
added up exactly and rounded up once, at the end. "pods" is a resource like any other: a pod asks
for one.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from . import quantity
from .names import label_key_complaints
from .pod import Container, PodSpec

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

# Beyond any machine (64 PiB), and small enough that sums and hundredfolds stay inside int64.
LARGEST = 2**56

_NANO = 10**9
_HUGE_PAGES = "hugepages-"
_NATIVE = "kubernetes.io/"
_QUOTA = "requests."
_FIRST = (PODS, CPU, MEMORY, EPHEMERAL_STORAGE)

# What scoring assumes of a container that asks for nothing (kube-scheduler's
# DefaultMilliCPURequest and DefaultMemoryRequest); feasibility never assumes it.
_ASSUMED = {CPU: _NANO // 10, MEMORY: 200 * 1024 * 1024 * _NANO}

Quantities = Mapping[str, str | int | float]
Amounts = dict[str, int]


class PodRequests(msgspec.Struct, frozen=True):
    """What one pod asks of its node.

    Args:
        amounts: resource → integer, "pods": 1 included; zero requests are left out. In the order
            in which kube-scheduler looks at them: pods, cpu, memory, ephemeral-storage, others.
        assumed_cpu, assumed_memory: the same with kube-scheduler's defaults for containers that
            request nothing, as a pod on a node counts (NodeInfo.NonZeroRequested); only scores
            look at them.
        asked: resource → integer, the same as NodeResourcesFit scores a pod that is being placed:
            kube-scheduler leaves its pod-level requests out there, and gives a container defaults
            for a resource that only another one requests. Beside pod-level requests a pod on a node
            is given none.
    """

    amounts: Amounts
    assumed_cpu: int
    assumed_memory: int
    asked: Amounts


def pod_requests(spec: PodSpec) -> PodRequests:
    """Add up a pod (Kubernetes component-helpers, resource.PodRequests).

    Containers and sidecars (init containers with restartPolicy Always) run together and add up;
    an ordinary init container runs before the rest but beside the sidecars declared before it,
    and counts where it needs more. Pod-level requests for cpu, memory and huge pages replace the
    sum for their resource; overhead comes on top.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    exact = _total(spec, {})
    plain = {name: _rounded(name, nanos) for name, nanos in exact.items()}
    plain[PODS] = 1
    asked = _total(spec, _ASSUMED, pod_level=False)
    assumed = asked
    if spec.resources is not None and any(map(_is_pod_level, spec.resources.requests)):
        missing = {name: nanos for name, nanos in _ASSUMED.items() if name not in exact}
        assumed = _total(spec, missing) if missing else exact
    others = sorted(plain.keys() - set(_FIRST))
    return PodRequests(
        amounts={name: plain[name] for name in (*_FIRST, *others) if plain.get(name, 0) > 0},
        assumed_cpu=_rounded(CPU, assumed.get(CPU, 0)),
        assumed_memory=_rounded(MEMORY, assumed.get(MEMORY, 0)),
        asked={name: _rounded(name, nanos) for name, nanos in asked.items()},
    )


def allocatable(quantities: Quantities) -> Amounts:
    """Return what a node offers; no offer exceeds LARGEST, so an absurd request never fits.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    return {
        name: min(_rounded(name, quantity.nano(str(text))), LARGEST)
        for name, text in quantities.items()
    }


def is_scalar(name: str) -> bool:
    """Tell whether a resource counts in pieces of its own kind (schedutil.IsScalarResourceName).

    Extended resources, huge pages and attachable volumes; here also what Kubernetes' API would
    refuse as neither, so that it is never ignored.
    """
    return name not in _FIRST


@lru_cache(maxsize=4096)
def is_extended(name: str) -> bool:
    """Tell whether a resource is an extended one (v1helper.IsExtendedResourceName)."""
    if "/" not in name or _NATIVE in name or name.startswith(_QUOTA):
        return False
    return not label_key_complaints(_QUOTA + name)


def _total(spec: PodSpec, assumed: Mapping[str, int], *, pod_level: bool = True) -> Amounts:
    """Add up in billionths, exactly; without pod-level requests where these do not count."""
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
    if pod_level and spec.resources is not None:
        level = quantity.nanos(spec.resources.requests)
        total.update({name: level[name] for name in level if _is_pod_level(name)})
    _add(total, quantity.nanos(spec.overhead).items())
    return total


def _is_pod_level(name: str) -> bool:
    return name in (CPU, MEMORY) or name.startswith(_HUGE_PAGES)


def _of(container: Container, assumed: Mapping[str, int]) -> Amounts:
    return {**assumed, **quantity.nanos(container.resources.requests)}


def _rounded(name: str, nanos: int) -> int:
    """Return thousandths or base units, rounded up, cut to [0, LARGEST + 1]."""
    unit = _NANO // 1000 if name == CPU else _NANO
    return max(0, min(-(-nanos // unit), LARGEST + 1))


def _add(into: Amounts, other: Iterable[tuple[str, int]]) -> None:
    for name, amount in other:
        into[name] = into.get(name, 0) + amount


def _raise(into: Amounts, other: Iterable[tuple[str, int]]) -> None:
    for name, amount in other:
        into[name] = max(into.get(name, 0), amount)
