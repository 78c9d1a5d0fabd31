"""Replacing a pod before it goes: who can be, and which replacements will not come. Pure.

A pod annotated with REPLACE_FIRST goes only when its replacement is available. Where that cannot
be while the pod still runs (the two exclude each other, a quota is used up), whoever asked for it
has to take the annotation back and evict the pod instead, or it stays for ever.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .pod import Condition, Pod
from .pod_owner import REPLACING
from .replication import FAILURE, REPLACE_FIRST, REPLACE_ON

UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True, slots=True)
class Futile:
    """How many of a controller's replacements will not come as things are, and why."""

    count: int
    why: str = ""


def replaceable(pod: Pod) -> bool:
    """Tell whether a pod's controller may replace it first: it has one that does, and no veto.

    A veto is that it may run once at most, or REPLACE_FIRST with the value "false".
    """
    owner = pod.meta.controller_owner()
    vetoed = pod.at_most_once or pod.meta.annotations.get(REPLACE_FIRST) == "false"
    return owner is not None and owner.kind in REPLACING and not vetoed


def awaited(pod: Pod) -> bool:
    """Tell whether a pod stays until it is replaced; what a REPLACE_ON asks for ends by itself."""
    said = pod.meta.annotations
    return replaceable(pod) and said.get(REPLACE_FIRST) == "true" and REPLACE_ON not in said


def refusal(conditions: Iterable[Condition]) -> str:
    """Return why a controller cannot create pods, by its status; "" where it can."""
    for each in conditions:
        if each.type == FAILURE and each.status == "True":
            return each.message or each.reason
    return ""


def futile(replicas: int, pods: Iterable[tuple[Pod, int]], refused: str) -> Futile:
    """Return how many replacements of one controller's pods will not come as things are.

    A pod that the scheduler found Unschedulable will not, unless room is being made for it; nor
    will one that could not be created. While others of the controller's pods are being deleted as
    many may still come once these are gone, so they count as on their way.

    Args:
        replicas: how many pods there should be.
        pods: all that the controller owns, each with how many there are of its like.
        refused: why it cannot create more, "" if it can.
    """
    staying = stuck = coming = 0
    why = ""
    for pod, count in pods:
        if pod.terminal:
            continue
        if pod.meta.deletion_timestamp is not None:
            coming += count
        elif not (replaceable(pod) and pod.meta.annotations.get(REPLACE_FIRST) == "true"):
            staying += count
            words = _unschedulable(pod)
            if words:
                stuck, why = stuck + count, why or words
            else:
                coming += count
    if refused:
        stuck, why = stuck + max(0, replicas - staying), why or refused
    count = max(0, min(stuck, replicas - coming))
    return Futile(count, why) if count else Futile(0)


def taken_back(leaving: Sequence[Pod], found: Futile) -> Sequence[Pod]:
    """Return which of a controller's pods that wait for replacements are to be evicted instead.

    Args:
        leaving: those that somebody may take back; always the same ones are chosen of the same.
    """
    return sorted(leaving, key=lambda pod: (pod.meta.namespace, pod.meta.name))[: found.count]


def _unschedulable(pod: Pod) -> str:
    """Return why a pod has no node and gets none, "" where it has or may."""
    if pod.node or pod.status.nominated_node_name:
        return ""
    said = pod.status.condition("PodScheduled")
    if said is None or said.status != "False" or said.reason != UNSCHEDULABLE:
        return ""
    return said.message or said.reason
