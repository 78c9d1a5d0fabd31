"""What is seen of containers that are not ours, and what they keep from pods."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import ContainerSpec, Host, HostAddress, PodIdentity, SandboxSpec
from scheduler.errors import EngineRejected
from scheduler.foreign import FOREIGN, ForeignContainer, SharedHost
from scheduler.objects.pod_class import HostPort

GPU = "nvidia.com/gpu"
POD = PodIdentity(uid="u-1", namespace="default", name="web")
HELD = "1 of nvidia.com/gpu are wanted and 0 of the host's 3 free"


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> HostAddress:
    devices = {GPU: ("0", "1", "2"), "example.com/kvm": ("/dev/kvm",)}
    url = await engine.serve(tmp_path / "docker.sock")
    return HostAddress("one", url, devices=devices, cluster="ours")


@pytest.fixture
async def host(address: HostAddress) -> AsyncIterator[Host]:
    host = await DockerDriver().connect(address)
    await host.info()
    yield host
    await host.close()


async def seen(host: Host) -> list[ForeignContainer]:
    assert isinstance(host, SharedHost)
    return list(await host.foreign())


async def one(engine: FakeEngine, host: Host, **limits: Any) -> ForeignContainer:
    engine.add("theirs", HostConfig={"Memory": 1, **limits})
    (found,) = await seen(host)
    return found


@pytest.mark.parametrize(
    ("limits", "cpu", "memory"),
    [
        ({"Memory": 5 << 20}, 0, 5 << 20),
        ({"Memory": 5 << 20, "MemoryReservation": 3 << 20}, 0, 3 << 20),
        ({"NanoCpus": 1_500_000_000}, 1500, 1),
        ({"CpuQuota": 50_000}, 500, 1),
        ({"CpuQuota": 50_000, "CpuPeriod": 10_000}, 5000, 1),
        ({"CpuQuota": -1}, 0, 1),
        ({"CpuShares": 512}, 500, 1),
        ({"CpuShares": 512, "NanoCpus": 250_000_000}, 250, 1),
        ({"CpuShares": 512, "NanoCpus": 2_000_000_000}, 500, 1),
    ],
)
async def test_requests_count_and_else_limits(
    engine: FakeEngine, host: Host, limits: dict[str, int], cpu: int, memory: int
):
    found = await one(engine, host, **limits)
    assert (found.cpu, found.memory, found.measured) == (cpu, memory, False)


async def test_without_a_limit_its_use_of_memory_counts(engine: FakeEngine, host: Host):
    engine.add("b").memory = 7 << 20
    engine.add("a", HostConfig={"Memory": 1 << 20})
    assert [(c.name, c.memory, c.measured) for c in await seen(host)] == [
        ("a", 1 << 20, False),
        ("b", 7 << 20, True),
    ]
    assert engine.calls.count("stats") == 1


async def test_ours_and_what_does_not_run_are_not_counted(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web"))
    await host.ensure_container(sandbox, ContainerSpec("app", "app:v1", 0, "h"))
    engine.add("ended").status = "exited"
    engine.add("dialer", Labels={"ironfree.dev/cluster": "ours"})
    engine.add("theirs", Labels={"ironfree.dev/cluster": "other", "ironfree.dev/pod-uid": "u"})
    engine.add("paused").status = "paused"
    assert [c.name for c in await seen(host)] == ["paused", "theirs"]


async def test_published_ports_are_seen_and_on_the_hosts_network_exposed_ones(
    engine: FakeEngine, host: Host
):
    bindings = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        "443/tcp": None,
        "1/tcp": [{"HostIp": "", "HostPort": "junk"}],
    }
    engine.add("bridged", HostConfig={"PortBindings": bindings})
    engine.add("hosted", HostConfig={"NetworkMode": "host"}, ExposedPorts={"9000/tcp": {}})
    assert [c.ports for c in await seen(host)] == [
        (HostPort("TCP", 8080), HostPort("UDP", 53, "127.0.0.1")),
        (HostPort("TCP", 9000),),
    ]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"DeviceRequests": [{"DeviceIDs": ["1"], "Capabilities": [["gpu"]]}]}, ["1"]),
        ({"DeviceRequests": [{"Count": 2, "Capabilities": [["gpu", "utility"]]}]}, ["0", "1"]),
        ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, ["0", "1", "2"]),
        ({"DeviceRequests": [{"Driver": "amd", "Count": -1, "Capabilities": [["gpu"]]}]}, []),
        ({"Runtime": "nvidia", "Env": ["NVIDIA_VISIBLE_DEVICES=0,2"]}, ["0", "2"]),
        ({"Runtime": "nvidia", "Env": ["NVIDIA_VISIBLE_DEVICES=all"]}, ["0", "1", "2"]),
        ({"Runtime": "runc", "Env": ["NVIDIA_VISIBLE_DEVICES=all"]}, []),
        ({"Privileged": True}, []),
    ],
)
async def test_gpus_that_a_container_has(
    engine: FakeEngine, host: Host, body: dict[str, Any], ids: list[str]
):
    engine.add("theirs", Env=body.pop("Env", None), HostConfig={"Memory": 1, **body})
    (found,) = await seen(host)
    assert [id_ for _, id_ in found.devices] == ids


async def test_a_device_that_others_have_is_not_given_out(engine: FakeEngine, host: Host):
    requests = [{"Count": 2, "Capabilities": [["gpu"]]}]
    theirs = engine.add("theirs", HostConfig={"DeviceRequests": requests})
    files = [{"PathOnHost": "/dev/kvm"}]
    engine.add("machine", HostConfig={"Devices": files})
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web"))
    spec = ContainerSpec("a", "app:v1", 0, "h", devices=((GPU, 1),))
    found = engine.find((await host.ensure_container(sandbox, spec)).id)
    assert found is not None
    assert found.labels["ironfree.dev/devices"] == '{"nvidia.com/gpu":["2"]}'
    with pytest.raises(EngineRejected, match=HELD):
        await host.ensure_container(sandbox, replace(spec, name="b"))
    with pytest.raises(EngineRejected, match=r"1 of example.com/kvm are wanted and 0"):
        await host.ensure_container(sandbox, replace(spec, devices=(("example.com/kvm", 1),)))
    theirs.status = "exited"
    await host.ensure_container(sandbox, replace(spec, name="b"))


async def test_others_are_heard_of_and_described_again_after_an_event(
    engine: FakeEngine, host: Host
):
    events = host.events()
    assert (await anext(events)).action == "open"
    theirs = engine.add("theirs", HostConfig={"Memory": 1 << 20})
    assert (await anext(events)).action == FOREIGN
    assert [c.memory for c in await seen(host)] == [1 << 20]
    theirs.body["HostConfig"]["Memory"] = 2 << 20
    assert [c.memory for c in await seen(host)] == [1 << 20]
    assert engine.calls.count("inspect") == 1
    engine.emit("update", theirs)
    assert (await anext(events)).action == FOREIGN
    assert [c.memory for c in await seen(host)] == [2 << 20]


async def test_nothing_is_done_to_others(engine: FakeEngine, host: Host):
    engine.add("theirs")
    await seen(host)
    await host.remove_pod("u-1")
    told = set(engine.calls) & {"stop", "kill", "remove", "update", "start", "exec"}
    assert (told, engine.containers["theirs"].status) == (set(), "running")
