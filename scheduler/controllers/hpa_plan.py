"""What a HorizontalPodAutoscaler does now: the number of replicas, its status, what it tells.

Pure. Source: Kubernetes' documented algorithm and the conditions of its controller (AbleToScale,
ScalingActive, ScalingLimited).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from ..objects.event import Note
from ..objects.horizontal_pod_autoscaler import (
    KIND,
    AutoscalerCondition,
    AutoscalerStatus,
    HorizontalPodAutoscaler,
    MetricStatus,
)
from .event_log import note
from .hpa_behavior import Limits, Memory, Past, limited, remember, stabilized
from .hpa_metrics import Failure, Proposal, Replica, Tolerance, propose

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled.

    Args:
        replicas: wanted at present.
        selects: its selector finds pods.
        rivals: how many other autoscalers have the same target.
    """

    replicas: int
    selects: bool = True
    rivals: int = 0


@dataclass(frozen=True, slots=True)
class Rescale:
    """A change of the number of replicas, and why."""

    current: int
    desired: int
    reason: str


@dataclass(frozen=True, slots=True)
class HpaPlan:
    """What to do.

    Args:
        status: once that is done.
        rescale: None to leave the number as it is.
        notes: to be told in any case.
        memory: to be kept, of a change of the number only once it is made.
    """

    status: AutoscalerStatus
    memory: Memory
    rescale: Rescale | None = None
    notes: tuple[Note, ...] = ()


def unreachable(hpa: HorizontalPodAutoscaler, why: str, memory: Memory, now: datetime) -> HpaPlan:
    """Return the plan for a target that cannot be found."""
    said = f"the HPA controller was unable to get the target's current scale: {why}"
    draft = _Draft(hpa, now)
    draft.mark(ABLE, "False", "FailedGetScale", said)
    told = note(KIND, hpa.meta, "FailedGetScale", why, warning=True)
    return HpaPlan(draft.status, memory, notes=(told,))


def not_rescaled(
    hpa: HorizontalPodAutoscaler, planned: HpaPlan, why: str, now: datetime
) -> HpaPlan:
    """Return what is left of a plan whose number could not be written."""
    change = planned.rescale
    assert change is not None
    draft = _Draft(hpa, now, planned.status)
    said = f"the HPA controller was unable to update the target scale: {why}"
    draft.mark(ABLE, "False", "FailedUpdateScale", said)
    draft.numbers(change.current, hpa.status.desired_replicas or 0)
    draft.status = replace(draft.status, last_scale_time=hpa.status.last_scale_time)
    words = f"New size: {change.desired}; reason: {change.reason}; error: {why}"
    told = note(KIND, hpa.meta, "FailedRescale", words, warning=True)
    return HpaPlan(draft.status, planned.memory, notes=(told,))


def rescaled(hpa: HorizontalPodAutoscaler, change: Rescale) -> Note:
    """Return the note about a number that was written."""
    words = f"New size: {change.desired}; reason: {change.reason}"
    return note(KIND, hpa.meta, "SuccessfulRescale", words)


def plan(
    hpa: HorizontalPodAutoscaler,
    target: Target,
    replicas: Sequence[Replica],
    memory: Memory,
    now: datetime,
) -> HpaPlan:
    """Return what an autoscaler does now.

    Args:
        replicas: the pods of its target, with what they use.
        memory: what is remembered of it; a new one begins with the present number.
    """
    draft, spec, current = _Draft(hpa, now), hpa.spec, target.replicas
    if not memory.recommended:
        memory = Memory((Past(now, current),), memory.added, memory.removed)
    said = "the HPA controller was able to get the target's current scale"
    draft.mark(ABLE, "True", "SucceededGetScale", said)
    if current == 0:
        said = "scaling is disabled since the replica count of the target is zero"
        draft.mark(ACTIVE, "False", "ScalingDisabled", said)
        draft.numbers(0, 0)
        return HpaPlan(draft.status, memory)
    if current > spec.max_replicas:
        return _rescaling(draft, memory, current, spec.max_replicas, _ABOVE_MOST)
    if current < spec.min_replicas:
        return _rescaling(draft, memory, current, spec.min_replicas, _BELOW_LEAST)
    wanted = _recommended(draft, target, replicas)
    if wanted is None:
        draft.numbers(current, hpa.status.desired_replicas or 0)
        return HpaPlan(draft.status, memory, notes=tuple(draft.notes))
    reason = f"{wanted.metric} above target"
    if wanted.replicas < current:
        reason = "All metrics below target"
    desired, memory = _normalized(draft, memory, current, wanted.replicas)
    if desired == current:
        draft.numbers(current, current)
        return HpaPlan(draft.status, memory, notes=tuple(draft.notes))
    return _rescaling(draft, memory, current, desired, reason)


