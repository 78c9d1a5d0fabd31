"""Probes and hooks through the driver: commands, and connections that the host makes."""

import asyncio
import socket
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from plugins.docker.tests.probed_servers import grpc, http, server
from scheduler.drivers import (
    ContainerSpec,
    DialFailure,
    ExecHost,
    Host,
    HostAddress,
    PodIdentity,
    SandboxSpec,
)
from scheduler.errors import DriverError, EngineRejected, HostUnreachable
from scheduler.images import Filesystem
from scheduler.nodes.handlers import HandlerOutcome, Target, perform
from scheduler.nodes.health import ProbeKind, Watch
from scheduler.nodes.probing import ProbedPod, Prober
from scheduler.objects.handlers import (
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    Probe,
    TCPSocketAction,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, ContainerPort, Pod, PodSpec, PodStatus
from scheduler.streams import Level, SignallingHost, Signals

POD = PodIdentity("u-1", "default", "web-0")
APP = ContainerSpec("app", "app:v1", 0, "h")


@pytest.fixture
async def target(host: Host) -> Target:
    sandbox = await host.ensure_sandbox(SandboxSpec(POD, "web-0"))
    status = await host.ensure_container(sandbox, APP)
    return Target(host, Container("app"), status.id, "192.0.2.7")


def on_port(target: Target, port: int) -> Target:
    container = Container("app", ports=(ContainerPort(port, name="web"),))
    return Target(target.host, container, target.container_id, target.pod_ip)


@pytest.mark.parametrize(("status", "success"), [(200, True), (302, True), (404, False)])
async def test_http_is_judged_by_its_status(target: Target, status: int, success: bool):
    seen: list[bytes] = []
    headers = (HTTPHeader("X-Own", "a\r\nb"), HTTPHeader("Host", "example.com"))
    probe = Probe(http_get=HTTPGetAction("web", "ok", http_headers=headers))
    async with server(http(status, seen)) as port:
        outcome = await perform(probe, on_port(target, port), 5)
    assert outcome.success is success
    assert outcome.message == ("" if success else f"HTTP probe failed with statuscode: {status}")
    assert seen[0].startswith(b"GET /ok HTTP/1.1\r\nHost: example.com\r\nUser-Agent: kube-probe/")
    assert b"\r\nX-Own: ab\r\n" in seen[0]


async def test_headers_are_sent_as_kubelet_sends_them(target: Target):
    seen: list[bytes] = []
    given = [("host", "a.example"), ("x-1", "a"), ("X-1", "b"), ("ACCEPT", "text/html")]
    given += [("user-agent", ""), ("Host", "b.example")]
    headers = tuple(HTTPHeader(name, value) for name, value in given)
    probe = Probe(http_get=HTTPGetAction("web", "/", http_headers=headers))
    async with server(http(200, seen)) as port:
        assert (await perform(probe, on_port(target, port), 5)).success
    assert seen[0].decode().split("\r\n")[1:-2] == [
        "Host: a.example",
        "Accept: text/html",
        "Connection: close",
        "X-1: a",
        "X-1: b",
    ]


async def test_every_address_of_a_name_is_tried(target: Target, monkeypatch: pytest.MonkeyPatch):
    found = ["2001:db8::1", "127.0.0.1"]

    def resolve(_host: str, *_more: object, **_options: object) -> list[object]:
        return [(None, None, 0, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    probe = Probe(tcp_socket=TCPSocketAction("web", "two.example"))
    async with server(http(200)) as port:
        assert (await perform(probe, on_port(target, port), 5)).success
        found.pop()
        outcome = await perform(probe, on_port(target, port), 5)
    assert outcome.message.endswith("network is unreachable")


@pytest.mark.parametrize(
    ("leads", "asked", "outcome"),
    [
        ({"/": "/ok?a=1", "/ok?a=1": ""}, ["/", "/ok?a=1"], HandlerOutcome(success=True)),
        ({"/": "http://192.0.2.7:PORT/x", "/x": ""}, ["/", "/x"], HandlerOutcome(success=True)),
        ({"/": "http://example.com/"}, ["/"], HandlerOutcome(success=True)),
        ({"/": "gopher://192.0.2.7/"}, ["/"], HandlerOutcome(success=True)),
        (
            {"/": "http://192.0.2.7:123456/"},
            ["/"],
            HandlerOutcome(success=False, message="it redirects to what is no URL"),
        ),
        (
            {"/": "gone"},
            ["/", "/gone"],
            HandlerOutcome(success=False, message="HTTP probe failed with statuscode: 404"),
        ),
        (
            {"/": "/"},
            ["/"] * 10,
            HandlerOutcome(success=False, message="stopped after 10 redirects"),
        ),
    ],
)
async def test_redirects_are_followed_on_the_same_host(
    target: Target, leads: dict[str, str], asked: list[str], outcome: HandlerOutcome
):
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        seen.append(path)
        to = leads.get(path)
        status = 404 if to is None else 302 if to else 200
        writer.write(f"HTTP/1.1 {status} So\r\n".encode())
        await writer.drain()
        writer.write(
            f"X-A: b\r\nlocation: {(to or '').replace('PORT', str(port))}\r\n\r\n".encode()
        )
        await writer.drain()

    async with server(answer) as port:
        found = await perform(Probe(http_get=HTTPGetAction("web")), on_port(target, port), 5)
    assert (found, seen) == (outcome, asked)


async def test_what_listens_but_is_no_http_or_says_nothing_has_failed(target: Target):
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        await writer.drain()

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    probe = Probe(http_get=HTTPGetAction("web"))
    async with server(nonsense) as port:
        outcome = await perform(probe, on_port(target, port), 5)
        assert outcome.message == f"192.0.2.7:{port} does not answer in HTTP"
    async with server(silence) as port:
        outcome = await perform(probe, on_port(target, port), 0.1)
        assert outcome == HandlerOutcome(success=False, message="no answer within 0.1s")
        assert (await perform(Probe(tcp_socket=TCPSocketAction(port)), target, 5)).success
    outcome = await perform(Probe(tcp_socket=TCPSocketAction(port)), target, 5)
    assert outcome.message == f"dial tcp 192.0.2.7:{port}: connect: connection refused"
    outcome = await perform(Probe(tcp_socket=TCPSocketAction("nowhere")), target, 5)
    assert outcome.message == "the container has no port nowhere"


async def test_https_takes_any_certificate(target: Target, tmp_path: Path):
    names = ["-subj", "/CN=nobody", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    await asyncio.to_thread(subprocess.run, [*new, *names], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    probe = Probe(http_get=HTTPGetAction("web", scheme="HTTPS"))
    async with server(http(200), tls) as port:
        assert (await perform(probe, on_port(target, port), 5)).success

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with server(plain) as port:
        outcome = await perform(probe, on_port(target, port), 5)
        assert outcome.message.startswith(f"TLS with 192.0.2.7:{port}: ")


@pytest.mark.parametrize(
    ("state", "message"), [(1, ""), (2, 'service unhealthy (responded with "NOT_SERVING")')]
)
async def test_grpc_health(target: Target, state: int, message: str):
    asked: list[bytes] = []
    async with server(grpc(state, asked)) as port:
        outcome = await perform(Probe(grpc=GRPCAction(port, "shop")), target, 5)
    assert (outcome.success, outcome.message) == (not message, message)
    assert b"".join(asked) == b"\0\0\0\0\6\x0a\4shop"
    async with server(http(200)) as port:
        assert not (await perform(Probe(grpc=GRPCAction(port)), target, 1)).success


async def test_one_dialer_serves_all_and_comes_back(engine: FakeEngine, target: Target):
    async with server(http(200)) as port:
        probe = Probe(http_get=HTTPGetAction("web"))
        on = on_port(target, port)
        outcomes = await asyncio.gather(*(perform(probe, on, 10) for _ in range(50)))
        assert all(outcome.success for outcome in outcomes)
        dialers = [c for c in engine.containers.values() if c.body.get("StdinOnce")]
        assert len(dialers) == 1
        host = dialers[0].body["HostConfig"]
        assert (host["NetworkMode"], host["AutoRemove"], host["CapDrop"]) == ("host", True, ["ALL"])
        assert "ironfree.dev/pod-uid" not in dialers[0].labels
        assert len(await on.host.observe()) == 1


async def test_a_host_that_hangs_says_nothing_of_its_containers(engine: FakeEngine, target: Target):
    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silence) as port:
        on = on_port(target, port)
        engine.garbage["ping"] = b""
        engine.reject["ping"] = (500, "out of files")
        with pytest.raises(EngineRejected):
            await perform(Probe(http_get=HTTPGetAction("web")), on, 0.1)
        await engine.stop()
        with pytest.raises(HostUnreachable):
            await perform(Probe(tcp_socket=TCPSocketAction("web")), on, 2)


async def test_commands_that_hang_are_not_piled_up(engine: FakeEngine, target: Target):
    engine.programs = {"no": (3, b"because\n" * 2000), "hang": (-1, b"")}
    assert (await perform(Probe(exec=ExecAction(("yes",))), target, 5)).success
    outcome = await perform(Probe(exec=ExecAction(("no",))), target, 5)
    assert outcome.message.startswith("because")
    for _ in range(3):
        outcome = await perform(Probe(exec=ExecAction(("hang",))), target, 0.1)
        assert outcome.message == "no answer within 0.1s"
    assert len([e for e in engine.execs.values() if e.command == ["hang"]]) == 1
    await target.host.stop_container(target.container_id, 0)
    with pytest.raises(EngineRejected, match="not running"):
        await perform(Probe(exec=ExecAction(("yes",))), target, 5)


async def test_commands_that_take_long_hold_up_no_other_probe(engine: FakeEngine, target: Target):
    engine.programs = {"hang": (-1, b"")}
    verdicts: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()

    def judged(watch: Watch, verdict: bool) -> None:
        verdicts.put_nowait((watch.container, verdict))

    prober = Prober(target.host, lambda *_: None)
    started = {target.container_id: datetime.now(UTC)}
    for index in range(12):
        name, command = f"c{index:02}", "hang" if index < 11 else "yes"
        probe = Probe(exec=ExecAction((command, name)), timeout_seconds=60)
        spec = PodSpec(containers=(Container(name),))
        pod = Pod(ObjectMeta(name=name), spec, PodStatus(), "one", 1, b"")
        watch = Watch(name, target.container_id, 0, ProbeKind.READINESS, probe)
        prober.watch(name, ProbedPod(pod, "192.0.2.7", started, judged), [watch])
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(prober.run(group))
        assert await verdicts.get() == ("c11", True)
        while len(engine.execs) < 12:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        running.cancel()
        await engine.stop()


async def test_commands_are_started_four_at_once(engine: FakeEngine, target: Target):
    engine.programs, engine.starting = {"slow": (-1, b"")}, {"slow"}
    assert isinstance(target.host, ExecHost)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        run = target.host.exec_sync
        tasks = [
            group.create_task(run(target.container_id, ("slow", f"{n}"), 60)) for n in range(10)
        ]
        while engine.calls.count("exec-inspect") < 8:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(engine.execs) == 4
        engine.starting.clear()
        while len(engine.execs) < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()


async def test_a_processor_without_a_dialer_is_told(engine: FakeEngine, target: Target):
    engine.reject["attach"] = (404, "page not found")
    with pytest.raises(Exception, match="pods cannot be reached for probes"):
        await perform(Probe(tcp_socket=TCPSocketAction(80)), target, 5)
    engine.reject.clear()
    failure = await target.host.dial("no such name", 80, 1)  # type: ignore[attr-defined]
    assert failure == DialFailure("no such host: no such name")


async def test_a_host_tells_what_it_has_left(engine: FakeEngine, host: Host):
    assert isinstance(host, SignallingHost)
    engine.disk = (4096, 1000, 400, 300, 500, 20)
    disk, inodes = Level(300 * 4096, 1000 * 4096), Level(20, 500)
    memory, pids = Level(2000 << 20, 8000 << 20), Level(920, 1000)
    assert await host.signals() == Signals(memory, pids, disk, inodes)
    engine.files[b"/proc/loadavg"] = b"0.20 0.18 0.12 1/1200 11206\n"
    engine.files[b"/proc/sys/kernel/pid_max"] = b"900\n"
    assert (await host.signals()).pids == Level(0, 900)
    assert engine.calls.count("attach") == 1


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (b"/proc/meminfo", b"MemTotal:  8000 kB\nMemFree:  100 kB\n"),
        (b"/proc/loadavg", b"who knows"),
        (b"/proc/sys/kernel/pid_max", b"many"),
        (b"/proc/sys/kernel/threads-max", b""),
    ],
)
async def test_a_host_whose_kernel_tells_nothing_says_so(
    engine: FakeEngine, host: Host, path: bytes, content: bytes
):
    engine.files[path] = content
    with pytest.raises(DriverError, match="cannot tell"):
        await host.signals()


async def test_a_host_without_room_for_the_program_has_a_full_disk(engine: FakeEngine, host: Host):
    engine.reject["create"] = (500, "write hostconfig.json: no space left on device")
    assert await host.signals() == Signals(None, None, Level(0, 0))
    assert await host.images.filesystem() == Filesystem(0, 0)
    del engine.reject["create"]
    assert (await host.signals()).disk == Level(300 * 4096, 1000 * 4096)


async def test_a_processor_without_the_program_tells_nothing_of_its_host(
    engine: FakeEngine, address: HostAddress
):
    engine.architecture = "riscv64"
    host = await DockerDriver().connect(address)
    try:
        assert await host.signals() is None
    finally:
        await host.close()
