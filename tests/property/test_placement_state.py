"""Cluster state kept delta by delta equals one built at once, and snapshots stay frozen."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.objects.pod_class import pod_class
from scheduler.placement.state import ClusterState
from tests.placement_cases import node, pod
from tests.store_values import cohort

NAMES = [f"n{i}" for i in range(5)]


def described(snapshot):
    """Return a snapshot by names instead of rows and codes."""
    nodes = {}
    for row, facts in enumerate(snapshot.nodes):
        nodes[facts.name] = {
            "allocatable": by_resource(snapshot, snapshot.allocatable[:, row]),
            "requested": by_resource(snapshot, snapshot.requested[:, row]),
            "assumed": snapshot.assumed[:, row].tolist(),
            "labels": {
                key: next(value for value, code in column.code_of.items() if code == here)
                for key, column in snapshot.labels.items()
                if (here := column.codes[row]) >= 0
            },
            "taints": snapshot.taint_sets[snapshot.taint_codes[row]],
            "unschedulable": bool(snapshot.unschedulable[row]),
            "ready": bool(snapshot.ready[row]),
        }
        assert nodes[facts.name]["labels"] == facts.labels
        assert snapshot.row_of[facts.name] == row
    named = [facts.name for facts in snapshot.nodes]
    ports = {
        (key, named[row], ip): count
        for key, users in snapshot.ports.items()
        for (row, ip), count in users.items()
    }
    placed = {
        (wanted.key, named[row]): count
        for wanted, rows in snapshot.placed.items()
        for row, count in rows.items()
    }
    return nodes, ports, placed


def by_resource(snapshot, column):
    amounts = zip(snapshot.resources, column.tolist(), strict=True)
    return {name: amount for name, amount in amounts if amount}


nodes = st.builds(
    node,
    st.sampled_from(NAMES),
    cpu=st.sampled_from(["1", "4"]),
    labels=st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"), max_size=2),
    taints=st.lists(st.just(("k", "NoSchedule", "")), max_size=1),
    unschedulable=st.booleans(),
    ready=st.sampled_from(["True", "False"]),
    gpu=st.sampled_from(["0", "2"]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("node"), nodes),
        st.tuples(st.just("nodes gone"), st.sets(st.sampled_from(NAMES), max_size=3)),
        st.tuples(
            st.just("pod"),
            st.builds(
                pod,
                st.sampled_from([f"p{i}" for i in range(6)]),
                node=st.sampled_from(NAMES),
                cpu=st.sampled_from(["1", "2"]),
                port=st.sampled_from([None, 80]),
                requests=st.sampled_from([{}, {"gpu": "1"}]),
            ),
        ),
        st.tuples(st.just("pod gone"), st.sampled_from([f"uid-p{i}" for i in range(6)])),
        st.tuples(st.just("freeze"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_incremental_equals_rebuilt_and_frozen_stays_frozen(steps):
    state, present, bound, frozen = ClusterState(), {}, {}, []
    for kind, thing in steps:
        if kind == "node":
            state.set_node(thing)
            present[thing.meta.name] = thing
        elif kind == "nodes gone":
            state.remove_nodes(thing)
            present = {name: each for name, each in present.items() if name not in thing}
        elif kind == "pod":
            state.set_pod(thing.meta.uid, pod_class(thing), thing.node)
            bound[thing.meta.uid] = thing
        elif kind == "pod gone":
            assert state.remove_pod(thing) == (bound.pop(thing, None) is not None)
        else:
            snapshot = state.freeze(1)
            frozen.append((snapshot, described(snapshot)))
    rebuilt = ClusterState()
    for each in present.values():
        rebuilt.set_node(each)
    for each in bound.values():
        rebuilt.set_pod(each.meta.uid, pod_class(each), each.node)
    assert described(state.freeze(1)) == described(rebuilt.freeze(1))
    for snapshot, before in frozen:
        assert described(snapshot) == before


@given(st.integers(1, 40), st.integers(1, 60))
def test_assuming_many_is_setting_each(size, count):
    wanted = pod_class(pod(cpu="1"))
    placed = [(f"u{i}", f"n{(i * 7) % size}") for i in range(count)]
    at_once, each = ClusterState(), ClusterState()
    for state in (at_once, each):
        for number in range(size):
            state.set_node(node(f"n{number}"))
    before = at_once.freeze(1)
    at_once.assume(wanted, placed)
    for uid, name in placed:
        each.set_pod(uid, wanted, name)
    assert described(at_once.freeze(1)) == described(each.freeze(1))
    assert not before.requested.any()


def test_a_snapshot_cannot_be_written():
    state = ClusterState()
    state.set_node(node("n"))
    snapshot = state.freeze(1)
    columns = (snapshot.allocatable, snapshot.requested, snapshot.unschedulable)
    assert not any(column.flags.writeable for column in columns)
    assert isinstance(snapshot.requested, np.ndarray)


LOTS = [cohort(4, start=10 * n) for n in range(3)]
CLASSES = [pod_class(pod(cpu=cpu, labels={"app": cpu})) for cpu in ("1", "2", "3")]
OTHER = pod_class(pod(cpu="1", labels={"app": "changed"}))
NAMED = st.sampled_from(NAMES[:3])
boarded = st.lists(st.tuples(st.integers(0, 3), NAMED), unique_by=lambda pair: pair[0], min_size=1)
lot_steps = st.lists(
    st.one_of(
        st.tuples(st.just("bind"), st.tuples(st.integers(0, 2), boarded)),
        st.tuples(st.just("assume"), st.tuples(st.integers(0, 2), boarded)),
        st.tuples(
            st.just("alone"),
            st.tuples(st.integers(0, 2), st.integers(0, 3), NAMED, st.booleans(), st.booleans()),
        ),
        st.tuples(st.just("gone"), st.tuples(st.integers(0, 2), st.integers(0, 3))),
        st.tuples(st.just("node"), NAMED),
        st.tuples(st.just("nodes gone"), st.sets(NAMED, max_size=2)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(lot_steps)
def test_a_cohort_counts_as_its_pods_do(steps):
    """Whatever is done to cohorts' pods together, and in between to one of them alone."""
    state, plain = ClusterState(), ClusterState()
    going = {}
    for kind, thing in steps:
        if kind in ("bind", "assume"):
            number, pairs = thing
            lot, wanted = LOTS[number], CLASSES[number]
            # who left its cohort is bound and assumed alone
            pairs = [(n, node) for n, node in pairs if lot.pod_uid(n) not in going]
            if kind == "assume":
                known = {facts.name for facts in plain.freeze(1).nodes}
                pairs = [
                    (n, node)
                    for n, node in pairs
                    if node in known and not remembered(plain, lot.pod_uid(n))
                ]
            if not pairs:
                continue
            ordinals, nodes = zip(*pairs, strict=True)
            uids = [lot.pod_uid(n) for n in ordinals]
            assert state.is_lodged(lot, ordinals) == any(uid in plain for uid in uids)
            if kind == "assume":
                state.assume_cohort(lot, wanted, ordinals, nodes)
                plain.assume(wanted, list(zip(uids, nodes, strict=True)))
            else:
                changed = [plain.set_pod(u, wanted, n) for u, n in zip(uids, nodes, strict=True)]
                assert state.set_cohort(lot, wanted, ordinals, nodes) == any(changed)
        elif kind == "alone":
            number, ordinal, node_name, leaving, other = thing
            uid, wanted = LOTS[number].pod_uid(ordinal), OTHER if other else CLASSES[number]
            leaving = leaving or going.get(uid, False)
            going[uid] = leaving
            assert state.set_pod(uid, wanted, node_name, leaving=leaving) == plain.set_pod(
                uid, wanted, node_name, leaving=leaving
            )
        elif kind == "gone":
            uid = LOTS[thing[0]].pod_uid(thing[1])
            assert state.remove_pod(uid) == plain.remove_pod(uid)
        elif kind == "node":
            state.set_node(node(thing))
            plain.set_node(node(thing))
        else:
            state.remove_nodes(thing)
            plain.remove_nodes(thing)
        assert described(state.freeze(1)) == described(plain.freeze(1))
        assert leaving_of(state.freeze(1)) == leaving_of(plain.freeze(1))
        for lot in LOTS:
            for uid in map(lot.pod_uid, range(4)):
                assert (uid in state) == (uid in plain)


def remembered(state, uid):
    """Tell whether a pod counts somewhere, be it on an unknown node."""
    return uid in state or uid in state._homeless_on


def leaving_of(snapshot):
    named = [facts.name for facts in snapshot.nodes]
    return {
        (wanted.key, named[row]): count
        for wanted, rows in snapshot.leaving.items()
        for row, count in rows.items()
    }