_ABOVE_MOST = "Current number of replicas above Spec.MaxReplicas"
_BELOW_LEAST = "Current number of replicas below Spec.MinReplicas"


class _Draft:
    """A status in the making."""

    def __init__(
        self, hpa: HorizontalPodAutoscaler, now: datetime, status: AutoscalerStatus | None = None
    ) -> None:
        self.hpa = hpa
        self.now = now
        generation = hpa.meta.generation
        self.status = replace(status or hpa.status, observed_generation=generation)
        self.notes: list[Note] = []

    def mark(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition; its time is that of the last change of its status."""
        conditions = list(self.status.conditions)
        index = next((i for i, c in enumerate(conditions) if c.type == kind), None)
        since = self.now
        if index is None:
            index = len(conditions)
        elif conditions[index].status == status:
            since = conditions[index].last_transition_time or self.now
        fresh = AutoscalerCondition(kind, status, reason, message, since)
        conditions[index : index + 1] = [fresh]
        self.status = replace(self.status, conditions=tuple(conditions))

    def numbers(self, current: int, desired: int) -> None:
        self.status = replace(self.status, current_replicas=current, desired_replicas=desired)

    def measured(self, metrics: tuple[MetricStatus, ...]) -> None:
        self.status = replace(self.status, current_metrics=metrics)

    def fail(self, failure: Failure) -> None:
        """Say that nothing can be worked out."""
        self.mark(ACTIVE, "False", failure.reason, failure.message)

    def tell(self, failure: Failure) -> None:
        words = failure.message
        self.notes.append(note(KIND, self.hpa.meta, failure.reason, words, warning=True))


def _rescaling(draft: _Draft, memory: Memory, current: int, desired: int, reason: str) -> HpaPlan:
    said = f"the HPA controller was able to update the target scale to {desired}"
    draft.mark(ABLE, "True", "SucceededRescale", said)
    draft.numbers(current, desired)
    draft.status = replace(draft.status, last_scale_time=draft.now)
    return HpaPlan(draft.status, memory, Rescale(current, desired, reason), tuple(draft.notes))


def _recommended(draft: _Draft, target: Target, replicas: Sequence[Replica]) -> Proposal | None:
    """Return the largest of what the metrics ask for; None where it cannot be known.

    A metric that fails does not keep the others from growing the target; it keeps them from
    shrinking it.
    """
    obstacle = _obstacle(target)
    if obstacle is not None:
        draft.fail(obstacle)
        draft.tell(obstacle)
        return None
    spec, current = draft.hpa.spec, target.replicas
    tolerance = Tolerance.of(spec.behavior)
    found = [propose(each, current, replicas, tolerance, draft.now) for each in spec.metrics]
    good = [each for each in found if isinstance(each, Proposal)]
    bad = [each for each in found if isinstance(each, Failure)]
    draft.measured(tuple(each.status for each in good))
    for failure in bad:
        draft.tell(failure)
    best = max(good, key=lambda each: each.replicas, default=None)
    if best is None or (bad and best.replicas < current):
        first = bad[0] if bad else Failure("InvalidMetricSourceType", "there are no metrics")
        draft.fail(first)
        words = (
            f"invalid metrics ({len(bad)} invalid out of {len(found)}), first error is: "
            f"{first.message}"
        )
        draft.tell(Failure("FailedComputeMetricsReplicas", words))
        return None
    said = f"the HPA was able to successfully calculate a replica count from {best.metric}"
    draft.mark(ACTIVE, "True", "ValidMetricFound", said)
    return best


def _obstacle(target: Target) -> Failure | None:
    if not target.selects:
        return Failure("InvalidSelector", "the HPA target's scale is missing a selector")
    if target.rivals:
        said = f"the target is controlled by {target.rivals + 1} HorizontalPodAutoscalers"
        return Failure("AmbiguousSelector", said)
    return None


def _normalized(draft: _Draft, memory: Memory, current: int, wanted: int) -> tuple[int, Memory]:
    """Return the number that the rules leave, and the memory with the recommendation."""
    spec, now = draft.hpa.spec, draft.now
    steady = stabilized(memory, spec.behavior, current, wanted, now)
    draft.mark(ABLE, "True", steady.reason, steady.message)
    limits = Limits(spec.min_replicas, spec.max_replicas)
    final = limited(memory, spec.behavior, limits, current, steady.replicas, now)
    draft.mark(LIMITED, "True" if final.changed else "False", final.reason, final.message)
    return final.replicas, remember(memory, spec.behavior, wanted, now)
