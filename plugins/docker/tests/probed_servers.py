"""Servers for probes to ask: HTTP, and gRPC's health service."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events


@contextlib.asynccontextmanager
async def server(
    answer, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A TCP server on this machine; the fake dialer reaches it by its port."""

    answering: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await answer(reader, writer)
        finally:
            answering.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, address, 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    left = list(answering)  # connections that a peer has left open
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def http(status: int, seen: list[bytes] | None = None):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return answer


def grpc(state: int, asked: list[bytes]):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        peer.initiate_connection()
        while data := await reader.read(65536):
            for event in peer.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    asked.append(event.data)
                if isinstance(event, h2.events.StreamEnded):
                    number = event.stream_id
                    peer.send_headers(number, [(":status", "200")])
                    peer.send_data(number, b"\0\0\0\0\2\x08" + bytes([state]))
                    peer.send_headers(number, [("grpc-status", "0")], end_stream=True)
            writer.write(peer.data_to_send())
            await writer.drain()

    return answer
