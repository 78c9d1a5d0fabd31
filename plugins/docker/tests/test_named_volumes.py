"""Volumes that outlive pods, and file servers' mounts, as an engine is told of them."""

import pytest

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import ContainerSpec, Host, HostAddress, PodIdentity, SandboxSpec, VolumeHost
from scheduler.errors import EngineRejected
from scheduler.volumes import EmptyDir, Mount, NamedVolume

POD = PodIdentity("u-1", "default", "web-0")
NFS = (("type", "nfs"), ("device", "files.example.com:/x"), ("o", "addr=files.example.com,ro"))
SPEC = SandboxSpec(
    POD,
    "web-0",
    volumes=(EmptyDir("tmp"), NamedVolume("data", "pvc-1"), NamedVolume("files", options=NFS)),
    fs_group=3000,
)
MOUNTS = (Mount("data", "/data", lasting="pvc-1"), Mount("files", "/files", read_only=True))


@pytest.fixture
async def address(address: HostAddress) -> HostAddress:
    return HostAddress(address.name, address.url, cluster="ours")


async def test_lasting_volumes_stay_when_the_pod_goes(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    app = ContainerSpec("app", "app:v1", 0, "h", mounts=MOUNTS)
    status = await host.ensure_container(sandbox, app)
    made = engine.find(status.id)
    assert made is not None
    assert [
        (m["Source"], m["Target"], m["ReadOnly"]) for m in made.body["HostConfig"]["Mounts"]
    ] == [("pvc-1", "/data", False), ("ironfree_u-1_files", "/files", True)]
    assert engine.volumes["ironfree_u-1_files"]["DriverOpts"] == dict(NFS)
    assert engine.volumes["pvc-1"]["Labels"] == {
        "ironfree.dev/cluster": "ours",
        "ironfree.dev/lasting": "true",
    }
    await host.remove_pod("u-1")
    assert set(engine.volumes) == {"pvc-1"}
    assert isinstance(host, VolumeHost)
    await host.remove_volume("pvc-1")
    await host.remove_volume("pvc-1")
    assert engine.volumes == {}


async def test_only_a_new_volume_is_given_to_the_group(engine: FakeEngine, host: Host):
    await host.ensure_sandbox(SPEC)
    ((_, owned),) = engine.archives
    assert sorted(owned) == ["0", "1"]  # not what a file server has
    await host.remove_pod("u-1")
    await host.ensure_sandbox(SPEC)
    assert sorted(engine.archives[-1][1]) == ["0"]


async def test_somebody_elses_volume_is_neither_used_nor_removed(engine: FakeEngine, host: Host):
    engine.volumes["pvc-1"] = {"Name": "pvc-1", "Labels": {"ironfree.dev/cluster": "theirs"}}
    with pytest.raises(EngineRejected, match="pvc-1 on the host is of another installation"):
        await host.ensure_sandbox(SPEC)
    assert isinstance(host, VolumeHost)
    with pytest.raises(EngineRejected, match="was not made by this installation"):
        await host.remove_volume("pvc-1")
    engine.volumes["byhand"] = {"Name": "byhand", "Labels": {}}
    with pytest.raises(EngineRejected, match="was not made by this installation"):
        await host.remove_volume("byhand")
