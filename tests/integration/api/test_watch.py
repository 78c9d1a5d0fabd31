"""Watches over HTTP: order, selectors, bookmarks, WatchList, tables, ends."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from scheduler.api.server import build, serve
from scheduler.meter import Meter
from scheduler.objects.kinds import REGISTRY
from scheduler.store.store import Store
from tests.integration.api.conftest import NOBODY, Running, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def config(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


class Stream:
    """Events of one watch, one by one."""

    def __init__(self, response):
        self.response = response

    async def next(self):
        async with asyncio.timeout(10):
            line = await self.response.content.readline()
        return json.loads(line) if line else None

    async def short(self):
        event = await self.next()
        return event["type"], event["object"]["metadata"]["name"]


@asynccontextmanager
async def watching(api, path, headers=None, **params):
    query = {"watch": "true", **params}
    async with api.session.get(api.url + path, params=query, headers=headers or {}) as response:
        assert response.status == 200
        yield Stream(response)


async def make(api, ns, name, labels=None, **data):
    body = {"metadata": {"name": name, "labels": labels or {}}, "data": data}
    answer = await api.post(config(ns), body)
    assert answer.code == 201
    return answer.body


async def patch(api, ns, name, body):
    headers = {"Content-Type": "application/merge-patch+json"}
    return (await api.call("PATCH", config(ns, name), body, headers=headers)).body


async def test_changes_come_in_order_with_their_versions(api, ns):
    await make(api, ns, "old")
    version = (await api.get(config(ns))).body["metadata"]["resourceVersion"]
    async with watching(api, config(ns), resourceVersion=version) as stream:
        await make(api, ns, "a")
        await patch(api, ns, "a", {"data": {"k": "v"}})
        await api.call("DELETE", config(ns, "a"))
        events = [await stream.next() for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(versions)
    assert versions[0] > int(version)
    assert events[2]["object"]["data"] == {"k": "v"}


async def test_without_a_version_the_present_objects_come_first(api, ns):
    await make(api, ns, "a")
    async with watching(api, config(ns), resourceVersion="0") as stream:
        assert await stream.short() == ("ADDED", "a")
        await make(api, ns, "b")
        assert await stream.short() == ("ADDED", "b")


async def test_entering_and_leaving_a_selector(api, ns):
    await make(api, ns, "a", {"on": "no"})
    async with watching(api, config(ns), labelSelector="on=yes") as stream:
        await patch(api, ns, "a", {"metadata": {"labels": {"on": "yes"}}})
        assert await stream.short() == ("ADDED", "a")
        await patch(api, ns, "a", {"data": {"k": "v"}})
        assert await stream.short() == ("MODIFIED", "a")
        await patch(api, ns, "a", {"metadata": {"labels": {"on": "no"}}})
        assert await stream.short() == ("DELETED", "a")
        await api.call("DELETE", config(ns, "a"))
        await make(api, ns, "b", {"on": "yes"})
        assert await stream.short() == ("ADDED", "b")


async def test_only_the_namespace_and_the_name_asked_for(api, ns):
    other = await api.fresh_namespace()
    async with watching(api, config(ns), fieldSelector="metadata.name=b") as stream:
        await make(api, other, "b")
        await make(api, ns, "a")
        await make(api, ns, "b")
        event = await stream.next()
        assert (event["object"]["metadata"]["namespace"], event["type"]) == (ns, "ADDED")
        assert event["object"]["metadata"]["name"] == "b"


async def test_a_watch_list_marks_the_end_of_the_present(api, ns):
    await make(api, ns, "a")
    wish = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with watching(api, config(ns), **wish) as stream:
        assert await stream.short() == ("ADDED", "a")
        mark = await stream.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "ConfigMap"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await make(api, ns, "b")
        event = await stream.next()
        while event["type"] == "BOOKMARK":
            event = await stream.next()
        assert event["object"]["metadata"]["name"] == "b"
    wrong = await api.get(config(ns), watch="true", sendInitialEvents="true")
    assert (wrong.code, wrong.body["reason"]) == (422, "Invalid")


async def test_bookmarks_move_on_without_changes_of_the_kind(api, ns):
    async with watching(api, config(ns), allowWatchBookmarks="true") as stream:
        await api.post(f"/api/v1/namespaces/{ns}/secrets", {"metadata": {"name": "s"}})
        event = await stream.next()
        assert event["type"] == "BOOKMARK"
        assert set(event["object"]) == {"kind", "apiVersion", "metadata"}


async def test_tables_are_watched_row_by_row(api, ns):
    await make(api, ns, "a")
    async with watching(api, config(ns), TABLE, resourceVersion="0") as stream:
        first = await stream.next()
        await make(api, ns, "b")
        second = await stream.next()
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert first["object"]["rows"][0]["cells"][0] == "a"
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["object"]["metadata"]["name"] == "b"


async def test_a_watch_ends_at_its_timeout(api, ns):
    async with watching(api, config(ns), timeoutSeconds="1") as stream:
        assert await stream.next() is None


async def test_a_future_position_is_expired(api, ns):
    async with watching(api, config(ns), resourceVersion="999999999") as stream:
        event = await stream.next()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert await stream.next() is None


async def test_bindings_are_seen_as_changes_of_the_pod(api, ns, pod):
    await api.post(
        "/api/v1/nodes",
        {
            "metadata": {"name": "w"},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "5"}},
        },
    )
    path = f"/api/v1/namespaces/{ns}/pods"
    await api.post(path, pod())
    async with watching(api, path, fieldSelector="spec.nodeName=w") as stream:
        await api.post(f"{path}/web/binding", {"target": {"kind": "Node", "name": "w"}})
        event = await stream.next()
        assert event["type"] == "ADDED"
        assert event["object"]["spec"]["nodeName"] == "w"


@asynccontextmanager
async def restarted(api):
    """The API anew on the same database: what objects were before its start is unknown to it."""
    async with Store.open(api.database) as store:
        app = build(store, REGISTRY, Meter(api.hosts), NOBODY, settings())
        started = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(app, settings(), started))
        try:
            url = f"http://127.0.0.1:{await started}"
            yield Running(url, store, api.hosts, api.session, app)
        finally:
            server.cancel()
            await asyncio.wait({server})


async def test_what_another_name_or_namespace_was_before_is_not_shown(api, ns):
    """An object whose earlier state is unknown left the view only if it can have been in it."""
    other = await api.fresh_namespace()
    await make(api, ns, "mine", {"on": "yes"})
    await make(api, ns, "yours", {"on": "yes"})
    await make(api, other, "mine", {"on": "yes"})
    start = (await api.get(config(ns))).body["metadata"]["resourceVersion"]
    for place, name in ((ns, "yours"), (other, "mine"), (ns, "mine")):
        await patch(api, place, name, {"metadata": {"labels": {"on": "no"}}, "data": {"k": "v"}})
    headers = {"Content-Type": "application/merge-patch+json"}
    for each in (other, ns):
        label = {"metadata": {"labels": {"k": "v"}}}
        await api.call("PATCH", f"/api/v1/namespaces/{each}", label, headers=headers)
    mine = {"fieldSelector": "metadata.name=mine"}
    within = {"fieldSelector": f"metadata.name=mine,metadata.namespace={ns}"}
    on = {"labelSelector": "on=yes", "resourceVersion": start}
    async with restarted(api) as again:
        for path, query in (
            (config(ns), mine),
            (config(ns, "mine"), {}),
            ("/api/v1/configmaps", within),
        ):
            async with watching(again, path, **query, **on, timeoutSeconds="1") as stream:
                event = await stream.next()
                meta = event["object"]["metadata"]
                assert (event["type"], meta["namespace"], meta["name"]) == ("DELETED", ns, "mine")
                assert await stream.next() is None
        async with watching(
            again, f"/api/v1/namespaces/{ns}", resourceVersion=start, timeoutSeconds="1"
        ) as stream:
            assert await stream.short() == ("MODIFIED", ns)
            assert await stream.next() is None
