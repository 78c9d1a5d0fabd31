"""exec, attach and port-forward through the API, on a simulated host, with stock clients."""

import asyncio
import contextlib

import aiohttp
import pytest
import pytest_asyncio
from ironfree_simulated import SimulatedDriver
from ironfree_simulated.machine import Behaviour
from kubernetes_asyncio import client
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.stream import WsApiClient

from scheduler.drivers import ContainerSpec, HostAddress, PodIdentity, SandboxSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Web:
    """A running pod "web" with a container "c" on a simulated host."""

    def __init__(self, api, ns, machine, path, container_id):
        self.api, self.ns, self.machine, self.path = api, ns, machine, path
        self.container_id = container_id

    def url(self, subresource, query=""):
        return f"{self.api.url}{self.path}/{subresource}?{query}"

    def socket(self, subresource, query, *protocols):
        return self.api.session.ws_connect(self.url(subresource, query), protocols=protocols)

    async def kubectl(self, *words, **more):
        return await self.api.kubectl("-n", self.ns, *words, **more)


@pytest_asyncio.fixture(loop_scope="module")
async def web(api, ns, pod):
    node = f"node-{ns}"
    amounts = {"cpu": "1", "memory": "1Gi", "pods": "5"}
    await api.post(
        "/api/v1/nodes", {"metadata": {"name": node}, "status": {"allocatable": amounts}}
    )
    path = f"/api/v1/namespaces/{ns}/pods/web"
    made = await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    await api.post(f"{path}/binding", {"target": {"kind": "Node", "name": node}})
    driver = SimulatedDriver()
    host = await driver.connect(HostAddress(node, f"simulated://{node}"))
    machine = driver.machine(node)
    machine.script("x", Behaviour(lines=()))
    identity = PodIdentity(made.body["metadata"]["uid"], ns, "web")
    sandbox = await host.ensure_sandbox(SandboxSpec(identity, "web"))
    started = await host.ensure_container(
        sandbox, ContainerSpec("c", "x", 0, "h", stdin=True, cpu_request=500)
    )
    status = {"name": "c", "ready": True, "restartCount": 0, "image": "x", "imageID": ""}
    status |= {"containerID": f"simulated://{started.id}", "state": {"running": {}}}
    await set_status(api, path, status)
    api.hosts.known[node] = host
    yield Web(api, ns, machine, path, started.id)
    del api.hosts.known[node]


