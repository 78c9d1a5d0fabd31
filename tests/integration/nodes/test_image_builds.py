"""ImageBuilds on fake engines: from every source to the hosts that shall have the image."""

import asyncio
import json

import msgspec

from scheduler.nodes.build_sources import inline_archive
from scheduler.objects.image_build import (
    RESOURCE,
    DockerfileSource,
    ImageBuildStatus,
    Phase,
)
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Remove, Replace
from tests.git_server import commit, git_server

DOCKERFILE = {"dockerfile": {"text": "FROM app:v1\n"}}


async def test_a_dockerfile_becomes_an_image(works):
    engine = await works.add("one")
    engine.build_lines = [{"stream": f"line {number}\n"} for number in range(60)]
    await works.build("b", buildArgs={"A": "1"}, **DOCKERFILE)
    status = await works.ended("b")
    assert (status.phase, status.message) == (Phase.SUCCEEDED, "")
    assert (status.node_name, status.attempts, status.size_bytes) == ("one", 1, 7)
    assert status.image_id.startswith("sha256:")
    assert status.completion_time >= status.start_time
    assert (status.log_lines, len(status.log)) == (62, 50)
    assert status.log[-1] == "Successfully tagged new:v1"
    (made,) = engine.builds
    assert made["files"] == {"Dockerfile": b"FROM app:v1\n"}
    assert json.loads(made["query"]["buildargs"]) == {"A": "1"}


async def test_a_build_that_fails_says_why(works):
    engine = await works.add("one")
    engine.build_lines = [{"stream": "Step 1\n"}, {"error": "returned a non-zero code: 1"}]
    await works.build("b", **DOCKERFILE)
    status = await works.ended("b")
    assert (status.phase, status.reason) == (Phase.FAILED, "BuildFailed")
    assert "returned a non-zero code: 1" in status.message
    assert "Step 1" in status.log
    await works.build("absent", imagePullSecrets=[{"name": "none"}], **DOCKERFILE)
    assert (await works.ended("absent")).reason == "SecretNotFound"


async def test_an_upload_waits_for_its_context_and_is_forgotten_in_the_end(works):
    engine = await works.add("one")
    made = await works.build("b", upload={"dockerfile": "Containerfile"})
    await works.build("other", **DOCKERFILE)
    assert (await works.ended("other")).phase == Phase.SUCCEEDED  # it was looked at, too
    assert works.builds.get("default", "b").status.phase == Phase.PENDING
    content = inline_archive(DockerfileSource("FROM x\n", {"a": "1"}))

    async def parts():
        yield content[:700]
        yield content[700:]

    assert await works.store.keep_context(made.meta.uid, parts(), 1 << 20) == len(content)
    status = msgspec.json.encode(ImageBuildStatus(context_bytes=len(content)))
    await works.store.write(Replace(RESOURCE, made.meta, made.body, status, made.revision))
    assert (await works.ended("b")).phase == Phase.SUCCEEDED
    assert engine.builds[-1]["query"]["dockerfile"] == "Containerfile"
    assert engine.builds[-1]["files"] == {"Dockerfile": b"FROM x\n", "a": b"1"}

    async def kept():
        return [part async for part in works.store.context_of(made.meta.uid)]

    async with asyncio.timeout(10):
        while await kept():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.01)


async def test_a_repository_becomes_an_image(works, tmp_path):
    engine = await works.add("one")
    with git_server(tmp_path / "served") as server:
        made = commit(server.root / "app", {"sub/Dockerfile": "FROM x\n", "sub/a": "1"})
        git = {"url": f"{server.url}/app", "directory": "sub", "dockerfile": "Dockerfile"}
        await works.build("b", git=git)
        status = await works.ended("b")
        await works.build("absent", git={**git, "ref": "absent"})
        failed = await works.ended("absent")
    assert status.phase == Phase.SUCCEEDED
    assert f"commit {made} of {server.url}/app" in status.log
    assert engine.builds[0]["files"] == {"Dockerfile": b"FROM x\n", "a": b"1"}
    assert (failed.reason, len(engine.builds)) == ("GitFailed", 1)
    assert "absent" in failed.message


async def test_a_container_becomes_an_image_where_it_runs(works):
    await works.add("one")
    two = await works.add("two")
    await works.add_pod("web", "two", containers=[{"name": "c", "image": "app:v1"}])
    await works.running("web")
    await works.build("b", commit={"pod": "web", "pause": False})
    status = await works.ended("b")
    assert (status.phase, status.node_name) == (Phase.SUCCEEDED, "two")
    assert two.commits[0]["query"]["pause"] == "0"
    await works.build("no", commit={"pod": "web", "container": "absent"})
    assert (await works.ended("no")).reason == "ContainerNotFound"
    reference = {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}
    told = {"name": "c", "image": "app:v1", "args": ["--password=$(P)"]}
    told["env"] = [{"name": "P", "valueFrom": reference}]
    await works.add_pod("told", "two", containers=[told])
    await works.running("told")
    await works.build("secret", commit={"pod": "told"})
    failed = await works.ended("secret")
    assert failed.reason == "SecretInArguments"
    assert "$(P)" in failed.message
    assert len(two.commits) == 1


