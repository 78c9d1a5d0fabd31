"""Carries out what a probe or a lifecycle hook asks: a command, an HTTP request, a connection.

Everything happens on the pod's host, as kubelet would do it there. A difference: a command that
outlives its time goes on in its container.
"""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from msgspec.structs import replace

from ..drivers import Connection, DialFailure, DialHost, ExecHost, Host
from ..errors import DriverError
from ..objects.handlers import HTTPGetAction, LifecycleHandler, Probe
from ..objects.pod import Container
from .grpc_health import check
from .tls_connection import TlsConnection

_AGENT = "kube-probe/1.33"
_LONGEST = 10 * 1024  # bytes of an answer looked at, as in kubelet
_SHOWN = 200
_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_OF_CONNECTION = re.compile(
    r"connection|keep-alive|upgrade|proxy-.*|te|trailer|transfer-encoding|content-length",
    re.IGNORECASE,
)
"""Headers that are about the connection, which is not the pod's."""
_LOCATION = re.compile(rb"^location:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Target:
    """What a handler is carried out on.

    Args:
        pod_ip: as the host reaches the pod.
    """

    host: Host
    container: Container
    container_id: str
    pod_ip: str


@dataclass(frozen=True, slots=True)
class HandlerOutcome:
    """How it went; `message` says what went wrong."""

    success: bool
    message: str = ""


async def perform(
    handler: Probe | LifecycleHandler, target: Target, within: float
) -> HandlerOutcome:
    """Carry out a handler.

    Args:
        within: seconds; one that takes longer has failed.

    Raises:
        DriverError: the host cannot be asked, so nothing is known.
    """
    host = target.host
    if isinstance(handler, LifecycleHandler) and handler.sleep is not None:
        await asyncio.sleep(min(handler.sleep.seconds, within))
        return HandlerOutcome(success=True)
    try:
        if handler.exec is not None:
            if not isinstance(host, ExecHost):
                raise DriverError("this sort of host runs no commands in its containers")
            return await _exec(host, target, handler.exec.command, within)
        if not isinstance(host, DialHost):
            raise DriverError("this sort of host offers no way to reach its pods")
        async with asyncio.timeout(within):
            return await _over_network(host, handler, target, within)
    except TimeoutError:
        await target.host.ping()  # an engine that hangs says nothing about its containers
        return HandlerOutcome(success=False, message=f"no answer within {within:g}s")


async def _exec(
    host: ExecHost, target: Target, command: tuple[str, ...], within: float
) -> HandlerOutcome:
    outcome = await host.exec_sync(target.container_id, command, within)
    if outcome is None:
        raise TimeoutError
    if outcome.exit_code == 0:
        return HandlerOutcome(success=True)
    shown = outcome.output[:_SHOWN].strip()
    return HandlerOutcome(success=False, message=shown or f"exit code {outcome.exit_code}")


async def _over_network(
    host: DialHost, handler: Probe | LifecycleHandler, target: Target, within: float
) -> HandlerOutcome:
    get, tcp = handler.http_get, handler.tcp_socket
    grpc = handler.grpc if isinstance(handler, Probe) else None
    action = get or tcp or grpc
    if action is None:
        return HandlerOutcome(success=False, message="the handler says nothing to do")
    port = port_number(action.port, target.container)
    if port is None:
        return HandlerOutcome(success=False, message=f"the container has no port {action.port}")
    where = (get.host if get else tcp.host if tcp else "") or target.pod_ip
    if get is not None:
        return await _follow(host, get, (where, port), within)
    connection = await _dialed(host, where, port, within)
    if isinstance(connection, HandlerOutcome):
        return connection
    try:
        if grpc is not None:
            return HandlerOutcome(*await check(connection, grpc.service, f"{where}:{port}"))
        return HandlerOutcome(success=True)
    finally:
        await connection.close()


async def _dialed(
    host: DialHost, where: str, port: int, within: float
) -> Connection | HandlerOutcome:
    connection = await host.dial(where, port, within)
    if not isinstance(connection, DialFailure):
        return connection
    if connection.timed_out:
        raise TimeoutError
    text = f"dial tcp {where}:{port}: connect: {connection.reason}"
    return HandlerOutcome(success=False, message=text)


def port_number(port: int | str, container: Container) -> int | None:
    """Return a port that is given by number or by the name it has in the container."""
    if isinstance(port, int):
        return port
    if port.isdecimal():
        return int(port)
    return next((p.container_port for p in container.ports if p.name == port), None)


async def _follow(
    host: DialHost, get: HTTPGetAction, where: tuple[str, int], within: float
) -> HandlerOutcome:
    """Ask, and follow redirects on the same host; one that leads elsewhere is a success."""
    name, port = where
    for _ in range(_REDIRECTS):
        connection = await _dialed(host, name, port, within)
        if isinstance(connection, HandlerOutcome):
            return connection
        try:
            outcome = await _http(get, connection, f"{name}:{port}")
        finally:
            await connection.close()
        if isinstance(outcome, HandlerOutcome):
            return outcome
        try:
            to = urlsplit(urljoin(_url(get, name, port), outcome))
            port = to.port or _PORTS.get(to.scheme, 0)
        except ValueError:
            return HandlerOutcome(success=False, message="it redirects to what is no URL")
        if to.hostname != name.lower() or not port:
            return HandlerOutcome(success=True)
        get = replace(get, scheme=to.scheme, path=f"{to.path}?{to.query}" if to.query else to.path)
    return HandlerOutcome(success=False, message=f"stopped after {_REDIRECTS} redirects")


def _url(get: HTTPGetAction, name: str, port: int) -> str:
    authority = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{get.scheme.lower()}://{authority}/{get.path.removeprefix('/')}"


async def _http(get: HTTPGetAction, plain: Connection, authority: str) -> HandlerOutcome | str:
    """Return how it went, or where the answer sends us."""
    connection: Connection = plain
    if get.scheme.upper() == "HTTPS":
        secured = TlsConnection(plain)
        reason = await secured.shake_hands()
        if reason:
            return HandlerOutcome(success=False, message=f"TLS with {authority}: {reason}")
        connection = secured
    await connection.send(request_head(get, authority))
    answer = await _received(connection, b"", b"\r\n")
    words = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return HandlerOutcome(success=False, message=f"{authority} does not answer in HTTP")
    code = int(words[1])
    if 300 <= code < 400:
        head = await _received(connection, answer, b"\r\n\r\n")
        found = _LOCATION.search(head.partition(b"\r\n\r\n")[0])
        if found is not None:
            return found[1].decode(errors="replace")
    if 200 <= code < 400:
        return HandlerOutcome(success=True)
    return HandlerOutcome(success=False, message=f"HTTP probe failed with statuscode: {code}")


async def _received(connection: Connection, answer: bytes, until: bytes) -> bytes:
    while until not in answer and len(answer) < _LONGEST:
        part = await connection.receive()
        if not part:
            break
        answer += part
    return answer


def request_head(get: HTTPGetAction, authority: str) -> bytes:
    """Return a request as kubelet sends it.

    Names of headers are as Go writes them. A name given twice is sent twice, but for Host and
    User-Agent, of which the first counts; an empty Accept or User-Agent is none. What would make
    something else of the connection or the message is left out, so that a probe stays a question.
    """
    headers: dict[str, list[str]] = {
        "Host": [authority],
        "User-Agent": [_AGENT],
        "Accept": ["*/*"],
        "Connection": ["close"],
    }
    given: dict[str, list[str]] = {}
    for header in get.http_headers:
        name = "-".join(word.capitalize() for word in _plain(header.name).split("-"))
        if _OF_CONNECTION.fullmatch(name.strip()):
            continue
        given.setdefault(name, []).append(_plain(header.value))
    headers |= given
    headers["Host"] = [headers["Host"][0] or authority]
    headers["User-Agent"] = headers["User-Agent"][:1]
    for name in ("User-Agent", "Accept"):
        headers[name] = headers[name] if headers[name][0] else []
    path = _plain(get.path if get.path.startswith("/") else f"/{get.path}").replace(" ", "%20")
    lines = [f"{name}: {value}" for name, values in headers.items() for value in values]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def _plain(text: str) -> str:
    """Keep a value from ending its line."""
    return text.replace("\r", "").replace("\n", "")
