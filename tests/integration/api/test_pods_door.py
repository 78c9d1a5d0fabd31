"""The door of pods: TLS, and no more connections than leave the process some descriptors."""

import asyncio
import ssl

import pytest
from aiohttp import web

from scheduler.access import Authority
from scheduler.api import pods_door
from scheduler.networks import Connect

NAMES = ("kubernetes.default.svc", "10.96.0.1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(*Authority.make())


@pytest.fixture
def app() -> web.Application:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def ask(connect: Connect, authority: Authority) -> bytes:
    """Ask as a pod does, that trusts the authority."""
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    reader, writer = await connect()
    try:
        await writer.start_tls(context, server_hostname=NAMES[1])
        writer.write(b"GET / HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_pod_knows_the_api_by_its_certificate(
    app: web.Application, authority: Authority
) -> None:
    async with pods_door.pods_door(app, authority, NAMES) as connect:
        assert (await ask(connect, authority)).endswith(b"here")


async def test_who_speaks_no_tls_is_sent_away_and_who_says_nothing_ends_with_the_door(
    app: web.Application, authority: Authority
) -> None:
    async with pods_door.pods_door(app, authority, NAMES) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
        assert b"here" not in await reader.read()
        writer.close()
        silent, open_end = await connect()
        assert (await ask(connect, authority)).endswith(b"here")
    assert await silent.read() == b""
    open_end.close()
    with pytest.raises(ConnectionRefusedError, match="no longer served"):
        await connect()


async def test_there_is_an_end_to_connections(
    app: web.Application, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_door, "getrlimit", lambda _what: (16, 16))  # a share: two
    async with pods_door.pods_door(app, authority, NAMES) as connect:
        made = [await connect() for _ in range(2)]
        with pytest.raises(ConnectionRefusedError, match="2 connections"):
            await connect()
        made[0][1].transport.abort()
        made.append(await connect())
        for _reader, writer in made:
            writer.transport.abort()


async def test_a_certificate_that_cannot_be_renewed_is_tried_again(
    app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_door, "_RENEWAL", 0.0)
    monkeypatch.setattr(pods_door, "_AGAIN", 0.0)
    again = asyncio.Event()

    class Failing(Authority):
        calls = 0

        def serve(self, context: ssl.SSLContext, names: object) -> None:
            self.calls += 1
            if self.calls == 1:  # at the beginning
                super().serve(context, NAMES)
            elif self.calls == 2:
                raise OSError("no space left on device")
            else:
                again.set()

    authority = Failing(*Authority.make())
    async with pods_door.pods_door(app, authority, NAMES):
        await asyncio.wait_for(again.wait(), 10)
