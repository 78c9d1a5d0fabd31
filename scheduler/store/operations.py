"""The writes a store understands, as values, and what a watch delivers."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from ..errors import StatusError
from ..objects.cohort import Cohort, Reports, Stencil
from ..objects.meta import ObjectMeta
from ..objects.stored import Binding, Body, ObjectKey, StoredObject


class Create(msgspec.Struct, frozen=True, gc=False):
    """Add an object. meta carries name, namespace and uid; fails AlreadyExists.

    A namespaced object needs its namespace to exist (NotFound), not to be terminating (Forbidden),
    and to have room for it in its ResourceQuotas (Forbidden), all in the same transaction.
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


MOST_BOUND = 65_536  # pods that can be bound together: they are one transaction


class BindAll(msgspec.Struct, frozen=True, gc=False):
    """Give pods their nodes together or not at all: one write, whatever else is written beside it.

    Refused as a whole with the reason, and the pod, of the first that cannot be bound.

    Args:
        binds: 1 to MOST_BOUND, each pod once; their own epochs do not count.
        apart: made beside the leader's placement, which does not know of it: its bindings are
            another binder's to these, and these are to it.
    """

    binds: tuple[Bind, ...]
    epoch: int | None = None
    apart: bool = False


class BoundTogether(msgspec.Struct, frozen=True, gc=False):
    """A BindAll was made; its last pod has this revision."""

    revision: int


class CreateCohort(msgspec.Struct, frozen=True, gc=False):
    """Add the pods of a cohort; its created_revision is given out here.

    Fails AlreadyExists when one of their names is taken: try another `start`. The namespace must
    exist and not be terminating, as for Create. Where its quotas have not room for all, the first
    are made and come back as a smaller cohort; the rest, asked for again, is told why not.
    """

    cohort: Cohort
    epoch: int | None = None


class BindCohort(msgspec.Struct, frozen=True, gc=False):
    """Give pods of a cohort their nodes; each pod stands for itself.

    A pod that has left the cohort (somebody changed it) or has a node is refused.

    Args:
        namespace: the cohort's; cohort: its uid.
        ordinals, nodes: which pods, each once, and where it is to go.
        snapshot_revision, requests, decision, epoch: as of Bind.
    """

    namespace: str
    cohort: str
    ordinals: tuple[int, ...]
    nodes: tuple[str, ...]
    snapshot_revision: int
    requests: dict[str, int] = {}
    decision: int = 0
    epoch: int | None = None


class ReportCohort(msgspec.Struct, frozen=True, gc=False):
    """Say what pods of a cohort are, as their node sees it; each pod stands for itself.

    Only a bound pod of which nothing was said yet; later reports are a Replace. They must not have
    ended.

    Args:
        namespace: the cohort's; cohort: its uid.
        ordinals: which pods, each once; own: what each fills the stencil with.
        phase: theirs, as the stencil has it.
    """

    namespace: str
    cohort: str
    ordinals: tuple[int, ...]
    phase: str
    stencil: Stencil
    own: tuple[tuple[str, ...], ...]
    epoch: int | None = None


class Boarding(msgspec.Struct, frozen=True, gc=False):
    """What became of a BindCohort or ReportCohort.

    Args:
        refused: why not, by ordinal; of all the others it is done.
    """

    revision: int
    refused: dict[int, StatusError]


Write = Create | Replace | Remove | Bind
CohortWrite = BindCohort | ReportCohort
AnyWrite = Write | BindAll | CreateCohort | CohortWrite


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


class CohortChange(msgspec.Struct, frozen=True, gc=False):
    """A committed change of many pods of a cohort: they were created, bound, or reported.

    Args:
        first: revision of the first pod's change; the others follow one by one.
        ordinals: which pods.
        nodes: where each was bound, or is; empty for a creation.
        bound_at: when they were bound; None for a creation and for reports.
        bindings: of pods reported; reports: what they are now.
    """

    cohort: Cohort
    first: int
    ordinals: Sequence[int]
    nodes: tuple[str, ...] = ()
    bound_at: datetime | None = None
    bindings: tuple[Binding, ...] = ()
    reports: Reports | None = None

    @property
    def revision(self) -> int:
        """Of the last pod's change."""
        return self.first + len(self.ordinals) - 1

    def after(self, position: int) -> "CohortChange":
        """Return what of it a watcher at `position` has not seen."""
        skip = position + 1 - self.first
        if skip <= 0:
            return self
        return CohortChange(
            self.cohort,
            position + 1,
            self.ordinals[skip:],
            self.nodes[skip:],
            self.bound_at,
            self.bindings[skip:],
            self.reports and self.reports.after(skip),
        )

    def one(self, number: int) -> Change:
        """Return the change of the pod at that position of `ordinals`."""
        ordinal, revision = self.ordinals[number], self.first + number
        if self.reports is not None:
            binding, status = self.bindings[number], self.reports.status(number)
            bound = self.cohort.pod(ordinal, binding)
            told = self.cohort.pod(ordinal, binding, status, revision)
            return Change(ChangeType.MODIFIED, revision, told, bound)
        pod = self.cohort.pod(ordinal)
        if self.bound_at is None:
            return Change(ChangeType.ADDED, revision, pod)
        binding = Binding(self.nodes[number], self.bound_at, revision)
        bound = self.cohort.pod(ordinal, binding)
        return Change(ChangeType.MODIFIED, revision, bound, pod)

    def each(self) -> Iterator[Change]:
        """Yield the change of every pod, in revision order."""
        return map(self.one, range(len(self.ordinals)))


AnyChange = Change | CohortChange


def each_change(changes: Iterable[AnyChange]) -> Iterator[Change]:
    """Yield changes one object at a time."""
    for change in changes:
        if isinstance(change, CohortChange):
            yield from change.each()
        else:
            yield change


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Changes of one or more commits, in revision order; the stream is complete up to `revision`.

    A batch may have no changes: then it only moves the position (a bookmark).
    """

    revision: int
    changes: tuple[AnyChange, ...] = ()


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
