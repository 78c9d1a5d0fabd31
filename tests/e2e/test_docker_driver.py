"""The Docker driver against real engines."""

import asyncio
import http.client
import re
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver
from msgspec.structs import replace as with_fields

from scheduler.drivers import (
    ContainerSpec,
    ContainerStatus,
    EngineState,
    Host,
    HostAddress,
    LogOptions,
    PodIdentity,
    PortMapping,
    SandboxSpec,
    TlsMaterial,
)
from scheduler.errors import DriverError, EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.foreign import FOREIGN
from scheduler.images import PullProgress, RegistryCredentials
from scheduler.streams import Ends, StreamingHost
from scheduler.volumes import EmptyDir, HostPathVolume, Mount
from tests.e2e import lab as laboratory
from tests.e2e.lab.images import GUESTBOOK_IMAGES, SHELL_IMAGE
from tests.e2e.lab.registry import ACCOUNT
from tests.streaming_contract import check_echo, check_streams, check_usage

UID = "0a1b2c3d-0000-4000-8000-000000000001"
POD = PodIdentity(uid=UID, namespace="default", name="web-0", epoch=3)


def address(lab: laboratory.Lab, host: laboratory.Host) -> HostAddress:
    tls = TlsMaterial(lab.tls.ca.read_bytes(), lab.tls.cert.read_bytes(), lab.tls.key.read_bytes())
    return HostAddress(host.name, f"tcp://{host.tcp_address}", tls)


def shell(name: str, script: str, **changes: object) -> ContainerSpec:
    spec = ContainerSpec(name, SHELL_IMAGE, 0, "hash-1", command=("sh", "-c", script))
    return replace(spec, **changes)


async def output(engine: Host, container: str, **options: object) -> str:
    return b"".join([c async for c in engine.logs(container, LogOptions(**options))]).decode()


async def ended(engine: Host, name: str) -> ContainerStatus:
    async with asyncio.timeout(20):
        while True:
            for pod in await engine.observe():
                for container in pod.containers:
                    if container.name == name and container.state is EngineState.EXITED:
                        return container
            await asyncio.sleep(0.05)


