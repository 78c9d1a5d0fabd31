"""exec, attach and connections of simulated containers: they echo what they are told."""

import asyncio

from scheduler.streams import STDOUT, Ends

from .machine import Process

_WAITING = 16  # writes that may wait to be read back
_CODES = {"true": 0, "false": 1}


class Echo:
    """A connection that gives back what is written to it."""

    def __init__(self) -> None:
        self._written: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._ended = False

    async def read(self) -> bytes:
        """Return what was written, b"" after its end."""
        if self._ended:
            return b""
        data = await self._written.get()
        self._ended = not data
        return data

    async def write(self, data: bytes) -> None:
        """Echo; waits for somebody to read."""
        if data:
            await self._written.put(data)

    async def end_input(self) -> None:
        """End the echo."""
        await self._written.put(b"")

    async def failure(self) -> str:
        """Nothing ever listens elsewhere, so nothing fails."""
        return ""


class Command:
    """Run by exec: `cat` echoes stdin, `echo` its words, `sh -c "exit 3"` exits so."""

    def __init__(self, command: tuple[str, ...], ends: Ends) -> None:
        name, *words = command
        self._stdin = Echo() if name == "cat" and ends.stdin else None
        self._words = _said(name, words)
        self._code = _code(name, words)
        self.size = (0, 0)

    async def read(self) -> tuple[int, bytes] | None:
        """Return what it says, None at the end."""
        if self._stdin is not None:
            data = await self._stdin.read()
        else:
            data, self._words = self._words, b""
        return (STDOUT, data) if data else None

    async def write(self, data: bytes) -> None:
        """Give to stdin; others than `cat` do not read it."""
        if self._stdin is not None:
            await self._stdin.write(data)

    async def end_input(self) -> None:
        """End stdin."""
        if self._stdin is not None:
            await self._stdin.end_input()

    async def resize(self, columns: int, rows: int) -> None:
        """Keep the size."""
        self.size = (columns, rows)

    async def exit_code(self) -> int | None:
        """Return the exit code."""
        return self._code


class Attached:
    """A container's own process: its output from now on; what it is told becomes output."""

    def __init__(self, process: Process, ends: Ends) -> None:
        self._process = process
        self._stdin = ends.stdin and process.spec.stdin
        self._position = len(process.output)

    async def read(self) -> tuple[int, bytes] | None:
        """Return the next line, None when the container has ended."""
        while self._position >= len(self._process.output):
            if not await self._process.wait():
                return None
        self._position += 1
        return STDOUT, self._process.output[self._position - 1][1]

    async def write(self, data: bytes) -> None:
        """Give to stdin, which is echoed."""
        if self._stdin:
            self._process.say(data)

    async def end_input(self) -> None:
        """Stdin stays open."""

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def exit_code(self) -> int | None:
        """Not the stream's to say."""
        return None


def _said(name: str, words: list[str]) -> bytes:
    if name == "echo":
        return (" ".join(words) + "\n").encode()
    return b"" if name in {"cat", "sh", *_CODES} else f"simulated: {name}\n".encode()


def _code(name: str, words: list[str]) -> int:
    match words[-1].split() if name == "sh" and words else []:
        case ["exit", code] if code.isdecimal():
            return int(code) % 256
        case _:
            return _CODES.get(name, 0)
