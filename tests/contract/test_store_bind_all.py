"""Binding together: all pods of a write get their nodes, or none does."""

import asyncio

import pytest

from scheduler.errors import Conflict, Fenced, Invalid, StatusError
from scheduler.objects.stored import StoredObject
from scheduler.store.operations import MOST_BOUND, BindAll, BoundTogether, Remove
from scheduler.store.store import Store
from tests.lost_commits import lose_first_commit
from tests.store_values import bind, create, key, pod, replace

PORT = (("", "TCP", 80),)


async def pods(store, *names):
    return await store.write_many([pod(name) for name in names])


async def nodes_of(store, objs):
    read = [await store.get(obj.key) for obj in objs]
    return [obj and obj.binding and obj.binding.node for obj in read]


async def test_all_are_bound_each_with_its_own_revision(cluster):
    made = await pods(cluster, "p", "q", "r")
    snapshot = await cluster.revision()
    [done] = await cluster.bind_all([BindAll(tuple(bind(o, "a", snapshot) for o in made))])
    assert done == BoundTogether(snapshot + 3)
    read = [await cluster.get(obj.key) for obj in made]
    assert [obj.revision for obj in read] == [snapshot + 1, snapshot + 2, snapshot + 3]
    assert {obj.binding.node for obj in read} == {"a"}


@pytest.mark.parametrize("spoiler", ["gone", "bound", "node", "ports", "uid", "twice"])
async def test_one_that_cannot_be_bound_stops_all(cluster, spoiler):
    made = await pods(cluster, "p", "q", "r")
    snapshot = await cluster.revision()
    binds = [bind(obj, node, snapshot) for obj, node in zip(made, "aba", strict=True)]
    if spoiler == "gone":
        await cluster.write(Remove(made[2].key))
    elif spoiler == "bound":
        await cluster.write(bind(made[2], "a", snapshot, epoch=None))
        binds[0] = bind(made[0], "b", snapshot)
    elif spoiler == "node":
        node = await cluster.get(key("nodes", "b"))
        await cluster.write(replace(node, status=b'{"x":1}'))
    elif spoiler == "ports":
        binds = [bind(obj, "a", snapshot, host_ports=PORT) for obj in made]
    elif spoiler == "uid":
        binds[2] = bind(made[2], "a", snapshot)
        await cluster.write(Remove(made[2].key))
        await pods(cluster, "r")
    else:
        binds[2] = binds[1]
    before = await nodes_of(cluster, made)
    revision = await cluster.revision()
    [refused, other] = await cluster.bind_all([BindAll(tuple(binds)), BindAll(())])
    assert isinstance(refused, Invalid if spoiler == "twice" else StatusError)
    assert isinstance(other, Invalid)
    if spoiler != "twice":
        assert {"node": "q", "ports": "q"}.get(spoiler, "r") in str(refused)
    assert await nodes_of(cluster, made) == before
    assert await cluster.revision() == revision


async def test_host_ports_of_a_refused_write_are_free_for_the_next(cluster):
    made = await pods(cluster, "p", "q")
    snapshot = await cluster.revision()
    both = BindAll(tuple(bind(obj, "a", snapshot, host_ports=PORT) for obj in made))
    one = BindAll((bind(made[1], "a", snapshot, host_ports=PORT),))
    refused, done = await cluster.bind_all([both, one])
    assert isinstance(refused, Conflict)
    assert isinstance(done, BoundTogether)
    assert await nodes_of(cluster, made) == [None, "a"]


async def test_a_leader_that_was_replaced_binds_nothing(cluster):
    made = await pods(cluster, "p")
    snapshot = await cluster.revision()
    [refused] = await cluster.bind_all([BindAll((bind(made[0], "a", snapshot),), epoch=99)])
    assert isinstance(refused, Fenced)
    assert await nodes_of(cluster, made) == [None]


async def test_more_than_a_batch_stays_one_write(cluster):
    names = [f"p{n}" for n in range(12_000)]
    made = await pods(cluster, *names)
    snapshot = await cluster.revision()
    together = BindAll(tuple(bind(obj, "ab"[n % 2], snapshot) for n, obj in enumerate(made)))
    spoilt = BindAll((*together.binds[:-1], bind(made[0], "a", snapshot, decision=1)))
    too_many = BindAll(together.binds[:1] * (MOST_BOUND + 1))
    small = [create("configmaps", f"c{n}", "default") for n in range(50)]
    [refused, done, long], beside = await asyncio.gather(
        cluster.bind_all([spoilt, together, too_many]), cluster.write_many(small)
    )
    assert isinstance(refused, Invalid)
    assert isinstance(long, Invalid)
    assert str(MOST_BOUND) in str(long)
    assert isinstance(done, BoundTogether)
    assert all(isinstance(obj, StoredObject) for obj in beside)
    bound = (await cluster.list("pods")).objects
    assert sum(obj.binding is not None for obj in bound) == 12_000


async def test_racing_binders_never_halve_a_group(cluster, database_url):
    """Two processes bind overlapping groups while members are deleted."""
    async with Store.open(database_url) as other:
        for attempt in range(8):
            made = await pods(cluster, *(f"m{attempt}-{n}" for n in range(12)))
            snapshot = await cluster.revision()
            groups = [made[:8], made[4:]]
            writes = [
                BindAll(tuple(bind(obj, node, snapshot) for obj in group))
                for group, node in zip(groups, "ab", strict=True)
            ]
            await asyncio.gather(
                cluster.bind_all(writes[:1]),
                other.bind_all(writes[1:]),
                other.write_many([Remove(made[attempt].key)]),
            )
            nodes = await nodes_of(cluster, made)
            for group, node in ((nodes[:8], "a"), (nodes[4:], "b")):
                assert sum(n == node for n in group) in (0, 7, 8), nodes
            there = [obj for obj, node in zip(made, nodes, strict=True) if node is not None]
            await cluster.write_many([Remove(obj.key) for obj in there])


@pytest.mark.parametrize("committed", [True, False])
async def test_a_connection_lost_while_committing_is_no_half(cluster, monkeypatch, committed):
    made = await pods(cluster, "p", "q", "r")
    snapshot = await cluster.revision()
    lose_first_commit(monkeypatch, committed=committed)
    [done] = await cluster.bind_all([BindAll(tuple(bind(o, "a", snapshot) for o in made))])
    assert done == BoundTogether(snapshot + 3)
    assert await nodes_of(cluster, made) == ["a", "a", "a"]
    assert await cluster.revision() == snapshot + 3


@pytest.mark.parametrize("first", ["batch", "leader"])
async def test_a_batch_and_its_leader_see_each_other_as_strangers(cluster, first):
    """What one bound to a node since the other's snapshot, the other cannot know of."""
    made = await pods(cluster, "p", "q")
    snapshot = await cluster.revision()
    async with cluster.leadership("x").hold() as epoch:
        batch = BindAll((bind(made[0], "a", snapshot),), epoch, apart=True)
        leader = BindAll((bind(made[1], "a", snapshot),), epoch)
        writes = [batch, leader] if first == "batch" else [leader, batch]
        done, refused = await cluster.bind_all(writes)
    assert isinstance(done, BoundTogether)
    assert isinstance(refused, Conflict)
    assert "another binder" in str(refused)
