"""NodeUnschedulable: cordoned nodes take no new pods."""

from dataclasses import dataclass

from scheduler.hookspecs import Change, PodClass, Snapshot, TaintKey, Verdict
from scheduler.objects.tolerations import tolerated

_TAINT = TaintKey("node.kubernetes.io/unschedulable", "", "NoSchedule")


@dataclass(frozen=True)
class NodeUnschedulable:
    """Kubernetes NodeUnschedulable: spec.unschedulable, unless its taint is tolerated."""

    name: str = "NodeUnschedulable"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_TAINTS

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes with spec.unschedulable."""
        if not snapshot.unschedulable.any() or tolerated(pod.spec.tolerations, _TAINT):
            return None
        return Verdict(~snapshot.unschedulable, "node(s) were unschedulable", resolvable=False)