async def set_status(api, path, status):
    done = await api.call(
        "PATCH",
        f"{path}/status",
        {"status": {"phase": "Running", "containerStatuses": [status]}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert done.code == 200


async def test_kubectl_exec_gives_output_and_exit_code(web):
    assert await web.kubectl("exec", "web", "--", "echo", "a", "b") == "a b\n"
    done = await web.kubectl("exec", "web", "--", "sh", "-c", "exit 3", check=False)
    assert (done.code, done.err) == (3, "command terminated with exit code 3\n")


async def test_kubectl_exec_ends_stdin_where_the_file_ends(web):
    text = "line\n" * 100_000
    assert await web.kubectl("exec", "-i", "web", "--", "cat", stdin=text) == text


async def test_kubectl_says_why_it_cannot(web):
    done = await web.kubectl("exec", "web", "-c", "x", "--", "true", check=False)
    assert "container not found" in done.err or "not valid" in done.err
    web.machine.exit_container(web.container_id, 0)
    done = await web.kubectl("exec", "web", "--", "true", check=False)
    assert done.code == 1
    assert "is not running" in done.err


async def test_a_container_that_waits_is_told_without_an_upgrade(web, pod):
    waiting = {"name": "c", "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
    waiting["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
    await set_status(web.api, web.path, waiting)
    for method in ("GET", "POST"):
        answer = await web.api.call(method, f"{web.path}/exec", command="true", stdout="1")
        assert answer.code == 400
        assert answer.body["message"].endswith("waiting to start: ImagePullBackOff")
    done = await web.kubectl("exec", "web", "--", "true", check=False)
    assert "is waiting to start: ImagePullBackOff" in done.err


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("command=true", "at least one of stdin, stdout, stderr"),
        ("stdout=1", "at least one command"),
        ("stdout=1&command=", "at least one command"),
        ("stdout=1&command=a%00b", "NUL"),
        ("stdout=1&command=true&container=x", "not valid for pod web"),
        ("stdout=1&command=true", "WebSocket"),
    ],
)
async def test_what_is_refused_is_a_plain_status(web, query, words):
    for method in ("GET", "POST"):
        async with web.api.session.request(method, web.url("exec", query)) as response:
            body = await response.json()
        assert (response.status, body["kind"]) == (400, "Status")
        assert words in body["message"]
    headers = {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"}
    async with web.api.session.post(web.url("exec", query), headers=headers) as response:
        assert response.status == 400


async def test_a_protocol_that_is_not_spoken_is_refused(web):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await web.socket("exec", "command=true&stdout=1", "channel.k8s.io")
    assert refused.value.status == 400


async def frames(socket):
    return [message.data async for message in socket]


async def test_the_channels_of_version_5(web):
    query = "command=cat&stdin=1&stdout=1"
    async with web.socket("exec", query, "v5.channel.k8s.io", "v4.channel.k8s.io") as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        await socket.send_bytes(b"\x00a\xff\x00b")
        assert await socket.receive_bytes() == b"\x01a\xff\x00b"
        await socket.ping()
        await socket.send_bytes(b"")
        await socket.send_bytes(b"\x07unknown")
        await socket.send_bytes(b"\xff\x00")
        assert await frames(socket) == [b'\x03{"metadata":{},"status":"Success"}']
    assert socket.close_code == 1000


async def test_text_is_taken_as_version_4_clients_send_it(web):
    async with web.socket("exec", "command=cat&stdin=1&stdout=1", "v4.channel.k8s.io") as socket:
        await socket.send_str("\x00ü")
        assert await socket.receive_bytes() == b"\x01" + "ü".encode()


async def test_a_terminal_is_resized_whatever_the_case(web, monkeypatch):
    sizes = asyncio.Queue()

    async def resize(_self, columns, rows):
        await sizes.put((columns, rows))

    monkeypatch.setattr("ironfree_simulated.streams.Command.resize", resize)
    query = "command=cat&stdin=1&stdout=1&tty=1"
    async with web.socket("exec", query, "v4.channel.k8s.io") as socket:
        for text in ('{"Width":80,"Height":24}', '{"width":70,"height":20}'):
            await socket.send_bytes(b"\x04" + text.encode())
        for text in ('{"Width":0,"Height":24}', "[", '{"Width":80000,"Height":1}', "{}"):
            await socket.send_bytes(b"\x04" + text.encode())
        await socket.send_bytes(b"\x04" + b'{"Width":1,"Height":2}')
        assert [await sizes.get() for _ in range(3)] == [(80, 24), (70, 20), (1, 2)]


async def test_no_stream_survives_its_client(web, monkeypatch):
    opened, left = asyncio.Event(), asyncio.Event()
    real = type(web.api.hosts.host(f"node-{web.ns}")).exec

    @contextlib.asynccontextmanager
    async def exec_(self, container_id, command, ends):
        async with real(self, container_id, command, ends) as process:
            opened.set()
            try:
                yield process
            finally:
                left.set()

    monkeypatch.setattr("ironfree_simulated.host.SimulatedHost.exec", exec_)
    async with web.socket("exec", "command=cat&stdin=1&stdout=1", "v4.channel.k8s.io") as socket:
        await opened.wait()
        socket._response.connection.transport.abort()
        await left.wait()


async def test_nor_does_one_whose_process_takes_nothing(web, monkeypatch):
    left = asyncio.Event()

    async def write(_self, _data):
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr("ironfree_simulated.streams.Command.write", write)
    monkeypatch.setattr("scheduler.api.streaming._PULSE", 0.05)
    async with web.socket("exec", "command=cat&stdin=1&stdout=1", "v5.channel.k8s.io") as socket:
        for _ in range(3):  # more than is read ahead: the server does not read on
            await socket.send_bytes(b"\x00" + bytes(100_000))
        socket._response.connection.transport.abort()
        await left.wait()


async def test_a_client_that_does_not_read_is_waited_for(web):
    query = "command=cat&stdin=1&stdout=1"
    async with web.socket("exec", query, "v5.channel.k8s.io") as socket:
        part = b"\x00" + bytes(256 << 10)

        async def fill():
            while True:
                await socket.send_bytes(part)

        filling = asyncio.create_task(fill())
        done, _ = await asyncio.wait({filling}, timeout=1.0)
        assert not done, "what nobody reads is not kept without bound"
        filling.cancel()


async def test_kubectl_attach_shows_what_is_said_from_now_on(web):
    process = web.machine.find(web.container_id)[1]
    attaching = asyncio.create_task(web.kubectl("attach", "-i", "web", stdin="hello\n"))
    while not any(line == b"hello\n" for _, line in process.output):
        await process.wait()
    web.machine.exit_container(web.container_id, 0)
    assert (await attaching).endswith("hello\n")


@pytest_asyncio.fixture(loop_scope="module")
async def streams(web):
    configuration = client.Configuration(host=web.api.url)
    async with WsApiClient(configuration) as session:
        yield client.CoreV1Api(session)


async def test_kubernetes_asyncio_exec(web, streams):
    said = await streams.connect_get_namespaced_pod_exec(
        "web", web.ns, command=["echo", "hi"], stdout=True, stderr=True
    )
    assert said == "hi\n"
    with pytest.raises((ApiException, aiohttp.WSServerHandshakeError)):
        await streams.connect_get_namespaced_pod_exec(
            "web", web.ns, container="x", command=["true"], stdout=True
        )
    opened = await streams.connect_get_namespaced_pod_exec(
        "web", web.ns, command=["sh", "-c", "exit 7"], stdout=True, _preload_content=False
    )
    async with opened as socket:
        (status,) = await frames(socket)
    assert WsApiClient.parse_error_data(status[1:].decode()) == 7


async def test_plain_channels_of_a_port_forward(web):
    query = "ports=80,81"
    async with web.socket("portforward", query, "v4.channel.k8s.io") as socket:
        greetings = [await socket.receive_bytes() for _ in range(4)]
        assert greetings == [b"\x00P\x00", b"\x01P\x00", b"\x02Q\x00", b"\x03Q\x00"]
        await socket.send_bytes(b"\x02second")
        assert await socket.receive_bytes() == b"\x02second"
        await socket.send_bytes(b"\x00first")
        assert await socket.receive_bytes() == b"\x00first"


@pytest.mark.parametrize("query", ["", "ports=0", "ports=x", "ports=65536", "ports=" + "1," * 65])
async def test_ports_that_are_none_are_refused(web, query):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await web.socket("portforward", query, "v4.channel.k8s.io")
    assert refused.value.status == 400


@contextlib.asynccontextmanager
async def forwarded(web, port=80):
    """`kubectl port-forward` on a port of its own choosing; yields that port."""
    process = await asyncio.create_subprocess_exec(
        *web.api.kubectl_command("-n", web.ns, "port-forward", "pod/web", f":{port}"),
        stdout=asyncio.subprocess.PIPE,
        env=web.api.kubectl_environment,
    )
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("Forwarding from 127.0.0.1:"), line
        yield int(line.split(":")[1].split()[0])
    finally:
        process.kill()
        await process.communicate()


async def exchange(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if writer.can_write_eof():
        writer.write_eof()
    got = await reader.read()
    writer.close()
    return got


async def test_kubectl_port_forward_carries_connections_side_by_side(web):
    async with forwarded(web) as port:
        sent = [bytes([number]) * (100_000 * number) for number in range(1, 9)]
        assert await asyncio.gather(*(exchange(port, data) for data in sent)) == sent


async def test_port_forward_says_that_a_pod_does_not_run(web):
    web.machine.kill_sandbox(next(iter(web.machine.pods)))
    async with forwarded(web) as port:
        assert await exchange(port, b"x") == b""


async def test_kubectl_top_shows_what_pods_and_nodes_use(web):
    rows = (await web.kubectl("top", "pod", "--containers")).splitlines()
    assert rows[1].split() == ["web", "c", "250m", "16Mi"]
    assert (await web.kubectl("top", "pod", "web")).splitlines()[1].split()[1:] == ["250m", "16Mi"]
    row = (await web.kubectl("top", "node", f"node-{web.ns}")).splitlines()[1].split()
    assert row == [f"node-{web.ns}", "250m", "25%", "16Mi", "1%"]
    assert "No resources found" in (await web.kubectl("top", "pod", "-l", "a=b", check=False)).err
    listed = await web.api.get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{web.ns}/pods")
    assert (listed.body["kind"], len(listed.body["items"])) == ("PodMetricsList", 1)
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{web.ns}/pods"
    assert (await web.api.get(f"{path}/none")).code == 404
    assert (await web.api.post(path, {})).code == 405
    web.machine.partition()
    assert (await web.api.get(f"{path}/web")).code == 200, "within the window it is known"