def ask(host: str, port: int, line: str) -> str:
    """The answer to a line; a container that was started a moment ago may not listen yet."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.sendall(f"{line}\n".encode())
                with connection.makefile() as stream:
                    if answer := stream.readline().strip():
                        return answer
        except ConnectionError:
            pass
        assert time.monotonic() < deadline, f"{host}:{port} does not answer"
        time.sleep(0.02)


@pytest.fixture
async def engine(lab: laboratory.Lab, host: laboratory.Host) -> AsyncIterator[Host]:
    engine = await DockerDriver().connect(address(lab, host))
    yield engine
    await engine.close()


@pytest.fixture
async def local(host: laboratory.Host) -> AsyncIterator[Host]:
    engine = await DockerDriver().connect(HostAddress(host.name, f"unix://{host.unix_socket}"))
    yield engine
    await engine.close()


@pytest.fixture(params=["tls", "unix"])
async def either(
    lab: laboratory.Lab, host: laboratory.Host, request: pytest.FixtureRequest
) -> AsyncIterator[Host]:
    """The host by TCP with TLS and by its unix socket."""
    by_socket = HostAddress(host.name, f"unix://{host.unix_socket}")
    way = by_socket if request.param == "unix" else address(lab, host)
    engine = await DockerDriver().connect(way)
    yield engine
    await engine.close()


async def test_streams_and_usage_as_of_every_driver(either: Host):
    sandbox = await either.ensure_sandbox(SandboxSpec(POD, "web"))
    script = "nc -ll -p 7000 -e cat & sleep 9999"
    app = await either.ensure_container(sandbox, shell("app", script))
    await check_streams(either, app.id)
    async with asyncio.timeout(10):
        while not await listens(either, app.id, 7000):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await check_echo(either, UID, 7000)
    await check_usage(either, app.id)
    async with either.connect(UID, 7001) as connection:
        assert await connection.read() == b""
        assert await connection.failure() == "connect: connection refused"


async def listens(host: Host, container: str, port: int) -> bool:
    assert isinstance(host, StreamingHost)
    tables = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
    async with host.exec(container, tables, Ends()) as process:
        table = b""
        while (part := await process.read()) is not None:
            table += part[1]
    return re.search(rf":{port:04X} 0+:0000 0A".encode(), table) is not None


async def test_a_host_says_what_it_is(engine: Host, host: laboratory.Host):
    info = await engine.info()
    assert info.hostname == host.name
    assert info.address == host.address
    assert info.engine.startswith("docker://")
    assert info.architecture in {"amd64", "arm64"}
    assert info.cpus > 0
    assert info.memory_bytes > 1 << 28
    assert info.live_restore


async def test_two_containers_share_network_hostname_and_volume(
    engine: Host, host: laboratory.Host
):
    volumes = (EmptyDir("data"), EmptyDir("fast", "Memory", 1 << 20))
    ports = (PortMapping(6379, 7001),)
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0", ports=ports, volumes=volumes))
    assert sandbox.running
    assert sandbox.ip
    mounts = (Mount("data", "/data"), Mount("fast", "/fast"))
    leader = await engine.ensure_container(
        sandbox, ContainerSpec("leader", GUESTBOOK_IMAGES["leader"], 0, "h")
    )
    assert leader.state is EngineState.RUNNING
    write = (
        "echo $WORD > /data/word; echo quick > /fast/word; hostname; stat -c %a /data /fast; id -u"
    )
    await engine.ensure_container(
        sandbox, shell("writer", write, env=(("WORD", "shared"),), mounts=mounts, user="1000")
    )
    writer = await ended(engine, "writer")
    assert (writer.exit_code, writer.oom_killed) == (0, False)
    assert await output(engine, writer.id) == "web-0\n777\n777\n1000\n"
    read = "cat /data/word /fast/word; ! touch /data/x 2>/dev/null; netstat -ltn | grep -c :6379"
    await engine.ensure_container(
        sandbox,
        shell("reader", read, mounts=(Mount("data", "/data", read_only=True), mounts[1])),
    )
    reader = await ended(engine, "reader")
    assert await output(engine, reader.id) == "shared\nquick\n1\n"
    assert await asyncio.to_thread(ask, host.address, 7001, "PING") == "+PONG"


async def test_no_link_leads_out_of_a_directory_of_the_host(local: Host):
    """On a new engine; one that would follow the link mounts no part of it."""
    volume = HostPathVolume("h", "/run/escape", create=True)
    sandbox = await local.ensure_sandbox(SandboxSpec(POD, "web-0", volumes=(volume,)))
    whole = Mount("h", "/all", host_path=volume.path, create=True)
    part = replace(whole, path="/x", sub_path="x")
    script = "mkdir -p /all/deep && chmod 750 /all && rm -rf /all/x; ln -s /etc /all/x; ls /all"
    await local.ensure_container(sandbox, shell("first", script, mounts=(whole,)))
    assert await output(local, (await ended(local, "first")).id) == "deep\nx\n"
    second = shell("second", "ls /x/", mounts=(part,))
    if (await local.info()).api_version < "1.45":
        with pytest.raises(EngineRejected, match=r"subPath of volume h needs .* 1\.45"):
            await local.ensure_container(sandbox, second)
        return
    refused = await local.ensure_container(sandbox, second)
    assert refused.state is EngineState.CREATED
    assert "escapes" in refused.message
    inner = (replace(part, sub_path="deep/new"), replace(whole, read_only=True))
    look = "touch /x/file; stat -c '%a %n' /all/deep/new; ls /all/deep/new"
    await local.ensure_container(sandbox, shell("third", look, mounts=inner))
    assert await output(local, (await ended(local, "third")).id) == "750 /all/deep/new\nfile\n"
    await local.remove_pod(UID)


async def test_everything_ensured_twice_is_there_once(engine: Host, local: Host, host):
    spec = SandboxSpec(POD, "web-0", volumes=(EmptyDir("data"),))
    container = shell("app", "sleep 100")

    async def walk(way: Host) -> tuple[str, str]:
        sandbox = await way.ensure_sandbox(spec)
        return sandbox.id, (await way.ensure_container(sandbox, container)).id

    results = await asyncio.gather(*(walk(way) for way in (engine, local) * 5))
    assert len(set(results)) == 1
    assert len(host.containers()) == 2
    (pod,) = await engine.observe()
    assert pod.identity == POD
    assert pod.sandbox is not None
    assert [(c.name, c.state, c.spec_hash) for c in pod.containers] == [
        ("app", EngineState.RUNNING, "hash-1")
    ]


async def test_another_spec_or_a_newer_leader_is_not_adopted(engine: Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    await engine.ensure_container(sandbox, shell("app", "sleep 100"))
    with pytest.raises(EngineRejected, match="spec-hash"):
        await engine.ensure_container(sandbox, shell("app", "sleep 100", spec_hash="other"))
    with pytest.raises(EngineRejected, match="newer leader"):
        await engine.ensure_sandbox(SandboxSpec(with_fields(POD, epoch=2), "web-0"))
    adopted = await engine.ensure_sandbox(SandboxSpec(with_fields(POD, epoch=4), "web-0"))
    assert adopted.id == sandbox.id


async def test_exit_codes_and_the_memory_limit_are_told(engine: Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    started = datetime.now(UTC) - timedelta(seconds=5)
    await engine.ensure_container(sandbox, shell("fails", "exit 42"))
    hungry = "dd if=/dev/zero of=/dev/null bs=64M count=1"
    await engine.ensure_container(sandbox, shell("hungry", hungry, memory_limit=16 << 20))
    failed, killed = await ended(engine, "fails"), await ended(engine, "hungry")
    assert failed.exit_code == 42
    assert failed.started_at is not None
    assert failed.finished_at is not None
    assert started < failed.started_at <= failed.finished_at
    assert (killed.exit_code, killed.oom_killed) == (137, True)
    again = await engine.ensure_container(sandbox, shell("fails", "exit 42"))
    assert (again.id, again.finished_at) == (failed.id, failed.finished_at)


async def test_a_command_that_is_not_there_is_a_status(engine: Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    spec = replace(shell("app", ""), command=("/no/such/program",))
    for _ in range(2):
        status = await engine.ensure_container(sandbox, spec)
        assert (status.state, status.exit_code) == (EngineState.CREATED, 127)
        assert status.reason == "StartError"
        assert "no such file" in status.message


async def test_the_health_check_of_an_image_does_not_run(
    local: Host, host: laboratory.Host, tmp_path: Path
):
    dockerfile = f"FROM {SHELL_IMAGE}\nHEALTHCHECK --interval=1s CMD touch /checked\n"
    (tmp_path / "Dockerfile").write_text(dockerfile)
    host.run("build", "-q", "-t", "checked:v1", str(tmp_path))
    sandbox = await local.ensure_sandbox(SandboxSpec(POD, "web-0"))
    spec = replace(shell("app", "sleep 100"), image="checked:v1")
    app = await local.ensure_container(sandbox, spec)
    found = host.inspect(app.id)
    assert found["State"]["Running"]
    assert "Health" not in found["State"], "the engine checks it"
    await local.remove_pod(UID)
    host.remove_image("checked:v1")


async def test_a_missing_image_is_told_and_a_pullable_one_is_had(
    engine: Host, lab: laboratory.Lab, host: laboratory.Host
):
    def heard(_progress: PullProgress) -> None:
        """Of layers that the host has already, an engine tells nothing."""

    assert await engine.images.find(SHELL_IMAGE)
    assert await engine.images.find("absent:v1") is None
    registry = lab.registry()
    name, private = (f"{a}/driver/shell:v2" for a in (registry.address, registry.private))
    with pytest.raises(ImageUnavailable, match=r"not found|unknown"):
        await engine.images.pull(name, None, heard)
    other = lab.hosts[1]
    other.run("tag", SHELL_IMAGE, name)
    other.run("push", "-q", name)
    other.remove_image(name)
    await asyncio.gather(*(engine.images.pull(name, None, heard) for _ in range(2)))
    found = await engine.images.find(name)
    assert found is not None
    assert found.size > 0
    (digest,) = (each for each in found.names if each.startswith(f"{name.rpartition(':')[0]}@"))
    host.remove_image(name)
    await engine.images.pull(digest, None, heard)
    assert (await engine.images.find(digest)).id == found.id
    with pytest.raises(ImageUnavailable, match=r"no basic auth|unauthorized"):
        await engine.images.pull(private, None, heard)
    wrong = RegistryCredentials(registry.private, ACCOUNT[0], "wrong-word")
    with pytest.raises(ImageUnavailable, match=r"unauthorized|denied") as failure:
        await engine.images.pull(private, wrong, heard)
    assert "wrong-word" not in str(failure.value)
    right = RegistryCredentials(registry.private, *ACCOUNT)
    await engine.images.pull(private, right, heard)
    assert (await engine.images.find(private)).id == found.id
    host.remove_image(private)
    host.remove_image(digest)
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    with pytest.raises(ImageUnavailable, match="absent"):
        await engine.ensure_container(sandbox, replace(shell("app", ""), image="absent:v1"))


async def test_logs_follow_tail_since_and_limits(engine: Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    script = "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three; sleep 0.3; echo four"
    app = await engine.ensure_container(sandbox, shell("app", script))
    assert await output(engine, app.id, follow=True) == "one\ntwo\nthree\nfour\n"
    assert await output(engine, app.id, tail=1) == "four\n"
    assert await output(engine, app.id, limit_bytes=5) == "one\nt"
    stamped = (await output(engine, app.id, timestamps=True)).splitlines()
    times = [datetime.fromisoformat(line.split()[0]) for line in stamped]
    assert times == sorted(times)
    assert await output(engine, app.id, since=times[2] - timedelta(milliseconds=1)) == (
        "three\nfour\n"
    )
    long = "head -c 40000 /dev/zero | tr '\\0' a; echo; echo end"
    lines = await engine.ensure_container(sandbox, shell("long", long))
    await ended(engine, "long")
    stamped = (await output(engine, lines.id, timestamps=True)).splitlines()
    assert [len(line.partition(" ")[2]) for line in stamped] == [40_000, len("end")]
    tty = await engine.ensure_container(sandbox, shell("tty", "echo raw", tty=True))
    await ended(engine, "tty")
    assert await output(engine, tty.id) == "raw\r\n"
    with pytest.raises(EngineRejected, match="No such container"):
        await output(engine, "0" * 64)


async def test_stop_gives_grace_and_then_kills(engine: Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    polite = "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done"
    rude = "trap '' TERM; while :; do sleep 0.05; done"
    one = await engine.ensure_container(sandbox, shell("polite", polite))
    two = await engine.ensure_container(sandbox, shell("rude", rude))
    await asyncio.gather(engine.stop_container(one.id, 20), engine.stop_container(two.id, 1))
    assert (await ended(engine, "polite")).exit_code == 7
    assert (await ended(engine, "rude")).exit_code == 137
    assert await output(engine, one.id) == "bye\n"
    for _ in range(2):
        await engine.stop_container(one.id, 1)
        await engine.remove_container(one.id)
    (pod,) = await engine.observe()
    assert [container.name for container in pod.containers] == ["rude"]


async def test_remove_pod_leaves_nothing_of_it_and_all_of_others(
    engine: Host, host: laboratory.Host
):
    other = with_fields(POD, uid="other", name="web-1")
    for pod in POD, other:
        sandbox = await engine.ensure_sandbox(
            SandboxSpec(pod, pod.name, volumes=(EmptyDir("data"),))
        )
        await engine.ensure_container(
            sandbox, shell("app", "sleep 100", mounts=(Mount("data", "/data"),))
        )
    await asyncio.gather(*(engine.remove_pod(UID) for _ in range(2)))
    await engine.remove_pod(UID)
    assert [pod.identity for pod in await engine.observe()] == [other]
    assert len(host.containers()) == 2
    assert sorted(host.volumes()) == ["ironfree_other_MESSAGES", "ironfree_other_data"]


async def test_a_dead_sandbox_is_replaced_by_its_next_attempt(engine: Host, host: laboratory.Host):
    spec = SandboxSpec(POD, "web-0", ports=(PortMapping(6379, 7002),))
    sandbox = await engine.ensure_sandbox(spec)
    leader = ContainerSpec("leader", GUESTBOOK_IMAGES["leader"], 0, "h")
    first = await engine.ensure_container(sandbox, leader)
    host.kill(sandbox.id)
    (pod,) = await engine.observe()
    assert pod.sandbox is not None
    assert not pod.sandbox.running
    sandbox = await engine.ensure_sandbox(with_fields(spec, attempt=1))
    (pod,) = await engine.observe()
    assert pod.sandbox is not None
    assert (pod.sandbox.attempt, pod.sandbox.running) == (1, True)
    assert [(c.id, c.state) for c in pod.containers] == [(first.id, EngineState.EXITED)]
    await engine.ensure_container(sandbox, replace(leader, attempt=1))
    assert await asyncio.to_thread(ask, host.address, 7002, "PING") == "+PONG"


async def test_a_pod_on_the_hosts_network_listens_there(engine: Host, host: laboratory.Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0", host_network=True))
    env = (("PORT", "7003"),)
    await engine.ensure_container(
        sandbox, ContainerSpec("leader", GUESTBOOK_IMAGES["leader"], 0, "h", env=env)
    )
    assert await asyncio.to_thread(ask, host.address, 7003, "PING") == "+PONG"


async def test_names_of_the_pod_are_known_inside(engine: Host):
    spec = SandboxSpec(
        POD,
        "web-0",
        dns_servers=("10.0.0.10",),
        dns_searches=("default.svc.cluster.local",),
        host_aliases=(("leader", "10.96.0.7"),),
    )
    sandbox = await engine.ensure_sandbox(spec)
    await engine.ensure_container(sandbox, shell("app", "cat /etc/hosts /etc/resolv.conf"))
    status = await ended(engine, "app")
    text = await output(engine, status.id)
    assert "10.96.0.7\tleader" in text
    assert "nameserver 10.0.0.10" in text
    assert "search default.svc.cluster.local" in text


async def test_a_port_in_use_is_a_rejection_and_works_once_it_is_free(
    engine: Host, host: laboratory.Host
):
    spec = SandboxSpec(POD, "web-0", ports=(PortMapping(80, 7004),))
    host.run("run", "-d", "--name", "squatter", "-p", "7004:80", SHELL_IMAGE, "sleep", "100")
    with pytest.raises(EngineRejected, match="7004"):
        await engine.ensure_sandbox(spec)
    host.remove("squatter")
    assert (await engine.ensure_sandbox(spec)).running


async def test_events_tell_of_a_killed_container(engine: Host, host: laboratory.Host):
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0"))
    app = await engine.ensure_container(sandbox, shell("app", "sleep 100"))
    events = engine.events()
    assert (await anext(events)).action == "open"
    host.run("run", "--name", "stranger", SHELL_IMAGE, "true")
    host.kill(app.id)
    async with asyncio.timeout(10):
        while (event := await anext(events)).action != "die":
            strange = event.action == FOREIGN
            assert event.pod_uid == ("" if strange else UID), "a stranger's is of no pod"
        assert event.pod_uid == UID
    host.kill_daemon()

    async def drain() -> None:
        async for _ in events:
            pass

    with pytest.raises(HostUnreachable):
        await asyncio.wait_for(drain(), 10)


async def test_containers_outlive_the_daemon_and_are_adopted(engine: Host, host: laboratory.Host):
    spec = SandboxSpec(POD, "web-0")
    sandbox = await engine.ensure_sandbox(spec)
    app = await engine.ensure_container(sandbox, shell("app", "sleep 100"))
    host.kill_daemon()
    with pytest.raises(HostUnreachable):
        await engine.ping()
    with pytest.raises(HostUnreachable):
        await engine.ensure_container(sandbox, shell("late", "sleep 100"))
    host.start_daemon()
    adopted = await engine.ensure_sandbox(spec)
    assert adopted.id == sandbox.id
    assert (await engine.ensure_container(adopted, shell("app", "sleep 100"))).id == app.id


@pytest.mark.parametrize("fault", ["partition", "pause_daemon", "refuse"])
async def test_a_silent_host_is_unreachable_within_seconds(
    engine: Host, host: laboratory.Host, fault: str
):
    getattr(host, fault)()
    async with asyncio.timeout(10):
        with pytest.raises(HostUnreachable):
            await engine.ping()
    host.heal()
    host.resume_daemon()
    await engine.ping()


async def test_strangers_are_turned_away_clearly(lab: laboratory.Lab, host: laboratory.Host):
    right = address(lab, host)
    assert right.tls is not None
    plain = replace(right, tls=None)
    with pytest.raises(DriverError):
        await DockerDriver().connect(plain)
    own = replace(right.tls, ca=lab.tls.cert.read_bytes())
    with pytest.raises(HostUnreachable, match="certificate"):
        await DockerDriver().connect(replace(right, tls=own))
    with pytest.raises(DriverError, match="TLS material"):
        await DockerDriver().connect(replace(right, tls=replace(right.tls, key=b"nonsense")))


async def test_a_guestbook_pod_answers_http(engine: Host, host: laboratory.Host):
    spec = SandboxSpec(POD, "web-0", ports=(PortMapping(8080, 7005),))
    sandbox = await engine.ensure_sandbox(spec)
    await engine.ensure_container(
        sandbox, ContainerSpec("leader", GUESTBOOK_IMAGES["leader"], 0, "h")
    )
    env = (("LEADER_ADDR", "127.0.0.1:6379"),)
    await engine.ensure_container(
        sandbox, ContainerSpec("web", GUESTBOOK_IMAGES["frontend"], 0, "h", env=env)
    )

    def page(path: str) -> str:
        connection = http.client.HTTPConnection(host.address, 7005, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    await asyncio.to_thread(ask, host.address, 7005, "GET /healthz HTTP/1.0\n")
    assert await asyncio.to_thread(page, "/set?key=a&value=b") == "+OK"
    assert await asyncio.to_thread(page, "/get?key=a") == "$b"
    assert await asyncio.to_thread(page, "/") == "web-0"
