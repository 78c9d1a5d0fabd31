"""ResourceQuotas are held by the store itself, whoever creates, however many at once."""

import asyncio
import json

import pytest

from scheduler.errors import Forbidden
from scheduler.objects.stored import Body, StoredObject, intern_body
from scheduler.store.bind import terminal
from scheduler.store.operations import CreateCohort, Remove
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.store_values import cohort, create, key, pod, replace

QUOTA = key("resourcequotas", "q", "default")
FAILED = b'{"phase":"Failed"}'


def sized(cpu):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return intern_body(json.dumps({"spec": {"containers": [container]}}).encode())


def quota(name="q", **hard):
    spec = {"hard": {key.replace("_", "."): value for key, value in hard.items()}}
    return create("resourcequotas", name, "default", Body(json.dumps({"spec": spec}).encode()))


async def used(store, of=QUOTA):
    return json.loads((await store.get(of)).status)["used"]


async def test_a_new_quota_counts_what_is_there(cluster):
    """Single pods, those of cohorts, those that have left one, and what has ended."""
    for number in range(3):
        await cluster.write(pod(f"p{number}", sized("100m")))
    ended = await cluster.write(pod("over", sized("100m")))
    await cluster.write(replace(ended, status=FAILED))
    await cluster.create_cohorts((CreateCohort(cohort(40, body=sized("50m"))),))
    lodged = (await cluster.list("pods")).objects[-1]
    await cluster.write(Remove(lodged.key))
    await cluster.write(create("configmaps", "c", "default"))
    claim = {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}
    body = Body(json.dumps({"spec": claim}).encode())
    await cluster.write(create("persistentvolumeclaims", "v", "default", body))
    hard = {"pods": "9", "count/pods": "99", "cpu": "2", "configmaps": "4", "resourcequotas": "1"}
    fast = "fast.storageclass.storage.k8s.io/requests.storage"
    made = await cluster.write(quota(**hard, **{"requests.storage": "5Gi", fast: "5Gi"}))
    assert json.loads(made.status) == {
        "hard": {**hard, "requests.storage": "5Gi", fast: "5Gi"},
        "used": {
            "configmaps": "1",
            "count/pods": "43",
            "cpu": "2250m",
            "pods": "42",
            "requests.storage": "1Gi",
            fast: "1Gi",
            "resourcequotas": "1",
        },
    }
    with pytest.raises(Forbidden, match="requested: cpu=1m,pods=1, used: cpu=2250m,pods=42,"):
        await cluster.write(pod("more", sized("1m")))


async def test_it_is_one_change_a_commit_and_all_see_it(cluster, database_url):
    await cluster.write(quota(pods="10"))
    since = await cluster.revision()
    await cluster.write_many([pod(f"p{n}") for n in range(4)])
    found = await cluster.get(QUOTA)
    assert found.revision == await cluster.revision() == since + 5
    async with Store.open(database_url) as other:
        assert await used(other) == {"pods": "4"}
        await other.write(Remove(key("pods", "p0", "default")))
        assert await used(cluster) == {"pods": "3"}


