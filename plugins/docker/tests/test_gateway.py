"""The gateway of pods: the real program, and what speaks with it, over pipes."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from ironfree_docker import gateway as gateway_module
from ironfree_docker.gateway import StreamedGateway, carried
from ironfree_docker.host_program import packed

from plugins.docker.tests.fake_dialer import frame
from plugins.docker.tests.fake_engine import FakeEngine
from plugins.docker.tests.network_hosts import PROGRAM
from scheduler.drivers import Host
from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.networks import Backend, GatewayHost

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BIG = os.urandom(1 << 20)


class Piped:
    """A stream to an engine's container that is a process here."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.input, self.output = process, process.stdin, process.stdout

    async def read(self) -> bytes:
        data = await self.output.read(65536)
        return frame(1, data) if data else b""

    async def write(self, data: bytes) -> None:
        try:
            self.input.write(data)
            await self.input.drain()
        except OSError:
            return


@asynccontextmanager
async def program(ends: tuple[int, ...] = (0, -9)) -> AsyncIterator[Piped]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(PROGRAM, "gateway", stdin=pipe, stdout=pipe)
    piped = Piped(process)
    try:
        yield piped
    finally:
        piped.input.close()
        assert await asyncio.wait_for(process.wait(), 10) in ends


def _break_off(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


class Ways:
    """A gateway to an API that a test serves."""

    def __init__(self, gateway: StreamedGateway, stack: AsyncExitStack) -> None:
        self.gateway, self.stack = gateway, stack

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.gateway.backend)
        self.stack.callback(_break_off, writer)
        return reader, writer


@asynccontextmanager
async def ways(serve: Serve, piped: Piped | None = None) -> AsyncIterator[Ways]:
    async with AsyncExitStack() as stack:
        piped = piped or await stack.enter_async_context(program())
        handling = set[asyncio.Task[None]]()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handling.add(task)
            try:
                await serve(reader, writer)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        stack.callback(server.close)
        stack.callback(lambda: [task.cancel() for task in handling])
        gateway = await stack.enter_async_context(
            carried("h", piped, lambda: asyncio.open_connection("127.0.0.1", port))  # pyright: ignore
        )
        yield Ways(gateway, stack)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await reader.read()


async def talk(way: Ways, data: bytes) -> bytes:
    reader, writer = await way.connect()
    writer.write(data)
    writer.write_eof()
    return await reader.read()


async def test_what_is_sent_comes_back_whole_and_in_order() -> None:
    async with ways(echo) as way:
        found = await asyncio.gather(*(talk(way, BIG[n * 1000 :]) for n in range(8)))

    assert found == [BIG[n * 1000 :] for n in range(8)]


async def test_a_connection_that_nobody_reads_holds_up_no_other() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"e":
            return await echo(reader, writer)
        while True:
            writer.write(BIG)
            await writer.drain()

    async with ways(flood) as way:
        _unread, writer = await way.connect()
        writer.write(b"f")
        await writer.drain()

        assert await talk(way, b"e" + BIG) == BIG


async def test_an_api_that_does_not_read_holds_up_no_other() -> None:
    begun, read = asyncio.Event(), asyncio.Event()

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"e":
            await echo(reader, writer)
        else:
            begun.set()
            await read.wait()
            await echo(reader, writer)

    async with ways(lazy) as way:
        late = asyncio.create_task(talk(way, b"l" + 8 * BIG))
        await begun.wait()

        assert await talk(way, b"e" + BIG) == BIG
        assert not late.done()
        read.set()
        assert await late == 8 * BIG


async def test_what_the_api_ends_ends_behind_all_that_it_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(BIG)
        writer.close()
        await writer.wait_closed()

    async with ways(answer) as way:
        reader, writer = await way.connect()
        writer.write(b"?")

        assert await reader.read() == BIG


async def test_without_an_api_a_pod_is_refused() -> None:
    async def nobody() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise ConnectionRefusedError

    async with program() as piped, carried("h", piped, nobody) as gateway:  # pyright: ignore
        reader, _writer = await asyncio.open_connection(*gateway.backend)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        _writer.transport.abort()


