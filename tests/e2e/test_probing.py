"""How probes and hooks reach containers of a real engine that knows nothing of them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
from ironfree_docker import DockerDriver
from msgspec.structs import replace

from plugins.docker.tests.probed_servers import grpc, http, server
from scheduler.drivers import (
    ContainerSpec,
    DialFailure,
    Host,
    HostAddress,
    PodIdentity,
    SandboxSpec,
)
from scheduler.errors import HostUnreachable
from scheduler.nodes.handlers import Target, perform
from scheduler.objects.handlers import (
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    Probe,
    TCPSocketAction,
)
from scheduler.objects.pod import Container, ContainerPort
from tests.e2e import lab as laboratory
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import eventually
from tests.e2e.test_docker_driver import address

POD = PodIdentity(uid="0a1b2c3d-0000-4000-8000-000000000009", namespace="default", name="web-0")
SERVE = "mkdir -p /www && echo fine > /www/ok && exec httpd -f -p 8080 -h /www"


@pytest.fixture
async def engine(lab: laboratory.Lab, host: laboratory.Host) -> AsyncIterator[Host]:
    engine = await DockerDriver().connect(address(lab, host))
    yield engine
    await engine.close()


async def target(engine: Host, script: str, *, host_network: bool = False) -> Target:
    sandbox = await engine.ensure_sandbox(SandboxSpec(POD, "web-0", host_network=host_network))
    spec = ContainerSpec("app", SHELL_IMAGE, 0, "h", command=("sh", "-c", script))
    status = await engine.ensure_container(sandbox, spec)
    container = Container("app", SHELL_IMAGE, ports=(ContainerPort(8080, name="web"),))
    return Target(engine, container, status.id, sandbox.ip or "127.0.0.1")


async def until(probe: Probe, target: Target, *, success: bool) -> str:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(HostUnreachable):  # a stream that broke with its daemon
                outcome = await perform(probe, target, 2)
                if outcome.success is success:
                    return outcome.message
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("host_network", [False, True], ids=["pod", "host"])
async def test_http_and_tcp_reach_a_port_that_is_not_published(
    engine: Host, host: laboratory.Host, host_network: bool
):
    on = await target(engine, SERVE, host_network=host_network)
    await until(Probe(tcp_socket=TCPSocketAction("web")), on, success=True)
    assert (await perform(Probe(http_get=HTTPGetAction("web", "/ok")), on, 2)).success
    missing = await perform(Probe(http_get=HTTPGetAction(8080, "/none")), on, 2)
    assert missing.message == "HTTP probe failed with statuscode: 404"
    closed = await perform(Probe(tcp_socket=TCPSocketAction(8081)), on, 2)
    assert closed.message.endswith(":8081: connect: connection refused")
    many = [perform(Probe(http_get=HTTPGetAction(8080, "/ok")), on, 15) for _ in range(40)]
    assert {outcome.message for outcome in await asyncio.gather(*many)} == {""}
    unanswered = await engine.dial("192.0.2.1", 80, 0.2)
    assert isinstance(unanswered, DialFailure)


async def test_https_without_a_known_certificate_and_grpc(engine: Host, lab: laboratory.Lab):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(lab.tls.server_cert, lab.tls.server_key)
    asked: list[bytes] = []
    async with contextlib.AsyncExitStack() as stack:
        answers = ((http(200), tls), (grpc(1, asked), None), (grpc(2, asked), None))
        begun = [server(answer, secure, lab.gateway) for answer, secure in answers]
        ports = [await stack.enter_async_context(each) for each in begun]
        passed_on = zip((8443, 9001, 9002), ports, strict=True)
        script = [f"nc -ll -p {here} -e nc {lab.gateway} {there} &" for here, there in passed_on]
        on = await target(engine, " ".join([*script, "sleep 9999"]))
        get = HTTPGetAction(8443, "/ok", scheme="HTTPS")
        await until(Probe(http_get=get), on, success=True)
        plain = await perform(Probe(http_get=replace(get, scheme="HTTP")), on, 5)
        assert not plain.success
        await until(Probe(grpc=GRPCAction(9001, "shop")), on, success=True)
        said = await until(Probe(grpc=GRPCAction(9002)), on, success=False)
        assert 'responded with "NOT_SERVING"' in said
    assert b"shop" in b"".join(asked)


async def test_commands_tell_their_exit_code_and_their_words(engine: Host):
    on = await target(engine, "sleep 100")
    fine = Probe(exec=ExecAction(("true",)))
    assert (await perform(fine, on, 5)).success
    bad = await perform(Probe(exec=ExecAction(("sh", "-c", "echo why >&2; exit 3"))), on, 5)
    assert (bad.success, bad.message) == (False, "why")
    absent = await perform(Probe(exec=ExecAction(("/no/such/program",))), on, 5)
    assert not absent.success
    slow = Probe(exec=ExecAction(("sleep", "60")))
    late = [await perform(slow, on, 0.3) for _ in range(3)]
    assert [outcome.success for outcome in late] == [False] * 3
    count = Probe(exec=ExecAction(("sh", "-c", "exit $(ps | grep -c '[s]leep 60')")))
    assert (await perform(count, on, 5)).message == "exit code 1", "it is not piled up"


async def test_the_dialer_goes_with_its_connection(
    engine: Host, lab: laboratory.Lab, host: laboratory.Host
):
    on = await target(engine, SERVE)
    probe = Probe(tcp_socket=TCPSocketAction(8080))
    await until(probe, on, success=True)
    assert len(host.containers(dialers=True)) == 3
    (pod,) = await engine.observe()
    assert len(pod.containers) == 1
    host.kill_daemon()
    host.start_daemon()
    await until(probe, on, success=True)
    await engine.close()
    await asyncio.to_thread(
        eventually, lambda: len(host.containers(dialers=True)) == 2, 10, "the dialers are gone"
    )
    local = await DockerDriver().connect(HostAddress(host.name, f"unix://{host.unix_socket}"))
    await until(probe, Target(local, on.container, on.container_id, on.pod_ip), success=True)
    await local.close()
