"""The engine's multiplexed output: frames of (stream, length, bytes), made plain again."""

import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from scheduler.errors import DriverError

_HEADER = 8
_DAEMON_ERROR = 3  # the engine's own complaint, in the middle of a stream


async def demultiplex(chunks: AsyncIterator[bytes], host: str) -> AsyncGenerator[tuple[int, bytes]]:
    """The bytes of stdout (1) and stderr (2) in order of arrival, whatever the chunks' borders.

    Args:
        host: for messages.

    Raises DriverError when the stream is not made of frames or carries the engine's error.

    Source: Docker Engine API, "Attach to a container", stream format.
    """
    frames = _Frames(host)
    async for chunk in chunks:
        for stream, _begins, part in frames.cut(chunk):
            yield stream, part


async def stamped_lines(chunks: AsyncIterator[bytes], host: str) -> AsyncGenerator[bytes]:
    """The bytes of logs with timestamps, merged: one stamp a line, however long that is.

    An engine keeps lines in pieces of 16 KiB, each a frame with a stamp of its own; those of all
    but the first are left out.

    Args, Raises: as for demultiplex.
    """
    frames = _Frames(host)
    unended = set[int]()  # streams whose last line goes on
    skips = False
    async for chunk in chunks:
        for stream, begins, part in frames.cut(chunk):
            skips = stream in unended if begins else skips
            rest = part
            if skips:
                _stamp, space, rest = part.partition(b" ")
                skips = not space
            if rest:
                (unended.discard if rest.endswith(b"\n") else unended.add)(stream)
                yield rest


class _Frames:
    """Cuts chunks into parts of frames."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._header = b""
        self._stream = self._remaining = 0
        self._begins = False

    def cut(self, chunk: bytes) -> Iterator[tuple[int, bool, bytes]]:
        """Yield the stream, whether a frame begins with it, and the bytes of each part."""
        position = 0
        while position < len(chunk):
            if self._remaining:
                part = chunk[position : position + self._remaining]
                position += len(part)
                self._remaining -= len(part)
                yield self._stream, self._begins, part
                self._begins = False
                continue
            part = chunk[position : position + _HEADER - len(self._header)]
            position += len(part)
            self._header += part
            if len(self._header) == _HEADER:
                following = chunk[position : position + 200]
                self._stream, self._remaining = _frame(self._header, following, self._host)
                self._header, self._begins = b"", True


def _frame(header: bytes, following: bytes, host: str) -> tuple[int, int]:
    stream, padding, length = struct.unpack(">B3sI", header)
    if stream > _DAEMON_ERROR or padding != bytes(3):
        raise DriverError(f"host {host} sent output that is not in Docker's frames")
    if stream == _DAEMON_ERROR:
        text = following[:length].decode(errors="replace")
        raise DriverError(f"host {host} broke off the output: {text}")
    return max(stream, 1), length  # 0 is stdin, written to stdout
