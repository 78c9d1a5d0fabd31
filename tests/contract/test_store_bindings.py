"""Binding: once, to a node that is as the binder saw it, host ports included."""

import asyncio
from datetime import UTC, datetime

import pytest

from scheduler.errors import Conflict, Invalid, NotFound
from scheduler.objects.stored import StoredObject
from scheduler.store.operations import Occupancy, Remove
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.store_values import bind, create, key, pod, replace


@pytest.fixture
async def sql(database_url):
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def test_a_binding_is_part_of_the_pod(cluster):
    free = await cluster.write(pod("p"))
    bound = await cluster.write(bind(free, "a", free.revision, decision=7))
    assert bound.binding.node == "a"
    assert bound.revision == bound.binding.revision > free.revision
    read = await cluster.get(free.key)
    assert (read.revision, read.binding) == (bound.revision, bound.binding)
    with pytest.raises(Conflict, match="the object has been modified"):
        await cluster.write(replace(free, status=b"{}"))
    later = await cluster.write(replace(bound, status=b'{"phase":"Running"}'))
    assert later.binding == bound.binding
    assert (await cluster.get(free.key)).binding == bound.binding


async def test_a_pod_is_bound_once(cluster):
    free = await cluster.write(pod("p"))
    outcomes = await asyncio.gather(
        *(cluster.write(bind(free, node, free.revision)) for node in "abab"),
        return_exceptions=True,
    )
    assert sum(isinstance(o, StoredObject) for o in outcomes) == 1
    assert all(isinstance(o, (Conflict, StoredObject)) for o in outcomes)
    assert any('already assigned to node "a"' in str(o) for o in outcomes)


async def test_what_cannot_be_bound(cluster):
    free = await cluster.write(pod("p"))
    with pytest.raises(NotFound, match='nodes "c" not found'):
        await cluster.write(bind(free, "c", free.revision))
    ended = await cluster.write(pod("ended", status=b'{"phase":"Succeeded"}'))
    with pytest.raises(Conflict, match="already ended"):
        await cluster.write(bind(ended, "a", ended.revision))
    await cluster.write(Remove(ended.key))
    again = await cluster.write(pod("ended"))
    with pytest.raises(Conflict, match="UID in precondition"):
        await cluster.write(bind(ended, "a", again.revision))
    leaving = await cluster.write(replace(free, deletion_timestamp=datetime.now(UTC)))
    with pytest.raises(Conflict, match="is being deleted"):
        await cluster.write(bind(leaving, "a", leaving.revision))
    await cluster.write(Remove(free.key))
    with pytest.raises(NotFound, match='pods "p" not found'):
        await cluster.write(bind(leaving, "a", leaving.revision))


async def test_a_node_that_changed_is_not_bound_to(cluster):
    free = await cluster.write(pod("p"))
    node = await cluster.get(key("nodes", "a"))
    await cluster.write(replace(node, status=b'{"allocatable":{"cpu":"1"}}'))
    with pytest.raises(Conflict, match='node "a" has changed'):
        await cluster.write(bind(free, "a", free.revision))
    assert await cluster.write(bind(free, "b", free.revision))


@pytest.mark.parametrize("same_process", [True, False])
async def test_two_binders_do_not_share_a_snapshot_of_a_node(cluster, database_url, same_process):
    pods = [await cluster.write(pod(f"p{i}")) for i in range(4)]
    snapshot = await cluster.revision()
    async with Store.open(database_url) as second, cluster.leadership("x").hold() as epoch:
        other = cluster if same_process else second
        for obj in pods[:2]:  # one binder may go on with its own snapshot
            await cluster.write(bind(obj, "a", snapshot, epoch=epoch))
        with pytest.raises(Conflict, match="another binder"):
            await other.write(bind(pods[2], "a", snapshot))
        await other.write(bind(pods[2], "b", snapshot))
        with pytest.raises(Conflict, match="another binder"):
            await cluster.write(bind(pods[3], "b", snapshot, epoch=epoch))
        await cluster.write(bind(pods[3], "b", await cluster.revision(), epoch=epoch))


async def test_a_host_port_is_held_once(cluster, sql):
    pods = [await cluster.write(pod(f"p{i}")) for i in range(6)]

    async def take(obj, address, port=80, protocol="TCP", node="a"):
        ports = ((address, protocol, port),)
        return await cluster.write(bind(obj, node, await cluster.revision(), host_ports=ports))

    first = await take(pods[0], "10.0.0.1")
    for address in ("10.0.0.1", "0.0.0.0", ""):
        with pytest.raises(Conflict, match="host port 80/TCP"):
            await take(pods[1], address)
    await take(pods[1], "10.0.0.2")
    await take(pods[2], "", protocol="UDP")
    await take(pods[3], "", node="b")
    await cluster.write(Remove(first.key))
    await take(pods[4], "10.0.0.1")
    second = await cluster.get(pods[1].key)
    await cluster.write(replace(second, status=b'{"phase":"Failed"}'))
    await take(pods[5], "10.0.0.2")
    assert await sql.fetchval("SELECT count(*) FROM host_ports") == 4


