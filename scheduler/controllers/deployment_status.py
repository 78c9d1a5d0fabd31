"""The status of a Deployment: counts, and the conditions Available, Progressing, ReplicaFailure.

Pure; Kubernetes' calculateStatus and syncRolloutStatus. `kubectl rollout status` reads these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..objects.deployment import Deployment, DeploymentCondition, DeploymentStatus
from ..objects.replication import Replication

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE = "NewReplicaSetAvailable"
OVERDUE = "ProgressDeadlineExceeded"
_PAUSED, _RESUMED = "DeploymentPaused", "DeploymentResumed"
_NO_DEADLINE = 2**31 - 1
_UNCHANGED = {_PAUSED: "Deployment is paused", _RESUMED: "Deployment is resumed"}


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step has done.

    Args:
        new: the ReplicaSet of the template, if there is one yet.
        name: its name, or that of the one being made; "" for none.
        created: it is being made.
        found: it was there.
    """

    new: Replication | None
    name: str
    created: bool
    found: bool


def next_status(
    deployment: Deployment, sets: Sequence[Replication], progress: Progress, now: datetime
) -> DeploymentStatus:
    """Return a Deployment's status.

    Args:
        sets: all its ReplicaSets.
    """
    old, new = deployment.status, progress.new
    available = sum(each.status.available_replicas for each in sets)
    status = DeploymentStatus(
        observed_generation=deployment.meta.generation,
        replicas=sum(each.status.replicas for each in sets),
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(each.status.ready_replicas for each in sets),
        available_replicas=available,
        unavailable_replicas=max(0, sum(each.spec.replicas for each in sets) - available),
        collision_count=old.collision_count,
        conditions=old.conditions,
    )
    if available >= deployment.spec.replicas - deployment.unavailable:
        said = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = "Deployment does not have minimum availability."
        said = ("False", "MinimumReplicasUnavailable", words)
    status = _with(status, DeploymentCondition(AVAILABLE, *said), now)
    if not has_deadline(deployment):
        status = _without(status, PROGRESSING)
    elif deployment.meta.deletion_timestamp is None:
        status = _progressing(deployment, status, progress, now)
    return _failing(status, sets, new, now)


def has_deadline(deployment: Deployment) -> bool:
    """Tell whether a Deployment is to say when it does not get on."""
    return deployment.spec.progress_deadline_seconds < _NO_DEADLINE


def complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Tell whether all pods are of the template, and available."""
    counts = {status.updated_replicas, status.replicas, status.available_replicas}
    return counts == {deployment.spec.replicas}


def overdue_in(deployment: Deployment, status: DeploymentStatus, now: datetime) -> timedelta | None:
    """Return after which time without progress a Deployment is overdue, None for never."""
    condition = status.condition(PROGRESSING)
    since = condition.last_update_time if condition is not None else None
    if condition is None or since is None or not has_deadline(deployment):
        return None
    if deployment.spec.paused or condition.reason in (COMPLETE, OVERDUE):
        return None
    seconds = deployment.spec.progress_deadline_seconds
    return max(since + timedelta(seconds=seconds) - now, timedelta(0)) + timedelta(seconds=1)


def _progressing(
    deployment: Deployment, status: DeploymentStatus, progress: Progress, now: datetime
) -> DeploymentStatus:
    current = deployment.status.condition(PROGRESSING)
    paused = current is not None and current.reason == _PAUSED
    timed_out = current is not None and current.reason == OVERDUE
    if deployment.spec.paused != paused and not timed_out:
        reason = _PAUSED if deployment.spec.paused else _RESUMED
        said = DeploymentCondition(PROGRESSING, "Unknown", reason, _UNCHANGED[reason])
        return _with(status, said, now)
    if deployment.spec.paused:
        return status
    subject = f'ReplicaSet "{progress.name}"' if progress.name else "Deployment"
    if progress.created:
        words = f'Created new replica set "{progress.name}"'
        return _with(
            status, DeploymentCondition(PROGRESSING, "True", "NewReplicaSetCreated", words), now
        )
    if current is None and progress.found:
        words = f'Found new replica set "{progress.name}"'
        status = _with(
            status, DeploymentCondition(PROGRESSING, "True", "FoundNewReplicaSet", words), now
        )
    settled = status.replicas == status.updated_replicas
    if current is not None and current.reason == COMPLETE and settled:
        return status
    if complete(deployment, status):
        words = f"{subject} has successfully progressed."
        return _with(status, DeploymentCondition(PROGRESSING, "True", COMPLETE, words), now)
    if _gets_on(deployment.status, status):
        words = f"{subject} is progressing."
        said = DeploymentCondition(PROGRESSING, "True", "ReplicaSetUpdated", words)
        since = now
        if current is not None and current.status == "True":
            since = current.last_transition_time or now
        return _put(status, replace(said, last_update_time=now, last_transition_time=since))
    overdue = overdue_in(deployment, deployment.status, now)
    if timed_out or (overdue is not None and overdue <= timedelta(seconds=1)):
        words = f"{subject} has timed out progressing."
        return _with(status, DeploymentCondition(PROGRESSING, "False", OVERDUE, words), now)
    return status


def _gets_on(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    """Tell whether pods were updated, or old ones went, or more are ready or available."""
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def _failing(
    status: DeploymentStatus, sets: Sequence[Replication], new: Replication | None, now: datetime
) -> DeploymentStatus:
    """Take over a ReplicaSet's failure to make pods, the new one's first."""
    ordered = [*([new] if new is not None else []), *(s for s in sets if s is not new)]
    failures = (c for each in ordered for c in each.status.conditions if c.type == FAILURE)
    failure = next(failures, None)
    if failure is None:
        return _without(status, FAILURE)
    said = DeploymentCondition(FAILURE, failure.status, failure.reason, failure.message)
    return _with(status, said, now)


def _with(
    status: DeploymentStatus, condition: DeploymentCondition, now: datetime
) -> DeploymentStatus:
    """Put a condition in place of one of its type, unless that says the same."""
    old = status.condition(condition.type)
    if old is not None and (old.status, old.reason) == (condition.status, condition.reason):
        return status
    since = now
    if old is not None and old.status == condition.status:
        since = old.last_transition_time or now
    return _put(status, replace(condition, last_update_time=now, last_transition_time=since))


def _put(status: DeploymentStatus, condition: DeploymentCondition) -> DeploymentStatus:
    kept = tuple(c for c in status.conditions if c.type != condition.type)
    return replace(status, conditions=(*kept, condition))


def _without(status: DeploymentStatus, kind: str) -> DeploymentStatus:
    return replace(status, conditions=tuple(c for c in status.conditions if c.type != kind))
