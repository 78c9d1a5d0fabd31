"""Cohorts: pods kept together look, to everybody, like pods kept alone."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.errors import (
    AlreadyExists,
    Conflict,
    Fenced,
    Forbidden,
    NotFound,
    StatusError,
)
from scheduler.objects.cohort import PLACES, Stencil
from scheduler.store.compaction import Retention
from scheduler.store.operations import (
    BindCohort,
    ChangeType,
    CreateCohort,
    Remove,
    ReportCohort,
    each_change,
)
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.store_values import bind, cohort, create, key, pod, replace

STENCIL = Stencil.of(
    b'{"phase":"Running","podIP":"@ip@","again":"@ip@","id":"@id@"}', ["@ip@", "@id@"]
)
REQUESTS = {"cpu": 100, "memory": 1 << 20, "pods": 1, "example.com/gpu": 2}


@pytest.fixture
async def sql(database_url):
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def made(store, size, start=0, **fields):
    (outcome,) = await store.create_cohorts((CreateCohort(cohort(size, start, **fields)),))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def board(store, lot, ordinals, nodes, snapshot=None, **fields):
    seen = await store.revision() if snapshot is None else snapshot
    op = BindCohort("default", lot.uid, ordinals, nodes, seen, REQUESTS, **fields)
    (outcome,) = await store.write_cohorts((op,))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def test_pods_of_a_cohort_are_pods(cluster):
    lot = await made(cluster, 3, start=PLACES - 1, labels={"app": "web"})
    listed = {p.key: p for p in (await cluster.list("pods", "default")).objects}
    assert list(listed) == sorted(listed)
    assert {p.meta.name for p in listed.values()} == {lot.name(n) for n in range(3)}
    for ordinal in range(3):
        where = key("pods", lot.name(ordinal), "default")
        assert await cluster.get(where) == listed[where]
        read = listed[where]
        assert read.revision == read.created_revision == lot.created_revision + ordinal
        assert read.meta.labels == {"app": "web"}
        assert read.meta.uid == lot.pod_uid(ordinal)
        assert read.body == lot.body
    assert await cluster.get(key("pods", "web-bbbbz", "default")) is None
    assert await cluster.get(key("pods", lot.name(0), "elsewhere")) is None


async def test_binding_nobody_is_no_change(cluster):
    lot = await made(cluster, 2)
    since = await cluster.revision()
    nobody = await board(cluster, lot, (), ())
    assert not nobody.refused
    assert await cluster.revision() == since
    await board(cluster, lot, (0,), ("a",))
    async for batch in cluster.watch({"pods"}, since):
        assert [len(change.ordinals) for change in batch.changes] == [1]
        break


async def test_a_watch_tells_of_each_pod(cluster):
    since = await cluster.revision()
    lot = await made(cluster, 2)
    await board(cluster, lot, (1, 0), ("a", "b"))
    seen = []
    async for batch in cluster.watch({"pods"}, since):
        seen += each_change(batch.changes)
        if len(seen) == 4:
            break
    assert [(c.type, c.object.meta.name, c.revision - since) for c in seen] == [
        (ChangeType.ADDED, lot.name(0), 1),
        (ChangeType.ADDED, lot.name(1), 2),
        (ChangeType.MODIFIED, lot.name(1), 3),
        (ChangeType.MODIFIED, lot.name(0), 4),
    ]
    assert [c.object.binding.node for c in seen[2:]] == ["a", "b"]
    assert [c.prior.binding for c in seen[2:]] == [None, None]
    async for batch in cluster.watch({"pods"}, since + 1):
        assert [c.revision for c in each_change(batch.changes)] == [since + 2]
        break


async def test_names_are_given_once(cluster):
    lot = await made(cluster, 10)
    for start, size in ((9, 1), (PLACES - 5, 6), (0, 10), (3, 2)):
        with pytest.raises(AlreadyExists):
            await made(cluster, size, start)
    with pytest.raises(AlreadyExists):
        await cluster.write(pod(lot.name(4)))
    later = cohort(5, start=10)
    await cluster.write(pod(later.name(2)))
    with pytest.raises(AlreadyExists):
        await made(cluster, 5, start=10)
    assert (await made(cluster, 2, start=10)).size == 2
    assert (await made(cluster, 10, prefix="web")).size == 10


async def test_each_pod_is_found_among_neighbours(cluster):
    """Also where the places of a cohort wrap, and where others of the namespace begin alike."""
    wanted = ((PLACES - 3, 6), (3, 1), (10, 2), (500, 3))
    lots = [await made(cluster, size, start) for start, size in wanted]
    lots.append(await made(cluster, 4, 2, prefix="web-b-"))
    pods = {each.key: each for each in (await cluster.list("pods")).objects}
    assert len(pods) == sum(lot.size for lot in lots)
    for where, each in pods.items():
        assert await cluster.get(where) == each
    for start in (PLACES - 4, 4, 9, 12, 499, 503):
        assert await cluster.get(key("pods", cohort(1, start).name(0), "default")) is None
    writes = [replace(each, status=b'{"phase":"Running"}') for each in pods.values()]
    for written in await cluster.write_many(writes):
        assert written.binding is None
        assert written.created_revision == pods[written.key].revision
    assert {each.key for each in (await cluster.list("pods")).objects} == pods.keys()
    assert (await made(cluster, 6, 4)).size == 6
    with pytest.raises(AlreadyExists):
        await made(cluster, 1, 3)


async def test_a_cohort_and_a_pod_of_the_same_name_in_one_batch(cluster):
    lot = cohort(3)
    alone = pod(lot.name(1))
    first, second = await cluster._writer.write((CreateCohort(lot), alone))
    assert first.size == 3
    assert isinstance(second, AlreadyExists)
    other = cohort(3, start=50)
    first, second = await cluster._writer.write((pod(other.name(1)), CreateCohort(other)))
    assert first.meta.name == other.name(1)
    assert isinstance(second, AlreadyExists)


async def test_a_namespace_must_be_there(cluster):
    with pytest.raises(NotFound):
        await made(cluster, 2, namespace="nowhere")
    await cluster.write(create("namespaces", "ending"))
    ending = await cluster.get(key("namespaces", "ending"))
    moment = ending.meta.creation_timestamp
    await cluster.write(replace(ending, deletion_timestamp=moment, finalizers=("x",)))
    with pytest.raises(Forbidden, match="being terminated"):
        await made(cluster, 2, namespace="ending")


async def test_binding_stands_for_each_pod(cluster):
    lot = await made(cluster, 4)
    await cluster.write(Remove(key("pods", lot.name(3), "default")))
    done = await board(cluster, lot, (0, 1, 3), ("a", "c", "a"), decision=5)
    assert set(done.refused) == {1, 3}
    done = await board(cluster, lot, (0, 1), ("b", "b"))
    assert set(done.refused) == {0}
    assert "already assigned" in str(done.refused[0])
    nodes = {
        p.meta.name: p.binding and p.binding.node for p in (await cluster.list("pods")).objects
    }
    assert nodes == {lot.name(0): "a", lot.name(1): "b", lot.name(2): None}


async def test_nobody_binds_behind_anothers_back(cluster):
    lot = await made(cluster, 3)
    seen = await cluster.revision()
    await board(cluster, lot, (0,), ("a",), snapshot=seen)
    done = await board(cluster, lot, (1, 2), ("a", "b"), snapshot=seen)
    assert set(done.refused) == {1}
    assert "another binder" in str(done.refused[1])
    free = await cluster.write(pod("alone"))
    with pytest.raises(Conflict, match="another binder"):
        await cluster.write(bind(free, "b", seen))


async def test_a_pod_leaves_with_all_it_has(cluster, sql):
    lot = await made(cluster, 2)
    await board(cluster, lot, (0, 1), ("a", "a"), decision=9)
    before = await cluster.get(key("pods", lot.name(0), "default"))
    after = await cluster.write(replace(before, status=b'{"phase":"Running"}'))
    assert after.binding == before.binding
    assert after.created_revision == before.created_revision
    read = await cluster.get(before.key)
    assert (read.meta, read.revision, read.binding) == (after.meta, after.revision, after.binding)
    row = await sql.fetchrow("SELECT * FROM bindings")
    assert (str(row["pod_uid"]), row["node"], row["decision"]) == (before.meta.uid, "a", 9)
    assert row["revision"] == before.revision
    held = {"cpu": 200, "memory": 2 << 20, "pods": 2, "example.com/gpu": 4}
    assert (await cluster.bound_on("a")).requests == held
    ended = await cluster.get(key("pods", lot.name(1), "default"))
    await cluster.write(replace(ended, status=b'{"phase":"Failed"}'))
    held = {"cpu": 100, "memory": 1 << 20, "pods": 1, "example.com/gpu": 2}
    assert (await cluster.bound_on("a")).requests == held
    assert await sql.fetchval("SELECT count(*) FROM cohorts") == 0
    assert await sql.fetchval("SELECT count(*) FROM cohort_bindings") == 0


async def test_a_lodged_pod_is_bound_alone(cluster):
    lot = await made(cluster, 2)
    free = await cluster.get(key("pods", lot.name(1), "default"))
    bound = await cluster.write(bind(free, "b", free.revision))
    assert await cluster.get(free.key) == bound
    with pytest.raises(Conflict):
        await cluster.write(bind(bound, "a", bound.revision))
    done = await board(cluster, lot, (0, 1), ("a", "a"))
    assert set(done.refused) == {1}


async def test_a_pod_named_twice_is_bound_nowhere(cluster):
    lot = await made(cluster, 3)
    done = await board(cluster, lot, (1, 0, 1), ("a", "a", "b"))
    assert set(done.refused) == {1}
    nodes = [
        pod.binding and pod.binding.node
        for pod in sorted((await cluster.list("pods")).objects, key=lambda pod: pod.meta.uid)
    ]
    assert nodes == ["a", None, None]


async def test_a_leader_who_was_replaced_writes_nothing(cluster):
    async with cluster.leadership("first").hold() as old:
        lot = await made(cluster, 3)
    async with cluster.leadership("second").hold() as new:
        since = await cluster.revision()
        fenced = await cluster.create_cohorts((CreateCohort(cohort(2, 50), old),))
        assert isinstance(fenced[0], Fenced)
        with pytest.raises(Fenced):
            await board(cluster, lot, (0, 1), ("a", "b"), epoch=old)
        assert await cluster.revision() == since
        assert not (await board(cluster, lot, (0, 1), ("a", "b"), epoch=new)).refused
        # What the same leader bound after its snapshot is no obstacle.
        again = await board(cluster, lot, (2,), ("a",), snapshot=since, epoch=new)
        assert not again.refused


async def test_bodies_stay_as_long_as_somebody_has_them(cluster, database_url, sql):
    keep = Retention(tombstones=timedelta(0), most_tombstones=0)

    async def compacted():
        """Return who is there after a compaction, as a process that starts now sees it."""
        await cluster.compact(keep, datetime.now(UTC) + timedelta(seconds=1))
        async with Store.open(database_url) as fresh:
            return {pod.meta.name: pod.body for pod in (await fresh.list("pods")).objects}

    lot = await made(cluster, 3)
    everybody = {lot.name(n): lot.body for n in range(3)}
    assert (await compacted()).keys() == everybody.keys()
    first = await cluster.get(key("pods", lot.name(0), "default"))
    await cluster.write(replace(first, status=b'{"phase":"Running"}'))
    assert (await compacted()).keys() == everybody.keys()
    for n in (1, 2):
        await cluster.write(Remove(key("pods", lot.name(n), "default")))
    left = await compacted()
    assert {name: body.digest for name, body in left.items()} == {lot.name(0): lot.body.digest}
    await cluster.write(Remove(first.key))
    assert await compacted() == {}
    assert await sql.fetchval("SELECT count(*) FROM specs") == 0
    await made(cluster, 2)  # the writer has forgotten that it had written the body
    assert len(await compacted()) == 2


async def test_a_name_is_free_again_after_its_pod(cluster):
    lot = await made(cluster, 2)
    gone = await cluster.get(key("pods", lot.name(0), "default"))
    await cluster.write(Remove(gone.key))
    assert await cluster.get(gone.key) is None
    fresh = await cluster.write(pod(lot.name(0)))
    assert fresh.meta.uid != gone.meta.uid
    assert await cluster.get(gone.key) == fresh


async def test_views_show_both_kinds(cluster, sql):
    lot = await made(cluster, 40, start=PLACES - 7, labels={"app": "web"})
    await board(cluster, lot, tuple(range(1, 30)), tuple("ab"[n % 2] for n in range(29)))
    alone = await cluster.get(key("pods", lot.name(11), "default"))
    await cluster.write(replace(alone, status=b'{"phase":"Running"}'))
    shown = {
        (row["name"], str(row["uid"]), row["node"], row["revision"], row["phase"])
        for row in await sql.fetch("SELECT * FROM pods")
    }
    assert shown == {
        (
            p.meta.name,
            p.meta.uid,
            p.binding and p.binding.node,
            p.revision,
            "Running" if p.key == alone.key else "Pending",
        )
        for p in (await cluster.list("pods")).objects
    }
    placed = await sql.fetch("SELECT node, count(*) FROM placements GROUP BY node ORDER BY node")
    assert [tuple(row) for row in placed] == [("a", 15), ("b", 14)]
    nodes = await sql.fetch("SELECT name, pods, requested_cpu_milli FROM nodes ORDER BY name")
    assert [tuple(row) for row in nodes] == [("a", 15, 1500), ("b", 14, 1400)]


async def report(store, lot, ordinals, phase="Running"):
    own = tuple((f"10.0.0.{ordinal}", f"id-{ordinal}") for ordinal in ordinals)
    op = ReportCohort("default", lot.uid, ordinals, phase, STENCIL, own)
    (outcome,) = await store.write_cohorts((op,))
    return outcome


async def test_what_pods_are_is_reported_once(cluster, sql):
    lot = await made(cluster, 4)
    await board(cluster, lot, (0, 1, 2), ("a", "b", "a"))
    since = await cluster.revision()
    done = await report(cluster, lot, (2, 3, 0))
    assert {n: str(why).rpartition(": ")[2] for n, why in done.refused.items()} == {
        3: "it is not assigned to a node"
    }
    assert set((await report(cluster, lot, (0, 1))).refused) == {0}
    read = await cluster.get(key("pods", lot.name(2), "default"))
    assert read.status == b'{"phase":"Running","podIP":"10.0.0.2","again":"10.0.0.2","id":"id-2"}'
    assert (read.revision, read.binding.node) == (since + 1, "a")
    listed = {p.meta.name: p for p in (await cluster.list("pods")).objects}
    assert listed[lot.name(2)] == read
    assert listed[lot.name(1)].revision == since + 3
    async for batch in cluster.watch({"pods"}, since + 1):
        changes = list(each_change(batch.changes))
        assert [c.object for c in changes][:1] == [listed[lot.name(0)]]
        assert b"Running" not in changes[0].prior.status
        break
    phases = await sql.fetch("SELECT phase, count(*) FROM pods GROUP BY phase ORDER BY phase")
    assert [tuple(row) for row in phases] == [("Pending", 1), ("Running", 3)]
    later = await cluster.write(replace(read, status=b'{"phase":"Failed"}'))
    assert later.binding == read.binding
    assert (await cluster.bound_on("a")).requests["pods"] == 1


async def state(store, lot):
    """Return what every pod of a cohort is, as another process reads it."""
    keys = [key("pods", lot.name(n), "default") for n in range(lot.size)]
    return [await store.get(each) for each in keys]


async def test_a_cohort_is_gone_on_with_whoever_came_between(cluster, database_url):
    """What a process remembers of its own commits is no more than what others have left."""
    async with Store.open(database_url, retention=None) as other:
        lot = await made(cluster, 6)
        await board(cluster, lot, (0, 1), ("a", "a"))
        first, left = lot.pod(3), lot.pod(4)
        await other.write(replace(first, labels={"mine": "1"}))
        await other.write(Remove(left.key))
        assert set((await board(cluster, lot, (1, 2, 3, 4), ("a",) * 4)).refused) == {1, 3, 4}
        done = await board(other, lot, (2, 5), ("b", "b"), snapshot=await other.revision())
        assert set(done.refused) == {2}
        assert set((await board(cluster, lot, (5,), ("a",))).refused) == {5}
        mine, theirs = await state(cluster, lot), await state(other, lot)
    assert mine == theirs
    nodes = [each and each.binding and each.binding.node for each in mine]
    assert nodes == ["a", "a", "a", None, None, "b"]


async def test_a_cohort_that_everybody_left_is_not_gone_on_with(cluster):
    lot = await made(cluster, 2)
    for ordinal in range(2):
        await cluster.write(Remove(lot.pod(ordinal).key))
    with pytest.raises(NotFound):
        await board(cluster, lot, (0, 1), ("a", "a"))


async def test_what_was_rolled_back_is_not_remembered(cluster):
    lot = await made(cluster, 3)
    unstorable = create("configmaps", "bad", "default", b'{"data":{"k":"\\u0000"}}')
    seen = await cluster.revision()
    binding = BindCohort("default", lot.uid, (0, 1), ("a", "a"), seen, REQUESTS)
    bound, refused = await asyncio.gather(
        cluster.write_cohorts((binding,)), cluster.write_many((unstorable,))
    )
    assert not bound[0].refused
    assert isinstance(refused[0], StatusError)
    assert set((await board(cluster, lot, (0, 1, 2), ("b",) * 3)).refused) == {0, 1}
    nodes = [each.binding.node for each in await state(cluster, lot)]
    assert nodes == ["a", "a", "b"]
