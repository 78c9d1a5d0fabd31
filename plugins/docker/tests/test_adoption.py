"""Containers of others that become pods: nothing is done to them but what a pod needs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_dialer import frame
from plugins.docker.tests.fake_engine import FakeContainer, FakeEngine
from scheduler.drivers import (
    ContainerSpec,
    EngineState,
    Host,
    HostAddress,
    LogOptions,
    PodIdentity,
    PodObservation,
    SandboxSpec,
)
from scheduler.errors import EngineRejected
from scheduler.foreign import Adopted, AdoptingHost, ForeignDescription, ForeignMount, SharedHost
from scheduler.objects.pod_class import HostPort

POD = PodIdentity(uid="u-1", namespace="default", name="web", epoch=3)
COMPOSE = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "db",
    "com.docker.compose.container-number": "2",
}


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> HostAddress:
    return HostAddress("one", await engine.serve(tmp_path / "docker.sock"), cluster="ours")


@pytest.fixture
async def later(address: HostAddress) -> AsyncIterator[Host]:
    """A connection made later, which knows nothing of what the first one was told."""
    host = await DockerDriver().connect(address)
    yield host
    await host.close()


async def adopt(host: Host, *containers: FakeContainer) -> None:
    assert isinstance(host, AdoptingHost)
    await host.adopt({each.id: Adopted(POD, "main", "h.0") for each in containers})


async def describe(host: Host, *names: str, project: str = "") -> list[ForeignDescription]:
    assert isinstance(host, AdoptingHost)
    return list(await host.describe(names, project))


async def only(host: Host) -> PodObservation:
    (pod,) = await host.observe()
    return pod


async def test_an_adopted_container_is_a_pods_first_attempt_and_its_sandbox(
    engine: FakeEngine, host: Host, later: Host
):
    theirs = engine.add("theirs", HostConfig={"RestartPolicy": {"Name": "always"}})
    theirs.log = frame(1, b"hello\n")
    assert isinstance(host, SharedHost)
    assert await host.observe() == ()
    await adopt(host, theirs)
    pod = await only(host)
    (container,) = pod.containers
    assert (container.id, container.name, container.attempt) == (theirs.id, "main", 0)
    assert (container.state, container.spec_hash) == (EngineState.RUNNING, "h.0")
    assert pod.identity == POD
    assert pod.sandbox is not None
    assert (pod.sandbox.id, pod.sandbox.running, pod.sandbox.ip) == (theirs.id, True, "172.17.0.2")
    assert await host.foreign() == ()
    log = b"".join([chunk async for chunk in host.logs(theirs.id, LogOptions())])
    assert log == b"hello\n"
    assert theirs.body["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert await later.observe() == (), "it is the store that knows, not the engine"
    await adopt(later, theirs)
    assert await only(later) == pod
    done = [each for each in engine.calls if each in {"start", "stop", "kill", "create", "update"}]
    assert done == ["update"]


async def test_its_events_are_its_pods(engine: FakeEngine, host: Host):
    theirs = engine.add("theirs")
    await adopt(host, theirs)
    events = host.events()
    assert (await anext(events)).action == "open"
    engine.emit("die", theirs)
    event = await anext(events)
    assert (event.pod_uid, event.action) == ("u-1", "die")


async def test_one_that_has_ended_makes_way_for_an_ordinary_sandbox(engine: FakeEngine, host: Host):
    theirs = engine.add("theirs")
    await adopt(host, theirs)
    await host.stop_container(theirs.id, 1)
    pod = await only(host)
    assert (pod.sandbox, [c.state for c in pod.containers]) == (None, [EngineState.EXITED])
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web", attempt=1))
    await host.ensure_container(sandbox, ContainerSpec("main", "app:v1", 1, "h.1"))
    pod = await only(host)
    assert pod.sandbox == sandbox
    attempts = [(c.attempt, c.state) for c in pod.containers]
    assert attempts == [(0, EngineState.EXITED), (1, EngineState.RUNNING)]


async def test_a_pod_that_goes_takes_its_container_along_but_no_other(
    engine: FakeEngine, host: Host
):
    theirs, other = engine.add("theirs"), engine.add("other")
    await adopt(host, theirs)
    await host.remove_pod("u-1")
    assert list(engine.containers) == ["other"]
    assert other.status == "running"


async def test_what_is_not_adopted_any_more_is_somebody_elses_again(engine: FakeEngine, host: Host):
    theirs = engine.add("theirs")
    await adopt(host, theirs)
    await adopt(host)
    assert await host.observe() == ()
    with pytest.raises(EngineRejected, match="is no pod's"):
        async for _ in host.logs(theirs.id, LogOptions()):
            pass


async def test_a_container_is_described_as_a_pod_would_be(engine: FakeEngine, host: Host):
    theirs = engine.add(
        "shop-db-2",
        Labels=COMPOSE,
        Entrypoint=["docker-entrypoint.sh"],
        Cmd=["postgres"],
        Env=["PASSWORD=very secret"],
        WorkingDir="/data",
        User="999:998",
        Healthcheck={"Test": ["CMD", "true"]},
        Mounts=[
            {"Type": "volume", "Name": "pg", "Destination": "/data", "RW": True},
            {"Type": "bind", "Source": "/etc/pg", "Destination": "/etc/pg", "RW": False},
        ],
        HostConfig={
            "Memory": 1 << 30,
            "NanoCpus": 500_000_000,
            "CapAdd": ["CAP_NET_ADMIN"],
            "Tmpfs": {"/tmp": ""},
            "RestartPolicy": {"Name": "unless-stopped"},
            "PortBindings": {"5432/tcp": [{"HostIp": "", "HostPort": "15432"}]},
            "ExtraHosts": ["a:1.2.3.4"],
        },
    )
    (found,) = await describe(host, project="shop")
    assert (found.holds.id, found.holds.memory, found.cpu_limit) == (theirs.id, 1 << 30, 500)
    assert (found.project, found.service, found.number) == ("shop", "db", 2)
    assert (found.entrypoint, found.command) == (("docker-entrypoint.sh",), ("postgres",))
    assert (found.restart, found.user, found.working_dir) == ("Always", "999:998", "/data")
    assert found.mounts == (
        ForeignMount("volume", "pg", "/data"),
        ForeignMount("bind", "/etc/pg", "/etc/pg", read_only=True),
        ForeignMount("tmpfs", "", "/tmp"),
    )
    assert found.ports == ((5432, HostPort("TCP", 15432)),)
    assert found.capabilities_added == ("NET_ADMIN",)
    assert found.lost == ("the engine's health check (write a probe)", "its extra hosts")
    assert "very secret" not in repr(found)
    assert await describe(host, "nobody") == []


@pytest.mark.parametrize(
    ("labels", "manager"),
    [
        ({}, ""),
        (COMPOSE, ""),
        ({"io.kubernetes.pod.uid": "1"}, "Kubernetes"),
        ({"com.docker.swarm.task.id": "1"}, "Docker Swarm"),
        ({"com.hashicorp.nomad.alloc_id": "1"}, "Nomad"),
        ({"ironfree.dev/cluster": "other"}, "Ironfree"),
        ({"ironfree.dev/pod-uid": "u-9", "ironfree.dev/cluster": "ours"}, "Ironfree"),
    ],
)
async def test_who_manages_a_container(
    engine: FakeEngine, host: Host, labels: dict[str, Any], manager: str
):
    engine.add("theirs", Labels=labels)
    (found,) = await describe(host, "theirs")
    assert found.manager == manager


async def test_an_adopted_container_is_managed(engine: FakeEngine, host: Host):
    theirs = engine.add("theirs")
    await adopt(host, theirs)
    (found,) = await describe(host, "theirs")
    assert found.manager == "Ironfree"
