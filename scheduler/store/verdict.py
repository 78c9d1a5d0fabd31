"""What a batch of writes is decided on, and what becomes of it, as values."""

from dataclasses import dataclass, field

from ..errors import Fenced, StatusError
from ..objects.cohort import Cohort, Lodging
from ..objects.stored import Body, ObjectKey, StoredObject
from .bind import HostPort
from .operations import AnyChange, Boarding, BoundTogether
from .quota_ledger import Census, HeldQuota
from .rows import BindingRow, ObjectRow

Outcome = StoredObject | Cohort | Boarding | BoundTogether | StatusError | Fenced


@dataclass
class Present:
    """What the batch's operations may look at, as of the head lock.

    Args:
        objects: every key the operations name, None where there is no object.
        bound: node → binder's epoch → revision of its latest binding there, complete after the
            operations' snapshots; only read.
        ports: host ports held on the nodes that operations want host ports of.
        lodgings: the cohorts that operations name or whose pods they name.
        places: of names beginning as a new cohort's, by (namespace, prefix).
        quotas: the ResourceQuotas of the operations' namespaces that have some; these are among
            the objects, too.
        census: of the namespaces where a quota is to be counted anew, all that counts.
    """

    revision: int
    epoch: int
    objects: dict[ObjectKey, StoredObject | None]
    bound: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    ports: dict[str, set[HostPort]] = field(default_factory=dict[str, set[HostPort]])
    lodgings: list[Lodging] = field(default_factory=list[Lodging])
    places: dict[tuple[str, str], set[int]] = field(default_factory=dict[tuple[str, str], set[int]])
    quotas: dict[str, tuple[HeldQuota, ...]] = field(
        default_factory=dict[str, tuple[HeldQuota, ...]]
    )
    census: dict[str, Census] = field(default_factory=dict[str, Census])


@dataclass
class Verdict:
    """What to write and what to answer.

    Args:
        outcomes: one per operation, in order.
        changes: what watchers get, in revision order.
        removed_pods: uids whose binding and ports go; released: uids whose capacity is free.
        cohorts: to insert; left: whose pods have left; emptied: uids of those to delete.
        reports: rows of what cohorts' pods are; berths: rows of their bindings; boarded: of those
            (node, binder's epoch, revision).
        lodgings: the cohorts that were looked at, as they are then; quotas: likewise.
    """

    outcomes: list[Outcome]
    changes: list[AnyChange]
    inserts: list[ObjectRow] = field(default_factory=list[ObjectRow])
    updates: list[ObjectRow] = field(default_factory=list[ObjectRow])
    deletes: list[ObjectKey] = field(default_factory=list[ObjectKey])
    tombstones: list[StoredObject] = field(default_factory=list[StoredObject])
    bindings: list[BindingRow] = field(default_factory=list[BindingRow])
    ports: list[tuple[str, HostPort, str]] = field(default_factory=list[tuple[str, HostPort, str]])
    removed_pods: list[str] = field(default_factory=list[str])
    released: list[str] = field(default_factory=list[str])
    bodies: dict[bytes, Body] = field(default_factory=dict[bytes, Body])
    cohorts: list[Lodging] = field(default_factory=list[Lodging])
    left: list[Lodging] = field(default_factory=list[Lodging])
    emptied: list[str] = field(default_factory=list[str])
    berths: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    reports: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    boarded: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    lodgings: list[Lodging] = field(default_factory=list[Lodging])
    quotas: dict[str, tuple[HeldQuota, ...]] = field(
        default_factory=dict[str, tuple[HeldQuota, ...]]
    )
    revision: int = 0
