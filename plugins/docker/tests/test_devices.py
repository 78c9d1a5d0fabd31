"""Who is given which device, and how an engine is told; limits that a node sets."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import ContainerSpec, Host, HostAddress, PodIdentity, SandboxSpec, Ulimit
from scheduler.errors import DriverError, EngineRejected

GPU = "nvidia.com/gpu"
ONE = ContainerSpec("app", "app:v1", 0, "h", devices=((GPU, 1),))


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> HostAddress:
    devices = {
        GPU: ("0", "GPU-b"),
        "example.com/kvm": ("/dev/kvm",),
        "example.com/nic": ("example.com/nic=a",),
    }
    return HostAddress("one", await engine.serve(tmp_path / "docker.sock"), devices=devices)


@pytest.fixture
async def again(address: HostAddress) -> AsyncIterator[Host]:
    """A connection made later, which knows nothing of what the first one did."""
    host = await DockerDriver().connect(address)
    await host.info()
    yield host
    await host.close()


async def start(engine: FakeEngine, host: Host, uid: str, app: ContainerSpec = ONE):
    sandbox = await host.ensure_sandbox(SandboxSpec(PodIdentity(uid, "default", uid), uid))
    status = await host.ensure_container(sandbox, app)
    found = engine.find(status.id)
    assert found is not None
    return found


def given(found) -> list[str]:
    return json.loads(found.labels["ironfree.dev/devices"])[GPU]


async def test_no_two_containers_have_one_device(engine: FakeEngine, host: Host, again: Host):
    assert (await host.info()).resources == {GPU: 2, "example.com/kvm": 1, "example.com/nic": 1}
    first = await start(engine, host, "u-1")
    assert first.body["HostConfig"]["DeviceRequests"] == [
        {"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}
    ]
    assert given(await start(engine, again, "u-2")) == ["GPU-b"]
    with pytest.raises(
        EngineRejected, match=r"1 of nvidia.com/gpu are wanted and 0 of the host's 2 free"
    ):
        await start(engine, again, "u-3")
    await again.remove_pod("u-1")
    assert given(await start(engine, host, "u-3")) == ["0"]


async def test_a_container_gets_the_device_back_that_it_had(engine: FakeEngine, again: Host):
    first, second = await start(engine, again, "u-1"), await start(engine, again, "u-2")
    await again.stop_container(first.id, 0)
    await again.stop_container(second.id, 0)
    assert given(await start(engine, again, "u-2", replace(ONE, attempt=1))) == ["GPU-b"]
    assert given(await start(engine, again, "u-1", replace(ONE, attempt=1))) == ["0"]
    assert (await start(engine, again, "u-1", ONE)).id == first.id  # adopted, as it was


async def test_an_unknown_outcome_keeps_its_device(engine: FakeEngine, again: Host):
    sandbox = await again.ensure_sandbox(SandboxSpec(PodIdentity("u-1", "default", "a"), "a"))
    engine.garbage["create"] = b"["  # said after all, or not: nobody knows
    with pytest.raises(DriverError, match="no Docker engine answers"):
        await again.ensure_container(sandbox, ONE)
    engine.garbage.clear()
    assert given(await start(engine, again, "u-2")) == ["GPU-b"]
    await again.remove_pod("u-1")
    assert given(await start(engine, again, "u-3")) == ["0"]


async def test_device_files_and_cdi_names(engine: FakeEngine, again: Host):
    kvm = replace(ONE, devices=(("example.com/kvm", 1),))
    found = await start(engine, again, "u-1", kvm)
    assert found.body["HostConfig"]["Devices"] == [
        {"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/kvm", "CgroupPermissions": "rwm"}
    ]
    nic = replace(ONE, devices=(("example.com/nic", 1),))
    with pytest.raises(EngineRejected, match=r"CDI devices need a Docker Engine with API 1.44"):
        await start(engine, again, "u-2", nic)


async def test_an_engine_that_finds_devices_itself(tmp_path: Path):
    kinds = ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=GPU-8", "nvidia.com/gpu=all"]
    engine = FakeEngine(images={"app:v1"}, api="1.50", cdi=[*kinds, "x.org/y=z"])
    host = await DockerDriver().connect(HostAddress("one", await engine.serve(tmp_path / "e.sock")))
    try:
        assert (await host.info()).resources == {GPU: 2, "x.org/y": 1}
        found = await start(engine, host, "u-1")
        assert found.body["HostConfig"]["DeviceRequests"] == [
            {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}
        ]
    finally:
        await host.close()
        await engine.stop()


async def test_limits_reach_the_engine(engine: FakeEngine, again: Host):
    app = ContainerSpec(
        "app",
        "app:v1",
        0,
        "h",
        memory_limit=100,
        swap=28,
        oom_score=7,
        pids_limit=50,
        ulimits=(Ulimit("nofile", 64, 128),),
    )
    config = (await start(engine, again, "u-1", app)).body["HostConfig"]
    assert (config["Memory"], config["MemorySwap"]) == (100, 128)
    assert (config["OomScoreAdj"], config["PidsLimit"]) == (7, 50)
    assert config["Ulimits"] == [{"Name": "nofile", "Soft": 64, "Hard": 128}]
    assert "DeviceRequests" not in config


async def test_an_engine_that_cannot_shield_processes_runs_them_all_the_same(
    engine: FakeEngine, again: Host
):
    error = "runc create failed: write /proc/self/oom_score_adj: permission denied"
    engine.start_fails["app:v1"] = error
    shielded = ContainerSpec("app", "app:v1", 0, "h", oom_score=-997)
    sandbox = await again.ensure_sandbox(SandboxSpec(PodIdentity("u-1", "default", "a"), "a"))
    assert (await again.ensure_container(sandbox, shielded)).message == error
    del engine.start_fails["app:v1"]
    found = await start(engine, again, "u-2", shielded)
    assert (found.status, found.body["HostConfig"]["OomScoreAdj"]) == ("running", 0)
    assert engine.calls.count("create") == 5  # two sandboxes, two tries, and none in vain after


async def test_a_start_that_fails_for_another_reason_leaves_others_shielded(
    engine: FakeEngine, again: Host
):
    engine.start_fails["app:v1"] = "runc create failed: can't get final child's PID from pipe: EOF"
    shielded = ContainerSpec("app", "app:v1", 0, "h", oom_score=-997)
    sandbox = await again.ensure_sandbox(SandboxSpec(PodIdentity("u-1", "default", "a"), "a"))
    assert (await again.ensure_container(sandbox, shielded)).message.endswith("EOF")
    del engine.start_fails["app:v1"]
    found = await start(engine, again, "u-2", shielded)
    assert (found.status, found.body["HostConfig"]["OomScoreAdj"]) == ("running", -997)
