"""What a node's silence or words mean for its conditions and taints. Pure.

Kubernetes' node lifecycle controller: monitorNodeHealth, taints by condition, and no eviction
while not one node is healthy, because then the fault is on this side.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..objects.node import Node, NodeStatus, Taint
from ..objects.pod import Condition

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
    "EngineStuck": "ironfree.dev/engine-stuck",
}
_OWN = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values()})
_HEARTBEATS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Silence:
    """What is known of a node's signs of life.

    Args:
        lasted: since the last one was noticed here, whatever any clock says.
        ever: whether there was one at all.
    """

    lasted: timedelta
    ever: bool


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What to write for a node.

    Args:
        status, taints: to be; equal to the present ones when nothing has changed.
        pods_unready: its pods' Ready condition must be False.
        look_again: when silence would last too long.
    """

    status: NodeStatus
    taints: tuple[Taint, ...]
    pods_unready: bool
    look_again: timedelta | None


def plan(node: Node, silence: Silence, now: datetime, grace: timedelta, evict: bool) -> NodePlan:
    """Return what the node's conditions and taints should be.

    Args:
        grace: without a heartbeat, until the node is Unknown.
        evict: whether NoExecute taints may be set; those present are lifted otherwise.
    """
    left = grace - silence.lasted
    status = node.status if left > timedelta() else _unknown(node.status, silence.ever, now)
    ready = status.condition("Ready")
    word = ready.status if ready is not None else ""
    return NodePlan(
        status=status,
        taints=_taints(node, status, word, now, evict),
        pods_unready=word in {"False", "Unknown"},
        look_again=left if left > timedelta() else None,
    )


def is_healthy(node: Node) -> bool:
    """Tell whether the node says that it is ready."""
    ready = node.status.condition("Ready")
    return ready is not None and ready.status == "True"


def _unknown(status: NodeStatus, ever: bool, now: datetime) -> NodeStatus:
    reason, message = (
        ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        if ever or status.condition("Ready") is not None
        else ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
    )

    def silent(kind: str) -> Condition:
        old = status.condition(kind)
        if old is None:
            return Condition(kind, "Unknown", reason, message, last_transition_time=now)
        if old.status == "Unknown":
            return old
        return replace(
            old, status="Unknown", reason=reason, message=message, last_transition_time=now
        )

    others = tuple(c for c in status.conditions if c.type not in _HEARTBEATS)
    fresh = replace(status, conditions=(*others, *(silent(kind) for kind in _HEARTBEATS)))
    before = {c.type: c for c in status.conditions}
    return status if before == {c.type: c for c in fresh.conditions} else fresh


def _taints(
    node: Node, status: NodeStatus, ready: str, now: datetime, evict: bool
) -> tuple[Taint, ...]:
    wanted: list[tuple[str, str]] = []
    lost = {"False": NOT_READY, "Unknown": UNREACHABLE, "": NOT_READY}.get(ready)
    if lost is not None:
        wanted.append((lost, "NoSchedule"))
        if evict and ready:
            wanted.append((lost, "NoExecute"))
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    for kind, key in _PRESSURES.items():
        condition = status.condition(kind)
        if condition is not None and condition.status == "True":
            wanted.append((key, "NoSchedule"))
    present = {(t.key, t.effect): t for t in node.spec.taints}
    kept = [t for t in node.spec.taints if t.key not in _OWN or (t.key, t.effect) in wanted]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    added = [Taint(k, e, time_added=stamp) for k, e in wanted if (k, e) not in present]
    return (*kept, *added)
