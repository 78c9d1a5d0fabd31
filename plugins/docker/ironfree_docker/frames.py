"""The engine's multiplexed output: frames of (stream, length, bytes), made plain again."""

import struct
from collections.abc import AsyncGenerator, AsyncIterator

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
    header = b""
    stream = remaining = 0
    async for chunk in chunks:
        position = 0
        while position < len(chunk):
            if remaining:
                part = chunk[position : position + remaining]
                position += len(part)
                remaining -= len(part)
                yield stream, part
                continue
            part = chunk[position : position + _HEADER - len(header)]
            position += len(part)
            header += part
            if len(header) == _HEADER:
                stream, remaining = _frame(header, chunk[position : position + 200], host)
                header = b""


def _frame(header: bytes, following: bytes, host: str) -> tuple[int, int]:
    stream, padding, length = struct.unpack(">B3sI", header)
    if stream > _DAEMON_ERROR or padding != bytes(3):
        raise DriverError(f"host {host} sent output that is not in Docker's frames")
    if stream == _DAEMON_ERROR:
        text = following[:length].decode(errors="replace")
        raise DriverError(f"host {host} broke off the output: {text}")
    return max(stream, 1), length  # 0 is stdin, written to stdout
