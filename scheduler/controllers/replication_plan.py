"""What becomes of the pods of a ReplicationController or ReplicaSet: create, delete, adopt. Pure.

Kubernetes' replica set semantics: PodControllerRefManager (adoption and release),
ActivePodsWithRanks (which pods go first) and calculateStatus. Beyond that, a pod annotated with
REPLACE_FIRST counts as leaving: its replacement is made at once, and it goes when as many others
are available as there should be. REPLACE_ON has the replacement nominated to a node.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ..objects.lots import Crowd
from ..objects.pod import Condition, Pod
from ..objects.replication import (
    FAILURE,
    REPLACE_FIRST,
    REPLACE_ON,
    REPLACES,
    Replication,
    ReplicationStatus,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Succession:
    """A pod that is to be replaced first, by one on a certain node."""

    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class ReplicationPlan:
    """What to write for one ReplicationController or ReplicaSet.

    Args:
        creates: number of pods to create now, at most the burst.
        deletes: pods to delete now, in order; at most the burst.
        adopt: orphans to take over.
        orphan: owned pods to let go, because they stopped matching.
        status: to be; equal to the present one when nothing has changed.
        look_again: after which a ready pod becomes available, None when there is none waiting.
        successions: of the pods to create, those meant for a certain node.
    """

    creates: int
    deletes: tuple[Pod, ...]
    adopt: tuple[Pod, ...]
    orphan: tuple[Pod, ...]
    status: ReplicationStatus
    look_again: timedelta | None = None
    successions: tuple[Succession, ...] = ()


def plan(
    controller: Replication,
    pods: Iterable[Pod],
    now: datetime,
    burst: int = 5000,
    crowds: Sequence[Crowd[Pod]] = (),
) -> ReplicationPlan:
    """Return what makes the pods those the controller asks for.

    Terminating pods and pods that have Succeeded or Failed count as gone; but one that may run once
    at most is not succeeded while it is Terminating, for it may still run on a host that is away.

    Args:
        pods: of the controller's namespace; at least those it owns and the orphans it selects.
        now: UTC.
        burst: most pods created or deleted at a time.
        crowds: further pods it owns, of which none may have to go (see `suffices`).
    """
    owned: list[Pod] = []
    adopt: list[Pod] = []
    orphan: list[Pod] = []
    deleting = controller.meta.deletion_timestamp is not None
    lingering = 0
    for pod in pods:
        owner = pod.meta.controller_owner()
        if not pod.active:
            ours = owner is not None and owner.uid == controller.meta.uid
            lingering += ours and not pod.terminal and pod.at_most_once
            continue
        matches = controller.selector.matches(pod.meta.labels)
        if owner is None:
            if matches and not deleting:
                adopt.append(pod)
        elif owner.uid == controller.meta.uid:
            if matches or deleting:
                owned.append(pod)
            else:
                orphan.append(pod)
    claimed = owned + adopt
    leaving = [pod for pod in claimed if _is_leaving(pod)]
    staying = [pod for pod in claimed if not _is_leaving(pod)] if leaving else claimed
    alike = sum(crowd.count for crowd in crowds)
    excess = 0 if deleting else len(staying) + alike - controller.spec.replicas
    doomed = deletion_order(staying, now) if excess > 0 else []
    replaced: Sequence[Pod] = (
        () if deleting else _replaced(controller, leaving, staying, crowds, now)
    )
    doomed = [*replaced, *doomed[: max(excess, 0)]][:burst]
    gone = {pod.meta.uid for pod in doomed}
    creates = min(max(0, -excess - lingering), burst)
    return ReplicationPlan(
        creates=creates,
        deletes=tuple(doomed),
        adopt=tuple(pod for pod in adopt if pod.meta.uid not in gone),
        orphan=tuple(orphan),
        status=_status(controller, claimed, crowds, now),
        look_again=_look_again(controller, [*claimed, *(c.sample for c in crowds)], now),
        successions=_successions(leaving, staying)[:creates],
    )


def _is_leaving(pod: Pod) -> bool:
    return pod.meta.annotations.get(REPLACE_FIRST) == "true" and not pod.at_most_once


def _successions(leaving: Sequence[Pod], staying: Sequence[Pod]) -> tuple[Succession, ...]:
    """Return which pods that leave for a certain node have no successor yet."""
    if not leaving:
        return ()
    succeeded = {pod.meta.annotations.get(REPLACES) for pod in staying}
    return tuple(
        Succession(pod.meta.uid, node)
        for pod in leaving
        if (node := pod.meta.annotations.get(REPLACE_ON)) and pod.meta.uid not in succeeded
    )


def _replaced(
    controller: Replication,
    leaving: Sequence[Pod],
    staying: Sequence[Pod],
    crowds: Sequence[Crowd[Pod]],
    now: datetime,
) -> Sequence[Pod]:
    """Return which of the pods that are to be replaced first may go: others stand in for them."""
    if not leaving:
        return ()
    weighed = [*((pod, 1) for pod in staying), *((crowd.sample, crowd.count) for crowd in crowds)]
    available = sum(
        count
        for pod, count in weighed
        if is_ready(pod) and _available_at(controller, pod, now) <= now
    )
    kept = max(0, controller.spec.replicas - available)
    return deletion_order(leaving, now)[: max(0, len(leaving) - kept)]


def suffices(controller: Replication, pods: Sequence[Pod], crowds: Sequence[Crowd[Pod]]) -> bool:
    """Tell whether a plan needs no look at each pod of the crowds.

    It matters which of a crowd is looked at only when some have to go, or are to be let go.
    """
    count = len(pods) + sum(crowd.count for crowd in crowds)
    return count <= controller.spec.replicas and all(
        controller.selector.matches(crowd.sample.meta.labels) for crowd in crowds
    )


def deletion_order(pods: Collection[Pod], now: datetime) -> list[Pod]:
    """Return the pods in the order in which an excess is deleted (ActivePodsWithRanks).

    Unassigned, then Pending, then not ready, cheap to delete, doubled up on a node, ready or
    created for a shorter time on a logarithmic scale, restarted more often. Where upstream leaves
    the order within a logarithmic step to the uid alone, restarts and age are looked at before.
    """
    on_node = Counter(pod.node for pod in pods if pod.node)

    def rank(pod: Pod) -> tuple[float | str, ...]:
        since = ready_since(pod)
        return (
            pod.node != "",
            _PHASES.get(pod.status.phase, 2),
            is_ready(pod),
            _cost(pod),
            -on_node[pod.node],
            _magnitude(since, now) if is_ready(pod) else 0,
            -max((s.restart_count or 0 for s in pod.status.container_statuses), default=0),
            _magnitude(pod.meta.creation_timestamp, now),
            -_moment(pod.meta.creation_timestamp),
            -(pod.stored.created_revision if pod.stored is not None else 0),
            pod.meta.uid,
        )

    return sorted(pods, key=rank)


def is_ready(pod: Pod) -> bool:
    """Tell whether the pod's Ready condition is True."""
    condition = pod.status.condition("Ready")
    return condition is not None and condition.status == "True"


