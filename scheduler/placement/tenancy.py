"""Who runs where, which budgets protect them, and in which order they would be evicted. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import msgspec
import numpy as np

from ..hookspecs import Counts, PodClass, Rows
from ..objects.disruption import BY_PREEMPTION, TARGET, DisruptionBudget
from ..objects.pod import Pod
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey

UNSTARTED = 2**63 - 1  # nanoseconds since 1970: later than any start
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunningPod(msgspec.Struct, frozen=True, gc=False):
    """A pod that is counted on a node.

    Args:
        started: status.startTime in nanoseconds since 1970; UNSTARTED counts as just now.
        leaving: it is being deleted.
        preempted: it is being deleted to make room for another pod.
    """

    key: ObjectKey
    uid: str
    pod: PodClass
    started: int = UNSTARTED
    leaving: bool = False
    preempted: bool = False

    @classmethod
    def of(cls, pod: Pod, wanted: PodClass) -> Self:
        """Return a bound pod of a class as it stands."""
        meta = pod.meta
        key = ObjectKey("pods", meta.namespace, meta.name)
        if meta.deletion_timestamp is None:
            return cls(key, meta.uid, wanted, since_start(pod))
        target = pod.status.condition(TARGET)
        by_us = target is not None and target.status == "True" and target.reason == BY_PREEMPTION
        return cls(key, meta.uid, wanted, since_start(pod), True, by_us)


def since_start(pod: Pod) -> int:
    """Return when a pod started, as `RunningPod.started`."""
    started = pod.status.start_time
    return UNSTARTED if started is None else nanoseconds(started)


def nanoseconds(time: datetime) -> int:
    """Return a time in nanoseconds since 1970; one without a zone is UTC."""
    past = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return (past.days * 86_400 + past.seconds) * 10**9 + past.microseconds * 1000


class Budget(msgspec.Struct, frozen=True):
    """A PodDisruptionBudget as its status stands.

    Args:
        disrupted: names of the pods whose eviction it has counted already.
    """

    namespace: str
    selector: Selector
    allowed: int
    disrupted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, budget: DisruptionBudget) -> Self:
        """Return what placement needs of a PodDisruptionBudget."""
        status = budget.status
        disrupted = frozenset(status.disrupted_pods)
        return cls(budget.meta.namespace, budget.selector, status.disruptions_allowed, disrupted)

    def covers(self, pod: RunningPod) -> bool:
        """Tell whether evicting the pod would use the budget up further.

        As in kube-scheduler an empty selector and a pod without labels match nothing.
        """
        labels = pod.pod.labels
        return (
            bool(labels)
            and self.namespace == pod.key.namespace
            and not self.selector.everything
            and self.selector.matches(labels)
            and pod.key.name not in self.disrupted
        )


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Who is where.

    Args:
        running: node → its pods; every one is counted in the snapshot.
        nominated: node → classes of pods that wait for room there, the pod in question excepted;
            they are not counted in the snapshot.
    """

    running: Mapping[str, Collection[RunningPod]]
    budgets: Sequence[Budget] = ()
    nominated: Mapping[str, Sequence[PodClass]] = field(
        default_factory=dict[str, Sequence[PodClass]]
    )


def is_being_cleared(pod: PodClass, residents: Iterable[RunningPod]) -> bool:
    """Tell whether pods that must make room for one of higher priority are still going."""
    return any(
        each.leaving and each.preempted and each.pod.priority < pod.priority for each in residents
    )


def ranks(priorities: Counts, started: Counts, groups: Counts) -> Rows:
    """Return the order of pods, in groups, the more important first (MoreImportantPod).

    Higher priority, then earlier start. Of those that have not started kube-scheduler takes the
    present at each look, so that the one looked at first is the older: its insertion sort turns
    their order round, and so does this.

    Args:
        priorities, started, groups: (T,) int64; a lower group comes first.
    """
    number = np.arange(started.size, dtype=np.int64)
    tie = np.where(started == UNSTARTED, -number, number)
    return np.lexsort((tie, started, -priorities, groups))


def ranked(pods: Sequence[RunningPod]) -> list[RunningPod]:
    """Return pods, the more important first."""
    priorities = np.array([pod.pod.priority for pod in pods], dtype=np.int64)
    started = np.array([pod.started for pod in pods], dtype=np.int64)
    order: list[int] = ranks(priorities, started, np.zeros_like(started)).tolist()
    return [pods[number] for number in order]


def violating(
    pods: Sequence[RunningPod], budgets: Sequence[Budget]
) -> tuple[list[RunningPod], list[RunningPod]]:
    """Split pods, in order, into those whose eviction breaks a budget and those others."""
    if not budgets:
        return [], list(pods)
    left = [budget.allowed for budget in budgets]
    broken: list[RunningPod] = []
    others: list[RunningPod] = []
    for pod in pods:
        breaks = False
        for number, budget in enumerate(budgets):
            if budget.covers(pod):
                left[number] -= 1
                breaks |= left[number] < 0
        (broken if breaks else others).append(pod)
    return broken, others
