"""A relay in front of an engine or a registry: slow, breaking off, of nonsense, of another time.

Runs in a thread of its own, so that tests may block.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

Place = Path | tuple[str, int]
"""A unix socket, or an address and port."""

_CHUNK = 16 << 10
_TIME = re.compile(
    rb'(?<=")20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d|(?<="time":)\d{10}|(?<="timeNano":)\d{10}'
)
_BEGUN = re.compile(rb'("[-\d:T]{0,18}|"time(Nano)?":\d{0,9})\Z')  # what the next piece may end


@dataclass
class Faults:
    """What is wrong now; may be changed at any time.

    Args:
        delay: seconds by which each piece is held back, on both ways.
        rate: bytes per second towards the client, 0 for no limit.
        nonsense: what requests are answered instead of being passed on, in turns.
        unanswered: how requests begin ("POST ") that are taken and not passed on; their connection
            breaks off instead of an answer.
        break_after: bytes towards the client after which a connection breaks off; 0: never.
        broken: connections broken off so.
        ahead: seconds by which the clock of an engine seems to be ahead of what it is.
    """

    delay: float = 0.0
    rate: int = 0
    nonsense: tuple[bytes, ...] = ()
    unanswered: bytes = b""
    break_after: int = 0
    broken: int = 0
    ahead: int = 0


class Relay:
    """Passes connections on from `listen` to `target`."""

    def __init__(self, listen: Place, target: Place) -> None:
        self.faults = Faults()
        self._listen = listen
        self._target = target
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._answers = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="relay")

    @classmethod
    @contextlib.contextmanager
    def run(cls, listen: Place, target: Place) -> Iterator["Relay"]:
        """A relay for as long as the block lasts."""
        relay = cls(listen, target)
        relay._thread.start()
        assert relay._ready.wait(10)
        try:
            yield relay
        finally:
            assert relay._loop is not None
            assert relay._end is not None
            relay._loop.call_soon_threadsafe(relay._end.set)
            relay._thread.join()

    def hang_up(self) -> None:
        """Break every open connection; the next one meets the faults of then."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        if isinstance(self._listen, Path):
            server = await asyncio.start_unix_server(self._accept, self._listen)
        else:
            server = await asyncio.start_server(self._accept, *self._listen)
        self._ready.set()
        await self._end.wait()
        server.close()
        self._cancel_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task})

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        try:
            if self.faults.nonsense:
                await self._talk_nonsense(reader, writer)
                return
            if isinstance(self._target, Path):
                back, other = await asyncio.open_unix_connection(self._target)
            else:
                back, other = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, other, towards_client=False))
                group.create_task(self._copy(back, writer, towards_client=True))
        except* (OSError, EOFError):
            pass  # one side broke off, and so does the other
        finally:
            for each in (writer, other):
                if each is not None:
                    each.transport.abort()

    async def _talk_nonsense(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answers = self.faults.nonsense
        if answers:
            writer.write(answers[self._answers % len(answers)])
            self._answers += 1
            await writer.drain()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards_client: bool
    ) -> None:
        passed, rest = 0, b""
        while data := await reader.read(_CHUNK):
            faults = self.faults
            pause = faults.delay
            if towards_client and faults.rate:
                pause += len(data) / faults.rate
            if pause:
                await asyncio.sleep(pause)
            passed += len(data)
            if not towards_client and faults.unanswered and data.startswith(faults.unanswered):
                raise ConnectionAbortedError
            if towards_client and 0 < faults.break_after < passed:
                faults.broken += 1
                raise ConnectionAbortedError
            if towards_client:
                data, rest = _set_ahead(rest + data, faults.ahead)
            writer.write(data)
            await writer.drain()
        writer.write(rest)
        writer.write_eof()


def _set_ahead(data: bytes, seconds: int) -> tuple[bytes, bytes]:
    """Move all points of time in JSON, none of which gets longer; and what is to be held back."""
    if not seconds:
        return data, b""

    def moved(found: re.Match[bytes]) -> bytes:
        text = found[0].decode()
        if text.isdecimal():
            return b"%d" % (int(text) + seconds)
        moment = datetime.fromisoformat(text) + timedelta(seconds=seconds)
        return moment.isoformat().encode()

    begun = _BEGUN.search(data)
    end = begun.start() if begun else len(data)
    return _TIME.sub(moved, data[:end]), data[end:]
