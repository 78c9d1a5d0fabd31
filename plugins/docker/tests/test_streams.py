"""Connections taken over from the engine: the upgrade, both directions, their ends; usage."""

import asyncio
import contextlib
import os
import platform
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from ironfree_docker import DockerDriver, processes, relay, wire
from ironfree_docker import engine as client
from ironfree_docker.connection import Route
from ironfree_docker.duplex import TlsWire
from ironfree_docker.hijack import Hijacked, hijack
from ironfree_docker.processes import AttachedProcess
from ironfree_docker.usage import container_usage

from scheduler.drivers import HostAddress, TlsMaterial
from scheduler.errors import DriverError, EngineRejected, HostUnreachable

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


@contextlib.asynccontextmanager
async def engine(folder: Path, answer: Answer):
    """An engine on a unix socket that answers any request so; yields the route to it."""
    path = str(folder / "engine.sock")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /exec/x/start HTTP/1.1\r\n")
        assert b"Upgrade: tcp" in head
        await reader.readexactly(len(b'{"Tty":false}'))
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield Route(base="http://docker", socket=path)


async def taken_over(way: Route):
    return await hijack(way, "one", "/exec/x/start", {"Tty": False}, 2.0)


async def test_what_comes_right_behind_the_answer_is_read_first(tmp_path: Path):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED[:20])
        await writer.drain()
        writer.write(UPGRADED[20:] + b"first")
        await writer.drain()
        writer.write(b" second")

    async with engine(tmp_path, answer) as way:
        stream = await taken_over(way)
        got = b""
        while part := await stream.read():
            got += part
        assert got == b"first second"
        await stream.write(b"nobody reads this")
        stream.abort()


async def test_each_direction_ends_by_itself(tmp_path: Path):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        data = await reader.read()
        writer.write(data[::-1])
        await writer.drain()

    async with engine(tmp_path, answer) as way:
        stream = await taken_over(way)
        await stream.write(b"abc")
        await stream.end_input()
        assert await stream.read() == b"cba"
        assert await stream.read() == b""
        stream.abort()


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (
            b'HTTP/1.1 409 Conflict\r\nContent-Length: 27\r\n\r\n{"message":"not running, x"}',
            EngineRejected,
            "not running",
        ),
        (b"HTTP/1.1 500 Oh\r\n\r\n", EngineRejected, "one"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", DriverError, "does not speak HTTP"),
        (b"", DriverError, "like an engine"),
        (b"x" * (1 << 20), DriverError, "like an engine"),
    ],
)
async def test_an_engine_that_refuses_or_lies(
    tmp_path: Path, said: bytes, error: type[Exception], words: str
):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async with engine(tmp_path, answer) as way:
        with pytest.raises(error, match=words):
            await taken_over(way)


class BrokenWire:
    """A connection that the network has cut."""

    async def read(self) -> bytes:
        raise ConnectionResetError

    async def write(self, data: bytes) -> None:
        raise BrokenPipeError

    async def end_input(self) -> None:
        raise OSError

    def abort(self) -> None:
        pass


