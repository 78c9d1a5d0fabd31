"""How the program that serves a host's network is told, line by line (tools/network.c)."""

import asyncio
import itertools
import logging
import random
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from os import strerror

from scheduler.errors import DriverError, HostUnreachable
from scheduler.networks import Entry, Key, Listener, Peer, PodNetwork
from scheduler.streams import STDOUT

from .frames import demultiplex
from .hijack import Hijacked

_log = logging.getLogger(__name__)
_PATIENCE = 15.0
_MOST_BACKENDS, _MOST_VALUES = 2000, 500  # of one line
_CHUNK = 32 << 10
_WORD = re.compile(r"[!-~]{1,600}")  # printable, and no space
_NAMES = {"range": "addresses", "listen": "Service port", "peers": "port for other hosts"}


class StreamedFeed:
    """A scheduler.networks.NetworkFeed over the stream that is attached to the program."""

    def __init__(self, host: str, stream: Hijacked, network: PodNetwork) -> None:
        self._host = host
        self._stream = stream
        self._network = network
        # Another leader's feed may be told of on the same streams: numbers are one's own.
        self._numbers = itertools.count(random.getrandbits(62))
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._complaints: asyncio.Queue[str] = asyncio.Queue(64)
        self._telling = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())

    async def begin(self, entries: Iterable[Entry]) -> str:
        """Have the host know exactly these; returns what it cannot do of it."""
        network = self._network
        await self._tell(
            itertools.chain(
                (f"key {network.secret}", f"self {network.subnet}"),
                (f"resolver {network.resolver} 53", f"zone {network.zone}"),
                (f"range {each}" for each in network.ranges),
                _lines(map(_words, entries)),
            ),
            whole=True,
        )
        return "; ".join(self._complaints.get_nowait() for _ in range(self._complaints.qsize()))

    async def change(self, entries: Iterable[Entry], gone: Iterable[Key]) -> None:
        """Have the host know these, too, or anew, and others no more."""
        await self._tell(_lines(itertools.chain(map(_words, entries), map(_end, gone))))

    async def complaint(self) -> str:
        """Wait for something that the host cannot do."""
        waiting = asyncio.create_task(self._complaints.get())
        try:
            await asyncio.wait((waiting, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise self._over()
        finally:
            waiting.cancel()

    async def close(self) -> None:
        """Tell no more."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))

    async def _tell(self, lines: Iterable[str], *, whole: bool = False) -> None:
        """Tell, and wait until it has been taken in.

        Args:
            whole: what it knows besides, it is to forget.
        """
        number = str(next(self._numbers))
        begins = [f"reset {number}"] if whole else []
        done = self._awaited[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE), self._telling:
                # What a feed before this one was cut off at ends here.
                for chunk in _chunks(itertools.chain(("",), begins, lines, (f"commit {number}",))):
                    await self._stream.write(chunk)
                await asyncio.wait((done, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise self._over()
        except TimeoutError as error:
            raise HostUnreachable(
                f"host {self._host}: what serves its network takes nothing in"
            ) from error
        finally:
            del self._awaited[number]

    def _over(self) -> HostUnreachable:
        return HostUnreachable(f"host {self._host}: what serves its network has ended")

    async def _read(self) -> None:
        rest = b""
        try:
            async with aclosing(demultiplex(self._parts(), self._host)) as parts:
                async for stream, data in parts:
                    if stream == STDOUT:
                        *lines, rest = (rest + data).split(b"\n")
                        for line in lines:
                            self._take(line.decode("ascii", "replace").split())
                        rest = rest[-_CHUNK:]
        except DriverError:
            return  # those who wait see that this has ended

    async def _parts(self) -> AsyncIterator[bytes]:
        while data := await self._stream.read():
            yield data

    def _take(self, words: list[str]) -> None:
        match words:
            case ["done", number]:
                awaited = self._awaited.get(number)
                if awaited is not None and not awaited.done():
                    awaited.set_result(None)
            case ["fail", "nat", code]:
                _log.warning(
                    "host %s: its kernel has no nf_tables (%s): Services on ports that something "
                    "else on the host has, or has published, are not served there",
                    self._host,
                    code,
                )
            case ["fail", what, *which, code] if code.isdecimal() and len(code) < 5:
                named = " ".join((_NAMES.get(what, what), *which))
                if not self._complaints.full():
                    self._complaints.put_nowait(
                        f"host {self._host} cannot serve {named}: {_reason(what, int(code))}"
                    )
            case _:
                return


def _reason(what: str, code: int) -> str:
    if what == "range":
        return (
            "they are used otherwise there, by a route or a name server of the host's; set another "
            "range (IRONFREE_POD_RANGE, IRONFREE_SERVICE_RANGE)"
        )
    return strerror(code).lower()


def _lines(told: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield what is told, but for what has words that could pass for more than one."""
    for each in told:
        words = [*each]
        if all(map(_WORD.fullmatch, words)):
            yield " ".join(words)


def _words(entry: Entry) -> Iterator[str]:
    match entry:
        case Peer(subnet, address):
            yield from ("peer", subnet, address)
        case Listener(address, port, protocol, backends, sticky):
            yield from ("listen", address, str(port), protocol.lower(), str(int(sticky)))
            yield from (f"{each.address}:{each.port}" for each in backends[:_MOST_BACKENDS])
        case _:
            yield from ("name", entry.name, entry.kind.lower(), *entry.values[:_MOST_VALUES])


def _end(key: Key) -> Iterator[str]:
    what, *which = key
    if what == "peer":
        yield from ("unpeer", *which)
        return
    *which, kind = which
    yield from ("unlisten" if what == "listener" else "unname", *which, kind.lower())


def _chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield the lines, each with the mark of a whole one, in parts of some size."""
    part = bytearray()
    for line in lines:
        part += f"{line} .\n".encode("ascii") if line else b"\n"
        if len(part) >= _CHUNK:
            yield bytes(part)
            part.clear()
    yield bytes(part)
