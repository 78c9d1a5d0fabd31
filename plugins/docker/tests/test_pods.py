"""Sandboxes and containers on an engine that loses answers, refuses and lies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from ironfree_docker import DockerDriver
from ironfree_docker import containers as endpoints
from msgspec.structs import replace as with_fields

from plugins.docker.tests.fake_dialer import frame
from plugins.docker.tests.fake_engine import FakeContainer, FakeEngine
from plugins.docker.tests.fake_images import UNNAMED
from scheduler.drivers import (
    ContainerSpec,
    EngineState,
    Host,
    HostAddress,
    HostEvent,
    LogOptions,
    PodIdentity,
    PortMapping,
    SandboxSpec,
)
from scheduler.errors import DriverError, EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.foreign import FOREIGN
from scheduler.streams import Ends, StreamingHost
from scheduler.volumes import EmptyDir

POD = PodIdentity("u-1", "default", "web", 1)
UIDS = ("u-1", "u-2")
SPEC = SandboxSpec(POD, "web", ports=(PortMapping(80, 8080),), volumes=(EmptyDir("data"),))
APP = ContainerSpec("app", "app:v1", 0, "h1", env=(("PASSWORD", "very secret"),))


async def walk(host: Host) -> tuple[str, str]:
    sandbox = await host.ensure_sandbox(SPEC)
    return sandbox.id, (await host.ensure_container(sandbox, APP)).id


@pytest.mark.parametrize("action", ["create", "start", "inspect", "load", "image"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_whatever_answer_is_lost_repeating_leaves_one_of_each(
    engine: FakeEngine, host: Host, action: str, times: int
):
    engine.lose[action] = times
    for _ in range(10):
        try:
            await walk(host)
        except HostUnreachable:
            continue
        break
    else:
        pytest.fail("ten attempts did not do")
    assert sorted(name.split("_")[1] for name in engine.containers) == ["POD", "app"]
    assert {c.status for c in engine.containers.values()} == {"running"}
    assert sorted(engine.volumes) == ["ironfree_u-1_MESSAGES", "ironfree_u-1_data"]


async def test_a_create_that_times_out_is_looked_for_by_name(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    monkeypatch.setattr(endpoints, "CREATE", 0.1)
    engine.hang["create"] = 1
    status = await host.ensure_container(sandbox, APP)
    assert status.state is EngineState.RUNNING
    assert engine.calls.count("create") == 2


async def test_a_name_taken_in_between_is_adopted(engine: FakeEngine, host: Host):
    results = await asyncio.gather(*(walk(host) for _ in range(20)))
    assert len(set(results)) == 1
    assert len(engine.containers) == 2
    assert engine.busiest["create"] <= 4


async def test_a_name_taken_by_another_is_not_adopted(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    status = await host.ensure_container(sandbox, APP)
    taken = next(c for c in engine.containers.values() if c.id == status.id)
    taken.body["Labels"] = {}
    with pytest.raises(EngineRejected, match="remove it first"):
        await host.ensure_container(sandbox, APP)
    taken.body["Labels"] = None
    with pytest.raises(EngineRejected, match="remove it first"):
        await host.ensure_container(sandbox, APP)


@pytest.fixture
async def neighbour(address: HostAddress) -> AsyncIterator[Host]:
    """The same engine as another installation sees it."""
    neighbour = await DockerDriver().connect(replace(address, cluster="other"))
    yield neighbour
    await neighbour.close()


@pytest.fixture
async def owner(address: HostAddress) -> AsyncIterator[Host]:
    """The same engine as an installation with an id sees it."""
    owner = await DockerDriver().connect(replace(address, cluster="one"))
    yield owner
    await owner.close()


async def of_a_pod(events: AsyncIterator[HostEvent]) -> HostEvent:
    """The next event that is no hint at somebody else's container."""
    while (event := await anext(events)).action == FOREIGN:
        pass
    return event