def ready_since(pod: Pod) -> datetime | None:
    """Return when the pod became ready, if it is."""
    condition = pod.status.condition("Ready")
    ready = condition is not None and condition.status == "True"
    return condition.last_transition_time if condition is not None and ready else None


def with_failure(
    status: ReplicationStatus, reason: str, message: str, now: datetime
) -> ReplicationStatus:
    """Return the status with or, for reason "", without the condition ReplicaFailure."""
    others = tuple(c for c in status.conditions if c.type != FAILURE)
    if not reason:
        return msgspec.structs.replace(status, conditions=others)
    old = next((c for c in status.conditions if c.type == FAILURE), None)
    since = old.last_transition_time if old is not None and old.status == "True" else now
    failure = Condition(FAILURE, "True", reason, message[:1024], last_transition_time=since)
    return msgspec.structs.replace(status, conditions=(*others, failure))


def _status(
    controller: Replication, pods: Sequence[Pod], crowds: Sequence[Crowd[Pod]], now: datetime
) -> ReplicationStatus:
    template = controller.spec.template
    labels = template.metadata.labels if template is not None else {}
    weighed = [*((pod, 1) for pod in pods), *((c.sample, c.count) for c in crowds)]
    ready = [(pod, count) for pod, count in weighed if is_ready(pod)]
    return ReplicationStatus(
        replicas=sum(count for _, count in weighed),
        fully_labeled_replicas=sum(count for pod, count in weighed if _carries(pod, labels)),
        ready_replicas=sum(count for _, count in ready),
        available_replicas=sum(
            count
            for pod, count in ready
            if not controller.spec.min_ready_seconds or _available_at(controller, pod, now) <= now
        ),
        observed_generation=controller.meta.generation,
        conditions=controller.status.conditions,
    )


def _carries(pod: Pod, labels: Mapping[str, str]) -> bool:
    return all(pod.meta.labels.get(k) == v for k, v in labels.items())


def _available_at(controller: Replication, pod: Pod, now: datetime) -> datetime:
    if not controller.spec.min_ready_seconds:
        return now
    return (ready_since(pod) or now) + timedelta(seconds=controller.spec.min_ready_seconds)


def _look_again(controller: Replication, pods: Sequence[Pod], now: datetime) -> timedelta | None:
    if not controller.spec.min_ready_seconds:
        return None
    waits = [_available_at(controller, pod, now) - now for pod in pods if is_ready(pod)]
    return min((wait for wait in waits if wait > timedelta()), default=None)


def _cost(pod: Pod) -> int:
    try:
        return int(pod.meta.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _magnitude(since: datetime | None, now: datetime) -> int:
    """Return the logarithm of an age in seconds, -1 for none: equal ages look equal."""
    if since is None:
        return -1
    age = (now - since).total_seconds()
    return math.floor(math.log2(age)) + 1 if age >= 1 else 0


def _moment(at: datetime | None) -> float:
    return at.timestamp() if at is not None else math.inf
