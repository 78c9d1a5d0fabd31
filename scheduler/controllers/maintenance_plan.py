"""What the maintenance windows of a host mean for its node and the pods on it. Pure.

A while before a window opens the node is cordoned and its pods are asked to leave: those that a
controller can replace first are marked, the others evicted as far as their budgets let them. Whose
replacement will not come while it runs loses the mark and is evicted like those. Nothing is forced.
When it has closed the node is as it was before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from ..objects.maintenance import MAINTENANCE, HostMaintenance
from ..objects.node import Node
from ..objects.pod import Pod
from ..objects.pod_owner import DAEMON_SET
from ..objects.replacement import awaited, replaceable
from ..objects.replication import REPLACE_FIRST
from ..objects.windows import Span, next_span

SCHEDULED, DRAINING, DRAINED = "Scheduled", "Draining", "Drained"
BLOCKED, CALLED_OFF = "DrainBlocked", "CalledOff"
_AGAIN = timedelta(seconds=5)  # until who is still here is looked at again, as kubectl waits
_LEAST_PATIENCE = timedelta(seconds=60)
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class MaintenancePlan:
    """What to do for one host.

    Args:
        span: the window that is open or will be next, None where there is none.
        draining: the node is to be free of pods now.
        unschedulable: what the node is to be; None leaves it.
        until: the node's annotation, "" for none.
        leave, evict: pods to mark, and to evict now. stay: pods to take the mark from.
        give_up: of evict, those marked as ones that are not replaced first, with why.
        left: pods that have still to leave, those marked or evicted now included.
        called_off: somebody has uncordoned the node since.
    """

    span: Span | None
    draining: bool = False
    unschedulable: bool | None = None
    until: str = ""
    leave: tuple[Pod, ...] = ()
    evict: tuple[Pod, ...] = ()
    stay: tuple[Pod, ...] = ()
    give_up: tuple[tuple[Pod, str], ...] = ()
    left: tuple[Pod, ...] = ()
    called_off: bool = False


def plan(
    maintenance: HostMaintenance,
    node: Node | None,
    pods: Sequence[Pod],
    now: datetime,
    hopeless: Mapping[str, str] = MappingProxyType({}),
) -> MaintenancePlan:
    """Return what the windows of a host ask for now.

    Args:
        node: the host's, None where it has not registered.
        pods: on that node.
        hopeless: why the replacements of marked pods will not come, by the pods' uids.
    """
    lead = timedelta(seconds=maintenance.lead_seconds)
    span = next_span(maintenance.windows, now, lead)
    marked = tuple(pod for pod in pods if MAINTENANCE in pod.meta.annotations)
    if node is None:
        return MaintenancePlan(span)
    cordoned, until = node.spec.unschedulable, node.meta.annotations.get(MAINTENANCE, "")
    if span is None or now < span.opens - lead:
        ours = bool(until) and cordoned
        return MaintenancePlan(span, unschedulable=False if ours else None, stay=marked)
    closes = stamp(span.closes)
    if until == closes and not cordoned:
        return MaintenancePlan(span, until=closes, stay=marked, called_off=True)
    left = tuple(pod for pod in pods if _leaves(pod))
    give_up = [(p, hopeless[p.meta.uid]) for p in left if p.meta.uid in hopeless]
    evict = [p for p in left if _evictable(p) and p.meta.deletion_timestamp is None]
    return MaintenancePlan(
        span,
        draining=True,
        unschedulable=None if cordoned else True,
        until=closes if until or not cordoned else "",
        leave=tuple(p for p in left if replaceable(p) and not _going(p)),
        evict=(*(pod for pod, _ in give_up), *evict),
        give_up=tuple(give_up),
        left=left,
    )


def stamp(moment: datetime) -> str:
    """Return a moment as annotations and messages have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _leaves(pod: Pod) -> bool:
    """Return whether a pod must leave: a DaemonSet's belongs to the node, and stays."""
    return not pod.terminal and _owner(pod) != DAEMON_SET.kind


def _owner(pod: Pod) -> str:
    owner = pod.meta.controller_owner()
    return owner.kind if owner is not None else ""


def _evictable(pod: Pod) -> bool:
    return bool(_owner(pod)) and not replaceable(pod)


def _going(pod: Pod) -> bool:
    marked = pod.meta.annotations.get(REPLACE_FIRST) == "true"
    return marked or pod.meta.deletion_timestamp is not None


def patience(maintenance: HostMaintenance) -> timedelta:
    """Return how long a replacement may take before its pod is evicted: half the lead, or 60 s."""
    return max(_LEAST_PATIENCE, timedelta(seconds=maintenance.lead_seconds) / 2)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a host says of its maintenance.

    Args:
        status, reason, message: of the condition.
        time: when the window opens.
        look_again: when something is to be done without a cause, None for never.
    """

    status: str
    reason: str
    message: str
    time: datetime
    look_again: timedelta


def outlook(
    made: MaintenancePlan, refusals: Mapping[str, str], lead_seconds: int, now: datetime
) -> Outlook | None:
    """Return what there is to say when a plan has been carried out, None where nothing is ahead.

    Args:
        refusals: why pods could not be evicted, by uid.
    """
    span = made.span
    if span is None:
        return None
    begins = span.opens - timedelta(seconds=lead_seconds)
    times = f"from {stamp(span.opens)} to {stamp(span.closes)}"
    moments = [each - now for each in (begins, span.opens, span.closes) if each > now]
    again = min(moments)
    if made.called_off:
        words = f"the node was uncordoned, so the window {times} is passed over"
        return Outlook("False", CALLED_OFF, words, span.opens, again)
    if not made.draining:
        words = f"window {times}; pods leave from {stamp(begins)} on"
        return Outlook("False", SCHEDULED, words, span.opens, again)
    if not made.left:
        return Outlook("True", DRAINED, f"window {times}; no pods are left", span.opens, again)
    if refusals or made.leave or any(map(awaited, made.left)):
        again = min(again, _AGAIN)
    opened = now >= span.opens
    blocking = _blocking(made.left, refusals, opened=opened)
    reason = BLOCKED if opened else DRAINING
    return Outlook("True", reason, f"window {times}; {blocking}", span.opens, again)


def _blocking(left: Sequence[Pod], refusals: Mapping[str, str], *, opened: bool) -> str:
    """Return who keeps the host from being empty; before it opens, those that will not go."""
    found: list[str] = []
    for pod in left:
        why = _why_here(pod, refusals, opened=opened)
        if why:
            found.append(f"pod {pod.meta.namespace}/{pod.meta.name}: {why}")
    if not found:
        return "pods are leaving"
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return "still here: " + "; ".join(sorted(found)[:_MOST_NAMED]) + more


def _why_here(pod: Pod, refusals: Mapping[str, str], *, opened: bool) -> str:
    if pod.meta.deletion_timestamp is not None:
        return "it is being stopped" if opened else ""
    if not _owner(pod):
        return "no controller would replace it; delete it, or leave it to the maintenance"
    if pod.meta.uid in refusals:
        return refusals[pod.meta.uid]
    if replaceable(pod):
        return "its replacement is not available" if opened else ""
    return ""
