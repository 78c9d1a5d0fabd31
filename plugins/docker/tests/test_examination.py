"""What the doctor finds of an engine."""

from datetime import UTC, datetime, timedelta

import pytest
from ironfree_docker import DockerDriver, wire
from ironfree_docker.examination import examine

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import Host, HostAddress, TlsMaterial

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
TLS = TlsMaterial(b"", b"", b"")
SOUND = wire.Info(
    name="h",
    mem_total=1,
    cpus=1,
    server_version="27.0",
    live_restore_enabled=True,
    driver="overlay2",
    system_time=NOW,
    cgroup_version="2",
    cgroup_driver="systemd",
    memory_limit=True,
    cpu_cfs_quota=True,
    pids_limit=True,
)


def unsound(url: str = "ssh://h", tls: TlsMaterial | None = None, **changes) -> dict[str, str]:
    given = {name: getattr(SOUND, name) for name in SOUND.__struct_fields__} | changes
    found = examine(HostAddress("h", url, tls), wire.Info(**given), "1.45", NOW, LATER)
    assert len({f.check for f in found}) == len(found) == 6
    return {f.check: f.message for f in found if not f.sound}


@pytest.mark.parametrize("url", ["ssh://h", "unix:///s", "tcp://127.0.0.1:2375"])
def test_a_host_in_order(url: str):
    assert unsound(url) == {}
    assert unsound("tcp://10.0.0.1", TLS) == {}


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"live_restore_enabled": False}, "LiveRestore", "daemon.json"),
        ({"driver": "vfs"}, "Storage", "overlay2"),
        ({"system_time": NOW - timedelta(hours=1)}, "Clock", "1:00:00 behind"),
        ({"system_time": LATER + timedelta(hours=1)}, "Clock", "1:00:00 ahead"),
        ({"memory_limit": False, "pids_limit": False}, "Cgroups", "memory, processes"),
        ({"url": "tcp://10.0.0.1:2375"}, "Encrypted", "--tlsverify"),
    ],
)
def test_what_is_to_be_mended(changes, check: str, words: str):
    found = unsound(**changes)
    assert list(found) == [check]
    assert words in found[check]


def test_what_an_engine_does_not_tell_is_no_fault():
    assert unsound(system_time=None, driver="", memory_limit=None, cgroup_version="") == {}


@pytest.mark.parametrize("minor", range(40, 53))
async def test_every_version_of_the_api_is_spoken(tmp_path, minor: int):
    """Docker 19.03 to 29; engines refuse versions above their own."""
    engine = FakeEngine(api=f"1.{minor}", min_api="1.44" if minor > 51 else "1.12")
    host: Host = await DockerDriver().connect(HostAddress("h", await engine.serve(tmp_path / "s")))
    info = await host.info()
    assert info.api_version == f"1.{min(minor, 45)}"
    assert await host.observe() == ()
    events = host.events()
    assert (await anext(events)).action == "open"
    await events.aclose()
    await host.close()
    await engine.stop()
    assert {f.check for f in info.findings if not f.sound} == {"LiveRestore"}
