"""pods/{name}/exec, attach and portforward: checked first, then a WebSocket until one end leaves.

Whatever can be known before the upgrade is answered as a plain Status. kubectl takes any refused
upgrade for an old server and asks again by POST for SPDY, so that is refused with the same words.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import WSCloseCode, web

from ..errors import BadRequest, DriverError, Unavailable
from ..objects.pod import Pod, pod_view
from ..streams import Ends, StreamingHost
from . import channels, pod_containers, port_forward
from .backend import Backend
from .idleness import Idleness
from .request import Call
from .tasks import end
from .updating import Updater

_SILENCE = 4 * 3600.0  # seconds without a byte either way: kubelet's streamingConnectionIdleTimeout
_GOODBYE = 5.0  # seconds a client may take to answer our close
_LARGEST_MESSAGE = 8 << 20
_LONGEST_COMMAND = 1 << 20
_PULSE = 30.0  # seconds between pings

_log = logging.getLogger(__name__)

Talk = Callable[[Idleness], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Streamer:
    """Answers the streaming subresources of pods.

    Args:
        closing: set when the server stops; every stream then ends.
    """

    backend: Backend
    closing: asyncio.Event

    async def answer(self, call: Call) -> web.StreamResponse:
        """Speak with a pod until its process has ended or the client has gone.

        Raises:
            BadRequest: an option is wrong, the container does not run, or no protocol is shared.
            Unavailable: its host is not connected.
        """
        pod = pod_view(await Updater(self.backend).current(call))
        if call.subresource == "portforward":
            return await self._forward(call, pod)
        container = pod_containers.choose(pod, call.query.text("container"))
        ends = _ends(call)
        command = tuple(call.request.query.getall("command", ()))
        if call.subresource == "exec":
            _check_command(command)
        container_id = pod_containers.running_id(pod, container)
        host = self._host(pod)
        socket = await _upgraded(call.request, channels.PROTOCOLS)

        async def converse(idle: Idleness) -> None:
            opening = (
                host.exec(container_id, command, ends)
                if call.subresource == "exec"
                else host.attach(container_id, ends)
            )
            try:
                async with opening as process:
                    status = await channels.converse(socket, process, ends, idle)
            except DriverError as error:
                status = channels.failed(error)
            if status is not None:
                await channels.tell(socket, status)

        return await self._while_open(socket, converse)

    async def _forward(self, call: Call, pod: Pod) -> web.StreamResponse:
        if pod.status.phase != "Running":
            raise BadRequest(
                f"unable to forward port because pod {pod.meta.name} is not running. Current "
                f"status={pod.status.phase or 'Pending'}"
            )
        host = self._host(pod)
        ports = port_forward.ports(call.request.query.getall("ports", ()))
        offered = call.request.headers.get("Sec-WebSocket-Protocol", "")
        if not ports and port_forward.TUNNEL not in offered:
            raise BadRequest('query parameter "ports" is required')
        socket = await _upgraded(call.request, port_forward.PROTOCOLS)
        forwarding = port_forward.Forwarding(socket, host, pod.meta.uid)

        async def forward(idle: Idleness) -> None:
            if socket.ws_protocol == port_forward.TUNNEL:
                await forwarding.tunnel(idle)
            else:
                await forwarding.channels(ports, idle)

        return await self._while_open(socket, forward)

    def _host(self, pod: Pod) -> StreamingHost:
        if not pod.node:
            raise BadRequest(f"pod {pod.meta.name} does not have a host assigned")
        host = self.backend.hosts.host(pod.node)
        if host is None:
            raise Unavailable(
                f'the host of node "{pod.node}" is not connected now; try again when it is Ready',
                kind="pods",
                name=pod.meta.name,
                retry_after=5,
            )
        if not isinstance(host, StreamingHost):
            raise BadRequest(
                f'the driver of node "{pod.node}" offers no exec, attach or port-forward'
            )
        return host

    async def _while_open(self, socket: web.WebSocketResponse, talk: Talk) -> web.WebSocketResponse:
        """Talk until that is over, nothing was said for too long, or the server stops; then close.

        Nothing is raised that the server would answer: the connection is a WebSocket by now.
        """
        talking = asyncio.create_task(_limited(talk))
        stopping = asyncio.create_task(self.closing.wait())
        leaving = asyncio.create_task(_until_gone(socket))
        code = WSCloseCode.OK
        try:
            await asyncio.wait({talking, stopping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                code = WSCloseCode.GOING_AWAY
        finally:
            await end(talking, stopping, leaving)
        if not talking.cancelled() and (error := talking.exception()) is not None:
            code = WSCloseCode.INTERNAL_ERROR
            if not isinstance(error, (ConnectionError, TimeoutError)):
                _log.error("a stream ended by a bug", exc_info=error)
        with suppress(ConnectionError):
            await socket.close(code=code)
        return socket


async def _limited(talk: Talk) -> None:
    async with Idleness(_SILENCE) as idle:
        await talk(idle)


async def _until_gone(socket: web.WebSocketResponse) -> None:
    """Return when the client's end is found dead.

    While a pod is slow to take what a client sends, nothing is read that would tell that it has
    gone; so something is written, which a dead end answers with a reset. No answer is asked for:
    libraries give one only while somebody reads.
    """
    with suppress(ConnectionError):
        while True:
            await asyncio.sleep(_PULSE)
            await socket.ping()


def _ends(call: Call) -> Ends:
    """Read which ends are wanted.

    Raises:
        BadRequest: none is (Kubernetes PodExecOptions, PodAttachOptions).
    """
    flag = call.query.flag
    tty = flag("tty")
    ends = Ends(flag("stdin"), flag("stdout"), flag("stderr") and not tty, tty)
    if not (ends.stdin or ends.stdout or ends.stderr):
        raise BadRequest("you must specify at least one of stdin, stdout, stderr")
    return ends


def _check_command(command: tuple[str, ...]) -> None:
    if not command or not command[0]:
        raise BadRequest("you must specify at least one command")
    if sum(map(len, command)) > _LONGEST_COMMAND:
        raise BadRequest(f"the command is longer than {_LONGEST_COMMAND} characters")
    if any("\0" in word for word in command):
        raise BadRequest("the command holds a NUL character")


async def _upgraded(request: web.Request, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """Make the request a WebSocket that speaks one of the protocols.

    Raises:
        BadRequest: it asks for none, or for none of these.
    """
    socket = web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=_LARGEST_MESSAGE, timeout=_GOODBYE
    )
    ready = request.headers.get("Upgrade", "").lower() == "websocket" and request.method == "GET"
    found = socket.can_prepare(request) if ready else None
    if found is None or not found.ok or found.protocol is None:
        raise BadRequest(
            f"this is streamed over WebSocket with one of the subprotocols {', '.join(protocols)}; "
            "kubectl does so from 1.31 on, and before with "
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true and KUBECTL_PORT_FORWARD_WEBSOCKETS=true"
        )
    await socket.prepare(request)
    return socket
