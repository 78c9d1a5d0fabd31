"""The driver on an engine that calls itself Podman and answers as Podman does."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from ironfree_docker.podman import familiar

from plugins.docker.tests.fake_engine import FakeContainer, FakeEngine
from scheduler.drivers import ContainerSpec, EngineState, Host, PodIdentity, SandboxSpec
from scheduler.errors import EngineRejected
from scheduler.volumes import EmptyDir

POD = PodIdentity("u-1", "default", "web", 1)
SPEC = SandboxSpec(POD, "web", volumes=(EmptyDir("fast", "Memory", (1 << 20) + 1),))
APP = ContainerSpec("app", "app:v1", 0, "h1")
REFUSAL = "runc: no such file: OCI runtime attempted to invoke a command that was not found"


class FakePodman(FakeEngine):
    """Says of itself what it is, and keeps what others join.

    `going` are containers that go while they are inspected or listed, and what is said then.
    """

    going: dict[str, tuple[FakeContainer, str]]

    def __init__(self, images: set[str]) -> None:
        super().__init__(images=images)
        self.going = {}

    async def _inspect(self, request: web.Request) -> web.Response:
        found, message = self.going.get("inspect", (None, ""))
        if found is not None and self.find(request.match_info["name"]) is found:
            del self.containers[found.name]
            return _said(message)
        return await super()._inspect(request)

    async def _list(self, request: web.Request) -> web.Response:
        found, message = self.going.pop("list", (None, ""))
        if found is not None:
            del self.containers[found.name]
            return _said(message)
        return await super()._list(request)

    async def _version(self, _: web.Request) -> web.Response:
        said = await super()._version(_)
        found: dict[str, Any] = json.loads(said.text or "")
        return web.json_response(found | {"Components": [{"Name": "Podman Engine"}]})

    async def _remove(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        joined = [
            each
            for each in self.containers.values()
            if found and each.body["HostConfig"].get("NetworkMode") == f"container:{found.id}"
        ]
        if joined:
            return _said(f"container {found and found.id} has dependent containers")
        return await super()._remove(request)


def _said(message: str) -> web.Response:
    return web.json_response({"message": message}, status=500)


@pytest.fixture
async def engine() -> AsyncIterator[FakePodman]:
    engine = FakePodman(images={"app:v1"})
    yield engine
    await engine.stop()


async def test_the_engine_is_named_with_what_it_lacks(host: Host):
    info = await host.info()
    assert info.engine.startswith("podman://")
    assert info.engine_id == ""
    said = {each.check: each for each in info.findings}
    assert said["Engine"].message.startswith("Podman (experimental): ")
    assert said["ApiVersion"].message.startswith("Podman ")
    assert said["LiveRestore"].sound


async def test_who_joins_has_the_host_name_and_a_memory_limit_is_no_quota(
    engine: FakePodman, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    made = engine.find(app.id)
    assert made is not None
    assert made.body["HostConfig"]["UTSMode"] == f"container:{sandbox.id}"
    volume = engine.volumes["ironfree_u-1_fast"]
    assert volume["DriverOpts"]["o"] == "mode=0777,nr_blocks=257"


async def test_a_start_that_is_refused_is_told_as_docker_tells_it(engine: FakePodman, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    engine.reject["start"] = (500, REFUSAL)
    status = await host.ensure_container(sandbox, APP)
    assert (status.state, status.exit_code) == (EngineState.CREATED, 127)
    assert status.reason == "StartError"
    (pod,) = await host.observe()
    assert pod.containers == (status,)
    engine.reject["start"] = (500, "cannot get namespace path: container state improper")
    with pytest.raises(EngineRejected, match="namespace"):
        await host.ensure_container(sandbox, replace(APP, name="other"))


async def test_a_dead_sandbox_is_as_good_as_removed_and_goes_with_its_pod(
    engine: FakePodman, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    await host.ensure_container(sandbox, APP)
    await host.remove_container(sandbox.id)
    assert engine.find(sandbox.id) is not None
    (pod,) = await host.observe()
    assert pod.sandbox is None
    await host.remove_pod(POD.uid)
    assert not engine.containers


@pytest.mark.parametrize(
    "said", ["does not exist in database: no such container", "has already been removed"]
)
@pytest.mark.parametrize("asked", ["inspect", "list"])
async def test_a_container_that_goes_during_a_look_is_no_failure_of_the_host(
    engine: FakePodman, host: Host, asked: str, said: str
):
    sandbox = await host.ensure_sandbox(SPEC)
    await host.ensure_container(sandbox, APP)
    found = engine.find(sandbox.id)
    assert found is not None
    engine.going[asked] = (found, f"container {found.id} {said}")
    pods = await host.observe()
    assert [pod.sandbox for pod in pods] == [None]
    assert [len(pod.containers) for pod in pods] == [1]


async def test_events_have_docker_s_names(engine: FakePodman, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    events = host.events()
    assert (await anext(events)).action == "open"
    found = engine.find(sandbox.id)
    assert found is not None
    engine.emit("remove", found)
    async with asyncio.timeout(5):
        assert (await anext(events)).action == "destroy"


@pytest.mark.parametrize(
    ("completed", "name"),
    [
        ("localhost/app:v1", "app:v1"),
        ("docker.io/library/nginx:1", "nginx:1"),
        ("docker.io/some/app:1", "some/app:1"),
        ("quay.io/some/app:1", "quay.io/some/app:1"),
    ],
)
def test_names_of_images_are_as_people_write_them(completed: str, name: str):
    assert familiar(completed) == name
