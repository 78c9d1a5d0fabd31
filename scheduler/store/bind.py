"""Whether a pod can be bound: what its own state says of it. Pure."""

import msgspec

from ..errors import Conflict, Invalid, NotFound, StatusError
from ..objects.stored import ObjectKey, StoredObject
from .operations import MOST_BOUND, Bind, BindAll
from .rows import names

HostPort = tuple[str, str, int]  # (hostIP, protocol, port)

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - a value to compare with


class _Phase(msgspec.Struct):
    phase: str = ""


_phase = msgspec.json.Decoder(_Phase)


def terminal(pod: StoredObject) -> bool:
    """Tell whether a pod has Succeeded or Failed, so that its capacity is free."""
    return ended(pod.status)


def ended(status: bytes) -> bool:
    """Tell whether a pod's status says Succeeded or Failed."""
    if b'"phase"' not in status:
        return False
    try:
        return _phase.decode(status).phase in {"Succeeded", "Failed"}
    except msgspec.DecodeError:
        return False


def unbindable(op: Bind, pod: StoredObject | None) -> StatusError | None:
    """Say why a pod cannot be given a node, None if it can."""
    if pod is None:
        return not_found(op.pod)
    if op.uid and pod.meta.uid != op.uid:
        return cannot_bind(op, uid_mismatch(op.uid, pod.meta.uid))
    if pod.meta.deletion_timestamp is not None:
        return cannot_bind(op, f"pod {op.pod.name} is being deleted, cannot be assigned to a host")
    if pod.binding is not None:
        return cannot_bind(
            op, f'pod {op.pod.name} is already assigned to node "{pod.binding.node}"'
        )
    if terminal(pod):
        return cannot_bind(op, f"pod {op.pod.name} has already ended")
    return None


def cannot_bind(op: Bind, why: str) -> Conflict:
    """Return the refusal of a binding."""
    return Conflict(
        f'Operation cannot be fulfilled on pods/binding "{op.pod.name}": {why}',
        **names("pods", op.pod.name),
    )


def not_found(key: ObjectKey) -> NotFound:
    """Return the refusal of a write to what does not exist."""
    return NotFound(f'{key.resource} "{key.name}" not found', **names(key.resource, key.name))


def uid_mismatch(wanted: str, held: str) -> str:
    """Say that an object is another one of the same name."""
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {held}"


def overlap(wanted: HostPort, held: HostPort) -> bool:
    """Tell whether two host ports of a node collide (a wildcard address takes every address)."""
    return wanted[1:] == held[1:] and (
        wanted[0] == held[0] or wanted[0] in _WILDCARDS or held[0] in _WILDCARDS
    )


def malformed(op: BindAll) -> Invalid | None:
    """Say what is wrong with a BindAll whatever the state, None if nothing."""
    pods = {bind.pod for bind in op.binds}
    if not op.binds:
        why = "it names no pod"
    elif len(op.binds) > MOST_BOUND:
        why = f"it names {len(op.binds)} pods; at most {MOST_BOUND} can be bound together"
    elif len(pods) < len(op.binds):
        why = "it names a pod twice"
    else:
        return None
    return Invalid(f"pods cannot be bound together: {why}", kind="pods")