async def test_ports_within_one_call_count(cluster):
    pods = [await cluster.write(pod(f"p{i}")) for i in range(2)]
    snapshot = await cluster.revision()
    async with cluster.leadership("x").hold() as epoch:
        outcomes = await cluster.write_many(
            [bind(obj, "a", snapshot, epoch=epoch, host_ports=(("", "TCP", 80),)) for obj in pods]
        )
    assert [type(o) for o in outcomes] == [StoredObject, Conflict]


async def test_a_deleted_pod_frees_its_node(cluster, sql):
    made = [await cluster.write(pod(f"p{i}")) for i in range(2)]
    bound = [await cluster.write(bind(obj, "a", await cluster.revision())) for obj in made]
    assert await sql.fetchval("SELECT requested_cpu_milli FROM nodes WHERE name = 'a'") == 200
    await cluster.write(Remove(made[0].key))
    await cluster.write(replace(bound[1], status=b'{"phase":"Succeeded"}'))
    assert await sql.fetchval("SELECT requested_cpu_milli FROM nodes WHERE name = 'a'") == 0
    assert await sql.fetchval("SELECT count(*) FROM bindings") == 1
    outcomes = await cluster.write_many([pod("q"), Remove(key("pods", "q", "default"))])
    assert all(isinstance(o, StoredObject) for o in outcomes)


async def test_what_has_ended_cannot_run_again(cluster, sql):
    port = {"host_ports": (("", "TCP", 80),)}
    made = [await cluster.write(pod(f"p{i}")) for i in range(2)]
    first = await cluster.write(bind(made[0], "a", await cluster.revision(), **port))
    over = await cluster.write(replace(first, status=b'{"phase":"Succeeded"}'))
    await cluster.write(bind(made[1], "a", await cluster.revision(), **port))
    for status in (b'{"phase":"Running"}', b"{}"):
        with pytest.raises(Invalid, match=r"status\.phase"):
            await cluster.write(replace(over, status=status))
    assert (await cluster.get(over.key)).revision == over.revision
    await cluster.write(replace(over, status=b'{"phase":"Failed"}'))
    assert await sql.fetchval("SELECT pods FROM nodes WHERE name = 'a'") == 1


async def test_made_bound_and_removed_in_one_call(cluster, sql):
    op = pod("p")
    fresh = bind(StoredObject("pods", op.meta, 0, 0, op.body), "a", await cluster.revision())
    outcomes = await cluster.write_many([op, fresh])
    assert [type(o) for o in outcomes] == [StoredObject] * 2
    assert (await cluster.get(outcomes[0].key)).binding.node == "a"
    await cluster.write(Remove(outcomes[0].key))
    again = await cluster.write_many([op, fresh, Remove(outcomes[0].key), create("nodes", "n")])
    assert isinstance(again[2], StoredObject)
    assert await sql.fetchval("SELECT count(*) FROM bindings") == 0


async def test_what_pods_hold_of_a_node(cluster):
    gpu = {"cpu": 250, "memory": 3, "pods": 1, "example.com/gpu": 2, "ephemeral-storage": 2**55}
    asked = [gpu, gpu, {"cpu": 100, "pods": 1}, {"pods": 1}, {"memory": 5, "pods": 1}]
    empty = await cluster.bound_on("a")
    assert empty == Occupancy(await cluster.revision(), {})
    bound = []
    for i, requests in enumerate(asked):
        made = await cluster.write(pod(f"p{i}"))
        node, ports = "b" if i == 4 else "a", (("0.0.0.0", "TCP", 80 + i),)
        held = await cluster.bound_on(node)
        bound.append(
            await cluster.write(
                bind(made, node, held.revision, requests=requests, host_ports=ports)
            )
        )
    held = await cluster.bound_on("a")
    assert held.revision == bound[-1].revision
    assert held.requests == {
        "cpu": 600,
        "memory": 6,
        "pods": 4,
        "example.com/gpu": 4,
        "ephemeral-storage": 2**56,
    }
    assert set(held.host_ports) == {("0.0.0.0", "TCP", 80 + i) for i in range(4)}
    await cluster.write(replace(bound[0], status=b'{"phase":"Failed"}'))
    await cluster.write(Remove(bound[1].key))
    left = await cluster.bound_on("a")
    assert left.requests == {"cpu": 100, "pods": 2}
    assert set(left.host_ports) == {("0.0.0.0", "TCP", 80 + i) for i in (2, 3)}
    for absent in ("c", "a\0", ""):
        assert (await cluster.bound_on(absent)).requests == {}


async def test_what_pods_hold_is_of_the_revision_that_comes_with_it(cluster):
    """A binder that goes by it never overcommits, whoever binds beside it."""
    room = 300
    pods = [await cluster.write(pod(f"p{i}")) for i in range(12)]

    async def fill(store, mine, epoch):
        for obj in mine:
            for _ in range(20):
                held = await store.bound_on("a")
                if held.requests.get("cpu", 0) + 100 > room:
                    return
                try:
                    await store.write(bind(obj, "a", held.revision, epoch=epoch))
                except Conflict:
                    continue
                break

    async with cluster.leadership("x").hold() as epoch:
        await asyncio.gather(
            fill(cluster, pods[:4], epoch),
            fill(cluster, pods[4:8], None),
            fill(cluster, pods[8:], None),
        )
    assert (await cluster.bound_on("a")).requests["cpu"] == room
