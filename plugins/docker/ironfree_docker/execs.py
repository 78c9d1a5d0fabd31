"""Commands run to their end inside a container: the exec endpoints of the Docker Engine API."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

from scheduler.drivers import ExecOutcome
from scheduler.objects.json import JsonObject

from . import wire
from .engine import INSPECT, Engine
from .frames import demultiplex

_STARTS = 4  # under way at once; each costs an engine 50 ms of its processors
_FIRST_LOOK, _LONGEST_PAUSE = 0.1, 1.0  # seconds between looks whether one has been started
_MOST_OUTPUT = 10 * 1024
_LOOKS = 20
_BETWEEN_LOOKS = 0.05


class Execs:
    """Commands in containers of one engine.

    The engine has no way to end one that takes too long. So a command is not started again in a
    container while it still runs there: there is one that hangs at most, not one a probe.

    What is rationed is starts, not commands: some take a minute, which costs the engine nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._starts = asyncio.Semaphore(_STARTS)
        self._late: dict[tuple[str, tuple[str, ...]], str] = {}

    async def run(
        self, container: str, command: Sequence[str], within: float, *, user: str = ""
    ) -> ExecOutcome | None:
        """Run a command; None when it has not ended in time, or one like it still runs."""
        key = (container, tuple(command))
        late = self._late.get(key)
        if late is not None and (await self._inspect(late)).running:
            return None
        self._late.pop(key, None)
        async with self._starts:
            made = await self._create(container, command, user)
            deadline = asyncio.get_running_loop().time() + within
            reading = asyncio.ensure_future(self._output(made))
            try:
                await self._started(made, reading, deadline)
            except BaseException:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                raise
        output = b""
        try:
            async with asyncio.timeout_at(deadline):
                output = await reading
        except TimeoutError:
            if (await self._inspect(made)).running:
                self._late[key] = made
                return None
        return ExecOutcome(await self._exit_code(made), output.decode(errors="replace"))

    async def _started(self, made: str, reading: asyncio.Future[bytes], deadline: float) -> None:
        """Wait until it runs, has ended or is late: the engine answers before it starts it."""
        loop, pause = asyncio.get_running_loop(), _FIRST_LOOK
        while (left := deadline - loop.time()) > 0:
            await asyncio.wait({reading}, timeout=min(pause, left))
            if reading.done() or (await self._inspect(made)).pid:
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def forget(self, running: set[str]) -> None:
        """Forget late commands of containers that are gone."""
        for key in [key for key in self._late if key[0] not in running]:
            del self._late[key]

    async def _create(self, container: str, command: Sequence[str], user: str) -> str:
        body: JsonObject = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command)}
        if user:
            body["User"] = user
        path = f"/containers/{quote(container, safe='')}/exec"
        content = await self._engine.change("POST", path, body=body, within=INSPECT)
        return self._engine.decode(content, wire.Created, "POST …/exec").id

    async def _output(self, made: str) -> bytes:
        """Start it and return what it writes; the beginning only, but read to its end."""
        output = b""
        start: JsonObject = {"Detach": False, "Tty": False}
        opened = self._engine.stream("POST", f"/exec/{made}/start", data=start)
        async with opened as chunks, aclosing(demultiplex(chunks, self._engine.name)) as parts:
            async for _, part in parts:
                output += part[: _MOST_OUTPUT - len(output)]
        return output

    async def _exit_code(self, made: str) -> int:
        """The output may end a moment before the engine knows the exit code."""
        for _ in range(_LOOKS):
            found = await self._inspect(made)
            if not found.running and found.exit_code is not None:
                return found.exit_code
            await asyncio.sleep(_BETWEEN_LOOKS)
        return -1

    async def _inspect(self, made: str) -> wire.Exec:
        return await self._engine.read(f"/exec/{made}/json", wire.Exec)
