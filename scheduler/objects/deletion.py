"""What a delete request does to an object: mark it, shorten its grace, or remove it.

Kubernetes semantics: rest.BeforeDelete, pod strategy CheckGracefulDelete, and the finalizers of
foreground and orphan deletion.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from .meta import ObjectMeta
from .pod import pod_view
from .stored import StoredObject

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """A client's wish (meta/v1 DeleteOptions).

    Args:
        grace_seconds: None takes the kind's default.
        propagation: "Background", "Foreground" or "Orphan".
    """

    grace_seconds: int | None = None
    propagation: str = "Background"


def delete(stored: StoredObject, request: DeletionRequest, now: datetime) -> ObjectMeta | None:
    """Return the metadata of an object that lives on while deleting, or None to remove it now.

    Args:
        now: UTC, whole seconds.
    """
    meta = stored.meta
    grace = _grace(stored, request)
    finalizers = _finalizers(meta.finalizers, request.propagation)
    if stored.resource == "namespaces" or finalizers or grace > 0:
        return _marked(replace(meta, finalizers=finalizers), grace, now)
    return None


def _marked(meta: ObjectMeta, grace: int, now: datetime) -> ObjectMeta:
    deadline = now + timedelta(seconds=grace)
    if meta.deletion_timestamp is not None:
        if (meta.deletion_grace_period_seconds or 0) <= grace:
            return meta  # a repeat may only shorten
        deadline = min(meta.deletion_timestamp, deadline)
    return replace(
        meta,
        deletion_timestamp=deadline,
        deletion_grace_period_seconds=grace,
        generation=meta.generation + 1 if meta.generation else 0,
    )


def _grace(stored: StoredObject, request: DeletionRequest) -> int:
    if stored.resource != "pods":
        return 0
    pod = pod_view(stored)
    if not pod.node or pod.terminal:
        return 0
    if request.grace_seconds is None:  # who may run once at most stays until its host has ended it
        return max(pod.spec.termination_grace_period_seconds, int(pod.at_most_once))
    return max(request.grace_seconds, 0)


def _finalizers(present: tuple[str, ...], propagation: str) -> tuple[str, ...]:
    kept = tuple(f for f in present if f not in {FOREGROUND, ORPHAN})
    match propagation:
        case "Foreground":
            return (*kept, FOREGROUND)
        case "Orphan":
            return (*kept, ORPHAN)
        case _:
            return kept