async def test_who_comes_when_all_are_taken_waits_for_one_who_goes() -> None:
    async with ways(echo) as way:
        first = [await way.connect() for _ in range(512)]
        for _reader, writer in first:
            writer.write(b"x")
        for reader, _writer in first:
            assert await reader.readexactly(1) == b"x"
        late = asyncio.create_task(talk(way, b"late"))
        _done, waits = await asyncio.wait((late,), timeout=0.2)
        assert waits

        first[0][1].transport.abort()

        assert await late == b"late"


async def test_a_pod_that_breaks_off_is_let_go_by_the_api() -> None:
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(2)
        except (OSError, asyncio.IncompleteReadError):
            gone.set()

    async with ways(wait) as way:
        _reader, writer = await way.connect()
        writer.write(b"x")
        await writer.drain()
        writer.transport.abort()

        await asyncio.wait_for(gone.wait(), 10)


async def test_connections_end_with_the_gateway() -> None:
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(ways(echo))
        reader, writer = await way.connect()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        piped = way.gateway
        await piped.close()
        await stack.aclose()

        assert await reader.read() == b""


async def test_a_program_that_ended_is_noticed() -> None:
    async with program() as piped, ways(echo, piped) as way:
        piped.process.kill()

        await asyncio.wait_for(way.gateway.over(), 10)


async def test_a_program_that_takes_nothing_in_any_more_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_module, "_PING_EVERY", 0.01)
    monkeypatch.setattr(gateway_module, "_SILENCE", 0.2)

    class Stuck(Piped):
        stuck = False

        async def write(self, data: bytes) -> None:
            if self.stuck:
                await asyncio.Event().wait()
            await super().write(data)

    async with program() as piped:
        stream = Stuck(piped.process)
        async with ways(echo, stream) as way:
            stream.stuck = True

            await asyncio.wait_for(way.gateway.over(), 10)


async def test_what_never_ran_is_removed(engine: FakeEngine, host: Host) -> None:
    engine.reject["attach"] = (500, "not now")
    assert isinstance(host, GatewayHost)
    with pytest.raises(EngineRejected):
        async with host.gateway(lambda: asyncio.open_connection("127.0.0.1", 1)):
            pytest.fail("it has begun")

    assert engine.containers == {}


async def test_a_program_that_does_not_begin_is_unreachable() -> None:
    async with program() as piped:
        piped.process.kill()
        await piped.process.wait()
        await piped.output.read()
        with pytest.raises(HostUnreachable):
            async with ways(echo, piped):
                pytest.fail("it has begun")


async def test_a_pod_is_broken_off_that_is_sent_more_than_it_takes() -> None:
    """By a side that minds no credit: the program keeps no more than a window."""
    async with program() as piped:
        listening = await piped.output.readexactly(10)
        port = struct.unpack_from("<H", listening, 8)[0]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = struct.unpack("<IHH", await piped.output.readexactly(8))[0]
        for _ in range(1000):
            await piped.write(packed(number, 2, bytes(16384)))
        kinds = set[int]()
        while 4 not in kinds:
            _number, kind, length = struct.unpack("<IHH", await piped.output.readexactly(8))
            await piped.output.readexactly(length)
            kinds.add(kind)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()


@pytest.mark.parametrize("said", [b"\0" * 6 + b"\xff\xff", b"junk", b""])
async def test_what_is_no_frame_ends_it_at_most(said: bytes) -> None:
    async with program(ends=(0, 1)) as piped:
        await piped.output.readexactly(10)
        await piped.write(said)


async def test_a_docker_host_carries_its_pods_to_the_api(engine: FakeEngine, host: Host) -> None:
    """The engine's pod connects and sends a word, and sends back whatever it hears."""
    heard = asyncio.get_running_loop().create_future()

    async def api(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        heard.set_result(await reader.readexactly(5))
        writer.transport.abort()

    engine.from_pods += [packed(1, 1), packed(1, 2, b"hello")]
    assert isinstance(host, GatewayHost)
    async with await asyncio.start_server(api, "127.0.0.1", 0) as server:
        where = server.sockets[0].getsockname()
        async with host.gateway(lambda: asyncio.open_connection(*where)) as gateway:
            assert gateway.backend == Backend("127.0.0.1", 7445)
            assert await asyncio.wait_for(heard, 10) == b"hello"
            (program,) = engine.containers.values()

    assert program.body["User"] == "65534:65534"
    limits = program.body["HostConfig"]
    assert (limits["NetworkMode"], limits["CapDrop"], limits["AutoRemove"]) == (
        "host",
        ["ALL"],
        True,
    )
