"""Which nodes are to have a DaemonSet's pod, and which pods have to go. Pure.

Kubernetes' daemon set controller: a pod on every node that its template allows and whose taints it
tolerates; one that is there already stays through NoSchedule taints. A node gets no second pod
while an old one is still there, but for maxSurge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..objects.controller_revision import LABEL
from ..objects.daemon_set import (
    ON_DELETE,
    DaemonSet,
    DaemonSetStatus,
    daemon_tolerations,
    target_node,
)
from ..objects.node import Node, Taint
from ..objects.node_selection import selects_node
from ..objects.pod import Pod, PodSpec
from ..objects.tolerations import tolerated
from .job_plan import ended_at
from .replication_plan import is_ready, ready_since

_REST = timedelta(seconds=10)  # until a pod that has ended is replaced
_UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "NoSchedule")


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """What to write for one DaemonSet.

    Args:
        creates: names of nodes that get a pod.
        deletes: pods to delete.
        look_again: when to look without a cause.
    """

    status: DaemonSetStatus
    creates: tuple[str, ...] = ()
    deletes: tuple[Pod, ...] = ()
    look_again: timedelta | None = None


def plan(
    daemons: DaemonSet,
    nodes: Sequence[Node],
    pods: Iterable[Pod],
    present: str,
    now: datetime,
    burst: int = 5000,
) -> DaemonPlan:
    """Return what brings the pods to the nodes.

    Args:
        nodes: all there are.
        pods: all it owns.
        present: name of its present template, as its pods carry it.
    """
    step = _Step(daemons, present, now)
    by_node: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=_age):
        by_node.setdefault(target_node(pod), []).append(pod)
    eligible: dict[str, list[Pod]] = {}
    misplaced, spec = 0, daemons.pod_spec
    for node in nodes:
        name, there = node.meta.name, by_node.pop(node.meta.name, [])
        wanted, tolerable = runs_on(spec, node)
        if wanted:
            eligible[name] = there
        elif there:
            misplaced += 1
        step.manage(name, there, wanted=wanted, stays=tolerable)
    for there in by_node.values():  # of nodes that are no more; those bound are collected
        step.deletes += [pod for pod in there if pod.active and not pod.node]
    if daemons.meta.deletion_timestamp is None:
        step.roll(eligible)
    status = step.status(eligible, misplaced)
    if daemons.meta.deletion_timestamp is not None:
        return DaemonPlan(status)
    deletes = {pod.meta.uid: pod for pod in step.deletes}
    return DaemonPlan(
        status,
        tuple(step.creates[:burst]),
        tuple(deletes.values())[:burst],
        min(step.waits, default=None),
    )


def runs_on(spec: PodSpec, node: Node) -> tuple[bool, bool]:
    """Tell whether a node is to have a pod, and whether one that is there may stay."""
    if spec.node_name not in ("", node.meta.name) or not selects_node(spec, node):
        return False, False
    tolerations = (*spec.tolerations, *daemon_tolerations(host_network=spec.host_network))
    taints = [*node.spec.taints, *([_UNSCHEDULABLE] if node.spec.unschedulable else [])]
    refused = {taint.effect for taint in taints if not tolerated(tolerations, taint)}
    evicted = "NoExecute" in refused
    return not evicted and "NoSchedule" not in refused, not evicted


@dataclass
class _Step:
    """A plan being made."""

    daemons: DaemonSet
    present: str
    now: datetime
    creates: list[str] = field(default_factory=list[str])
    deletes: list[Pod] = field(default_factory=list[Pod])
    waits: list[timedelta] = field(default_factory=list[timedelta])

    def manage(self, name: str, there: Sequence[Pod], *, wanted: bool, stays: bool) -> None:
        """Have one pod on a node that is to have one, and none where it may not stay."""
        alive = [pod for pod in there if pod.active]
        if not stays:  # nor may one that has ended
            self.deletes += [pod for pod in there if pod.meta.deletion_timestamp is None]
            return
        self._clear(there)
        surging = self._surges and len({self._updated(pod) for pod in alive}) == 2
        self.deletes += self._outlived(alive) if surging else alive[1:]
        if wanted and not there:
            self.creates.append(name)

    @property
    def _surges(self) -> bool:
        return self.daemons.limits(1)[0] > 0 and not self._on_delete

    @property
    def _on_delete(self) -> bool:
        return self.daemons.spec.update_strategy.type == ON_DELETE

    def _clear(self, there: Sequence[Pod]) -> None:
        """Delete pods that have ended, after a rest: the node gets others then."""
        for pod in there:
            if pod.terminal and pod.meta.deletion_timestamp is None:
                left = (ended_at(pod) or self.now) + _REST - self.now
                if left <= timedelta(0):
                    self.deletes.append(pod)
                else:
                    self.waits.append(left)

    def roll(self, eligible: Mapping[str, Sequence[Pod]]) -> None:
        """Replace old pods, as many at a time as may be unavailable or doubled."""
        if self._on_delete:
            return
        surge, unavailable = self.daemons.limits(len(eligible))
        if surge:
            self._surge(eligible, surge)
        else:
            self._replace(eligible, unavailable)

    def _replace(self, eligible: Mapping[str, Sequence[Pod]], most: int) -> None:
        missing, broken, old = 0, list[Pod](), list[Pod]()
        for there in eligible.values():
            pod = next((pod for pod in there if pod.active), None)
            if pod is None:
                missing += 1
            elif not self._available(pod):
                missing += 1
                if not self._updated(pod):
                    broken.append(pod)
            elif not self._updated(pod):
                old.append(pod)
        self.deletes += [*broken, *old[: max(0, most - missing)]]

    def _surge(self, eligible: Mapping[str, Sequence[Pod]], most: int) -> None:
        doubled, candidates = 0, list[str]()
        for name, there in eligible.items():
            alive = [pod for pod in there if pod.active]
            old = [pod for pod in alive if not self._updated(pod)]
            if old and len(old) < len(alive):
                doubled += 1
            elif old:
                candidates.append(name)
        self.creates += candidates[: max(0, most - doubled)]

    def _outlived(self, alive: Sequence[Pod]) -> Sequence[Pod]:
        """Return the old pods of a node with old and new ones, once they are not waited for."""
        old = [pod for pod in alive if not self._updated(pod)]
        new = next(pod for pod in alive if self._updated(pod))
        return old if self._available(new) or not self._available(old[0]) else ()

    def _updated(self, pod: Pod) -> bool:
        return pod.meta.labels.get(LABEL) == self.present

    def _available(self, pod: Pod) -> bool:
        return self._available_in(pod) == timedelta(0)

    def _available_in(self, pod: Pod) -> timedelta | None:
        """Return after which time a ready pod is available, None for one that is not ready."""
        if not is_ready(pod):
            return None
        since = ready_since(pod) or self.now
        seconds = self.daemons.spec.min_ready_seconds
        return max(since + timedelta(seconds=seconds) - self.now, timedelta(0))

    def status(self, eligible: Mapping[str, Sequence[Pod]], misplaced: int) -> DaemonSetStatus:
        """Return the counts; of several pods on a node the oldest speaks, as upstream."""
        first = [there[0] for there in eligible.values() if there]
        alive = [next((p for p in there if p.active), None) for there in eligible.values()]
        waits = [self._available_in(pod) for pod in alive if pod is not None]
        self.waits += [wait for wait in waits if wait]
        available = sum(wait == timedelta(0) for wait in waits)
        return DaemonSetStatus(
            current_number_scheduled=len(first),
            number_misscheduled=misplaced,
            desired_number_scheduled=len(eligible),
            number_ready=sum(pod is not None and is_ready(pod) for pod in alive),
            observed_generation=self.daemons.meta.generation,
            updated_number_scheduled=sum(pod is not None and self._updated(pod) for pod in alive),
            number_available=available,
            number_unavailable=len(eligible) - available,
            conditions=self.daemons.status.conditions,
        )


def _age(pod: Pod) -> tuple[float, str]:
    made = pod.meta.creation_timestamp
    return (made.timestamp() if made is not None else 0.0, pod.meta.name)
