"""The output of containers: GET pods/{name}/log."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from ..drivers import LogOptions
from ..errors import BadRequest, DriverError, HostUnreachable, StatusError, Unavailable
from ..objects.kinds.printing import parse_time
from ..objects.meta import now_seconds
from ..objects.pod import Pod, PodContainerStatus, pod_view
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
    container = _choose(pod, call.query.text("container"))
    wanted = _options(call.query)
    if not pod.node:
        raise BadRequest(f"pod {pod.meta.name} does not have a host assigned")
    container_id = _container_id(pod, container, previous=call.query.flag("previous"))
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


def _choose(pod: Pod, name: str) -> str:
    names = [container.name for container in pod.spec.containers]
    names += [container.name for container in pod.spec.init_containers]
    if name:
        if name not in names:
            raise BadRequest(f"container {name} is not valid for pod {pod.meta.name}")
        return name
    if len(names) == 1:
        return names[0]
    raise BadRequest(
        f"a container name must be specified for pod {pod.meta.name}, choose one of: "
        f"[{' '.join(names)}]"
    )


def _container_id(pod: Pod, name: str, *, previous: bool) -> str:
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    status = next((each for each in statuses if each.name == name), None)
    found = _previous_id(status) if previous else (status.container_id if status else "")
    if status is not None and not found and not previous:
        found = _previous_id(status)
    if not found:
        if previous:
            raise BadRequest(
                f'previous terminated container "{name}" in pod "{pod.meta.name}" not found'
            )
        reason = "ContainerCreating"
        if status is not None and status.state.waiting and status.state.waiting.reason:
            reason = status.state.waiting.reason
        raise BadRequest(
            f'container "{name}" in pod "{pod.meta.name}" is waiting to start: {reason}'
        )
    return found.partition("://")[2] or found


def _previous_id(status: PodContainerStatus | None) -> str:
    ended = status.last_state.terminated if status is not None else None
    return ended.container_id if ended is not None else ""


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
