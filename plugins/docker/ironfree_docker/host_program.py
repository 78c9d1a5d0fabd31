"""A program of ours on a host, in a container that ends with the stream to it (tools/tools.c).

It has the host's network, no rights and no files. What it says and is told are frames: a header,
and a payload.
"""

import struct
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from scheduler.errors import DriverError
from scheduler.objects.json import JsonObject
from scheduler.streams import STDOUT

from . import tools
from .containers import Containers, container_path
from .engine import Engine
from .frames import demultiplex
from .hijack import Hijacked
from .labels import CLUSTER

_HEADER = struct.Struct("<IHH")  # of which connection, kind, length
_QUERY = {"stream": "1", "stdin": "1", "stdout": "1"}

Frame = tuple[int, int, bytes]


def packed(number: int, kind: int, payload: bytes = b"") -> bytes:
    """A frame as it is told."""
    return _HEADER.pack(number, kind, len(payload)) + payload


async def frames(stream: Hijacked, host: str) -> AsyncGenerator[Frame]:
    """What the program says, until it ends; DriverError when the stream breaks."""
    rest = b""
    async with aclosing(demultiplex(_chunks(stream), host)) as parts:
        async for channel, data in parts:
            if channel == STDOUT:
                whole, rest = _cut(rest + data)
                for frame in whole:
                    yield frame


async def _chunks(stream: Hijacked) -> AsyncIterator[bytes]:
    while data := await stream.read():
        yield data


def _cut(data: bytes) -> tuple[list[Frame], bytes]:
    """The frames that are whole, and what is behind them."""
    found, at = list[Frame](), 0
    while len(data) - at >= _HEADER.size:
        number, kind, length = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if len(data) < end:
            break
        found.append((number, kind, data[at + _HEADER.size : end]))
        at = end
    return found, data[at:]


@asynccontextmanager
async def running(
    engine: Engine, containers: Containers, cluster: str, image: str, what: str, memory: int
) -> AsyncGenerator[Hijacked]:
    """Have `tools WHAT` run on the host for as long as the context lasts.

    Args:
        memory: bytes that it may have.
    """
    body = _body(image, cluster, what, memory)
    made, runs = await containers.create(f"ironfree-{what}-{uuid.uuid4()}", body), False
    try:
        async with engine.hijack(f"{container_path(made)}/attach", query=_QUERY) as stream:
            await containers.start(made)
            runs = True
            yield stream
    finally:
        if not runs:  # one that never ran is not removed by its engine
            with suppress(DriverError):
                await containers.remove(made, force=True)


def _body(image: str, cluster: str, what: str, memory: int) -> JsonObject:
    return {
        "Image": image,
        "Entrypoint": [tools.PATH, what],
        "User": "65534:65534",
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "Labels": {CLUSTER: cluster},
        "HostConfig": {
            "NetworkMode": "host",
            "UsernsMode": "host",
            "AutoRemove": True,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 16,
            "Memory": memory,
            "MemorySwap": memory,
            "LogConfig": {"Type": "none"},
        },
    }
