"""Who may ask, and what happens when the database does not answer or a bug shows."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest

from scheduler.api.configuration import ApiSettings
from scheduler.api.server import build, serve
from scheduler.errors import ConfigurationError, Unavailable
from scheduler.meter import Meter
from scheduler.objects.kind import Column, Kind, KindRegistry, Printer
from scheduler.objects.kinds import ALL_KINDS, REGISTRY
from tests.integration.api.conftest import NOBODY


@asynccontextmanager
async def running(store, registry=REGISTRY, **changes):
    settings = ApiSettings(port=0, **changes)
    app = build(store, registry, Meter(None), NOBODY, settings)
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, settings, started))
    try:
        port = await started
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_token_is_asked_for(store):
    async with running(store, token="s3cret") as session:
        for header in (None, "Bearer wrong", "Basic s3cret", "Bearer ", "Bearer s3cret\u00e9"):
            headers = {"Authorization": header} if header else {}
            async with session.get("/api/v1/pods", headers=headers) as answer:
                assert answer.status == 401
                assert (await answer.json())["reason"] == "Unauthorized"
        async with session.get(
            "/api/v1/pods", headers={"Authorization": "Bearer s3cret"}
        ) as answer:
            assert answer.status == 200
        async with session.get("/healthz") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_an_open_address_needs_tls_and_a_token(host, tmp_path):
    with pytest.raises(ConfigurationError, match="a TLS certificate and key and a bearer token"):
        ApiSettings(host=host).check()
    with pytest.raises(ConfigurationError, match="without a bearer token"):
        ApiSettings(host=host, tls_certificate=tmp_path, tls_key=tmp_path).check()
    with pytest.raises(ConfigurationError, match="go together"):
        ApiSettings(tls_key=tmp_path).check()
    ApiSettings(host=host, tls_certificate=tmp_path, tls_key=tmp_path, token="t").check()
    assert "t0ken" not in repr(ApiSettings(token="t0ken"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_open(host):
    ApiSettings(host=host).check()


ELSEWHERE = (
    {"Host": "evil.example"},
    {"Host": "evil.example:8001"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Host": "10.0.0.1:8001"},
    {"Host": "[::2]:8001"},
    {"Origin": "http://evil.example"},
    {"Origin": "https://localhost.evil.example:8001"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Host": "localhost:8001", "Origin": "http://evil.example"},
)
HERE = (
    {},
    {"Host": "localhost"},
    {"Host": "LOCALHOST:8001"},
    {"Host": "127.8.8.8:1"},
    {"Host": "[::1]:8001"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://127.0.0.1"},
    {"Origin": "http://[::1]:8001"},
)


async def test_web_pages_are_not_let_in_where_no_token_is_set(store):
    body = {"metadata": {"name": "of-a-page"}}
    async with running(store) as session:
        for headers in ELSEWHERE:
            async with session.post("/api/v1/namespaces", json=body, headers=headers) as answer:
                status = await answer.json()
                assert (answer.status, status["reason"]) == (403, "Forbidden"), headers
                assert "set IRONFREE_TOKEN" in status["message"]
            async with session.get("/api/v1/pods", headers=headers) as answer:
                assert answer.status == 403, headers
            async with session.get("/healthz", headers=headers) as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect("/api/v1/namespaces/n/pods/p/exec", headers=headers)
            assert refused.value.status == 403
        for headers in HERE:
            async with session.get("/api/v1/pods", headers=headers) as answer:
                assert answer.status == 200, headers
        async with session.get("/api/v1/namespaces/of-a-page") as answer:
            assert answer.status == 404


async def test_a_token_tells_clients_from_web_pages(store):
    async with running(store, token="s3cret") as session:
        headers = {"Host": "ironfree.example", "Origin": "https://console.example"}
        async with session.get("/api/v1/pods", headers=headers) as answer:
            assert answer.status == 401
        headers["Authorization"] = "Bearer s3cret"
        async with session.get("/api/v1/pods", headers=headers) as answer:
            assert answer.status == 200


class Broken:
    """A store that fails in one way."""

    def __init__(self, store, error):
        self.store, self.error = store, error

    def __getattr__(self, name):
        async def fail(*_arguments):
            raise self.error

        return (
            fail
            if name in {"get", "write", "write_many", "revision"}
            else getattr(self.store, name)
        )


async def test_an_absent_database_is_unavailable(store):
    async with running(Broken(store, Unavailable("the database does not answer"))) as session:
        async with session.get("/api/v1/namespaces/default") as answer:
            body = await answer.json()
            assert (answer.status, body["reason"]) == (503, "ServiceUnavailable")
            assert answer.headers["Retry-After"] == "1"
        async with session.post("/api/v1/namespaces", json={"metadata": {"name": "x"}}) as answer:
            assert answer.status == 503
        async with session.get("/readyz") as answer:
            assert answer.status == 503
        async with session.get("/livez") as answer:
            assert answer.status == 200


async def test_a_bug_shows_nothing_of_the_inside(store, caplog):
    broken = Broken(store, RuntimeError("password=hunter2"))
    async with running(broken) as session, session.get("/api/v1/namespaces/default") as answer:
        body = await answer.json()
    assert (answer.status, body["reason"]) == (500, "InternalError")
    assert "hunter2" not in body["message"]
    request_id = body["message"].split()[-1]
    assert request_id in caplog.text


async def test_watches_end_cleanly_when_the_server_stops(store):
    settings = ApiSettings(port=0)
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(build(store, REGISTRY, Meter(None), NOBODY, settings), settings, started)
    )
    url = f"http://127.0.0.1:{await started}/api/v1/pods?watch=true"
    async with asyncio.timeout(10), aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        task.cancel()
        assert await answer.read() == b""
        await asyncio.wait({task})


async def test_a_further_kind_is_served_from_its_declaration_alone(store):
    toy = Kind(
        kind="Toy",
        plural="toys",
        message="ironfree.v1.DockerHost",
        group="toys.example.com",
        namespaced=False,
        printer=Printer((Column("Name"),), lambda obj, _now: (obj["metadata"]["name"],)),
        builtin=False,
    )
    registry = KindRegistry((*ALL_KINDS, toy))
    path = "/apis/toys.example.com/v1/toys"
    async with running(store, registry) as session:
        body = {"metadata": {"name": "bear"}, "spec": {"address": "shelf"}}
        async with session.post(path, json=body) as answer:
            assert answer.status == 201
            assert (await answer.json())["kind"] == "Toy"
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with session.get(path, headers=table) as answer:
            assert (await answer.json())["rows"][0]["cells"] == ["bear"]
        async with session.delete(f"{path}/bear") as answer:
            assert (await answer.json())["details"]["group"] == "toys.example.com"
