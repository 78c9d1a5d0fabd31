"""exec and attach: the standard streams of processes, over connections the engine hands over."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

from scheduler.errors import DriverError, EngineRejected
from scheduler.objects.json import JsonObject
from scheduler.streams import STDOUT, Ends

from . import wire
from .containers import Containers, container_path
from .engine import Engine
from .frames import demultiplex
from .hijack import Hijacked

_NEVER_TYPED = ",".join(["ctrl-@"] * 32)
"""Keys on which the engine would leave a terminal; it holds them back until they are no longer a
beginning of the sequence, and its own default would do that to every ctrl-p."""

_HANG_UP = (b"\x03", b"\x04")  # interrupt what runs, then end of file for the shell
_HANG_UP_WITHIN = 1.0
_RESIZE_TRIES = 20
_BETWEEN_TRIES = 0.1
_LONGEST_PAUSE = 1.0
_LAST_OUTPUT = 1.0  # seconds after its end in which a container's output comes, if it does


class EngineProcess:
    """Implements scheduler.streams.ProcessStream.

    Args:
        thing: path of the exec or the container, for its size and its end.
        framed: whether the output is multiplexed, as it is without a terminal.
        has_stdin: whether there is somebody to give to.
        stdin_ends: whether stdin ends when we end what we send; otherwise the engine would only
            end the output, too.
    """

    def __init__(
        self,
        engine: Engine,
        stream: Hijacked,
        thing: str,
        *,
        framed: bool,
        has_stdin: bool,
        stdin_ends: bool,
    ) -> None:
        self._engine = engine
        self._stream = stream
        self._thing = thing
        self._has_stdin = has_stdin
        self._stdin_ends = stdin_ends
        self._parts = demultiplex(self._chunks(), engine.name) if framed else self._plain()
        self.over = False

    async def read(self) -> tuple[int, bytes] | None:
        """The next output, None at the end."""
        part = await anext(self._parts, None)
        self.over = part is None
        return part

    async def write(self, data: bytes) -> None:
        """Give to stdin; where there is none, Podman would break the stream off for it."""
        if self._has_stdin:
            await self._stream.write(data)

    async def end_input(self) -> None:
        """End stdin."""
        if self._stdin_ends:
            await self._stream.end_input()

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; the first one may come before the process is there."""
        query = {"w": str(columns), "h": str(rows)}
        for _ in range(_RESIZE_TRIES):
            try:
                await self._engine.aside(f"{self._thing}/resize", query=query)
            except EngineRejected:
                if self.over:
                    return
                await asyncio.sleep(_BETWEEN_TRIES)
            else:
                return

    async def exit_code(self) -> int | None:
        """None: how a container ended is in its pod's status."""
        return None

    async def _chunks(self) -> AsyncIterator[bytes]:
        while data := await self._stream.read():
            yield data

    async def _plain(self) -> AsyncGenerator[tuple[int, bytes]]:
        async for data in self._chunks():
            yield STDOUT, data


class ExecProcess(EngineProcess):
    """A process of its own, which may end later than its output."""

    async def exit_code(self) -> int | None:
        """The exit code, once there is one."""
        pause = 0.01
        while (found := await self._engine.read(f"{self._thing}/json", wire.Exec)).running:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return found.exit_code


class AttachedProcess(EngineProcess):
    """A container's own process, whose end an engine does not tell who attaches in that moment.

    `ended` is done once the container does not run.
    """

    ended: asyncio.Future[None]
    _heard = False

    async def read(self) -> tuple[int, bytes] | None:
        """The next output, None at the end.

        Raises:
            EngineRejected: it had ended, and none of its output came.
        """
        reading = asyncio.ensure_future(super().read())
        try:
            await asyncio.wait({reading, self.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_LAST_OUTPUT)
            if reading.done():
                self._heard = True
                return reading.result()
        finally:
            reading.cancel()
        self.over = True
        if self._heard:
            return None
        raise EngineRejected("the container ended before anybody could be attached to it", 409)


class Processes:
    """Processes in the containers of one installation on one engine."""

    def __init__(self, engine: Engine, containers: Containers, cluster: str) -> None:
        self._engine = engine
        self._cluster = cluster
        self._containers = containers

    @asynccontextmanager
    async def exec(
        self, container: str, command: tuple[str, ...], ends: Ends, user: str = ""
    ) -> AsyncGenerator[EngineProcess]:
        """Run a command in a container. EngineRejected 409 when that does not run."""
        await self._containers.of(self._cluster, container)
        body: JsonObject = {
            "AttachStdin": ends.stdin,
            "AttachStdout": ends.stdout,
            "AttachStderr": ends.stderr,
            "Tty": ends.tty,
            "DetachKeys": _NEVER_TYPED,
            "Cmd": list(command),
            "User": user,
        }
        async with self._engine.place():
            content = await self._engine.aside(f"{container_path(container)}/exec", body=body)
            made = self._engine.decode(content, wire.Created, "POST …/exec").id
            thing = f"/exec/{quote(made)}"
            start: JsonObject = {"Detach": False, "Tty": ends.tty}
            async with self._engine.hijack(f"{thing}/start", body=start) as stream:
                process = ExecProcess(
                    self._engine,
                    stream,
                    thing,
                    framed=not ends.tty,
                    has_stdin=ends.stdin,
                    stdin_ends=ends.stdin,
                )
                try:
                    yield process
                finally:
                    if ends.tty and ends.stdin and not process.over:
                        await hang_up(stream)

    @asynccontextmanager
    async def attach(self, container: str, ends: Ends) -> AsyncGenerator[EngineProcess]:
        """Join a container's own process."""
        found = await self._containers.of(self._cluster, container)
        stdin = ends.stdin and found.config.open_stdin
        query = {
            "stream": "1",
            "stdin": "1" if stdin else "0",
            "stdout": "1" if ends.stdout else "0",
            "stderr": "1" if ends.stderr else "0",
            "detachKeys": _NEVER_TYPED,
        }
        path = container_path(container)
        async with (
            self._engine.place(),
            self._engine.hijack(f"{path}/attach", query=query) as stream,
        ):
            process = AttachedProcess(
                self._engine,
                stream,
                path,
                framed=not found.config.tty,
                has_stdin=stdin,
                stdin_ends=found.config.stdin_once,
            )
            process.ended = asyncio.ensure_future(self._end(path))
            try:
                yield process
            finally:
                process.ended.cancel()
                await asyncio.wait({process.ended})

    async def _end(self, path: str) -> None:
        """Wait until a container does not run; what goes wrong is for the stream itself to tell."""
        query = {"condition": "not-running"}
        with contextlib.suppress(DriverError):
            async with self._engine.stream("POST", f"{path}/wait", query=query) as chunks:
                async for _ in chunks:
                    pass
            return
        await asyncio.Event().wait()


async def hang_up(stream: Hijacked) -> None:
    """Do what a terminal does to a shell that it leaves; the engine would let it wait for ever."""
    try:
        async with asyncio.timeout(_HANG_UP_WITHIN):
            for key in _HANG_UP:
                await stream.write(key)
                await asyncio.sleep(_BETWEEN_TRIES)  # what is typed at once is lost to the first
    except TimeoutError:
        return