async def test_an_image_is_pushed_as_its_secret_says(works):
    engine = await works.add("one")
    account = {"username": "me", "password": "hush hush", "serveraddress": "r:5"}
    engine.accounts = [account]
    auths = {"auths": {"r:5": {"username": "me", "password": "hush hush"}}}
    content = {".dockerconfigjson": json.dumps(auths).encode()}
    await works.secret("login", "kubernetes.io/dockerconfigjson", **content)
    await works.build("b", "r:5/app:v1", push={"secretName": "login"}, **DOCKERFILE)
    status = await works.ended("b")
    assert (status.phase, status.digest) == (Phase.SUCCEEDED, "sha256:" + "d" * 64)
    await works.build("nobody", "r:5/app:v2", push={}, **DOCKERFILE)
    failed = await works.ended("nobody")
    assert (failed.phase, failed.reason) == (Phase.FAILED, "PushFailed")
    assert "denied" in failed.message
    assert failed.image_id
    assert "hush" not in f"{status} {failed}"


async def test_an_image_is_copied_to_the_hosts_of_its_architecture(works):
    wanted = {"copies": "true"}
    one = await works.add("one", archive=b"image")
    two = await works.add("two", wanted)
    await works.add("three")
    await works.add("arm", wanted, architecture="arm64")
    selector = {"matchLabels": wanted}
    await works.build("b", nodeName="one", distributeTo=selector, **DOCKERFILE)
    status = await works.ended("b")
    assert status.phase == Phase.SUCCEEDED
    assert two.loaded == [b"image"]
    assert (status.distribution.hosts, status.distribution.copied) == (2, 1)
    assert status.distribution.skipped == ("arm: its architecture is arm64",)
    assert works.engines["three"].loaded == works.engines["arm"].loaded == []
    assert one.calls.count("save") == 1


async def test_a_deleted_build_is_broken_off(works):
    engine = await works.add("one")
    engine.silent_builds = True
    made = await works.build("b", **DOCKERFILE)
    await engine.hanging.acquire()
    await works.store.write(Remove(made.key))
    await works.eventually(lambda: not engine._under_way["build"])
    engine.silent_builds = False
    await works.build("c", **DOCKERFILE)
    assert (await works.ended("c")).phase == Phase.SUCCEEDED


async def test_what_a_leader_left_is_begun_again_but_not_for_ever(works):
    engine = await works.add("one")
    engine.silent_builds = True
    await works.build("b", **DOCKERFILE)
    await engine.hanging.acquire()
    await works.stop_agents()
    engine.silent_builds = False
    await works.start_agents()
    status = await works.ended("b")
    assert (status.phase, status.attempts) == (Phase.SUCCEEDED, 2)
    thrice = ImageBuildStatus(phase=Phase.BUILDING, attempts=3)
    await works.build("c", status=thrice, **DOCKERFILE)
    assert (await works.ended("c")).reason == "Interrupted"


async def test_a_host_that_goes_away_ends_the_attempt(works):
    engine = await works.add("one")
    engine.silent_builds = True
    await works.build("b", nodeName="one", **DOCKERFILE)
    await engine.hanging.acquire()
    await works.delete_host("one")
    status = await works.until_build(
        "b", lambda b: b.status.phase == Phase.PENDING and b.status.attempts == 1
    )
    assert "lost" in status.message or "host one" in status.message


async def test_a_build_ends_at_its_deadline(works):
    engine = await works.add("one")
    engine.silent_builds = True
    await works.build("b", deadlineSeconds=1, **DOCKERFILE)
    await works.build("nowhere", nodeName="none", deadlineSeconds=1, **DOCKERFILE)
    for name in "b", "nowhere":
        assert (await works.ended(name)).reason == "DeadlineExceeded"


async def test_a_build_waits_for_its_host(works):
    await works.build("nowhere", nodeName="none", **DOCKERFILE)
    await works.until_build("nowhere", lambda b: 'no host "none"' in b.status.message)
    await works.add("none")
    assert (await works.ended("nowhere")).phase == Phase.SUCCEEDED


async def test_a_host_builds_few_at_once_and_others_wait(works):
    engine = await works.add("one")
    engine.silent_builds = True
    for number in range(2):
        await works.build(f"b{number}", f"new:v{number}", **DOCKERFILE)
        await engine.hanging.acquire()
    await works.build("b2", "new:v2", **DOCKERFILE)
    await works.until_build("b2", lambda b: "as many builds" in b.status.message)
    assert len(engine.builds) == 2
    engine.silent_builds = False
    await works.store.write(Remove(ObjectKey(RESOURCE, "default", "b0")))
    assert (await works.ended("b2")).phase == Phase.SUCCEEDED


async def test_what_is_cordoned_builds_only_by_name(works):
    await works.add("one")
    stored = await works.store.get(ObjectKey("nodes", "", "one"))
    body = msgspec.json.decode(stored.body.json)
    body["spec"]["unschedulable"] = True
    cordoned = type(stored.body)(msgspec.json.encode(body))
    await works.store.write(Replace("nodes", stored.meta, cordoned, stored.status, None))
    await works.until(works.nodes, "", "one", lambda n: n.spec.unschedulable)
    await works.build("any", **DOCKERFILE)
    await works.until_build("any", lambda b: "none answers" in b.status.message)
    await works.build("named", nodeName="one", **DOCKERFILE)
    assert (await works.ended("named")).phase == Phase.SUCCEEDED
