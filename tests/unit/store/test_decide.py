"""A batch does what its operations would do one after the other, in fewer rows."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import Conflict, Fenced
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Binding, Body, ObjectKey, StoredObject
from scheduler.store.bind import overlap
from scheduler.store.decide import decide, touched
from scheduler.store.operations import Bind, Create, Remove, Replace
from scheduler.store.verdict import Present

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["x", "x", "x", "y"])
UIDS = st.sampled_from(["u1", "u2", "u3"])
RESOURCES = st.sampled_from(["pods", "pods", "pods", "configmaps"])
EPOCHS = st.sampled_from([None, 1, 1, 1, 2])
REVISIONS = st.sampled_from([None, None, None, 11, 12, 13])
STATUSES = st.sampled_from([b"", b'{"phase":"Running"}', b'{"phase":"Failed"}'])
PORTS = st.sampled_from([(), (("", "TCP", 80),), (("10.0.0.1", "TCP", 80),)])


def meta(name, uid):
    return ObjectMeta(name=name, namespace="default", uid=uid)


def create(resource, name, uid, status, epoch):
    return Create(resource, meta(name, uid), Body(b"{}"), status, epoch)


def replace(resource, name, uid, status, expected, epoch):
    return Replace(resource, meta(name, uid), Body(b'{"n":1}'), status, expected, epoch)


def remove(resource, name, uid, expected, epoch):
    return Remove(ObjectKey(resource, "default", name), uid, expected, epoch)


def bind(name, uid, node, snapshot, ports, epoch):
    where = ObjectKey("pods", "default", name)
    return Bind(where, uid, node, snapshot, {"cpu": 1, "pods": 1}, ports, 0, epoch)


OPS = st.one_of(
    st.builds(create, RESOURCES, NAMES, UIDS, STATUSES, EPOCHS),
    st.builds(replace, RESOURCES, NAMES, UIDS, STATUSES, REVISIONS, EPOCHS),
    st.builds(remove, RESOURCES, NAMES, st.sampled_from(["", "", "u1"]), REVISIONS, EPOCHS),
    st.builds(
        bind,
        NAMES,
        UIDS,
        st.sampled_from(["a", "b"]),
        st.sampled_from([9, 11, 20, 20, 20]),
        PORTS,
        EPOCHS,
    ),
)


class Database:
    """The tables, written as the SQL writes them."""

    def __init__(self):
        self.revision = 10
        self.objects = {}
        self.bindings = {}
        self.ports = {}
        self.tombstones = []
        for resource, _namespace, name in (
            ("namespaces", "", "default"),
            ("nodes", "", "a"),
            ("nodes", "", "b"),
        ):
            obj = StoredObject(
                resource, ObjectMeta(name=name, uid=name), 5, 5, Body(b"{}"), b"", None
            )
            self.objects[obj.key] = obj

    def get(self, key):
        obj = self.objects.get(key)
        row = obj and self.bindings.get(obj.meta.uid)
        if not row:
            return obj
        binding = Binding(row.node, row.bound_at, row.revision)
        revision = max(obj.revision, row.revision)
        return msgspec.structs.replace(obj, binding=binding, revision=revision)

    def present(self, ops):
        bound = {}
        for row in self.bindings.values():
            epochs = bound.setdefault(row.node, {})
            epochs[row.epoch] = max(epochs.get(row.epoch, 0), row.revision)
        ports = {}
        for node, port in self.ports:
            ports.setdefault(node, set()).add(port)
        keys = {key: self.get(key) for key in touched(ops)}
        return Present(self.revision, 1, keys, bound, ports)

    def write(self, ops):
        verdict = decide(ops, self.present(ops), NOW)
        for key in verdict.deletes:
            del self.objects[key]
        self.tombstones += [(o.revision, o.key, o.meta.uid) for o in verdict.tombstones]
        for uid in verdict.removed_pods:
            del self.bindings[uid]
        for uid in verdict.released:
            self.bindings[uid] = self.bindings[uid]._replace(released=True)
        freed = {*verdict.removed_pods, *verdict.released}
        self.ports = {k: uid for k, uid in self.ports.items() if uid not in freed}
        for row in (*verdict.inserts, *verdict.updates):
            key = ObjectKey(row.resource, row.namespace, row.name)
            assert (key in self.objects) == (row in verdict.updates)
            self.objects[key] = StoredObject(
                row.resource,
                ObjectMeta(name=row.name, namespace=row.namespace, uid=row.uid),
                row.revision,
                row.created_revision,
                Body(row.body),
                row.status or b"",
            )
        for row in verdict.bindings:
            assert row.pod_uid not in self.bindings
            self.bindings[row.pod_uid] = row
        for node, port, uid in verdict.ports:
            assert not any(n == node and overlap(port, p) for n, p in self.ports)
            self.ports[node, port] = uid
        assert len(verdict.changes) == verdict.revision - self.revision
        assert [c.revision for c in verdict.changes] == list(
            range(self.revision + 1, verdict.revision + 1)
        )
        self.revision = verdict.revision
        return verdict.outcomes


def distinct(ops):
    """Drop creations that use a uid again: uids are unique in the database."""
    used, kept = set(), []
    for op in ops:
        if isinstance(op, Create):
            if op.meta.uid in used:
                continue
            used.add(op.meta.uid)
        kept.append(op)
    return kept


def plain(outcomes):
    return [o if isinstance(o, StoredObject) else (type(o), str(o)) for o in outcomes]


@settings(deadline=None, max_examples=600)
@given(st.lists(OPS, max_size=14).map(distinct), st.integers(0, 14))
def test_a_batch_is_its_operations_in_order(ops, split):
    together, single = Database(), Database()
    first = together.write(ops[:split]) + together.write(ops[split:])
    second = [outcome for op in ops for outcome in single.write([op])]
    # Ports freed within a batch are not given out again before it is committed.
    if any("host port" in str(outcome) for outcome in first):
        return
    assert plain(first) == plain(second)
    assert together.__dict__ == single.__dict__


@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize(
    "ops",
    [
        [
            create("pods", "x", "u1", b"", None),
            remove("pods", "x", "", None, None),
            create("pods", "x", "u2", b"", None),
            remove("pods", "x", "", None, None),
            create("pods", "x", "u3", b"", None),
        ],
        [
            create("pods", "x", "u1", b"", None),
            bind("x", "u1", "a", 20, (("", "TCP", 80),), 1),
            replace("pods", "x", "u1", b'{"phase":"Failed"}', None, None),
            replace("pods", "x", "u1", b'{"phase":"Failed","reason":"x"}', None, None),
        ],
        [
            create("pods", "x", "u1", b"", None),
            bind("x", "u1", "a", 20, (("", "TCP", 80),), 1),
            remove("pods", "x", "u1", None, None),
            create("pods", "y", "u2", b"", None),
        ],
    ],
)
def test_long_lives_in_one_batch(ops, split):
    together, single = Database(), Database()
    first = together.write(ops[:split]) + together.write(ops[split:])
    second = [outcome for op in ops for outcome in single.write([op])]
    assert all(isinstance(outcome, StoredObject) for outcome in first)
    assert first == second
    assert together.__dict__ == single.__dict__


def test_ports_are_never_held_twice_even_then():
    database = Database()
    ops = [
        create("pods", "x", "u1", b"", None),
        bind("x", "u1", "a", 20, (("", "TCP", 80),), 1),
        remove("pods", "x", "u1", None, None),
        create("pods", "x", "u2", b"", None),
        bind("x", "u2", "a", 20, (("10.0.0.1", "TCP", 80),), 1),
    ]
    outcomes = database.write(ops)
    assert all(isinstance(o, StoredObject) for o in outcomes)
    assert database.ports == {("a", ("10.0.0.1", "TCP", 80)): "u2"}


def test_epochs_are_checked_first():
    database = Database()
    outcomes = database.write([create("pods", "x", "u1", b"", 2), bind("x", "", "a", 20, (), 1)])
    assert isinstance(outcomes[0], Fenced)
    assert not isinstance(outcomes[1], (Conflict, StoredObject))
