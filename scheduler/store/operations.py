"""The writes a store understands, as values, and what a watch delivers."""

from enum import StrEnum

import msgspec

from ..objects.meta import ObjectMeta
from ..objects.stored import Body, ObjectKey, StoredObject


class Create(msgspec.Struct, frozen=True, gc=False):
    """Add an object. meta carries name, namespace and uid; fails AlreadyExists.

    A namespaced object needs its namespace to exist (NotFound) and not to be terminating
    (Forbidden), checked in the same transaction.
    """

    resource: str
    meta: ObjectMeta
    body: Body
    status: bytes = b""
    epoch: int | None = None


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Put a new state in place of an object's.

    Args:
        expected_revision: the revision it was read at; a mismatch is a Conflict. None overwrites.
        meta: meta.uid must be the stored uid (Conflict otherwise).
        epoch: of the leader writing; Fenced when it has been replaced. None for API clients.
    """

    resource: str
    meta: ObjectMeta
    body: Body
    status: bytes
    expected_revision: int | None
    epoch: int | None = None


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Delete an object for good; watchers get its last state. uid "" matches any."""

    key: ObjectKey
    uid: str = ""
    expected_revision: int | None = None
    epoch: int | None = None


class Bind(msgspec.Struct, frozen=True, gc=False):
    """Give a pod its node, once (primary key: the pod's uid).

    Args:
        pod: key and uid of the pod; it must exist, be undeleted and unbound.
        node: must exist, and must not have changed nor been bound to by another binder after
            snapshot_revision (Conflict otherwise), so that no two binders overcommit it.
        requests: milli-units for cpu, base units otherwise; includes "pods": 1.
        decision: id of the decision record, 0 for none.
    """

    pod: ObjectKey
    uid: str
    node: str
    snapshot_revision: int
    requests: dict[str, int] = {}
    host_ports: tuple[tuple[str, str, int], ...] = ()  # (hostIP, protocol, port)
    decision: int = 0
    epoch: int | None = None


Write = Create | Replace | Remove | Bind


class ChangeType(StrEnum):
    """Kubernetes watch event types that carry an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(msgspec.Struct, frozen=True, gc=False):
    """One committed change.

    Args:
        object: the state at `revision`; for DELETED the last state, with the deletion's revision.
        prior: the state before, when known (None also for ADDED); tells whether a selector
            matched before. Unknown only while catching up from SQL after a restart.
    """

    type: ChangeType
    revision: int
    object: StoredObject
    prior: StoredObject | None = None


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Changes of one or more commits, in revision order; the stream is complete up to `revision`.

    A batch may have no changes: then it only moves the position (a bookmark).
    """

    revision: int
    changes: tuple[Change, ...] = ()


class Listing(msgspec.Struct, frozen=True, gc=False):
    """Objects of a resource at one revision, by namespace and name; watch on from `revision`."""

    revision: int
    objects: tuple[StoredObject, ...]


class Occupancy(msgspec.Struct, frozen=True, gc=False):
    """What the bound pods that have not ended hold of one node, at one revision.

    Args:
        requests: milli-units for cpu, base units otherwise; "pods" counts them.
            What nothing is held of is left out.
        host_ports: (hostIP, protocol, port).
    """

    revision: int
    requests: dict[str, int]
    host_ports: tuple[tuple[str, str, int], ...] = ()
