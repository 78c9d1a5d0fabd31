"""Where containers leave messages about their end, and how these are read."""

from dataclasses import replace

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import (
    ContainerSpec,
    Host,
    HostAddress,
    MessageHost,
    PodIdentity,
    SandboxSpec,
)
from scheduler.errors import EngineRejected

PATH = "/dev/termination-log"
SPEC = SandboxSpec(PodIdentity("u-1", "default", "web"), "web")
APP = ContainerSpec("app", "app:v1", 0, "h", message_path=PATH, position=1)
VOLUME = "ironfree_u-1_MESSAGES"


async def mounts(engine: FakeEngine, host: Host, spec: ContainerSpec):
    sandbox = await host.ensure_sandbox(SPEC)
    status = await host.ensure_container(sandbox, spec)
    found = engine.find(status.id)
    assert found is not None
    return found.body["HostConfig"]["Mounts"]


@pytest.mark.parametrize(
    ("position", "attempt", "place"), [(0, 0, 0), (0, 1, 1), (0, 2, 0), (1, 0, 2), (31, 5, 63)]
)
async def test_every_attempt_has_an_empty_file_of_its_own(
    engine: FakeEngine, host: Host, position: int, attempt: int, place: int
):
    (mount,) = await mounts(engine, host, replace(APP, position=position, attempt=attempt))
    assert mount == {
        "Type": "bind",
        "Source": f"/var/lib/docker/volumes/{VOLUME}/_data/{place}",
        "Target": PATH,
    }
    infra = next(each for each in engine.containers.values() if "_POD_" in each.name)
    (shared,) = infra.body["HostConfig"]["Mounts"]
    assert (shared["Source"], shared["Target"]) == (VOLUME, "/messages")
    emptied = [(path, list(files)) for path, files in engine.archives]
    assert emptied == ([("/messages", [str(place)])] if attempt > 1 else []), "used before"


@pytest.mark.parametrize("spec", [replace(APP, message_path=""), replace(APP, position=32)])
async def test_without_a_path_or_a_file_there_is_no_mount(
    engine: FakeEngine, host: Host, spec: ContainerSpec
):
    assert await mounts(engine, host, spec) == []


async def test_nor_with_an_infra_image_that_has_no_such_files(
    engine: FakeEngine, address: HostAddress
):
    engine.images.add("pause:own")
    other = await DockerDriver().connect(replace(address, options={"infraImage": "pause:own"}))
    assert await mounts(engine, other, APP) == []
    assert engine.volumes == {}
    await other.close()


async def test_the_end_of_the_message_is_read(engine: FakeEngine, host: Host):
    assert isinstance(host, MessageHost)
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    for content, said in (
        (b"", b""),
        (b"why\n", b"why\n"),
        (b"a" * 5000 + b"z", b"a" * 4095 + b"z"),
        (b"a" * (2 << 20), b"a" * 4096),
    ):
        engine.contents[PATH] = content
        assert await host.termination_message(app.id, PATH, 4096) == said
    assert await host.termination_message(app.id, "/none", 4096) == b""
    engine.links["/link"] = "/etc/shadow"
    assert await host.termination_message(app.id, "/link", 4096) == b""
    engine.garbage["get-archive"] = b"no archive"
    assert await host.termination_message(app.id, PATH, 4096) == b""
    with pytest.raises(EngineRejected):
        await host.termination_message(engine.add("theirs").id, PATH, 4096)
