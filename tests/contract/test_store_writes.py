"""What every caller may rely on when writing, on real PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import pytest

from scheduler.errors import AlreadyExists, Conflict, Fenced, Forbidden, Invalid, NotFound
from scheduler.objects.stored import Body, StoredObject
from scheduler.store.operations import Remove
from tests.store_values import SPEC, bind, create, key, pod, replace


async def test_a_created_object_can_be_read(store):
    created = await store.write(create("nodes", "a", labels={"zone": "x"}, status=b'{"a":1}'))
    assert created.revision == created.created_revision == await store.revision()
    read = await store.get(created.key)
    assert read.meta == created.meta
    assert (read.revision, read.created_revision) == (created.revision, created.revision)
    assert read.status == b'{"a": 1}'
    assert await store.get(key("nodes", "b")) is None


async def test_a_name_is_used_once(store):
    await store.write(create("deployments.apps", "web"))
    with pytest.raises(AlreadyExists, match=r'^deployments.apps "web" already exists$') as error:
        await store.write(create("deployments.apps", "web"))
    assert (error.value.kind, error.value.group, error.value.name) == ("deployments", "apps", "web")


async def test_a_namespaced_object_needs_its_namespace(store):
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await store.write(create("pods", "p", "nowhere"))
    space = await store.write(create("namespaces", "leaving"))
    await store.write(replace(space, deletion_timestamp=datetime.now(UTC)))
    with pytest.raises(
        Forbidden,
        match='pods "p" is forbidden: unable to create new content in namespace leaving because '
        "it is being terminated",
    ):
        await store.write(create("pods", "p", "leaving"))


async def test_a_replace_needs_the_revision_that_was_read(cluster):
    old = await cluster.write(create("configmaps", "c", "default", b'{"data":{"a":"1"}}'))
    new = await cluster.write(replace(old, body=Body(b'{"data":{"a":"2"}}')))
    assert new.revision > old.revision
    assert new.created_revision == old.revision
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes"):
        await cluster.write(replace(old, body=Body(b'{"data":{"a":"3"}}')))
    assert (await cluster.get(old.key)).body.json == b'{"data": {"a": "2"}}'
    await cluster.write(replace(old, body=Body(b'{"data":{"a":"4"}}'), expected=None))
    assert (await cluster.get(old.key)).body.json == b'{"data": {"a": "4"}}'


async def test_a_replace_is_of_the_same_object(cluster):
    old = await cluster.write(create("configmaps", "c", "default"))
    await cluster.write(Remove(old.key))
    with pytest.raises(NotFound, match='configmaps "c" not found'):
        await cluster.write(replace(old))
    await cluster.write(create("configmaps", "c", "default"))
    with pytest.raises(Conflict, match="UID in precondition"):
        await cluster.write(replace(old, expected=None))


async def test_a_remove_checks_uid_and_revision(cluster):
    obj = await cluster.write(create("configmaps", "c", "default"))
    with pytest.raises(Conflict, match="UID in precondition"):
        await cluster.write(Remove(obj.key, uid="00000000-0000-0000-0000-000000000000"))
    with pytest.raises(Conflict, match="the object has been modified"):
        await cluster.write(Remove(obj.key, expected_revision=obj.revision - 1))
    gone = await cluster.write(Remove(obj.key, obj.meta.uid, obj.revision))
    assert gone.revision > obj.revision
    assert gone.meta == obj.meta
    assert await cluster.get(obj.key) is None
    with pytest.raises(NotFound):
        await cluster.write(Remove(obj.key))


async def test_writes_of_one_call_see_each_other_in_order(cluster):
    made = create("configmaps", "c", "default")
    outcomes = await cluster.write_many(
        [
            made,
            made,
            Remove(key("configmaps", "c", "default")),
            create("configmaps", "c", "default", b'{"data":{}}'),
            create("namespaces", "new"),
            create("configmaps", "c", "new"),
        ]
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [StoredObject, AlreadyExists, *[StoredObject] * 4]
    revisions = [o.revision for o in outcomes if isinstance(o, StoredObject)]
    assert revisions == list(range(revisions[0], revisions[0] + 5))
    assert (await cluster.get(key("configmaps", "c", "default"))).body.json == b'{"data": {}}'


async def test_one_that_fails_takes_no_revision_and_hurts_no_other(cluster):
    before = await cluster.revision()
    outcomes = await cluster.write_many(
        [
            create("configmaps", "a", "default"),
            create("configmaps", "nul", "default", b'{"data":{"x":"a\\u0000b"}}'),
            create("configmaps", "escaped", "default", b'{"data":{"x":"a\\\\u0000b"}}'),
            create("configmaps", "surrogate", "default", b'{"data":{"x":"\\ud800"}}'),
            create("configmaps", "big", "default", b'{"data":{"x":1e999999}}'),
            create("configmaps", "na\0me", "default"),
            create("configmaps", "uid", "default", uid="not-a-uuid"),
            create("configmaps", "labels", "default", labels={"x": "\0"}),
            create("configmaps", "z", "default"),
        ]
    )
    bad = {i for i, outcome in enumerate(outcomes) if isinstance(outcome, Invalid)}
    assert bad == {1, 3, 4, 5, 6, 7}
    assert await cluster.revision() == before + 3
    assert "remove it" in outcomes[1].message
    escaped = await cluster.get(key("configmaps", "escaped", "default"))
    assert escaped.body.json == b'{"data": {"x": "a\\\\u0000b"}}'


async def test_a_bug_in_one_write_reaches_its_caller_alone(cluster):
    broken = create("configmaps", "broken", "default", labels={"x": object()})
    results = await asyncio.gather(
        cluster.write(broken),
        cluster.write(create("configmaps", "fine", "default")),
        return_exceptions=True,
    )
    assert isinstance(results[0], TypeError)
    assert isinstance(results[1], StoredObject)


async def test_interned_bodies_are_shared_and_come_back_with_their_digest(cluster):
    await cluster.write_many([pod(f"p{i}") for i in range(10)])
    listing = await cluster.list("pods")
    assert {obj.body.digest for obj in listing.objects} == {SPEC.digest}
    assert len({id(obj.body) for obj in listing.objects}) == 1


async def test_a_list_is_of_one_revision_and_in_order(cluster):
    await cluster.write(create("namespaces", "other"))
    for name in ("b", "a", "C"):
        await cluster.write(create("configmaps", name, "other"))
    await cluster.write(create("configmaps", "z", "default"))
    listing = await cluster.list("configmaps")
    assert listing.revision == await cluster.revision()
    names = [(o.meta.namespace, o.meta.name) for o in listing.objects]
    assert names == [("default", "z"), ("other", "C"), ("other", "a"), ("other", "b")]
    listing = await cluster.list("configmaps", "default")
    assert [o.meta.name for o in listing.objects] == ["z"]
    assert (await cluster.list("secrets")).objects == ()


async def test_a_large_write_spans_batches_and_keeps_its_order(cluster):
    outcomes = await cluster.write_many([pod(f"p{i}") for i in range(6000)])
    revisions = [o.revision for o in outcomes]
    assert revisions == sorted(set(revisions))
    assert len((await cluster.list("pods")).objects) == 6000


async def test_a_deposed_leader_cannot_write(cluster):
    async with cluster.leadership("one").hold() as first:
        obj = await cluster.write(pod("p", epoch=first))
    async with cluster.leadership("two").hold() as second:
        assert second > first
        outcomes = await cluster.write_many(
            [
                pod("q", epoch=first),
                replace(obj, epoch=first),
                Remove(obj.key, epoch=first),
                bind(obj, "a", obj.revision, epoch=first),
                pod("r", epoch=second),
            ]
        )
    assert [type(o) for o in outcomes] == [Fenced] * 4 + [StoredObject]
    assert (await cluster.get(obj.key)).revision == obj.revision


async def test_cancelled_callers_disturb_nobody(cluster):
    tasks = [asyncio.create_task(cluster.write(pod(f"p{i}"))) for i in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, StoredObject) for result in results[1::2])
    assert await cluster.write(pod("after"))