async def test_a_connection_that_breaks_is_an_unreachable_host():
    stream = Hijacked(BrokenWire(), b"", "one")
    await stream.write(b"x")
    await stream.end_input()
    with pytest.raises(HostUnreachable):
        await stream.read()


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and key of 127.0.0.1, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    subject = ["-subj", "/CN=one", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([*command.split(), *subject, *out], check=True, capture_output=True)
    made.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return made


def serve_tls(certificate: Path, version: ssl.TLSVersion, talk: Callable[[ssl.SSLSocket], None]):
    """A server in a thread of its own; returns its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        plain, _ = listening.accept()
        listening.close()
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
            talk(secure)

    threading.Thread(target=run, daemon=True).start()
    return listening.getsockname()[1]


def material(certificate: Path) -> TlsMaterial:
    both = certificate.read_bytes()
    return TlsMaterial(both, both, both)


async def dial(certificate: Path, port: int) -> TlsWire:
    context = ssl.create_default_context(cafile=str(certificate))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire_ = TlsWire(reader, writer, context, "127.0.0.1")
    await wire_.shake_hands()
    return wire_


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("early", [0, 1, 200_000])
async def test_tls_ends_what_is_sent_and_reads_on(
    certificate: Path, version: ssl.TLSVersion, early: int
):
    sent, answered = os.urandom(300_000), os.urandom(300_000)

    def talk(secure: ssl.SSLSocket) -> None:
        secure.sendall(bytes(early))
        got = b""
        while part := secure.recv(65536):
            got += part
        assert got == sent
        secure.sendall(answered)

    wire_ = await dial(certificate, serve_tls(certificate, version, talk))
    received = await wire_.read() if early else b""
    await wire_.write(sent)
    await wire_.end_input()
    await wire_.end_input()
    while part := await wire_.read():
        received += part
    assert received == bytes(early) + answered
    wire_.abort()


async def test_tls_with_another_certificate_is_refused(certificate: Path):
    port = serve_tls(certificate, ssl.TLSVersion.TLSv1_3, lambda _: None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire_ = TlsWire(reader, writer, ssl.create_default_context(), "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        await wire_.shake_hands()
    wire_.abort()


async def test_who_gives_up_on_a_silent_engine_hangs_up_at_once(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[bytes] = loop.create_future()

    def talk(secure: ssl.SSLSocket) -> None:
        secure.recv(65536)
        with socket.socket(fileno=os.dup(secure.fileno())) as below:
            below.settimeout(20)
            try:
                last = below.recv(65536)
            except ConnectionResetError:
                last = b""
        loop.call_soon_threadsafe(seen.set_result, last)

    port = serve_tls(certificate, ssl.TLSVersion.TLSv1_3, talk)
    address = HostAddress("one", f"tcp://127.0.0.1:{port}", material(certificate))
    monkeypatch.setattr(client, "INSPECT", 0.2)
    with pytest.raises(HostUnreachable, match="did not answer in time"):
        await DockerDriver().connect(address)
    assert await seen == b"", "it waits for no goodbye"


# --- the relay -----------------------------------------------------------------------------------

RUNNERS = {"amd64": ("x86_64", "qemu-x86_64-static"), "arm64": ("aarch64", "qemu-aarch64-static")}


@pytest.fixture(params=["amd64", "arm64"])
def relay_command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    machine, emulator = RUNNERS[request.param]
    native = platform.machine() == machine and platform.system() == "Linux"
    if not native and shutil.which(emulator) is None:
        pytest.skip(f"needs a {machine} processor or {emulator}")
    program = relay.program(request.param)
    assert program is not None
    path = tmp_path / "relay"
    path.write_bytes(program)
    path.chmod(0o755)
    return [str(path)] if native else [emulator, str(path)]


def echo_once(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        while part := connection.recv(65536):
            connection.sendall(part)


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_the_relay_carries_both_ways_and_half_closes(
    relay_command: list[str], family: socket.AddressFamily, address: str
):
    with socket.create_server((address, 0), family=family) as listening:
        serving = threading.Thread(target=echo_once, args=(listening,), daemon=True)
        serving.start()
        data = os.urandom(2_000_000)
        port = str(listening.getsockname()[1])
        done = subprocess.run(
            [*relay_command, port], input=data, capture_output=True, timeout=30, check=False
        )
        serving.join(10)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


def test_the_relay_ends_with_the_other_side_though_stdin_is_open(relay_command: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        process = subprocess.Popen([*relay_command, port], stdin=subprocess.PIPE)
        listening.accept()[0].close()
        assert process.wait(10) == 0
        assert process.stdin is not None
        process.stdin.close()


def test_the_relay_tells_why_it_cannot_connect(relay_command: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
    done = subprocess.run([*relay_command, port], stdin=subprocess.DEVNULL, check=False)
    assert os.strerror(done.returncode) == "Connection refused"


def test_there_is_no_relay_for_other_processors():
    assert relay.program("riscv64") is None


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["total_inactive_file", "inactive_file"])
def test_the_working_set_leaves_out_what_can_be_dropped(cache: str):
    text = b"""{"read":"2026-01-02T03:04:05.5Z","cpu_stats":{"cpu_usage":{"total_usage":7}},
        "memory_stats":{"usage":1000,"stats":{"%s":300}}}"""
    found = container_usage(msgspec.json.decode(text % cache.encode(), type=wire.Stats))
    assert found is not None
    assert (found.cpu_nanoseconds, found.memory_bytes) == (7, 700)
    assert found.at == datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)


def test_a_container_that_has_ended_uses_nothing():
    text = b'{"read":"0001-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{}},"memory_stats":{}}'
    assert container_usage(msgspec.json.decode(text, type=wire.Stats)) is None


# --- attach --------------------------------------------------------------------------------------


class Silent:
    """A stream that says something, and then nothing ever."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    async def read(self) -> bytes:
        if self.parts:
            return self.parts.pop(0)
        await asyncio.Event().wait()
        return b""


def attached(stream: object) -> AttachedProcess:
    made = AttachedProcess(
        None,  # type: ignore[arg-type]
        stream,  # type: ignore[arg-type]
        "/containers/c",
        framed=False,
        has_stdin=False,
        stdin_ends=False,
    )
    made.ended = asyncio.get_running_loop().create_future()
    return made


async def test_what_ended_while_somebody_attached_is_over_though_the_engine_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(processes, "_LAST_OUTPUT", 0.01)
    process = attached(Silent(b"one", b"two"))
    assert await process.read() == (1, b"one")
    process.ended.set_result(None)
    assert await process.read() == (1, b"two"), "what is on its way still counts"
    assert await process.read() is None
    late = attached(Silent())
    late.ended.set_result(None)
    with pytest.raises(EngineRejected, match="ended before"):
        await late.read()
