"""A lean HTTP/1.1 client: the benchmark shares two cores with what it measures."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

CHUNK = 2000
NDJSON = "application/x-ndjson"


async def get(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str
) -> tuple[int, bytes]:
    """GET over an open connection; returns code and body."""
    streams[1].write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await streams[1].drain()
    return await _answer(streams[0])


async def post(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    path: str,
    body: bytes,
    content_type: str = "application/json",
) -> tuple[int, bytes]:
    """POST over an open connection; returns code and body."""
    reader, writer = streams
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return await _answer(reader)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    answer = await reader.readuntil(b"\r\n\r\n")
    code = int(answer[9:12])
    lower = answer.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        return code, await reader.readexactly(int(lower[at + 15 : lower.index(b"\r", at)]))
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return code, b"".join(parts)


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to a server."""
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26)


async def create_all(url: str, path: str, objects: Sequence[dict[str, object]]) -> None:
    """Create many objects by one bulk request per CHUNK; SystemExit if any is refused."""
    streams = await connect(url)
    for start in range(0, len(objects), CHUNK):
        _refuse_failures(*await bulk(streams, path, objects[start : start + CHUNK]))
    streams[1].close()


async def send(url: str, path: str, bodies: Iterable[bytes], lanes: int) -> None:
    """POST bulk bodies, so many requests at a time; SystemExit if anything is refused."""
    left = iter(bodies)

    async def lane() -> None:
        streams = await connect(url)
        for body in left:
            _refuse_failures(*await post(streams, path, body, NDJSON))
        streams[1].close()

    await asyncio.gather(*(lane() for _ in range(lanes)))


def _refuse_failures(code: int, answer: bytes) -> None:
    at = answer.find(b'"status":"Failure"')
    if code >= 300 or at >= 0:
        raise SystemExit(f"HTTP {code}: {answer[max(0, at - 200) :][:600].decode()}")


async def bulk(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    path: str,
    objects: Sequence[dict[str, object]],
) -> tuple[int, bytes]:
    """Create objects by one request, one JSON document per line."""
    return await post(streams, path, lines(objects), NDJSON)


def lines(objects: Sequence[dict[str, object]]) -> bytes:
    """Return objects as one JSON document per line."""
    return b"\n".join(json.dumps(obj).encode() for obj in objects)
