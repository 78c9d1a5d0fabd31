"""The hub against a model: whatever reaches it, and in whatever order, watchers end up right."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject
from scheduler.store.hub import Hub
from scheduler.store.operations import Change, ChangeType

RESOURCES = ("pods", "nodes")


def write_history(rng, length):
    """Return a list of changes; the one of revision r is at index r - 1."""
    live, history = {}, []
    for revision in range(1, length + 1):
        where = (rng.choice(RESOURCES), f"x{rng.randrange(3)}")
        old = live.get(where)
        if old is None:
            meta = ObjectMeta(name=where[1], uid=f"{revision}")
            new = StoredObject(where[0], meta, revision, revision, Body(b"{}"))
            live[where] = new
            history.append(Change(ChangeType.ADDED, revision, new))
            continue
        new = msgspec.structs.replace(old, revision=revision)
        if rng.random() < 0.4:
            del live[where]
            history.append(Change(ChangeType.DELETED, revision, new, old))
        else:
            live[where] = new
            history.append(Change(ChangeType.MODIFIED, revision, new, old))
    return history


def collapsed(history, after, until):
    """Return what SQL tells of (after, until]: last states, and every deletion."""
    last = {}
    for change in history[:until]:
        last[change.object.key] = change.revision
    changes = []
    for change in history[after:until]:
        obj = change.object
        if change.type is ChangeType.DELETED:
            changes.append(msgspec.structs.replace(change, prior=None))
        elif last[obj.key] == change.revision:
            kind = ChangeType.ADDED if obj.created_revision > after else ChangeType.MODIFIED
            changes.append(Change(kind, change.revision, obj))
    return changes


def state_at(history, revision, resources):
    state = {}
    for change in history[:revision]:
        if change.type is ChangeType.DELETED:
            del state[change.object.key]
        else:
            state[change.object.key] = change.object
    return {k: o for k, o in state.items() if resources is None or k.resource in resources}


class Reader:
    """A watcher that began with a list at some revision."""

    def __init__(self, history, position, resources):
        self.history = history
        self.position = position
        self.resources = resources
        self.state = state_at(history, position, resources)

    def read(self, hub):
        batches = hub.since(self.position, self.resources)
        if batches is None:
            return False
        for batch in batches:
            assert batch.revision > self.position
            for change in batch.changes:
                assert self.position < change.revision <= batch.revision
                self.take(change)
            self.position = batch.revision
        return True

    def take(self, change):
        key = change.object.key
        assert self.resources is None or key.resource in self.resources
        held = self.state.get(key)
        if change.type is ChangeType.DELETED:
            if held is not None and held.meta.uid == change.object.meta.uid:
                del self.state[key]
            return
        assert (held is None) == (change.type is ChangeType.ADDED)
        self.state[key] = change.object


@settings(deadline=None, max_examples=150)
@given(st.integers(), st.sampled_from([3, 10, 1000]), st.integers(1, 60))
def test_every_watcher_has_the_state_of_its_position(seed, bound, length):
    rng = random.Random(seed)
    history = write_history(rng, length)
    hub = Hub(0, changes=bound)
    readers = [Reader(history, 0, None)]
    while hub.revision < length:
        after = rng.randint(max(0, hub.revision - 4), hub.revision)  # may overlap what is held
        until = rng.randint(after, min(length, hub.revision + 12))
        exact = rng.random() < 0.5
        hub.publish(
            after, until, history[after:until] if exact else collapsed(history, after, until)
        )
        resources = rng.choice([None, frozenset({"pods"}), frozenset(RESOURCES)])
        readers.append(Reader(history, rng.randint(0, hub.revision), resources))
        for reader in list(readers):
            if rng.random() < 0.5 and not reader.read(hub):
                readers.remove(reader)
        for change in history[: hub.revision]:
            latest = hub.latest(change.object.key)
            everything = state_at(history, hub.revision, None)
            assert latest is None or latest == everything[change.object.key]
    for reader in readers:
        if reader.read(hub):
            assert reader.position == length
            assert reader.state == state_at(history, length, reader.resources)


def test_a_commit_under_way_here_is_not_read_from_sql():
    hub = Hub(4)
    hub.coming = 5
    assert not hub.lacks(5)
    assert hub.lacks(6)
    hub.publish(4, 5, write_history(random.Random(1), 5)[4:])
    assert not hub.lacks(5)


def test_commits_out_of_order_are_left_to_sql():
    history = write_history(random.Random(1), 10)
    hub = Hub(0)
    hub.publish(5, 10, history[5:10])
    assert hub.behind.is_set()
    assert hub.revision == 0
    hub.publish(0, 10, collapsed(history, 0, 10))
    assert hub.revision == 10


def test_only_watchers_of_the_resource_are_woken():
    history = [c for c in write_history(random.Random(1), 50) if c.object.resource == "pods"]
    hub = Hub(0)
    pods, nodes = hub.join(frozenset({"pods"})), hub.join(frozenset({"nodes"}))
    all_of_them = hub.join(None)
    hub.publish(0, history[-1].revision, history)
    assert pods.woken.is_set()
    assert all_of_them.woken.is_set()
    assert not nodes.woken.is_set()
    hub.leave(nodes)
    hub.close()
    assert not nodes.woken.is_set()


def test_a_restart_tells_old_watchers_to_read_sql():
    history = write_history(random.Random(1), 10)
    hub = Hub(0)
    hub.publish(0, 10, history)
    hub.restart(20)
    assert hub.since(10, None) is None
    assert hub.since(20, None) == []
    assert hub.latest(history[0].object.key) is None
