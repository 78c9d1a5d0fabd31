"""Watching: ordered, complete, from any position that is still known."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.errors import Expired
from scheduler.store.compaction import Retention
from scheduler.store.operations import ChangeType, Remove
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.store_values import bind, create, key, pod, replace

EVERYTHING = Retention(timedelta(0), events=timedelta(0), decisions=timedelta(0))


async def read(store, resources, since, until):
    """Return the changes of a watch up to a revision."""
    changes = []
    async with aclosing(store.watch(resources, since)) as watch:
        async for batch in watch:
            changes += batch.changes
            if batch.revision >= until:
                return changes
    raise AssertionError("the watch ended")


def told(changes):
    return [(c.type.value, c.object.meta.name, c.revision) for c in changes]


async def history(cluster):
    """Write a little; return the revision before and the last one."""
    start = await cluster.revision()
    p = await cluster.write(pod("p"))  # +1
    q = await cluster.write(pod("q"))  # +2
    await cluster.write(create("configmaps", "c", "default"))  # +3
    bound = await cluster.write(bind(p, "a", await cluster.revision()))  # +4
    await cluster.write(replace(bound, status=b'{"phase":"Running"}'))  # +5
    gone = await cluster.write(Remove(q.key))  # +6
    return start, gone.revision


async def test_changes_come_in_order_with_the_state_before(cluster):
    start, end = await history(cluster)
    changes = await read(cluster, {"pods"}, start, end)
    assert told(changes) == [
        ("ADDED", "p", start + 1),
        ("ADDED", "q", start + 2),
        ("MODIFIED", "p", start + 4),
        ("MODIFIED", "p", start + 5),
        ("DELETED", "q", start + 6),
    ]
    assert [c.prior and c.prior.revision for c in changes] == [
        None,
        None,
        start + 1,
        start + 4,
        start + 2,
    ]
    assert changes[2].object.binding.node == "a"
    assert changes[2].prior.binding is None


async def test_a_watch_waits_for_what_comes(cluster):
    start = await cluster.revision()
    async with aclosing(cluster.watch(["pods"], start)) as watch:
        reading = asyncio.ensure_future(anext(watch))
        await cluster.write(create("configmaps", "c", "default"))
        made = await cluster.write(pod("p"))
        batch = await reading
        while not batch.changes:
            batch = await anext(watch)
    assert told(batch.changes) == [("ADDED", "p", made.revision)]


async def test_another_process_sees_the_same(cluster, database_url):
    async with Store.open(database_url) as other:
        start, end = await history(cluster)
        mixed = await read(other, None, start, end)
        assert told(mixed)[-1] == ("DELETED", "q", end)
        revisions = [c.revision for c in mixed]
        assert revisions == sorted(set(revisions))
        made = await other.write(pod("r"))
        assert told(await read(cluster, {"pods"}, end, made.revision)) == [
            ("ADDED", "r", made.revision)
        ]


async def test_a_restarted_process_catches_up_from_sql(cluster, database_url):
    start, end = await history(cluster)
    async with Store.open(database_url) as other:
        changes = await read(other, None, start, end)
        assert told(changes) == [
            ("ADDED", "c", start + 3),
            ("ADDED", "p", start + 5),
            ("DELETED", "q", start + 6),
        ]
        assert changes[1].object == await other.get(key("pods", "p", "default"))
        assert changes[2].object.meta.name == "q"
        changes = await read(other, {"pods"}, start + 1, end)
        assert told(changes)[0] == ("MODIFIED", "p", start + 5)
        changes = await read(other, None, start + 4, end)
        assert told(changes) == [("MODIFIED", "p", start + 5), ("DELETED", "q", start + 6)]


async def test_catching_up_in_pieces_loses_nothing(cluster, database_url):
    start = await cluster.revision()
    pods = await cluster.write_many([pod(f"p{i}") for i in range(9000)])
    snapshot = await cluster.revision()
    async with cluster.leadership("x").hold() as epoch:
        await cluster.write_many([bind(p, "a", snapshot, epoch=epoch) for p in pods[::2]])
    await cluster.write_many([Remove(p.key) for p in pods[::3]])
    async with Store.open(database_url) as other:
        changes = await read(other, {"pods"}, start, await cluster.revision())
    revisions = [c.revision for c in changes]
    assert revisions == sorted(set(revisions))
    state = {}
    for change in changes:
        if change.type is ChangeType.DELETED:
            state.pop(change.object.key, None)
        else:
            state[change.object.key] = change.object
    listed = {o.key: o for o in (await cluster.list("pods")).objects}
    assert state.keys() == listed.keys()
    assert {k: o.revision for k, o in state.items()} == {k: o.revision for k, o in listed.items()}


async def test_a_slow_watcher_falls_back_to_sql_without_a_gap(database_url):
    async with Store.open(database_url, ring_changes=50) as store:
        await store.write(create("namespaces", "default"))
        start = await store.revision()
        async with aclosing(store.watch({"pods"}, start)) as watch:
            await store.write(pod("first"))
            seen = []
            batch = await anext(watch)
            while not batch.changes:
                batch = await anext(watch)
            seen += batch.changes
            for i in range(20):  # more than the ring holds while nobody reads
                await store.write_many([pod(f"p{i}-{j}") for j in range(10)])
            end = await store.revision()
            while batch.revision < end:
                batch = await anext(watch)
                seen += batch.changes
    assert [c.revision for c in seen] == list(range(start + 1, end + 1))


async def test_a_compacted_position_is_expired(cluster, database_url):
    start, end = await history(cluster)
    await cluster.compact(EVERYTHING, datetime.now(UTC) + timedelta(seconds=1))
    async with Store.open(database_url) as other:
        with pytest.raises(Expired, match="too old resource version"):
            await read(other, None, start, end)
        more = await cluster.write(pod("more"))
        assert told(await read(other, None, end, more.revision)) == [("ADDED", "more", end + 1)]
        with pytest.raises(Expired, match="future"):
            await read(other, None, end + 1000, end)


async def test_compaction_keeps_what_is_needed(cluster, database_url):
    await history(cluster)
    await cluster.write(create("events", "e", "default"))
    now = datetime.now(UTC)
    await cluster.compact(Retention(), now)
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM tombstones") == 1
    since = await cluster.revision()
    await cluster.write(create("events", "young", "default"))
    later = now + timedelta(minutes=61)
    await cluster.compact(Retention(), later)
    assert await cluster.get(key("events", "e", "default")) is None
    assert await cluster.get(key("events", "young", "default")) is not None
    gone = await read(cluster, {"events"}, since, await cluster.revision())
    assert [t[:2] for t in told(gone)] == [("ADDED", "young"), ("DELETED", "e")]
    assert await connection.fetchval("SELECT count(*) FROM tombstones WHERE resource='pods'") == 0
    await cluster.write(Remove(key("pods", "p", "default")))
    assert await connection.fetchval("SELECT count(*) FROM specs") == 1
    await cluster.compact(EVERYTHING, later + timedelta(hours=2))
    assert await connection.fetchval("SELECT count(*) FROM specs") == 0
    again = await cluster.write(pod("again"))  # the writer must not believe the body is there
    assert (await cluster.get(again.key)).body.json
    await connection.close()


async def test_watches_end_with_the_store(database_url):
    async with Store.open(database_url) as store:
        watch = store.watch(None, await store.revision())
        reading = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0)
    assert await reading is None
    await watch.aclose()