async def test_another_installations_pods_are_no_pods_and_not_touched(
    engine: FakeEngine, owner: Host, neighbour: Host
):
    hers = with_fields(SPEC, identity=with_fields(POD, uid="u-2"), ports=())
    events = neighbour.events()
    assert (await anext(events)).action == "open"
    sandbox = await owner.ensure_sandbox(SPEC)
    await owner.ensure_container(sandbox, APP)
    await neighbour.ensure_sandbox(hers)
    assert (await of_a_pod(events)).pod_uid == "u-2", "the first event is of her own pod"
    assert [pod.identity.uid for pod in await owner.observe()] == ["u-1"]
    assert [pod.identity.uid for pod in await neighbour.observe()] == ["u-2"]
    await neighbour.remove_pod("u-1")
    assert len(engine.containers) == 3
    of_pods = {uid: [f"ironfree_{uid}_{each}" for each in ("MESSAGES", "data")] for uid in UIDS}
    assert sorted(engine.volumes) == [*of_pods["u-1"], *of_pods["u-2"]]
    labelled = [c.labels for c in engine.containers.values()]
    labelled += [volume["Labels"] for volume in engine.volumes.values()]
    ids = {labels["ironfree.dev/pod-uid"]: labels["ironfree.dev/cluster"] for labels in labelled}
    assert ids == {"u-1": "one", "u-2": "other"}
    await owner.remove_pod("u-1")
    assert sorted(engine.volumes) == of_pods["u-2"]


async def test_another_installations_container_is_not_adopted(owner: Host, neighbour: Host):
    sandbox = await owner.ensure_sandbox(SPEC)
    await owner.ensure_container(sandbox, APP)
    with pytest.raises(EngineRejected, match="of another installation"):
        await neighbour.ensure_sandbox(SPEC)
    with pytest.raises(EngineRejected, match="of another installation"):
        await neighbour.ensure_container(sandbox, APP)
    assert len((await owner.observe())[0].containers) == 1


async def test_what_was_made_before_there_were_ids_is_ours(
    engine: FakeEngine, host: Host, owner: Host
):
    made = await walk(host)
    assert await walk(owner) == made
    await owner.remove_pod("u-1")
    assert (engine.containers, engine.volumes) == ({}, {})


