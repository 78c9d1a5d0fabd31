"""Opening an engine: addresses, versions, and engines that are none."""

import asyncio
import ssl
import tempfile
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver
from ironfree_docker import engine as client
from ironfree_docker.connection import route

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import Host, HostAddress, LogOptions, TlsMaterial
from scheduler.errors import DriverError, EngineRejected, HostUnreachable
from scheduler.streams import SignallingHost
from tests.e2e.lab import certificates


@pytest.mark.parametrize(
    ("api", "least", "agreed"),
    [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.45"), ("1.40", "", "1.40")],
)
async def test_the_newest_version_both_speak_is_used(
    tmp_path: Path, engine: FakeEngine, api: str, least: str, agreed: str
):
    engine.api, engine.min_api = api, least or "1.0"
    url = await engine.serve(tmp_path / "s")
    host = await DockerDriver().connect(HostAddress("one", url))
    info = await host.info()
    await host.close()
    assert info.api_version == agreed
    assert "live-restore is off" in info.warnings[-1]


@pytest.mark.parametrize(("api", "least"), [("1.39", "1.12"), ("1.60", "1.46")])
async def test_versions_that_do_not_meet_are_told(
    tmp_path: Path, engine: FakeEngine, api: str, least: str
):
    engine.api, engine.min_api = api, least
    url = await engine.serve(tmp_path / "s")
    with pytest.raises(DriverError, match=rf"offers API {least} to {api}; Ironfree speaks"):
        await DockerDriver().connect(HostAddress("one", url))


@pytest.mark.parametrize("version", ["", "one.two", "1", "1.9999999999999999999", "-1.4"])
async def test_a_version_that_is_none_is_told(tmp_path: Path, engine: FakeEngine, version: str):
    engine.api = version
    url = await engine.serve(tmp_path / "s")
    with pytest.raises(DriverError, match="API version"):
        await DockerDriver().connect(HostAddress("one", url))


@pytest.mark.parametrize(
    "url",
    ["", "docker", "unix://relative", "tcp://", "tcp://h:0", "tcp://h:99999",
     "tcp://user:word@h", "tcp://h/path", "tcp://h:2375?x=1"],
)  # fmt: skip
def test_an_address_that_cannot_work_is_told(url: str):
    with pytest.raises(DriverError, match="host one"):
        route(HostAddress("one", url))


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("tcp://10.0.0.1", "http://10.0.0.1:2375"),
        ("tcp://h.example:99/", "http://h.example:99"),
        ("tcp://[fd00::1]:99", "http://[fd00::1]:99"),
    ],
)
def test_addresses_over_tcp(url: str, base: str):
    assert route(HostAddress("one", url)).base == base


def test_keys_reach_openssl_by_files_that_nobody_else_can_name(tmp_path, monkeypatch):
    made = certificates.make(tmp_path / "tls", ["127.0.0.1"])
    tls = TlsMaterial(made.ca.read_bytes(), made.cert.read_bytes(), made.key.read_bytes())
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    load, seen = ssl.SSLContext.load_cert_chain, []

    def look(self, *paths):
        seen.append([*folder.iterdir()])
        load(self, *paths)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    assert route(HostAddress("one", "tcp://h", tls)).tls is not None
    assert seen == [[]]


def test_tls_material_that_is_none_is_told_without_showing_it():
    tls = TlsMaterial(b"ca", b"certificate", b"very secret")
    with pytest.raises(DriverError, match="TLS material") as failure:
        route(HostAddress("one", "tcp://h", tls))
    assert "very secret" not in str(failure.value) + repr(tls)


async def test_nobody_listens(tmp_path: Path):
    with pytest.raises(HostUnreachable, match="host one cannot be reached"):
        await DockerDriver().connect(HostAddress("one", f"unix://{tmp_path}/none"))


async def test_a_server_that_is_no_engine_is_told(tmp_path: Path):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        with pytest.raises(DriverError, match="does not speak HTTP"):
            await DockerDriver().connect(HostAddress("one", f"unix://{tmp_path}/s"))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null", b'{"Version": 3}', b"\xff"])
async def test_answers_that_make_no_sense_are_errors_of_the_driver(
    engine: FakeEngine, host: Host, address: HostAddress, content: bytes
):
    engine.garbage = {"version": content, "info": content}
    with pytest.raises(DriverError, match="no Docker engine answers"):
        await DockerDriver().connect(address)
    with pytest.raises(DriverError, match="no Docker engine answers"):
        await host.info()


async def test_an_engine_is_told_from_its_clones(engine: FakeEngine, host: Host):
    first = (await host.info()).engine_id
    engine.name = "clone"
    assert "" != first != (await host.info()).engine_id
    engine.id = ""
    assert (await host.info()).engine_id == ""


async def test_an_endless_answer_is_cut(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, host: Host
):
    monkeypatch.setattr(client, "MAX_ANSWER", 1000)
    engine.garbage = {"list": b" " * 1001}
    with pytest.raises(DriverError, match="more than 1000 bytes"):
        await host.observe()


async def test_an_error_that_is_not_json_is_shown(engine: FakeEngine, host: Host):
    engine.reject = {"info": (503, "loading"), "list": (500, "disk full")}
    with pytest.raises(EngineRejected, match="loading") as failure:
        await host.info()
    assert failure.value.code == 503
    with pytest.raises(EngineRejected, match="disk full"):
        await host.observe()


async def test_a_ping_is_not_queued_behind_calls_that_hang(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, host: Host
):
    engine.hang["inspect"] = 100
    reads = [asyncio.create_task(_ignore(host, f"{n}")) for n in range(40)]
    for _ in range(client.READS):
        await engine.hanging.acquire()
    await host.ping()
    assert engine.busiest["inspect"] == client.READS
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    monkeypatch.setattr(client, "PING", 0.05)
    engine.hang["ping"] = 1
    with pytest.raises(HostUnreachable, match="in time"):
        await host.ping()


async def _ignore(host: Host, container: str) -> None:

    async for _ in host.logs(container, LogOptions()):
        pass


async def test_closing_that_is_cut_off_leaves_no_connection_open(host: Host):
    assert isinstance(host, SignallingHost)
    await host.signals()  # which needs the dialer
    closing = asyncio.create_task(host.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    with pytest.raises(RuntimeError, match="closed"):
        await host.ping()
