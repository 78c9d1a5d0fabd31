"""PUT imagebuilds/{name}/context: what is taken, once, and what is refused."""

import asyncio
from datetime import UTC, datetime

import pytest

from scheduler.api import build_context
from scheduler.nodes.build_sources import inline_archive
from scheduler.objects.image_build import DockerfileSource
from scheduler.store.compaction import DEFAULT_RETENTION

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
