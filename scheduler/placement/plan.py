"""What a batch has decided, as a value: which pod goes where. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import msgspec

from ..objects.cohort import Cohort
from ..objects.pod_class import PodClass
from ..objects.stored import ObjectKey
from .framework import Decision


class PendingPod(msgspec.Struct, frozen=True, gc=False):
    """A pod that waits for a node."""

    key: ObjectKey
    uid: str


class LodgedPods(Sequence[PendingPod]):
    """Pods of one cohort that wait, made when they are looked at.

    Args:
        ordinals: which.
        arrived: when the cohort came, by the cycle's clock.
    """

    def __init__(self, cohort: Cohort, ordinals: Sequence[int], arrived: float) -> None:
        self.cohort = cohort
        self.ordinals = ordinals
        self.arrived = arrived

    def __len__(self) -> int:
        return len(self.ordinals)

    @overload
    def __getitem__(self, index: int) -> PendingPod: ...
    @overload
    def __getitem__(self, index: slice) -> "LodgedPods": ...
    def __getitem__(self, index: int | slice) -> "PendingPod | LodgedPods":
        if isinstance(index, slice):
            return LodgedPods(self.cohort, self.ordinals[index], self.arrived)
        ordinal = self.ordinals[index]
        key = ObjectKey("pods", self.cohort.namespace, self.cohort.name(ordinal))
        return PendingPod(key, self.cohort.pod_uid(ordinal))


@dataclass(frozen=True, slots=True)
class Gang:
    """The waiting members of a PodGroup, which get their nodes together: one entry of the queue.

    Args:
        key: of the group.
        priority: the lowest of its members', so that nobody goes ahead of its own.
        scheduler_name: the profile that it counts for, its first member's.
    """

    key: ObjectKey
    priority: int
    scheduler_name: str


@dataclass(frozen=True, slots=True)
class Allotment:
    """The pods of one class that one decision placed, and those it could not.

    Args:
        pods: placed pods.
        nodes: their nodes' names, one per pod.
        left: pods of the class without a node; decision.diagnosis says why.
        gang: whose members the pods are, if they are bound together.
    """

    pod: PodClass
    pods: Sequence[PendingPod]
    nodes: tuple[str, ...]
    left: Sequence[PendingPod]
    decision: Decision
    gang: Gang | None = None


def without_left(allotment: Allotment) -> Allotment:
    """Return what an allotment has placed; what it has not is somebody else's now."""
    return replace(allotment, left=(), decision=replace(allotment.decision, diagnosis=None))


@dataclass(frozen=True, slots=True)
class Plan:
    """The allotments of one batch, made on one snapshot.

    Args:
        revision: of the snapshot.
    """

    revision: int
    allotments: tuple[Allotment, ...]
