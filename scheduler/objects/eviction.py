"""Whether a pod may be evicted now, by its PodDisruptionBudget; what the budget says then. Pure.

Source: Kubernetes' eviction subresource (checkAndDecrement, canIgnorePDB).
"""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from .disruption import DisruptionBudget, allowed_condition, encoded_status
from .pod import Pod

_MOST_DISRUPTED = 2000  # pods that a budget's status may name


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a budget does not let a pod go now.

    Args:
        retry_after: seconds, 0 where nobody knows.
        crowded: it is not the numbers, its status has no room.
    """

    message: str
    retry_after: int = 0
    crowded: bool = False


def disrupts(pod: Pod) -> bool:
    """Tell whether evicting a pod takes anything away: not if it is going, or never began."""
    begun = not pod.terminal and pod.status.phase not in {"", "Pending"}
    return begun and pod.meta.deletion_timestamp is None


def spares(budget: DisruptionBudget, pod: Pod) -> bool:
    """Tell whether a pod that is not ready may go without using the budget up."""
    ready = pod.status.condition("Ready")
    if ready is not None and ready.status == "True":
        return False
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    status = budget.status
    return status.current_healthy >= status.desired_healthy > 0


def used_up(budget: DisruptionBudget, name: str, now: datetime) -> bytes | Refusal:
    """Return the budget's status with one disruption used up for the pod of that name."""
    status = budget.status
    if status.observed_generation < budget.meta.generation:
        return still_processed(budget)
    if len(status.disrupted_pods) > _MOST_DISRUPTED:
        words = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        return Refusal(words, crowded=True)
    if status.disruptions_allowed <= 0:
        return Refusal(_why_not(budget))
    status = replace(
        status,
        disruptions_allowed=status.disruptions_allowed - 1,
        disrupted_pods={**status.disrupted_pods, name: now},
    )
    return encoded_status(status, [allowed_condition(status, now)], budget.stored.status)


def still_processed(budget: DisruptionBudget) -> Refusal:
    """Return the refusal of a budget whose numbers are not known yet."""
    name = budget.meta.name
    return Refusal(f"The disruption budget {name} is still being processed by the server.", 10)


def _why_not(budget: DisruptionBudget) -> str:
    status, name = budget.status, budget.meta.name
    failed = next((c.message for c in status.conditions if c.reason == "SyncFailed"), "")
    if failed:
        return (
            f"The disruption budget {name} does not allow evicting pods currently because "
            f"it failed sync: {failed}"
        )
    return (
        f"The disruption budget {name} needs {status.desired_healthy} healthy "
        f"pods and has {status.current_healthy} currently"
    )
