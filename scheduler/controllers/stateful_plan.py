"""What a StatefulSet's pods should become, in the order of their numbers. Pure.

Kubernetes' stateful set control. A pod's name is its number's, and a name exists once: while an old
pod is there, be it on a host that does not answer, no other one takes its place (at most one).
With OrderedReady one thing is done at a time, upwards; scaling down and updates go downwards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..objects.controller_revision import LABEL
from ..objects.pod import Pod
from ..objects.stateful_set import ON_DELETE, StatefulSet, StatefulSetStatus
from .replication_plan import is_ready, ready_since


@dataclass(frozen=True, slots=True)
class Place:
    """A pod to be made: its number, and the name of the ControllerRevision it is made of."""

    ordinal: int
    revision: str


@dataclass(frozen=True, slots=True)
class StatefulPlan:
    """What to write for one StatefulSet.

    Args:
        look_again: when a ready pod becomes available.
    """

    status: StatefulSetStatus
    creates: tuple[Place, ...] = ()
    deletes: tuple[Pod, ...] = ()
    look_again: timedelta | None = None


def plan(
    stateful: StatefulSet, pods: Iterable[Pod], current: str, update: str, now: datetime
) -> StatefulPlan:
    """Return the next step of a StatefulSet.

    Args:
        pods: all it owns.
        current, update: names of the ControllerRevisions of the template that its pods had, and
            of the one that they are to have.
    """
    step = _Step(stateful, current, update, now)
    for pod in pods:
        ordinal = stateful.ordinal_of(pod.meta.name)
        if ordinal is not None:
            step.pods[ordinal] = pod
    if stateful.meta.deletion_timestamp is None:
        step.decide()
    waits = [w for w in map(step.available_in, step.pods.values()) if w]
    return StatefulPlan(
        step.status(), tuple(step.creates), tuple(step.deletes), min(waits, default=None)
    )


@dataclass
class _Step:
    """A step being planned."""

    stateful: StatefulSet
    current: str
    update: str
    now: datetime
    pods: dict[int, Pod] = field(default_factory=dict[int, Pod])
    creates: list[Place] = field(default_factory=list[Place])
    deletes: list[Pod] = field(default_factory=list[Pod])

    @property
    def _ordered(self) -> bool:
        return self.stateful.spec.pod_management_policy != "Parallel"

    def decide(self) -> None:
        """Start what is missing, take away what is too much, then update."""
        wanted = self.stateful.ordinals
        for ordinal in wanted:
            if self._fill(ordinal) and self._ordered:
                return
        condemned = sorted((n for n in self.pods if n not in wanted), reverse=True)
        if self._shrink(condemned) and self._ordered:
            return
        if self.stateful.spec.update_strategy.type != ON_DELETE:
            self._renew(wanted)

    def _fill(self, ordinal: int) -> bool:
        """See to one number; tell whether those after it have to wait."""
        pod = self.pods.get(ordinal)
        if pod is None:
            self.creates.append(Place(ordinal, self._revision_for(ordinal)))
            return True
        if pod.terminal and pod.meta.deletion_timestamp is None:
            self.deletes.append(pod)
            return True
        return pod.meta.deletion_timestamp is not None or not self._available(pod)

    def _revision_for(self, ordinal: int) -> str:
        """Return which template a new pod is made of (newVersionedStatefulSetPod)."""
        if self.stateful.spec.update_strategy.type == ON_DELETE:
            return self.update
        partition = self.stateful.spec.update_strategy.rolling_update.partition
        below = ordinal < self.stateful.spec.ordinals.start + partition
        return self.current if below else self.update

    def _shrink(self, condemned: Sequence[int]) -> bool:
        """Take away the highest first; tell whether anything is left to be taken."""
        for ordinal in condemned:
            pod = self.pods[ordinal]
            if pod.meta.deletion_timestamp is None:
                if self._ordered and not is_ready(pod) and self._unready_below(ordinal):
                    return True
                self.deletes.append(pod)
            if self._ordered:
                return True
        return bool(condemned)

    def _unready_below(self, ordinal: int) -> bool:
        lower = (pod for number, pod in self.pods.items() if number < ordinal)
        return any(not is_ready(pod) for pod in lower)

    def _renew(self, wanted: range) -> None:
        """Delete the highest pod that is not of the update, once those above it are well."""
        partition = self.stateful.spec.update_strategy.rolling_update.partition
        for ordinal in reversed(wanted[partition:]):
            pod = self.pods.get(ordinal)
            if pod is None:
                return
            going = pod.meta.deletion_timestamp is not None
            if revision_of(pod) != self.update and not going:
                if not any(pod.meta.uid == each.meta.uid for each in self.deletes):
                    self.deletes.append(pod)
                return
            if going or not self._available(pod):
                return

    def _available(self, pod: Pod) -> bool:
        return self.available_in(pod) == timedelta(0)

    def available_in(self, pod: Pod) -> timedelta | None:
        """Return after which time a ready pod is available, None for one that is not ready."""
        if not is_ready(pod) or pod.terminal:
            return None
        since = ready_since(pod) or self.now
        seconds = self.stateful.spec.min_ready_seconds
        return max(since + timedelta(seconds=seconds) - self.now, timedelta(0))

    def status(self) -> StatefulSetStatus:
        """Return the counts, and that the update is the current template once all pods have it."""
        alive = [pod for pod in self.pods.values() if pod.active]
        updated = sum(revision_of(pod) == self.update for pod in alive)
        status = StatefulSetStatus(
            observed_generation=self.stateful.meta.generation,
            replicas=len(self.pods),
            ready_replicas=sum(is_ready(pod) for pod in self.pods.values()),
            available_replicas=sum(self._available(pod) for pod in self.pods.values()),
            current_replicas=sum(revision_of(pod) == self.current for pod in alive),
            updated_replicas=updated,
            current_revision=self.current,
            update_revision=self.update,
            conditions=self.stateful.status.conditions,
        )
        counts = {updated, status.replicas, status.ready_replicas}
        rolling = self.stateful.spec.update_strategy.type != ON_DELETE
        if rolling and counts == {self.stateful.spec.replicas}:
            return replace(status, current_revision=self.update, current_replicas=updated)
        return status


def revision_of(pod: Pod) -> str:
    """Return the name of the ControllerRevision that a pod was made of."""
    return pod.meta.labels.get(LABEL, "")
