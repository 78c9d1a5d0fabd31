"""Commits without the head lock: the same outcomes, one statement."""

import asyncio
import json
from contextlib import aclosing

import pytest

from scheduler.errors import AlreadyExists, Conflict, Invalid
from scheduler.objects.cohort import Stencil
from scheduler.objects.stored import Body
from scheduler.store import statements
from scheduler.store.operations import BindCohort, CreateCohort, ReportCohort
from scheduler.store.store import Store
from tests.store_load import furnish
from tests.store_values import bind, cohort, create, key, pod, replace

ODD = Stencil.of(b'{"phase":"Running","m":"a\\"b\\\\c,{d}","podIP":"@ip@"}', ["@ip@"])


@pytest.fixture
async def alone(database_url, monkeypatch):
    """A store whose process is the only one to commit; taking the lock is an error."""

    async def lock(_):
        raise AssertionError("the head was locked")

    async with Store.open(database_url) as store:
        await furnish(store)
        with monkeypatch.context() as patched:
            patched.setattr(statements, "lock_head", lock)
            yield store


async def test_who_is_alone_needs_no_lock(alone, database_url):
    made = await alone.write_many([create("configmaps", "c", "default"), pod("p"), pod("q")])
    changed = await alone.write(replace(made[0], body=Body(b"[1]")))
    bound = await alone.write(bind(made[1], "a", made[-1].revision, host_ports=(("", "TCP", 80),)))
    (crowd,) = await alone.create_cohorts((CreateCohort(cohort(5)),))
    revision = await alone.revision()
    requests = {"cpu": 10, "pods": 1}
    boards = BindCohort("default", crowd.uid, (0, 2), ("a", "b"), revision, requests)
    assert (await alone.write_cohorts((boards,)))[0].refused == {}
    told = ReportCohort("default", crowd.uid, (2,), "Running", ODD, (("10.0.0.1",),))
    assert (await alone.write_cohorts((told,)))[0].refused == {}
    async with Store.open(database_url) as other:
        assert (await other.get(key("configmaps", "c", "default"))).body == changed.body
        assert (await other.get(bound.key)).binding == bound.binding
        assert (await other.bound_on("a")).host_ports == (("", "TCP", 80),)
        running = await other.get(key("pods", crowd.name(2), "default"))
        assert json.loads(running.status)["m"] == 'a"b\\c,{d}'
        assert (await other.list("pods")).revision == await alone.revision()


async def test_a_refusal_needs_no_lock(alone):
    made = await alone.write(create("configmaps", "c", "default"))
    with pytest.raises(AlreadyExists):
        await alone.write(create("configmaps", "c", "default"))
    await alone.write(replace(made, body=Body(b"{}")))
    with pytest.raises(Conflict):
        await alone.write(replace(made, body=Body(b"{}")))


async def test_a_name_that_this_process_has_not_seen(database_url):
    async with Store.open(database_url) as first:
        await furnish(first)
        made = await first.write(create("configmaps", "c", "default"))
    async with Store.open(database_url) as store:
        await store.write(create("nodes", "n"))
        revision = await store.revision()
        answers = await asyncio.gather(
            store.write(create("configmaps", "c", "default")),
            store.write(create("configmaps", "d", "default")),
            return_exceptions=True,
        )
        assert isinstance(answers[0], AlreadyExists)
        assert answers[1].revision == revision + 1
        assert await store.get(made.key) == made


async def test_nobody_is_told_of_an_absence_that_was_only_taken_for_granted(database_url):
    """The namespace is there; who wanted to make it anew is refused for another reason."""
    async with Store.open(database_url) as first:
        await first.write(create("namespaces", "prod"))
    async with Store.open(database_url) as store:
        await store.write(create("nodes", "n"))
        odd, made = await asyncio.gather(
            store.write(create("namespaces", "prod", labels={"nul": "\0"})),
            store.write(create("configmaps", "c", "prod")),
            return_exceptions=True,
        )
        assert isinstance(odd, (AlreadyExists, Invalid))
        assert await store.get(key("configmaps", "c", "prod")) == made


async def reach(watching, revision):
    """Read a watch up to a revision, which must not take until the next poll."""
    async with asyncio.timeout(1.5):
        async for batch in watching:
            if batch.revision >= revision:
                return


async def test_what_another_process_has_changed_is_not_overlooked(database_url):
    """Before the notification is there, and after it; watchers of the one that lost learn of it."""
    async with Store.open(database_url) as store, Store.open(database_url) as other:
        await furnish(store)
        made = await store.write(create("configmaps", "c", "default"))
        async with (
            aclosing(store.watch(["configmaps"], made.revision)) as mine,
            aclosing(other.watch(["configmaps"], made.revision)) as theirs,
        ):
            for turn in range(40):
                writers = (store, other) if turn % 2 else (other, store)
                answers = await asyncio.gather(
                    *(
                        each.write(replace(made, body=Body(b'{"n": %d}' % turn)))
                        for each in writers
                    ),
                    return_exceptions=True,
                )
                (made,) = (each for each in answers if not isinstance(each, Exception))
                assert sum(isinstance(each, Conflict) for each in answers) == 1
                assert await store.get(made.key) == made
                await asyncio.gather(reach(mine, made.revision), reach(theirs, made.revision))
