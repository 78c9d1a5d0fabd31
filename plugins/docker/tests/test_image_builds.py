"""Images that are made on a fake engine: what is sent, what is told, what stays secret."""

import asyncio

import pytest

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import ContainerSpec, Host, PodIdentity, SandboxSpec
from scheduler.errors import EngineRejected, ImageUnavailable
from scheduler.images import BuildOrder, ImageBuilder, RegistryCredentials
from scheduler.nodes.build_sources import inline_archive
from scheduler.objects.image_build import DockerfileSource

SOURCE = DockerfileSource("FROM app:v1\n", {"bin/run": "#!/bin/sh\n"})


async def context():
    content = inline_archive(SOURCE)
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


def builder(host: Host) -> ImageBuilder:
    assert isinstance(host.images, ImageBuilder)
    return host.images


async def test_a_build_sends_its_context_and_tells_every_line(engine: FakeEngine, host: Host):
    engine.build_lines = [
        {"stream": "Step 1/2 : FROM app:v1"},
        {"stream": "\n"},
        {"status": "Pulling from app", "id": "v1"},
        {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "a"},
        {"status": "Pull complete", "id": "a"},
        {"aux": {"ID": "sha256:" + "2" * 64}},
        {"stream": "one\ntwo"},
    ]
    login = RegistryCredentials("reg:5000", "me", "hush")
    other = RegistryCredentials("reg:5000", "other", "hush")
    order = BuildOrder("new:v1", "Dockerfile", (("A", "1"),), "last", (login, other))
    said: list[str] = []
    await builder(host).build(order, context(), said.append)
    (made,) = engine.builds
    assert made["files"] == {"Dockerfile": b"FROM app:v1\n", "bin/run": b"#!/bin/sh\n"}
    assert made["query"] == {
        "t": "new:v1",
        "dockerfile": "Dockerfile",
        "rm": "1",
        "forcerm": "1",
        "buildargs": '{"A":"1"}',
        "target": "last",
    }
    account = {"username": "me", "password": "hush", "serveraddress": "reg:5000"}
    assert made["logins"] == {"reg:5000": account}
    assert said == [
        "Step 1/2 : FROM app:v1",
        "a: Pull complete",
        "one",
        "twoSuccessfully tagged new:v1",
    ]
    assert await host.images.find("new:v1") is not None


async def test_a_step_that_fails_is_told_in_the_builders_words(engine: FakeEngine, host: Host):
    engine.build_lines = [{"stream": "x"}, {"error": "The command 'false' returned 1"}]
    with pytest.raises(EngineRejected, match="'false' returned 1"):
        await builder(host).build(BuildOrder("new:v1"), context(), lambda _: None)
    assert await host.images.find("new:v1") is None


async def test_a_cancelled_build_leaves_no_connection(engine: FakeEngine, host: Host):
    engine.silent_builds = True
    build = asyncio.create_task(
        builder(host).build(BuildOrder("new:v1"), context(), lambda _: None)
    )
    await engine.hanging.acquire()
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    engine.silent_builds = False
    await builder(host).build(BuildOrder("new:v2"), context(), lambda _: None)


async def test_a_commit_takes_nothing_along_that_is_the_pods(engine: FakeEngine, host: Host):
    engine.image_config = {
        "Cmd": ["run"],
        "Env": ["PATH=/bin", "MODE=plain"],
        "Labels": {"by": "me"},
    }
    identity = PodIdentity("uid-1", "default", "web")
    sandbox = await host.ensure_sandbox(SandboxSpec(identity, "web"))
    variables = (("PASSWORD", "hush"), ("MODE", "loud"), ("PATH", "/bin"))
    spec = ContainerSpec("main", "app:v1", 0, "hash", env=variables)
    made = await host.ensure_container(sandbox, spec)
    await builder(host).commit("uid-1", made.id, "r:5/snap:v1", pause=False, within=5)
    (commit,) = engine.commits
    tag = commit["query"].pop("tag")
    raw = f"ironfree/commit:{tag}"
    assert commit["query"] == {"container": made.id, "repo": "ironfree/commit", "pause": "0"}
    (cover,) = engine.builds
    assert cover["query"]["t"] == "r:5/snap:v1"
    dockerfile = cover["files"]["Dockerfile"].decode()
    assert dockerfile == f'FROM {raw}\nLABEL ironfree.dev/committed=""\n'
    assert await host.images.find(raw) is None
    assert sorted(commit["body"]["Env"]) == ["MODE=plain", "PASSWORD="]
    assert (commit["body"]["Entrypoint"], commit["body"]["Cmd"]) == ([], ["run"])
    labels = commit["body"]["Labels"]
    assert labels["ironfree.dev/pod-uid"] == ""
    assert "by" not in labels
    assert await host.images.find("r:5/snap:v1") is not None
    with pytest.raises(EngineRejected, match="another pod's"):
        await builder(host).commit("uid-2", made.id, "snap:v2", pause=True, within=5)


async def test_a_push_tells_the_digest_or_the_registrys_words(engine: FakeEngine, host: Host):
    account = {"username": "me", "password": "hush", "serveraddress": "r:5"}
    engine.accounts = [account]
    login = RegistryCredentials("r:5", "me", "hush")
    assert await builder(host).push("r:5/app:v1", login) == "sha256:" + "d" * 64
    with pytest.raises(ImageUnavailable, match="denied: r:5/app:v1"):
        await builder(host).push("r:5/app:v1", None)


async def test_a_line_that_does_not_end_is_told_in_pieces(engine: FakeEngine, host: Host):
    engine.build_lines = [{"stream": "x" * 3000} for _ in range(4)]
    told: list[str] = []
    await builder(host).build(BuildOrder("new:v1"), context(), told.append)
    assert [len(line) for line in told[:2]] == [6000, 6000]
