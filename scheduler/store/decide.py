"""Decides a batch of writes against the present state: pure, one operation after the other.

What was loaded cannot change before the commit, or nothing is committed (see commits).
Operations of one batch see each other's results in order. An operation that fails takes no
revision and changes nothing; every other takes one for each object that it changes.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ..errors import (
    AlreadyExists,
    Cause,
    Conflict,
    Fenced,
    Forbidden,
    Invalid,
    NotFound,
    StatusError,
)
from ..objects.cohort import Lodging, berth
from ..objects.stored import Binding, Body, ObjectKey, StoredObject
from .bind import (
    HostPort,
    cannot_bind,
    ended,
    malformed,
    not_found,
    overlap,
    terminal,
    uid_mismatch,
    unbindable,
)
from .boarding import Boardings
from .operations import (
    AnyChange,
    AnyWrite,
    Bind,
    BindAll,
    BindCohort,
    Boarding,
    BoundTogether,
    Change,
    ChangeType,
    CohortChange,
    Create,
    CreateCohort,
    Remove,
    Replace,
    ReportCohort,
)
from .quota_ledger import Ledgers
from .rows import (
    BindingRow,
    binding_row,
    checked_metadata,
    encode_json,
    names,
    object_row,
)
from .verdict import Outcome, Present, Verdict


def decide(ops: Sequence[AnyWrite], present: Present, now: datetime) -> Verdict:
    """Return what a batch does.

    Args:
        ops: in order.
        present: the state as of the head; it is used up by the call.
        now: the time bindings get.
    """
    batch = _Batch(present, now)
    outcomes = [batch.apply(op) for op in ops]
    return batch.verdict(outcomes)


def touched(ops: Sequence[AnyWrite]) -> set[ObjectKey]:
    """Return the keys whose present state `decide` needs."""
    keys: set[ObjectKey] = set()
    namespaces: set[str] = set()
    nodes: set[str] = set()
    for op in ops:
        if isinstance(op, Create):
            keys.add(ObjectKey(op.resource, op.meta.namespace, op.meta.name))
            namespaces.add(op.meta.namespace)
        elif isinstance(op, Replace):
            keys.add(ObjectKey(op.resource, op.meta.namespace, op.meta.name))
        elif isinstance(op, Remove):
            keys.add(op.key)
        elif isinstance(op, CreateCohort):
            namespaces.add(op.cohort.namespace)
        elif isinstance(op, BindCohort):
            nodes.update(op.nodes)
        elif isinstance(op, ReportCohort):
            continue
        elif isinstance(op, BindAll):
            keys.update(bind.pod for bind in op.binds)
            nodes.update(bind.node for bind in op.binds)
        else:
            keys.add(op.pod)
            nodes.add(op.node)
    keys.update(ObjectKey("namespaces", "", name) for name in namespaces if name)
    keys.update(ObjectKey("nodes", "", name) for name in nodes)
    return keys


class _Batch:
    """The state as the batch proceeds."""

    def __init__(self, present: Present, now: datetime) -> None:
        self._present = present
        self._objects = present.objects
        self._first = dict(present.objects)
        self._revision = present.revision
        self._now = now
        self._changes: list[AnyChange] = []
        self._boardings = Boardings(present.lodgings, present.places)
        self._ledgers = Ledgers(present.quotas, present.census)
        self._lodged = [key for key, obj in present.objects.items() if obj and obj.lodged]
        self._bodies: dict[bytes, Body] = {}
        self._metadata: dict[ObjectKey, tuple[bytes, int]] = {}
        self._bindings: dict[str, BindingRow] = {}
        self._ports: dict[str, tuple[str, Sequence[HostPort]]] = {}
        self._removed: list[str] = []
        self._released: list[str] = []
        self._tombstones: list[StoredObject] = []
        self._bound: dict[str, dict[int, int]] = {}
        self._nodes: dict[str, ObjectKey] = {}

    def apply(self, op: AnyWrite) -> Outcome:
        """Do one operation, or say why not."""
        if op.epoch is not None and op.epoch != self._present.epoch:
            return Fenced(
                f"the leader of epoch {op.epoch} has been replaced (now {self._present.epoch}); "
                "its write was not made"
            )
        if isinstance(op, Create):
            return self._create(op)
        if isinstance(op, Replace):
            return self._replace(op)
        if isinstance(op, Remove):
            return self._remove(op)
        if isinstance(op, CreateCohort):
            return self._create_cohort(op)
        if isinstance(op, BindCohort):
            return self._bind_cohort(op)
        if isinstance(op, ReportCohort):
            return self._report_cohort(op)
        if isinstance(op, BindAll):
            return self._bind_all(op)
        return self._bind(op)

    def verdict(self, outcomes: list[Outcome]) -> Verdict:
        """Return the writes that bring the first state to the last."""
        self._count_quotas()
        verdict = Verdict(outcomes, self._changes, revision=self._revision)
        verdict.tombstones = self._tombstones
        for key, (metadata, revision) in self._metadata.items():
            before, after = self._first[key], self._objects[key]
            if after is None:
                continue
            row = object_row(after, metadata, revision)
            if after.body.digest:
                verdict.bodies[after.body.digest] = after.body
            if before is not None and before.meta.uid == after.meta.uid:
                verdict.updates.append(row)
            else:
                verdict.inserts.append(row)
        for gone in self._tombstones:
            before = self._first[gone.key]
            if before is not None and before.meta.uid == gone.meta.uid:
                verdict.deletes.append(gone.key)
            if gone.body.digest:
                verdict.bodies[gone.body.digest] = gone.body
        verdict.bindings = list(self._bindings.values())
        verdict.ports = [
            (node, port, uid)
            for uid, (node, ports) in self._ports.items()
            for port in dict.fromkeys(ports)
        ]
        verdict.removed_pods = self._removed
        verdict.released = self._released
        boardings = self._boardings
        verdict.bodies |= self._bodies
        verdict.cohorts, verdict.left = boardings.fresh(), boardings.left()
        verdict.emptied, verdict.berths = boardings.emptied(), boardings.rows()
        verdict.boarded, verdict.reports = list(boardings.bound()), boardings.reported()
        verdict.lodgings = boardings.known()
        verdict.quotas = self._ledgers.held()
        return verdict

    def _count_quotas(self) -> None:
        """Write what the batch has used of quotas, once for each."""
        for quota in self._ledgers.counted(self._revision):
            old = self._objects[quota.key]
            self._revision = quota.revision
            self._put(quota.key, quota, encode_json(quota.meta))
            self._changes.append(Change(ChangeType.MODIFIED, quota.revision, quota, old))

    def _create(self, op: Create) -> Outcome:
        meta = op.meta
        key = ObjectKey(op.resource, meta.namespace, meta.name)
        if meta.namespace:
            refusal = self._refused_by_namespace(op.resource, meta.namespace, meta.name)
            if refusal is not None:
                return refusal
        if self._objects[key] is not None or self._boardings.newly_named(key):
            return AlreadyExists(
                f'{op.resource} "{meta.name}" already exists', **names(op.resource, meta.name)
            )
        metadata = checked_metadata(op)
        if isinstance(metadata, StatusError):
            return metadata
        refusal = self._ledgers.admit(op)
        if refusal is not None:
            return refusal
        self._revision += 1
        obj = StoredObject(
            op.resource, meta, self._revision, self._revision, op.body, op.status, None
        )
        obj = self._ledgers.kept(obj)
        self._put(key, obj, metadata)
        self._changes.append(Change(ChangeType.ADDED, self._revision, obj))
        return obj

    def _refused_by_namespace(self, resource: str, name: str, what: str) -> StatusError | None:
        namespace = self._objects[ObjectKey("namespaces", "", name)]
        if namespace is None:
            return NotFound(f'namespaces "{name}" not found', kind="namespaces", name=name)
        if namespace.meta.deletion_timestamp is not None:
            return Forbidden(
                f'{resource} "{what}" is forbidden: unable to create new content in '
                f"namespace {name} because it is being terminated",
                **names(resource, what),
            )
        return None

    def _create_cohort(self, op: CreateCohort) -> Outcome:
        cohort = op.cohort
        refusal = self._refused_by_namespace("pods", cohort.namespace, cohort.prefix)
        made = (key for key, obj in self._objects.items() if obj and key.resource == "pods")
        refusal = refusal or self._boardings.name_taken(cohort, made)
        if refusal is not None:
            return refusal
        metadata = checked_metadata(cohort)
        if isinstance(metadata, StatusError):
            return metadata
        size, refusal = self._ledgers.fit(cohort)
        if refusal is not None:
            return refusal
        first = self._revision + 1
        cohort = msgspec.structs.replace(cohort, size=size, created_revision=first)
        self._revision += cohort.size
        self._bodies[cohort.body.digest] = cohort.body
        self._changes.append(self._boardings.create(cohort))
        return cohort

    def _bind_cohort(self, op: BindCohort) -> Outcome:
        lodging = self._boardings.find(op.cohort)
        if lodging is None:
            return self._boardings.cohort_gone(op)
        cohort = lodging.cohort
        pod = ObjectKey("pods", cohort.namespace, cohort.prefix)
        snapshot = op.snapshot_revision
        taken = {
            node: self._node_taken(Bind(pod, "", node, snapshot, epoch=op.epoch))
            for node in set(op.nodes)
        }
        first = self._revision + 1
        berths, refused = self._boardings.board(op, lodging, taken, first, self._now)
        if berths is not None:
            self._revision += len(berths.ordinals)
            change = CohortChange(cohort, first, berths.ordinals, berths.nodes, self._now)
            self._changes.append(change)
            for number, node in enumerate(berths.nodes):
                self._bound.setdefault(node, {})[berths.epoch] = first + number
            self._refresh(lodging)
        return Boarding(self._revision, refused)

    def _report_cohort(self, op: ReportCohort) -> Outcome:
        lodging = self._boardings.find(op.cohort)
        if lodging is None:
            return self._boardings.cohort_gone(op)
        first = self._revision + 1
        reports, refused = self._boardings.report(op, lodging, first)
        if reports is not None:
            self._revision += len(reports.ordinals)
            bindings = tuple(b for o in reports.ordinals if (b := lodging.binding(o)))
            nodes = tuple([binding.node for binding in bindings])
            self._changes.append(
                CohortChange(
                    lodging.cohort,
                    first,
                    reports.ordinals,
                    nodes,
                    bindings=bindings,
                    reports=reports,
                )
            )
            self._refresh(lodging)
        return Boarding(self._revision, refused)

    def _refresh(self, lodging: Lodging) -> None:
        """Show later operations of the batch what a cohort's pods have become."""
        for key in self._lodged:
            obj = self._objects[key]
            if obj is not None and obj.lodged and berth(obj.meta.uid)[0] == lodging.cohort.uid:
                self._objects[key] = lodging.pod(berth(obj.meta.uid)[1])

    def _leave(self, key: ObjectKey, pod: StoredObject) -> None:
        """Make a lodged pod one with rows of its own."""
        row = self._boardings.leave(pod)
        if row is not None:
            self._bindings[pod.meta.uid] = row
        self._first[key] = None

    def _replace(self, op: Replace) -> Outcome:
        meta = op.meta
        key = ObjectKey(op.resource, meta.namespace, meta.name)
        old = self._objects[key]
        if old is None:
            return not_found(key)
        expected = self._ledgers.expected(old, op.expected_revision)
        refusal = _precondition(old, expected, meta.uid)
        if refusal is not None:
            return refusal
        if old.binding is not None and terminal(old) and not ended(op.status):
            return _revived(key)
        metadata = checked_metadata(op)
        if isinstance(metadata, StatusError):
            return metadata
        refusal = self._ledgers.admit_change(old, op)
        if refusal is not None:
            return refusal
        if old.lodged:
            self._leave(key, old)
        self._revision += 1
        obj = StoredObject(
            op.resource,
            meta,
            self._revision,
            old.created_revision,
            op.body,
            op.status,
            old.binding,
        )
        obj = self._ledgers.kept(obj, old)
        self._put(key, obj, metadata)
        self._changes.append(Change(ChangeType.MODIFIED, self._revision, obj, old))
        if obj.binding is not None and terminal(obj) and not terminal(old):
            self._release(obj)
        return obj

    def _remove(self, op: Remove) -> Outcome:
        old = self._objects[op.key]
        if old is None:
            return not_found(op.key)
        expected = self._ledgers.expected(old, op.expected_revision)
        refusal = _precondition(old, expected, op.uid or old.meta.uid)
        if refusal is not None:
            return refusal
        self._ledgers.release(old)
        if old.lodged:
            self._leave(op.key, old)
        self._revision += 1
        obj = msgspec.structs.replace(old, revision=self._revision, lodged=False)
        self._objects[op.key] = None
        self._tombstones.append(obj)
        self._changes.append(Change(ChangeType.DELETED, self._revision, obj, old))
        if old.binding is not None:
            self._free_ports(old)
            if self._bindings.pop(old.meta.uid, None) is None:
                self._removed.append(old.meta.uid)
        return obj

    def _bind(self, op: Bind) -> Outcome:
        pod = self._objects[op.pod]
        refusal = unbindable(op, pod) or self._node_taken(op)
        if refusal is not None or pod is None:
            return refusal or not_found(op.pod)
        return self._put_on(op, pod)

    def _bind_all(self, op: BindAll) -> Outcome:
        refusal = malformed(op)
        if refusal is not None:
            return refusal
        found: list[tuple[Bind, StoredObject]] = []
        ports: list[tuple[str, HostPort]] = []  # those of the members before
        for each in op.binds:
            bind = msgspec.structs.replace(each, epoch=None if op.apart else op.epoch)
            pod = self._objects[bind.pod]
            refused = unbindable(bind, pod) or self._node_taken(bind)
            if refused is not None or pod is None:
                for node, port in ports:
                    self._present.ports[node].discard(port)
                return refused or not_found(bind.pod)
            found.append((bind, pod))
            for port in bind.host_ports:
                self._present.ports.setdefault(bind.node, set()).add(port)
                ports.append((bind.node, port))
        for bind, pod in found:
            self._put_on(bind, pod)
        return BoundTogether(self._revision)

    def _put_on(self, op: Bind, pod: StoredObject) -> StoredObject:
        if pod.lodged:
            self._leave(op.pod, pod)
            self._metadata[op.pod] = (encode_json(pod.meta), pod.revision)
        self._revision += 1
        revision = self._revision
        binding = Binding(op.node, self._now, revision)
        self._bindings[pod.meta.uid] = binding_row(pod.meta.uid, binding, op)
        self._bound.setdefault(op.node, {})[_binder(op)] = revision
        if op.host_ports:
            self._ports[pod.meta.uid] = (op.node, op.host_ports)
            self._present.ports.setdefault(op.node, set()).update(op.host_ports)
        bound = StoredObject(
            pod.resource,
            pod.meta,
            revision,
            pod.created_revision,
            pod.body,
            pod.status,
            binding,
        )
        self._objects[op.pod] = bound
        self._changes.append(Change(ChangeType.MODIFIED, revision, bound, pod))
        return bound

    def _node_taken(self, op: Bind) -> StatusError | None:
        key = self._nodes.get(op.node)
        if key is None:
            key = self._nodes[op.node] = ObjectKey("nodes", "", op.node)
        node = self._objects[key]
        if node is None:
            return NotFound(f'nodes "{op.node}" not found', kind="nodes", name=op.node)
        if node.revision > op.snapshot_revision:
            return cannot_bind(op, f'node "{op.node}" has changed since it was looked at')
        for bound in (self._present.bound.get(op.node), self._bound.get(op.node)):
            for epoch, revision in bound.items() if bound else ():
                if revision > op.snapshot_revision and (epoch == 0 or epoch != op.epoch):
                    return cannot_bind(op, f'another binder has used node "{op.node}" meanwhile')
        held = self._present.ports.get(op.node, ())
        for port in op.host_ports:
            if any(overlap(port, other) for other in held):
                return cannot_bind(op, f'host port {port[2]}/{port[1]} of "{op.node}" is taken')
        return None

    def _put(self, key: ObjectKey, obj: StoredObject, metadata: bytes) -> None:
        self._objects[key] = obj
        self._metadata[key] = (metadata, obj.revision)

    def _release(self, pod: StoredObject) -> None:
        uid = pod.meta.uid
        self._free_ports(pod)
        fresh = self._bindings.get(uid)
        if fresh is None:
            self._released.append(uid)
        else:
            self._bindings[uid] = fresh._replace(released=True)

    def _free_ports(self, pod: StoredObject) -> None:
        """Forget ports taken in this batch; those of earlier ones count until it is committed."""
        node, ports = self._ports.pop(pod.meta.uid, ("", ()))
        self._present.ports.get(node, set()).difference_update(ports)


def _binder(op: Bind) -> int:
    """Return who binds: the leader's epoch; 0 is anybody else."""
    return op.epoch or 0


def _revived(key: ObjectKey) -> Invalid:
    """Refuse to run what has ended: its capacity and host ports may be another pod's by now."""
    why = "Forbidden: a pod that has Succeeded or Failed cannot run again"
    return Invalid(
        f'{key.resource} "{key.name}" is invalid: status.phase: {why}',
        **names(key.resource, key.name),
        causes=(Cause("status.phase", why, "FieldValueForbidden"),),
    )


def _precondition(old: StoredObject, revision: int | None, uid: str) -> Conflict | None:
    if uid != old.meta.uid:
        why = uid_mismatch(uid, old.meta.uid)
    elif revision is not None and revision != old.revision:
        why = (
            "the object has been modified; please apply your changes to the latest version "
            "and try again"
        )
    else:
        return None
    return Conflict(
        f'Operation cannot be fulfilled on {old.resource} "{old.meta.name}": {why}',
        **names(old.resource, old.meta.name),
    )
