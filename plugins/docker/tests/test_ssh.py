"""Engines over SSH: a real sshd on loopback in front of a fake engine."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver
from ironfree_docker.ssh import Login, login, sweep

from plugins.docker.tests.fake_engine import FakeEngine
from plugins.docker.tests.sshd import Sshd, configure, running
from scheduler.drivers import Host, HostAddress, LogOptions, PodIdentity, SandboxSpec
from scheduler.errors import DriverError, HostUnreachable

WEB = SandboxSpec(PodIdentity("u1", "default", "web"), hostname="web")


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    with running(tmp_path / "ssh", monkeypatch) as sshd:
        yield sshd


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path, sshd: Sshd) -> HostAddress:
    await engine.serve(tmp_path / "docker.sock")
    return HostAddress("one", f"ssh://root@127.0.0.1:{sshd.port}{tmp_path}/docker.sock")


@pytest.fixture
async def over_ssh(address: HostAddress) -> AsyncIterator[Host]:
    host = await DockerDriver().connect(address)
    yield host
    await host.close()


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where tunnels have their folders; the path of a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="tunnels-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def inside(folder: Path, pattern: str = "*") -> list[Path]:
    return [*folder.glob(pattern)]


async def test_all_calls_and_streams_share_one_connection(
    engine: FakeEngine, over_ssh: Host, sshd: Sshd
):
    info = await over_ssh.info()
    assert info.address == "127.0.0.1"
    events = over_ssh.events()
    assert (await anext(events)).action == "open"
    sandbox = await over_ssh.ensure_sandbox(WEB)
    assert (await anext(events)).action == "start"
    engine.containers[next(iter(engine.containers))].log = b"\x01\0\0\0\0\0\0\x02hi"
    await asyncio.gather(*(over_ssh.ping() for _ in range(40)))  # four times MaxSessions
    logs = [chunk async for chunk in over_ssh.logs(sandbox.id, LogOptions())]
    assert b"".join(logs) == b"hi"
    assert len(sshd.children()) == 1
    await events.aclose()


@pytest.mark.parametrize("ssh", [False, True])
async def test_hundreds_of_stops_begin_at_once(
    engine: FakeEngine, address: HostAddress, tmp_path: Path, ssh: bool
):
    url = address.url if ssh else f"unix://{tmp_path}/docker.sock"
    host = await DockerDriver().connect(HostAddress("one", url))
    stopped = [engine.add(f"c{number}") for number in range(500)]
    engine.hang["stop"] = len(stopped)
    stops = [asyncio.create_task(host.stop_container(each.id, 600)) for each in stopped]
    try:
        async with asyncio.timeout(20):
            for _ in stopped:
                await engine.hanging.acquire()
        await host.ping()
    finally:
        for stop in stops:
            stop.cancel()
        await asyncio.gather(*stops, return_exceptions=True)
        await host.close()


async def test_a_connection_that_breaks_is_unreachable_and_a_new_one_works(
    engine: FakeEngine, address: HostAddress, sshd: Sshd
):
    host = await DockerDriver().connect(address)
    events = host.events()
    assert (await anext(events)).action == "open"
    for pid in sshd.children():
        os.kill(int(pid), 9)
    with pytest.raises(HostUnreachable):
        await anext(events)
    with pytest.raises(HostUnreachable):
        await host.ping()
    await host.close()
    again = await DockerDriver().connect(address)
    await again.ping()
    await again.close()


async def test_nothing_is_left_behind(address: HostAddress, over_ssh: Host, folders: Path):
    host = await DockerDriver().connect(address)
    assert len(inside(folders, "*/engine")) == 1
    await host.close()
    assert not inside(folders)
    await over_ssh.ping()


ONE_TUNNEL = """
import asyncio, sys
from ironfree_docker import DockerDriver
from scheduler.drivers import HostAddress

async def main():
    host = await DockerDriver().connect(HostAddress("one", sys.argv[1]))
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_tunnel_ends_with_a_killed_service_and_the_next_one_clears_up(
    address: HostAddress, sshd: Sshd, folders: Path
):
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ONE_TUNNEL, address.url,
        env={**os.environ, "TMPDIR": str(folders)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert service.stdout is not None
    assert await service.stdout.readline() == b"open\n"
    (connection,) = map(int, sshd.children())
    ended = os.pidfd_open(connection)
    service.kill()
    await service.wait()
    found, _, _ = await asyncio.to_thread(select.select, [ended], [], [], 20)
    if not found:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.close(ended)
    assert found, "its ssh still runs"
    (left,) = inside(folders)
    host = await DockerDriver().connect(address)
    assert left in inside(folders), "it might be another's that is just being made"
    await host.close()
    os.utime(left, (0, 0))
    host = await DockerDriver().connect(address)
    (own,) = inside(folders)
    assert own != left
    os.utime(own, (0, 0))
    sweep()
    assert own in inside(folders), "its tunnel is open"
    await host.close()


async def test_without_setpriv_a_tunnel_opens_as_well(
    address: HostAddress, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
):
    unable = sshd.folder / "bin" / "setpriv"
    unable.write_text("#!/bin/sh\nexit 1\n")
    unable.chmod(0o755)
    host = await DockerDriver().connect(address)
    await host.ping()
    await host.close()


async def test_a_key_that_is_not_taken_is_told(address: HostAddress, sshd: Sshd):
    configure(sshd, "other")
    with pytest.raises(HostUnreachable, match=r"Permission denied .*give the service's user a key"):
        await DockerDriver().connect(address)


async def test_an_unknown_host_is_told(address: HostAddress, sshd: Sshd):
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(HostUnreachable, match=r"verification failed.*connect once by hand"):
        await DockerDriver().connect(address)


async def test_an_engine_that_is_not_there_is_told(address: HostAddress, sshd: Sshd):
    absent = HostAddress("one", f"ssh://root@127.0.0.1:{sshd.port}/nowhere.sock")
    with pytest.raises(HostUnreachable, match=r"open failed.*is the engine's socket there"):
        await DockerDriver().connect(absent)


async def test_a_machine_that_does_not_answer_is_told(sshd: Sshd):
    sshd.process.terminate()
    sshd.process.wait(10)
    with pytest.raises(HostUnreachable, match=r"one cannot be reached over ssh: .*refused"):
        await DockerDriver().connect(HostAddress("one", f"ssh://root@127.0.0.1:{sshd.port}"))


async def test_without_ssh_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DriverError, match="ssh cannot be run here"):
        await DockerDriver().connect(HostAddress("one", "ssh://h"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("ssh://h", Login("h")),
        ("ssh://me@h.example:2222/", Login("h.example", "me", 2222)),
        ("ssh://[fd00::1]/run/user/1000/docker.sock",
         Login("fd00::1", socket="/run/user/1000/docker.sock")),
    ],
)  # fmt: skip
def test_addresses_over_ssh(url: str, found: Login):
    assert login(HostAddress("one", url)) == found


@pytest.mark.parametrize(
    "url",
    ["ssh://", "ssh://-oProxyCommand=x", "ssh://-l@h", "ssh://me:very secret@h", "ssh://h:0",
     "ssh://h:70000", "ssh://h/a:b", "ssh://h/a b", "ssh://h?x", "ssh://h%20x", "ssh://@h"],
)  # fmt: skip
def test_an_address_over_ssh_that_cannot_work_is_told(url: str):
    with pytest.raises(DriverError, match="is not ssh://user@host:port") as failure:
        login(HostAddress("one", url))
    assert "very secret" not in str(failure.value)
