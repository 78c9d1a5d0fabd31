"""The output of containers: GET pods/{name}/log."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from ..drivers import LogOptions
from ..errors import BadRequest, DriverError, HostUnreachable, StatusError, Unavailable
from ..objects.kinds.printing import parse_time
from ..objects.meta import now_seconds
from ..objects.pod import Pod, pod_view
from . import pod_containers
from .backend import Backend
from .request import Call, Query
from .updating import Updater

_LOOK = 5.0  # seconds between looks whether a client that follows is still there


async def answer(backend: Backend, call: Call) -> web.StreamResponse:
    """Stream a container's output.

    Raises:
        BadRequest: an option is wrong, the pod has no node, the container is not named or has not
            started.
        Unavailable: its host does not answer.
    """
    stored = await Updater(backend).current(call)
    pod = pod_view(stored)
    container = pod_containers.choose(pod, call.query.text("container"))
    wanted = _options(call.query)
    if not pod.node:
        raise BadRequest(f"pod {pod.meta.name} does not have a host assigned")
    find = pod_containers.previous_id if call.query.flag("previous") else pod_containers.current_id
    container_id = find(pod, container)
    host = backend.hosts.host(pod.node)
    if host is None:
        raise Unavailable(
            f'the host of node "{pod.node}" is not connected now; its logs cannot be read',
            kind="pods",
            name=pod.meta.name,
            retry_after=5,
        )
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    try:
        await _copy_while_read(call.request, response, host.logs(container_id, wanted))
    except (ConnectionResetError, _Gone):
        return response
    except DriverError as error:
        if response.prepared:
            await response.write(f"\nfailed to read the rest: {error}\n".encode())
        else:
            raise _refused(pod, error) from error
    await response.write_eof()
    return response


class _Gone(Exception):
    """The client has gone."""


async def _copy_while_read(
    request: web.Request, response: web.StreamResponse, output: AsyncIterator[bytes]
) -> None:
    """Copy output, and notice that a client has gone while there is nothing to copy."""
    copying = asyncio.create_task(_copy(request, response, output))
    try:
        while not copying.done():
            await asyncio.wait({copying}, timeout=_LOOK)
            if not copying.done() and (request.transport is None or request.transport.is_closing()):
                raise _Gone
        await copying
    finally:
        if not copying.done():
            copying.cancel()
            await asyncio.wait({copying})


async def _copy(
    request: web.Request, response: web.StreamResponse, output: AsyncIterator[bytes]
) -> None:
    """Copy output as it comes; the answer starts with the first line or the end."""
    try:
        async for chunk in output:
            if not response.prepared:
                await response.prepare(request)
            await response.write(chunk)
        if not response.prepared:
            await response.prepare(request)
    finally:
        close = getattr(output, "aclose", None)
        if close is not None:
            await close()


def _refused(pod: Pod, error: DriverError) -> StatusError:
    if isinstance(error, HostUnreachable):
        return Unavailable(
            f'the host of node "{pod.node}" does not answer: {error}',
            kind="pods",
            name=pod.meta.name,
            retry_after=5,
        )
    return BadRequest(f"the logs cannot be read: {error}", kind="pods", name=pod.meta.name)


def _options(query: Query) -> LogOptions:
    tail, limit = query.integer("tailLines"), query.integer("limitBytes")
    if tail is not None and tail < 0:
        raise BadRequest("tailLines: Invalid value: must be greater than or equal to 0")
    if limit is not None and limit < 1:
        raise BadRequest("limitBytes: Invalid value: must be greater than 0")
    seconds, moment = query.integer("sinceSeconds"), query.text("sinceTime")
    if seconds is not None and moment:
        raise BadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
    since = parse_time(moment)
    if moment and since is None:
        raise BadRequest(f'sinceTime: "{moment[:64]}" is not an RFC 3339 time')
    if seconds is not None:
        if seconds < 1:
            raise BadRequest("sinceSeconds: Invalid value: must be greater than 0")
        since = now_seconds() - timedelta(seconds=min(seconds, 10**9))
    return LogOptions(
        follow=query.flag("follow"),
        tail=tail,
        since=since,
        timestamps=query.flag("timestamps"),
        limit_bytes=limit,
    )