async def test_many_creators_of_two_processes_share_what_there_is(cluster, database_url):
    """Single pods, batches and cohorts at once; some pods end and go meanwhile."""
    await cluster.write(quota(pods="60", cpu="5"))
    body, room = sized("100m"), 50
    async with Store.open(database_url) as other:

        async def single(store, name):
            made = await store.write(pod(name, body))
            if name.endswith("7"):
                await store.write(replace(made, status=FAILED))
            elif name.endswith("3"):
                await store.write(Remove(made.key))

        async def crowd(store, start):
            lot = CreateCohort(cohort(20, start, body=body))
            (made,) = await store.create_cohorts((lot,))
            if isinstance(made, Forbidden):
                raise made

        tasks = [
            single(store, f"{n}-{i}") for i in range(40) for n, store in enumerate([cluster, other])
        ]
        tasks += [crowd(store, 100 * n) for n, store in enumerate([cluster, other, cluster])]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in outcomes} == {type(None), Forbidden}
        living = [p for p in (await other.list("pods")).objects if not terminal(p)]
        assert len(living) <= room
        for store in (cluster, other):
            counted = await used(store)
            assert counted["pods"] == str(len(living))
            assert counted["cpu"] in {f"{len(living) * 100}m", str(len(living) // 10)}
        filled = await cluster.write_many([pod(f"f{n}", body) for n in range(room)])
        assert sum(isinstance(each, StoredObject) for each in filled) == room - len(living)
        assert await used(other) == {"cpu": "5", "pods": str(room)}


async def test_cohorts_are_cut_to_what_fits(cluster):
    await cluster.write(quota(pods="50"))
    (made,) = await cluster.create_cohorts((CreateCohort(cohort(64)),))
    assert (made.size, await used(cluster)) == (50, {"pods": "50"})
    (refused,) = await cluster.create_cohorts((CreateCohort(cohort(14, 64)),))
    assert isinstance(refused, Forbidden)
    pods = (await cluster.list("pods")).objects
    assert len(pods) == 50
    await cluster.write(replace(pods[0], status=FAILED))
    await cluster.write_many([Remove(each.key) for each in pods[1:11]])
    assert await used(cluster) == {"pods": "39"}
    (made,) = await cluster.create_cohorts((CreateCohort(cohort(14, 200)),))
    assert (made.size, await used(cluster)) == (11, {"pods": "50"})


async def test_a_raised_quota_counts_anew_and_one_that_goes_binds_nobody(cluster):
    made = await cluster.write(quota(pods="1"))
    await cluster.write(pod("a"))
    body = Body(b'{"spec":{"hard":{"pods":"2","count/pods":"9"}}}')
    edited = await cluster.write(replace(made, body=body))  # as it was before the pod
    assert json.loads(edited.status)["used"] == {"count/pods": "1", "pods": "1"}
    await cluster.write(pod("b"))
    with pytest.raises(Forbidden):
        await cluster.write(pod("c"))
    await cluster.write(Remove(QUOTA))
    await cluster.write(pod("c"))


async def test_a_refusal_leaves_the_others_of_its_batch(cluster):
    await cluster.write(quota(pods="3"))
    outcomes = await cluster.write_many([pod(f"p{n}") for n in range(5)])
    assert [isinstance(each, StoredObject) for each in outcomes] == [True] * 3 + [False] * 2
    assert {each.code for each in outcomes[3:]} == {403}


async def test_a_process_counts_anew_what_it_finds(cluster, database_url):
    """What was counted by other rules is put right before anybody is charged."""
    await cluster.write(quota(pods="3"))
    await cluster.write(pod("a"))
    connection = await connect(database_url)
    await connection.execute(
        "UPDATE objects SET status = jsonb_set(status, '{used,pods}', '\"3\"')"
        " WHERE resource = 'resourcequotas'"
    )
    await connection.close()
    async with Store.open(database_url) as other:
        assert await used(other) == {"pods": "3"}
        await other.write(pod("b"))
        assert await used(other) == {"pods": "2"}
        revision = await other.revision()
        await other.write(create("events", "e", "default"))
        assert await other.revision() == revision + 1


async def test_namespaces_without_quota_are_asked_for_once(cluster, database_url, monkeypatch):
    """Their price: one look for each namespace, none once that is known."""
    questions = []
    probe = await connect(database_url)
    connection = type(probe)
    await probe.close()
    real = connection.fetch

    async def fetch(self, query, *args, **more):
        questions.append(query)
        return await real(self, query, *args, **more)

    monkeypatch.setattr(connection, "fetch", fetch)
    for number in range(5):
        await cluster.write(pod(f"p{number}"))
        await cluster.create_cohorts((CreateCohort(cohort(2, 10 * number)),))
    assert sum("resourcequotas" in each for each in questions) <= 1
