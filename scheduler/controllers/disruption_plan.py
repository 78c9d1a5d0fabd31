"""What a PodDisruptionBudget allows, from the pods it covers (Kubernetes' DisruptionController).

Pure. Percentages are of the pods that the owners of the covered pods want, not of those there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..objects.disruption import DisruptionBudget, DisruptionStatus
from ..objects.pod import Pod

PATIENCE = timedelta(minutes=2)  # within which a pod whose eviction was allowed must be going


@dataclass(frozen=True, slots=True)
class DisruptionPlan:
    """A budget's next status.

    Args:
        look_again: when to look without a cause.
        stayed: names of pods whose eviction was allowed, and that did not go.
    """

    status: DisruptionStatus
    look_again: timedelta | None = None
    stayed: tuple[str, ...] = ()


def plan(
    budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, int], now: datetime
) -> DisruptionPlan:
    """Return a budget's numbers.

    Args:
        pods: all it covers.
        scales: uid of a pod's controller → how many pods that wants; of all their controllers.
    """
    desired, expected = wanted(budget, pods, scales)
    disrupted: dict[str, datetime] = {}
    stayed: list[str] = []
    for pod in pods:
        since = budget.status.disrupted_pods.get(pod.meta.name)
        if since is None or pod.meta.deletion_timestamp is not None:
            continue
        if since + PATIENCE < now:
            stayed.append(pod.meta.name)
        else:
            disrupted[pod.meta.name] = since
    healthy = sum(
        pod.meta.deletion_timestamp is None and pod.meta.name not in disrupted and is_ready(pod)
        for pod in pods
    )
    status = replace(
        budget.status,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        disruptions_allowed=max(0, healthy - desired) if expected > 0 else 0,
        disrupted_pods=disrupted,
        observed_generation=budget.meta.generation,
    )
    waits = [max(since + PATIENCE - now, timedelta(0)) for since in disrupted.values()]
    soon = min(waits, default=None)
    return DisruptionPlan(
        status, None if soon is None else soon + timedelta(seconds=1), tuple(stayed)
    )


def wanted(
    budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, int]
) -> tuple[int, int]:
    """Return how many pods must be healthy, and how many there should be."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        expected = sum(scales.values())
        return max(0, expected - amount(spec.max_unavailable, expected)), expected
    if isinstance(spec.min_available, str):
        expected = sum(scales.values())
        return amount(spec.min_available, expected), expected
    return spec.min_available or 0, len(pods)


def counts_owners(budget: DisruptionBudget) -> bool:
    """Tell whether a budget's numbers depend on what the pods' owners want."""
    spec = budget.spec
    return spec.max_unavailable is not None or isinstance(spec.min_available, str)


def amount(value: int | str, of: int) -> int:
    """Return a number or a percentage of `of`, rounded up."""
    if isinstance(value, int):
        return value
    return -(-int(value.removesuffix("%")) * of // 100)


def is_ready(pod: Pod) -> bool:
    """Tell whether a pod's condition Ready is True."""
    ready = pod.status.condition("Ready")
    return ready is not None and ready.status == "True"


def unmanaged(pods: Iterable[Pod]) -> list[str]:
    """Return the names of pods without a controller."""
    return [pod.meta.name for pod in pods if pod.meta.controller_owner() is None]
