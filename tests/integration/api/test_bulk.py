"""Many objects in one request."""

import asyncio
import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*objects):
    return b"\n".join(o if isinstance(o, bytes) else json.dumps(o).encode() for o in objects)


async def send(api, ns, data, **query):
    path = f"/api/v1/namespaces/{ns}/pods" if ns else "/api/v1/pods"
    answer = await api.call("POST", path, data=data, headers=NDJSON, **query)
    assert answer.code == 200
    *items, summary = [json.loads(line) for line in answer.body.splitlines()]
    return items, summary["metadata"]["annotations"]


async def names(api, ns):
    found = await api.get(f"/api/v1/namespaces/{ns}/pods")
    return {item["metadata"]["name"] for item in found.body["items"]}


async def test_every_line_becomes_a_pod(api, ns, pod):
    items, summary = await send(api, ns, lines(*[pod(f"p{i}") for i in range(2500)]))
    assert summary == {"ironfree.dev/created": "2500", "ironfree.dev/failed": "0"}
    assert [item["metadata"]["name"] for item in items] == [f"p{i}" for i in range(2500)]
    assert len({item["metadata"]["uid"] for item in items}) == 2500
    assert len(await names(api, ns)) == 2500
    one = (await api.get(f"/api/v1/namespaces/{ns}/pods/p7")).body
    assert one["spec"]["restartPolicy"] == "Always"
    assert one["metadata"]["resourceVersion"] == items[7]["metadata"]["resourceVersion"]


async def test_failures_are_told_in_place_and_touch_nothing_else(api, ns, pod):
    bad = pod("bad")
    bad["spec"]["containers"] = []
    data = lines(
        pod("a"), b"{", bad, pod("a"), b"", {"kind": "Service", "apiVersion": "v1"}, pod("z")
    )
    items, summary = await send(api, ns, data)
    outcomes = [item.get("reason") or item["metadata"]["name"] for item in items]
    assert outcomes == ["a", "BadRequest", "Invalid", "AlreadyExists", "BadRequest", "z"]
    assert summary == {"ironfree.dev/created": "2", "ironfree.dev/failed": "4"}
    assert await names(api, ns) == {"a", "z"}


async def test_lines_may_name_their_namespaces(api, ns, pod):
    other = await api.fresh_namespace()
    first, second, none = pod("a"), pod("b"), pod("c")
    first["metadata"]["namespace"], second["metadata"]["namespace"] = ns, other
    items, _summary = await send(api, "", lines(first, second, none))
    assert [item["kind"] for item in items] == ["Pod", "Pod", "Status"]
    assert (await names(api, ns), await names(api, other)) == ({"a"}, {"b"})


async def test_names_are_generated(api, ns, pod):
    body = pod()
    body["metadata"] = {"generateName": "g-"}
    items, _summary = await send(api, ns, lines(*[body] * 50))
    assert len({item["metadata"]["name"] for item in items}) == 50


async def test_pods_alike_are_made_together_and_told_in_place(api, ns, pod):
    left, right, named = pod(), pod(), pod("named")
    left["metadata"] = {"generateName": "left-", "labels": {"side": "left"}}
    right["metadata"] = {"generateName": "right-", "labels": {"side": "right"}, "uid": "x"}
    few, bad = pod(), pod()
    few["metadata"] = {"generateName": "few-"}
    bad["metadata"] = {"generateName": "bad-"}
    bad["spec"]["containers"] = []
    items, summary = await send(
        api, ns, lines(*[left, right] * 1300, few, named, few, *[bad] * 40, named)
    )
    assert summary == {"ironfree.dev/created": "2603", "ironfree.dev/failed": "41"}
    made = [item["metadata"].get("name", "") for item in items]
    assert [name.rpartition("-")[0] for name in made[:2602:]][:5] == ["left", "right"] * 2 + [
        "left"
    ]
    assert [item.get("reason") for item in items[2603:]] == ["Invalid"] * 40 + ["AlreadyExists"]
    assert len(set(made[:2603])) == len({item["metadata"]["uid"] for item in items[:2603]}) == 2603
    found = (await api.get(f"/api/v1/namespaces/{ns}/pods")).body["items"]
    stored = {each["metadata"]["name"]: each["metadata"] for each in found}
    assert stored.keys() == set(made[:2603])
    for item in items[:2603]:
        told, metadata = item["metadata"], stored[item["metadata"]["name"]]
        assert told["uid"] == metadata["uid"]
        assert told["resourceVersion"] == metadata["resourceVersion"]
        assert metadata.get("labels", {}).get("side") in {told["name"].split("-")[0], None}
        assert "ownerReferences" not in metadata


async def test_pods_alike_need_a_namespace_and_keep_nothing_of_a_dry_run(api, ns, pod):
    body = pod()
    body["metadata"] = {"generateName": "g-"}
    items, _summary = await send(api, "nowhere", lines(*[body] * 50))
    assert {item["reason"] for item in items} == {"NotFound"}
    items, _summary = await send(api, ns, lines(*[body] * 50), dryRun="All")
    assert len({item["metadata"]["name"] for item in items}) == 50
    assert await names(api, ns) == set()


async def test_a_list_is_created_item_by_item(api, ns, pod):
    for kind in ("List", "PodList"):
        body = {"kind": kind, "apiVersion": "v1", "items": [pod(kind.lower()), {"x": 1}]}
        answer = await api.post(f"/api/v1/namespaces/{ns}/pods", body)
        assert answer.code == 200
        assert answer.body["kind"] == "List"
        assert [item["kind"] for item in answer.body["items"]] == ["Pod", "Status"]
    assert await names(api, ns) == {"list", "podlist"}


async def test_a_dry_run_keeps_nothing(api, ns, pod):
    items, _summary = await send(api, ns, lines(pod("a")), dryRun="All")
    assert items[0]["kind"] == "Pod"
    assert await names(api, ns) == set()


async def test_an_empty_body_is_refused(api, ns):
    path = f"/api/v1/namespaces/{ns}/pods"
    answer = await api.call("POST", path, data=b"", headers=NDJSON)
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")


async def test_a_line_too_large_ends_the_request_but_keeps_what_came_before(api, ns, pod):
    data = lines(*[pod(f"p{i}") for i in range(2000)]) + b"\n" + b"x" * (4 << 20)
    items, summary = await send(api, ns, data)
    assert items[-1]["reason"] == "RequestEntityTooLarge"
    assert summary["ironfree.dev/created"] == "2000"
    assert len(await names(api, ns)) == int(summary["ironfree.dev/created"])


async def test_long_lines_are_stored_before_all_have_come(api, ns, pod):
    """Else one request would fill memory."""
    told = asyncio.Event()

    async def body():
        for number in range(13):
            yield json.dumps(pod(f"p{number}")).encode() + b" " * (23 << 17) + b"\n"
        await told.wait()
        yield json.dumps(pod("last")).encode()

    path = f"{api.url}/api/v1/namespaces/{ns}/pods"
    async with asyncio.timeout(60), api.session.post(path, data=body(), headers=NDJSON) as answer:
        first = json.loads(await answer.content.readline())
        told.set()
        rest = [json.loads(line) for line in (await answer.read()).splitlines()]
    made = [each["metadata"]["name"] for each in (first, *rest[:-1])]
    assert made == [*(f"p{number}" for number in range(13)), "last"]
