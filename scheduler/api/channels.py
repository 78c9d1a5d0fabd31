"""exec and attach over a WebSocket: the channel protocol, versions 4 and 5.

A message is binary and starts with a byte that names its channel; clients may send text instead.
Source: Kubernetes, k8s.io/apimachinery/pkg/util/remotecommand.
"""

import asyncio

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from ..errors import DriverError
from ..objects.json import JsonObject
from ..streams import STDERR, STDOUT, Ends, ProcessStream
from .idleness import Idleness
from .tasks import end

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

_STDIN, _ERROR, _RESIZE, _CLOSE = 0, 3, 4, 255
_LARGEST = 65535  # columns or rows: the kernel keeps 16 bits

SUCCESS: JsonObject = {"metadata": {}, "status": "Success"}


def ended(code: int | None) -> JsonObject:
    """Return the Status that tells a client how the process ended; None is success."""
    if not code:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(error: DriverError) -> JsonObject:
    """Return the Status of a stream that the engine refused or broke off."""
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": f"Internal error occurred: {error}",
        "code": 500,
    }


async def converse(
    socket: web.WebSocketResponse, process: ProcessStream, ends: Ends, idle: Idleness
) -> JsonObject | None:
    """Carry bytes both ways until the process has ended.

    Returns:
        how it ended, to be sent with `tell`; None when the client went away first.
    """
    writing = asyncio.create_task(_output(socket, process, ends, idle))
    reading = asyncio.create_task(_input(socket, process, ends, idle))
    try:
        await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            return await writing
        await reading  # raises what went wrong, if anything
        return None
    except ConnectionError:
        return None
    except DriverError as error:
        return failed(error)
    finally:
        await end(writing, reading)


async def tell(socket: web.WebSocketResponse, status: JsonObject) -> None:
    """Send the Status that ends every exec and attach."""
    await socket.send_bytes(bytes([_ERROR]) + msgspec.json.encode(status))


def split(message: WSMessage) -> tuple[int, bytes]:
    """Return channel and content of a message; one that is empty says nothing to stdin."""
    data = message.data.encode() if isinstance(message.data, str) else message.data
    return (data[0], data[1:]) if data else (_STDIN, b"")


async def _output(
    socket: web.WebSocketResponse, process: ProcessStream, ends: Ends, idle: Idleness
) -> JsonObject:
    wanted = {STDOUT: ends.stdout, STDERR: ends.stderr}
    while (part := await process.read()) is not None:
        stream, data = part
        idle.interrupt()
        if wanted[stream]:
            await socket.send_bytes(bytes([stream]) + data)
    return ended(await process.exit_code())


async def _input(
    socket: web.WebSocketResponse, process: ProcessStream, ends: Ends, idle: Idleness
) -> None:
    async for message in socket:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            return
        idle.interrupt()
        channel, content = split(message)
        if channel == _STDIN and ends.stdin and content:
            await process.write(content)
        elif channel == _RESIZE and ends.tty:
            size = terminal_size(content)
            if size is not None:
                await process.resize(*size)
        elif channel == _CLOSE and content == bytes([_STDIN]) and ends.stdin:
            await process.end_input()


class _Size(msgspec.Struct, rename="pascal"):
    width: int = 0
    height: int = 0


class _SmallSize(msgspec.Struct):
    width: int = 0
    height: int = 0


def terminal_size(content: bytes) -> tuple[int, int] | None:
    """Return (columns, rows) of a resize message, None when it makes no sense."""
    for form in (_Size, _SmallSize):
        try:
            size = msgspec.json.decode(content, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if 0 < size.width <= _LARGEST and 0 < size.height <= _LARGEST:
            return size.width, size.height
    return None
