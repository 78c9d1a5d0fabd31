"""Turns informers' deltas into cluster state and queue entries.

Synchronous: what it is given is taken over before it returns, so a decision made right after sees
everything that had been delivered.
"""

import logging
from collections.abc import Callable, Container, Iterable
from functools import reduce

from ..errors import BadRequest
from ..hookspecs import Change
from ..informer import AnyDelta, CohortDelta, Delta
from ..objects.image_manifest import ImageManifest
from ..objects.node import Node
from ..objects.node_ports import foreign_ports
from ..objects.pod import Pod
from ..objects.pod_class import PodClass, pod_class
from ..objects.pod_group import PodGroup
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey, StoredObject
from .batches import Waiting
from .framework import Diagnosis
from .nominations import Nominations
from .plan import PendingPod
from .state import ClusterState, node_offer

logger = logging.getLogger(__name__)

_NOTHING = Change(0)

Report = Callable[[Iterable[PendingPod], str], None]


class Ingest:
    """Keeps state and queue in step with the store.

    Args:
        report: told which pods wait, and why, when that is known without trying.
        ours: the schedulerNames that there are profiles for.
        nominations: learn from here of those made before a restart, and of pods that need none.

    `gated` has the pods of ours that wait for their scheduling gates.
    """

    def __init__(
        self,
        state: ClusterState,
        waiting: Waiting,
        report: Report,
        ours: Container[str],
        nominations: Nominations,
    ) -> None:
        self._state = state
        self._queue = waiting.queue
        self._report = report
        self._ours = ours
        self._nominations = nominations
        self._express = waiting.express
        self._gangs = waiting.gangs
        self.gated: set[ObjectKey] = set()
        self._gone: list[str] = []  # uids of pods that went, of the batch being taken over
        self._parked: tuple[Diagnosis | None, str] = None, ""  # why the last one waits, in words

    def pods(self, deltas: Iterable[AnyDelta[Pod]], now: float) -> None:
        """Take over changes of pods; those that wait for a node have arrived now."""
        # Few distinct ones: adding up flags pod by pod would cost more than the rest here.
        changes = {
            self._cohort(delta, now) if isinstance(delta, CohortDelta) else self._pod(delta, now)
            for delta in deltas
        }
        change = reduce(lambda all_, each: all_ | each, changes, _NOTHING)
        if self._gone:
            if self._state.remove_pods(self._gone):
                change |= Change.POD_REMOVED
            self._gone.clear()
        self._gangs.settle()
        if change:
            self._queue.changed(change)

    def nodes(self, deltas: Iterable[Delta[Node]]) -> None:
        """Take over changes of nodes."""
        change = Change(0)
        gone: dict[str, None] = {}
        for delta in deltas:
            name = delta.key.name
            if delta.new is None:
                gone[name] = None
                change |= Change.NODE_REMOVED
                continue
            if name in gone:
                self._state.remove_nodes((name,))
                del gone[name]
            change |= node_change(delta.old, delta.new)
            self._state.set_node(delta.new)
        self._state.remove_nodes(gone)
        if change:
            self._queue.changed(change)

    def namespaces(self, deltas: Iterable[Delta[dict[str, str]]]) -> None:
        """Take over changes of namespaces' labels."""
        change = Change(0)
        for delta in deltas:
            self._state.set_namespace(delta.key.name, delta.new)
            if delta.new is not None and delta.new != delta.old:
                change |= Change.NAMESPACE
        if change:
            self._queue.changed(change)

    def workloads(self, deltas: Iterable[Delta[Selector | None]]) -> None:
        """Take over what services and controllers select."""
        for delta in deltas:
            key = delta.key
            self._state.set_workload(key.namespace, key.resource, key.name, delta.new)

    def storage(self, deltas: Iterable[Delta[StoredObject]]) -> None:
        """Take over changes of volumes, claims and storage classes."""
        self._state.storage.begin()
        changed = False
        for delta in deltas:
            self._state.storage.set(delta.key, delta.new)
            changed = True
        if changed:
            self._queue.changed(Change.STORAGE)

    def manifests(self, deltas: Iterable[Delta[ImageManifest]]) -> None:
        """Take over what images are made for."""
        changed = False
        for delta in deltas:
            known = delta.new or delta.old
            if known is not None:
                found = delta.new.architectures if delta.new is not None else frozenset[str]()
                changed |= self._state.set_architectures(known.spec.image, found)
        if changed:
            self._queue.changed(Change.IMAGES)

    def groups(self, deltas: Iterable[Delta[PodGroup]]) -> None:
        """Take over changes of PodGroups."""
        for delta in deltas:
            self._gangs.set_group(delta.key, delta.new)
        self._gangs.settle()

    def eligible(self, pod: Pod) -> bool:
        """Tell whether an unbound pod is ours to place now."""
        return not pod.spec.scheduling_gates and self._is_ours(pod)

    def _is_ours(self, pod: Pod) -> bool:
        return (
            pod.meta.deletion_timestamp is None
            and not pod.terminal
            and pod.spec.scheduler_name in self._ours
        )

    def _cohort(self, delta: CohortDelta[Pod], now: float) -> Change:
        change = delta.change
        if change.reports is not None:
            return _NOTHING  # bound pods, which have not ended
        sample = delta.one(0).new
        try:
            wanted = None if sample is None else pod_class(sample)
        except BadRequest:
            wanted = None
        if sample is None or wanted is None:
            pass
        elif wanted.group:
            pass  # members come and go one by one
        elif sample.node:
            if not self._state.set_cohort(change.cohort, wanted, change.ordinals, change.nodes):
                return _NOTHING
            self._bound_by_others(delta)
            return Change.POD_PLACED
        elif self.eligible(sample) and not wanted.host_ports:
            self._express.add(wanted, change.cohort, now)
            return _NOTHING
        flags = {self._pod(each, now) for each in delta.each()}
        return reduce(lambda all_, each: all_ | each, flags, _NOTHING)

    def _bound_by_others(self, delta: CohortDelta[Pod]) -> None:
        """Forget pods of a cohort that wait here, for somebody else has bound them."""
        for each in delta.change.each():
            self._express.leave(each.object.meta.uid)
            self._queue.remove(each.object.key)
            self._nominations.remove(each.object.meta.uid)

    def _pod(self, delta: Delta[Pod], now: float) -> Change:
        old, new = delta.old, delta.new
        change = _NOTHING
        if old is not None and old.stored is not None and old.stored.lodged:
            self._express.leave(old.meta.uid)
        if new is not None and new.spec.scheduling_gates and self._is_ours(new):
            self.gated.add(delta.key)
        elif self.gated:
            self.gated.discard(delta.key)
        if old is not None and (new is None or new.meta.uid != old.meta.uid):
            self.leave(delta.key)
            self._gone.append(old.meta.uid)  # counted no more when all of the batch are known
            change |= self._unnominated(old)
        if new is None:
            return change
        if new.node and not new.terminal:
            self._queue.remove(delta.key)
            self._nominations.remove(new.meta.uid)
            bound = self._bound(delta.key, old, new)
            return change | bound if change else bound
        if new.node or not self.eligible(new):
            self.leave(delta.key)
            change |= self._unnominated(new)
            return change | self._freed(new)
        if (
            old is not None
            and old.status.nominated_node_name
            and not new.status.nominated_node_name
        ):
            change |= self._unnominated(new)
        if new.meta.uid not in self._state or delta.key in self._queue:
            self.waits(new, now)  # otherwise it has been bound, and this is older news
        return change

    def leave(self, key: ObjectKey) -> None:
        """Forget that a pod waits, or that it is a member of a gang."""
        self._queue.remove(key)
        self._gangs.leave(key)

    def _unnominated(self, pod: Pod) -> Change:
        """Give back the room that was kept for a pod which does not come."""
        kept = self._nominations.remove(pod.meta.uid)
        return Change.POD_REMOVED if kept else _NOTHING

    def _freed(self, pod: Pod) -> Change:
        counted = self._state.remove_pod(pod.meta.uid)
        return Change.POD_REMOVED if counted else _NOTHING

    def _bound(self, key: ObjectKey, old: Pod | None, pod: Pod) -> Change:
        try:
            known = pod_class(pod)
            leaving = pod.meta.deletion_timestamp is not None
            if known.group and not leaving:
                self._gangs.bound(known, key)
            else:
                self._gangs.leave(key)
            if not self._state.set_pod(pod.meta.uid, known, pod.node, leaving=leaving):
                return _NOTHING
            if old is None or old.meta.uid != pod.meta.uid or not old.node:
                return Change.POD_PLACED
            resized = pod_class(old).requests != known.requests
            return Change.POD_LABELS | Change.POD_REMOVED if resized else Change.POD_LABELS
        except BadRequest as error:
            logger.error(
                "pod %s/%s on node %s cannot be counted: %s; it was stored without validation",
                pod.meta.namespace,
                pod.meta.name,
                pod.node,
                error,
            )
            return _NOTHING

    def waits(self, pod: Pod, now: float) -> None:
        """Queue a pod that wants a node, or report why it cannot be."""
        key = ObjectKey("pods", pod.meta.namespace, pod.meta.name)
        pending = PendingPod(key, pod.meta.uid)
        wanted = self._class(pod, pending)
        if wanted is None:
            return
        node = pod.status.nominated_node_name
        if node and not self._nominations.node_of(pending.uid):
            self._nominations.add(pending, wanted, node)
        if wanted.group:
            self._gangs.wait(wanted, pending, now)
            return
        self._gangs.leave(key)  # it may have been a member
        diagnosis = self._queue.add(wanted, pending, now)
        if diagnosis is not None:
            if diagnosis is not self._parked[0]:  # mostly many pods in a row join one class
                self._parked = diagnosis, diagnosis.message
            self._report((pending,), self._parked[1])

    def _class(self, pod: Pod, pending: PendingPod) -> PodClass | None:
        try:
            return pod_class(pod)
        except BadRequest as error:
            self.leave(pending.key)
            self._report((pending,), f"the pod's resource requests cannot be read: {error}")
            return None


