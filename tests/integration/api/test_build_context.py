"""PUT imagebuilds/{name}/context: what is taken, once, and what is refused."""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from scheduler.api import build_context
from scheduler.api.server import build, serve
from scheduler.errors import Unavailable
from scheduler.nodes.build_sources import inline_archive
from scheduler.objects.image_build import DockerfileSource
from scheduler.objects.kinds import REGISTRY
from scheduler.store.compaction import DEFAULT_RETENTION
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.integration.api.conftest import NOBODY, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")
ARCHIVE = inline_archive(DockerfileSource("FROM x\n"))
TAR = {"Content-Type": "application/x-tar"}


async def made(api, ns, **source):
    path = f"/apis/ironfree.dev/v1/namespaces/{ns}/imagebuilds"
    spec = {"image": "new:v1", **(source or {"upload": {}})}
    answer = await api.post(path, {"metadata": {"name": "b"}, "spec": spec})
    assert answer.code == 201, answer.body
    return answer.body["metadata"]["uid"], f"{path}/b"


async def kept(api, uid):
    return b"".join([part async for part in api.store.context_of(uid)])


async def test_a_context_is_kept_once(api, ns):
    uid, path = await made(api, ns)
    assert (await api.get(path)).body["spec"]["upload"] == {"dockerfile": "Dockerfile"}
    content = ARCHIVE + bytes(3 << 20)
    answer = await api.call("PUT", f"{path}/context", data=content, headers=TAR)
    assert answer.code == 200
    assert answer.body["status"]["contextBytes"] == len(content)
    assert answer.body["status"]["phase"] == "Pending"
    assert await kept(api, uid) == content
    again = await api.call("PUT", f"{path}/context", data=b"other", headers=TAR)
    assert (again.code, again.body["reason"]) == (409, "Conflict")
    assert await kept(api, uid) == content


async def test_what_is_no_context_is_refused(api, ns, monkeypatch):
    uid, path = await made(api, ns)
    context = f"{path}/context"
    assert (await api.call("PUT", context, {"a": 1})).code == 415
    assert (await api.call("PUT", context, data=b"", headers=TAR)).code == 400
    assert (await api.call("PUT", f"{path}x/context", data=b"x", headers=TAR)).code == 404
    assert (await api.get(context)).code == 405
    with monkeypatch.context() as patch:
        patch.setattr(build_context, "MOST_CONTEXT", 1000)
        large = await api.call("PUT", context, data=bytes(1001), headers=TAR)
        assert large.code == 413
        patch.setattr(build_context, "MOST_CONTEXT", 10000)
        patch.setattr(build_context, "MOST_KEPT", 1000)
        full = await api.call("PUT", context, data=bytes(1001), headers=TAR)
        assert (full.code, full.body["reason"]) == (503, "ServiceUnavailable")
    assert await kept(api, uid) == b""
    assert "contextBytes" not in (await api.get(path)).body["status"]
    assert (await api.call("PUT", context, data=ARCHIVE, headers=TAR)).code == 200


async def test_a_context_goes_with_its_build(api, ns):
    uid, path = await made(api, ns)
    assert (await api.call("PUT", f"{path}/context", data=ARCHIVE, headers=TAR)).code == 200
    await api.store.compact(DEFAULT_RETENTION, datetime.now(UTC))
    assert await kept(api, uid) == ARCHIVE
    assert (await api.call("DELETE", path)).code == 200
    await api.store.compact(DEFAULT_RETENTION, datetime.now(UTC))
    assert await kept(api, uid) == b""


async def test_only_a_build_of_an_upload_takes_one(api, ns):
    _, path = await made(api, ns, dockerfile={"text": "FROM x\n"})
    answer = await api.call("PUT", f"{path}/context", data=ARCHIVE, headers=TAR)
    assert answer.code == 400
    assert "no spec.upload" in answer.body["message"]


@pytest_asyncio.fixture(loop_scope="module")
async def second(api):
    """The URL of another API process on the same database, as far as that can tell."""
    async with Store.open(api.database) as store:
        app = build(store, REGISTRY, api.hosts, NOBODY, settings())
        started = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(app, settings(), started))
        try:
            yield f"http://127.0.0.1:{await started}"
        finally:
            server.cancel()
            await asyncio.wait({server})


async def test_a_slow_upload_does_not_replace_one_that_another_process_took(api, ns, second):
    uid, path = await made(api, ns)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(100)
        begun.set()
        await go_on.wait()

    async def upload():
        context = f"{second}{path}/context"
        async with api.session.put(context, data=slow(), headers=TAR) as response:
            return response.status, await response.json()

    late = asyncio.create_task(upload())
    await begun.wait()
    assert (await api.call("PUT", f"{path}/context", data=ARCHIVE, headers=TAR)).code == 200
    go_on.set()
    code, answer = await late
    assert code == 409
    assert "has its context" in answer["message"]
    assert await kept(api, uid) == ARCHIVE


async def test_of_two_processes_one_at_a_time_takes_a_context(api, ns, second):
    uid, path = await made(api, ns)
    async with api.store.hold_context(uid) as mine:
        assert mine
        put = api.session.put(f"{second}{path}/context", data=ARCHIVE, headers=TAR)
        async with put as response:
            assert response.status == 409
            assert "is being uploaded" in (await response.json())["message"]
        assert await kept(api, uid) == b""
    async with api.session.put(f"{second}{path}/context", data=ARCHIVE, headers=TAR) as response:
        assert response.status == 200


async def test_two_contexts_do_not_take_the_same_room(api, ns):
    uids = [str(uuid.uuid4()) for _ in range(2)]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(2 << 20)
        begun.set()
        await go_on.wait()

    async def fast():
        yield bytes(2 << 20)

    admin = await connect(api.database)
    there = "SELECT coalesce(sum(octet_length(content)), 0) FROM build_contexts"
    room = await admin.fetchval(there) + (3 << 20)
    first = asyncio.create_task(api.store.keep_context(uids[0], slow(), room))
    await begun.wait()
    other = asyncio.create_task(api.store.keep_context(uids[1], fast(), room))
    blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(10):
        while not await admin.fetchval(blocked):
            assert not other.done(), "it has to wait until the first is counted"
            await asyncio.sleep(0.01)
    await admin.close()
    go_on.set()
    assert await first == 2 << 20
    with pytest.raises(Unavailable, match="no room"):
        await other
    for uid in uids:
        await api.store.drop_context(uid)


async def test_few_are_taken_at_once(api, ns):
    _, path = await made(api, ns)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        begun.set()
        yield ARCHIVE[:100]
        await go_on.wait()
        yield ARCHIVE[100:]

    put = api.session.put(f"{api.url}{path}/context", data=slow(), headers=TAR)
    first = asyncio.create_task(put.__aenter__())
    await begun.wait()
    while True:  # until the first request has come
        other = await api.call("PUT", f"{path}/context", data=b"", headers=TAR)
        if other.code == 409:
            break
        assert other.code == 400
    assert "is being uploaded" in other.body["message"]
    go_on.set()
    response = await first
    assert response.status == 200
    await put.__aexit__(None, None, None)


async def test_a_build_does_not_change(api, ns):
    _, path = await made(api, ns)
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = await api.call("PATCH", path, {"spec": {"image": "other:v1"}}, headers=merge)
    assert (answer.code, answer.body["details"]["causes"][0]["field"]) == (422, "spec")
    table = await api.kubectl("-n", ns, "get", "imagebuilds", "-o", "wide")
    assert table.split()[:4] == ["NAME", "SOURCE", "IMAGE", "PHASE"]
    assert "upload" in table