async def test_a_start_that_fails_is_a_status_and_is_not_repeated(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    engine.start_fails["app:v1"] = 'exec: "x": executable file not found in $PATH'
    first = await host.ensure_container(sandbox, APP)
    starts = engine.calls.count("start")
    again = await host.ensure_container(sandbox, APP)
    assert first == again
    assert (first.state, first.reason, first.exit_code) == (EngineState.CREATED, "StartError", 127)
    assert "executable file not found" in first.message
    assert engine.calls.count("start") == starts
    engine.start_fails.clear()
    next_attempt = await host.ensure_container(sandbox, replace(APP, attempt=1))
    assert next_attempt.state is EngineState.RUNNING


async def test_the_runtime_is_that_of_all_containers(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(with_fields(SPEC, runtime="runsc"))
    (seen,) = await host.observe()
    assert seen.sandbox == sandbox
    assert seen.sandbox is not None
    status = await host.ensure_container(seen.sandbox, APP)
    for each in (sandbox, status):
        made = engine.find(each.id)
        assert made is not None
        assert made.body["HostConfig"]["Runtime"] == "runsc"


async def test_the_engines_own_runtime_is_not_named(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    made = engine.find(sandbox.id)
    assert made is not None
    assert "Runtime" not in made.body["HostConfig"]


async def test_an_exited_attempt_is_never_started_again(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    first = await host.ensure_container(sandbox, APP)
    await host.stop_container(first.id, 1)
    starts = engine.calls.count("start")
    again = await host.ensure_container(sandbox, APP)
    assert (again.id, again.state, again.exit_code) == (first.id, EngineState.EXITED, 143)
    assert engine.calls.count("start") == starts


async def test_a_container_made_for_a_sandbox_that_is_gone_is_made_anew(
    engine: FakeEngine, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    engine.reject["start"] = (500, "out of memory")
    with pytest.raises(EngineRejected, match="out of memory"):
        await host.ensure_container(sandbox, APP)
    engine.reject.clear()
    sandbox = await host.ensure_sandbox(with_fields(SPEC, attempt=1))
    status = await host.ensure_container(sandbox, replace(APP, spec_hash="h1.1"))
    made = engine.find(status.id)
    assert made is not None
    assert made.body["HostConfig"]["NetworkMode"] == f"container:{sandbox.id}"
    assert status.state is EngineState.RUNNING


async def test_a_new_sandbox_attempt_ends_the_one_before(engine: FakeEngine, host: Host):
    first = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(first, APP)
    second = await host.ensure_sandbox(with_fields(SPEC, attempt=1))
    (pod,) = await host.observe()
    assert pod.sandbox is not None
    assert pod.sandbox.id == second.id
    assert engine.find(first.id) is None
    assert [(c.id, c.state) for c in pod.containers] == [(app.id, EngineState.EXITED)]
    await host.ensure_container(second, replace(APP, attempt=1))
    await host.ensure_sandbox(with_fields(SPEC, attempt=1))
    (pod,) = await host.observe()
    assert pod.containers[-1].state is EngineState.RUNNING


async def test_exited_containers_are_looked_at_once(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    await host.stop_container(app.id, 0)
    before = await host.observe()
    looks = engine.calls.count("inspect")
    assert await host.observe() == before
    assert engine.calls.count("inspect") == looks + 1  # the sandbox, which runs
    await host.remove_pod("u-1")
    assert await host.observe() == ()


async def test_running_containers_are_looked_at_again_after_an_event(
    engine: FakeEngine, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    status = await host.ensure_container(sandbox, APP)
    running = engine.find(status.id)
    events = host.events()
    assert (await anext(events)).action == "open"
    before = await host.observe()
    looks = engine.calls.count("inspect")
    assert await host.observe() == before
    assert engine.calls.count("inspect") == looks
    engine.emit("update", running)
    assert (await anext(events)).action == "update"
    assert await host.observe() == before
    assert engine.calls.count("inspect") == looks + 1
    running.status, running.exit_code = "exited", 3  # and its event gets lost
    (seen,) = await host.observe()
    assert seen.containers[0].exit_code == 3
    await events.aclose()
    await host.observe()
    assert engine.calls.count("inspect") > looks + 2, "nobody listens any more"


async def test_that_memory_was_short_may_be_told_after_the_end(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    killed = engine.find(app.id)
    assert killed is not None
    killed.status, killed.exit_code, killed.oom_killed = "exited", 137, True
    killed.oom_late = True
    (seen,) = await host.observe()
    assert seen.containers[0].oom_killed


async def test_what_was_started_here_is_not_asked_for_again(engine: FakeEngine, host: Host):
    events = host.events()
    assert (await anext(events)).action == "open"
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    assert [(await anext(events)).action for _ in range(2)] == ["start", "start"]
    looks = engine.calls.count("inspect")
    (seen,) = await host.observe()
    assert (seen.sandbox, seen.containers) == (sandbox, (app,))
    assert engine.calls.count("inspect") == looks == 2, "one after each start"
    died = engine.find(app.id)
    assert died is not None
    died.status, died.exit_code = "exited", 3
    engine.emit("die", died)
    assert (await anext(events)).action == "die"
    died.status = "running"  # somebody starts it again at once
    engine.emit("start", died)
    assert (await anext(events)).action == "start"
    await host.observe()
    assert engine.calls.count("inspect") == looks + 1
    await events.aclose()


async def test_an_infra_image_that_somebody_removes_is_had_again(engine: FakeEngine, host: Host):
    await host.ensure_sandbox(SPEC)
    (infra,) = engine.containers.values()
    engine.images.discard(infra.body["Image"])
    other = PodIdentity("u-2", "default", "db", 1)
    sandbox = await host.ensure_sandbox(SandboxSpec(other, "db"))
    assert sandbox.running
    assert engine.calls.count("load") == 2


async def test_a_container_is_adopted_though_its_image_is_gone(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    first = await host.ensure_container(sandbox, APP)
    engine.images.discard("app:v1")
    assert await host.ensure_container(sandbox, APP) == first
    with pytest.raises(ImageUnavailable):
        await host.ensure_container(sandbox, replace(APP, attempt=1))


async def test_a_container_without_sandbox_is_still_seen(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    await host.ensure_container(sandbox, APP)
    engine.containers = {n: c for n, c in engine.containers.items() if c.id != sandbox.id}
    (pod,) = await host.observe()
    assert pod.sandbox is None
    assert pod.identity == POD


async def test_labels_that_lie_do_no_harm(engine: FakeEngine, host: Host):
    labels = {"ironfree.dev/pod-uid": "x", "ironfree.dev/attempt": "²", "ironfree.dev/epoch": "-"}
    body = {"Image": "app:v1", "Labels": labels}
    engine.containers["odd"] = FakeContainer("f" * 64, "odd", body, "dead")
    (pod,) = await host.observe()
    assert (pod.sandbox, pod.containers[0].attempt) == (None, 0)
    assert pod.containers[0].state is EngineState.EXITED


async def test_nothing_secret_is_in_a_message(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    engine.reject["create"] = (400, "no")
    with pytest.raises(EngineRejected) as failure:
        await host.ensure_container(sandbox, APP)
    assert "very secret" not in f"{failure.value!r} {failure.value} {APP!r}"


async def test_another_processor_uses_an_image_of_a_registry(
    engine: FakeEngine, address: HostAddress
):
    engine.images.add("registry.k8s.io/pause:3.10")
    engine.architecture = "riscv64"
    other = await DockerDriver().connect(address)
    sandbox = await other.ensure_sandbox(SPEC)
    await other.close()
    made = engine.find(sandbox.id)
    assert made is not None
    assert made.body["Image"] == "registry.k8s.io/pause:3.10"
    assert "load" not in engine.calls


async def test_logs_are_unframed_whatever_the_chunks(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    app = await host.ensure_container(sandbox, APP)
    found = engine.find(app.id)
    assert found is not None
    found.log = frame(1, b"out\n") + frame(2, b"") + frame(2, b"err\n")
    assert [c async for c in host.logs(app.id, LogOptions())] == [b"out\n", b"err\n"]
    found.log = frame(1, b"out\n") + frame(3, b"driver does not read")
    with pytest.raises(DriverError, match="driver does not read"):
        _ = [c async for c in host.logs(app.id, LogOptions())]
    found.log = b"plain text that is no frame\n"
    with pytest.raises(DriverError, match="not in Docker's frames"):
        _ = [c async for c in host.logs(app.id, LogOptions())]
    with pytest.raises(DriverError, match="no name"):
        _ = [c async for c in host.logs("../x", LogOptions())]


async def test_events_begin_with_open_and_end_with_the_engine(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    events = host.events()
    assert (await anext(events)).action == "open"
    found = engine.find(sandbox.id)
    assert found is not None
    engine.emit("exec_start: probe", found)
    engine.emit("die", found)
    event = await anext(events)
    assert (event.pod_uid, event.action) == ("u-1", "die")
    for queue in engine.events:
        queue.put_nowait(b"x" * 50 + b"\n")
    with pytest.raises(DriverError, match="no Docker engine answers"):
        await anext(events)
    events = host.events()
    await anext(events)
    await engine.stop()
    with pytest.raises(HostUnreachable):
        await anext(events)


async def test_streams_of_another_installations_container_are_refused(owner: Host, neighbour: Host):
    sandbox = await owner.ensure_sandbox(SPEC)
    app = await owner.ensure_container(sandbox, APP)
    assert isinstance(neighbour, StreamingHost)
    with pytest.raises(EngineRejected, match="no pod's of this installation"):
        async with neighbour.exec(app.id, ("true",), Ends()):
            pass
    with pytest.raises(EngineRejected, match="no pod's of this installation"):
        async with neighbour.attach(app.id, Ends()):
            pass
    with pytest.raises(EngineRejected, match="no pod's of this installation"):
        _ = [c async for c in neighbour.logs(app.id, LogOptions())]
    with pytest.raises(EngineRejected, match="no sandbox running"):
        async with neighbour.connect("u-1", 80):
            pass


async def test_a_host_has_no_more_streams_open_than_it_may(
    monkeypatch: pytest.MonkeyPatch, address: HostAddress, engine: FakeEngine
):
    monkeypatch.setattr("ironfree_docker.engine.STREAMS", 2)
    host = await DockerDriver().connect(address)
    _, app = await walk(host)
    found = engine.find(app)
    assert found is not None
    found.log = frame(1, b"a") + frame(1, b"b")
    followed = [host.logs(app, LogOptions(follow=True)) for _ in range(3)]
    assert [await anext(logs) for logs in followed[:2]] == [b"a", b"a"]
    with pytest.raises(EngineRejected, match="2 streams open") as refused:
        await anext(followed[2])
    assert refused.value.code == 429
    await followed[0].aclose()  # type: ignore[attr-defined]
    assert await anext(host.logs(app, LogOptions())) == b"a"
    await host.close()


async def test_an_image_is_told_by_its_digest_in_the_repository_that_it_is_named_by(
    engine: FakeEngine, host: Host
):
    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    engine.digests = [f"registry.example.com/app@{other}", f"app@{one}"]
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web-0"))
    status = await host.ensure_container(sandbox, ContainerSpec("app", "app:v1", 0, "h"))
    assert status.image_id == f"docker.io/library/app@{one}"
    asked = engine.calls.count("image")
    (seen,) = await host.observe()
    assert seen.containers[0].image_id == status.image_id
    assert engine.calls.count("image") == asked, "once is enough"


async def test_an_image_that_was_never_in_a_registry_is_told_by_its_id(host: Host):
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web-0"))
    status = await host.ensure_container(sandbox, ContainerSpec("app", "app:v1", 0, "h"))
    assert status.image_id == UNNAMED
