"""Lists asked for again: nothing of what has changed is missed."""

import asyncio

import pytest

from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Remove
from scheduler.store.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")
MANY = 20  # lists of fewer are not kept


def config_map(number, value="1"):
    meta = {"name": f"c-{number:04}", "labels": {"half": str(number % 2)}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"v": value}}


@pytest.fixture
def path(ns):
    return f"/api/v1/namespaces/{ns}/configmaps"


async def make(api, path, count=MANY):
    for number in range(count):
        assert (await api.post(path, config_map(number))).code == 201


def names(answer):
    return [item["metadata"]["name"] for item in answer.body["items"]]


async def test_a_list_asked_for_again_is_the_same_at_the_present_revision(api, path):
    await make(api, path)
    first = await api.get(path)
    elsewhere = f"/api/v1/namespaces/{await api.fresh_namespace()}/configmaps"
    assert (await api.post(elsewhere, config_map(0))).code == 201
    again = await api.get(path)
    assert again.body["items"] == first.body["items"]
    before, now = (int(a.body["metadata"]["resourceVersion"]) for a in (first, again))
    assert now > before
    assert again.body["metadata"] == {"resourceVersion": str(now)}


async def test_what_is_made_changed_and_deleted_is_in_the_next_list(api, path):
    await make(api, path)
    await api.get(path)
    await api.post(path, config_map(MANY))
    assert names(await api.get(path))[-1] == f"c-{MANY:04}"
    await api.call("PUT", f"{path}/c-0003", config_map(3, "2"))
    assert (await api.get(path)).body["items"][3]["data"] == {"v": "2"}
    await api.call("DELETE", f"{path}/c-0000")
    assert names(await api.get(path))[0] == "c-0001"


async def test_another_process_is_believed_at_once(api, path, ns):
    """Its commits are in the database before this process hears of them."""
    await make(api, path)
    async with Store.open(api.database, retention=None) as other:
        for number in range(MANY - 1):
            assert len(names(await api.get(path))) == MANY - number
            await other.write(Remove(ObjectKey("configmaps", ns, f"c-{number:04}")))


async def test_selections_forms_and_pages_are_lists_of_their_own(api, path):
    await make(api, path, 2 * MANY)
    for _ in range(2):
        assert len(names(await api.get(path))) == 2 * MANY
        assert len(names(await api.get(path, labelSelector="half=1"))) == MANY
        assert len(names(await api.get(path, fieldSelector="metadata.name=c-0001"))) == 1
        page = await api.get(path, limit=str(MANY))
        assert names(page) == [f"c-{n:04}" for n in range(MANY)]
        rest = await api.get(path, **{"continue": page.body["metadata"]["continue"]})
        assert names(rest) == [f"c-{n:04}" for n in range(MANY, 2 * MANY)]
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        metadata = await api.call("GET", path, headers={"Accept": accept})
        assert metadata.body["kind"] == "PartialObjectMetadataList"
        assert "data" not in metadata.body["items"][0]


async def test_a_long_list_is_the_same_in_parts_and_again(api, path):
    body = {"apiVersion": "v1", "kind": "List", "items": [config_map(n) for n in range(1100)]}
    for start in range(0, 1100, 550):
        part = body | {"items": body["items"][start : start + 550]}
        done = await asyncio.gather(*(api.post(path, each) for each in part["items"]))
        assert {each.code for each in done} == {201}
    first, again = await api.get(path), await api.get(path)
    assert len(first.body["items"]) == 1100
    assert again.raw == first.raw