def node_change(old: Node | None, new: Node) -> Change:
    """Return what of a node's change can help a pod that waits."""
    if old is None:
        return Change.NODE_ADDED
    change = Change(0)
    if _grew(old, new):
        change |= Change.NODE_RESOURCES
    if old.meta.labels != new.meta.labels:
        change |= Change.NODE_LABELS
    if foreign_ports(old.meta.annotations) - foreign_ports(new.meta.annotations):
        change |= Change.POD_REMOVED  # as if a pod had given them back
    before, after = _obstacles(old), _obstacles(new)
    if before - after:
        change |= Change.NODE_TAINTS
    if after - before:
        change |= Change.NODE_REMOVED
    return change


def _obstacles(node: Node) -> set[tuple[str, str, str]]:
    """Return what of a node's spec keeps pods away."""
    found = {(taint.key, taint.value, taint.effect) for taint in node.spec.taints}
    if node.spec.unschedulable:
        found.add(("", "unschedulable", ""))
    return found


def _grew(old: Node, new: Node) -> bool:
    """Tell whether a node offers more of anything than before."""
    before, after = old.status, new.status
    if (before.allocatable, before.capacity) == (after.allocatable, after.capacity):
        return False
    offered = node_offer(old)
    return any(amount > offered.get(name, 0) for name, amount in node_offer(new).items())
