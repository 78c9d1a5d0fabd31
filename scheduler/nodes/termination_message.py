"""What a container that has ended says about its end: from its file, or else from its log.

Source: kubelet's getTerminationMessage, and the lengths of pkg/kubelet/container.
"""

import asyncio
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from ..drivers import ContainerStatus, EngineState, Host, LogOptions, MessageHost, PodObservation
from ..errors import EngineRejected, HostUnreachable
from ..objects.pod import Container, Pod

_LONGEST = 4096  # bytes
_LONGEST_LOG = 2048
_LINES = 80
_WITHIN = 15.0  # seconds
_LONGEST_OF_POD = 12 * 1024
_FALLBACK = "FallbackToLogsOnError"


def unheard(seen: PodObservation | None, known: Mapping[str, str]) -> Iterator[ContainerStatus]:
    """Yield the ended containers of a pod of which it is not known what they said.

    Args:
        known: messages by container id.
    """
    for each in seen.containers if seen is not None else ():
        if each.state is EngineState.EXITED and each.id not in known:
            yield each


async def listen(host: Host, pod: Pod, ended: ContainerStatus) -> str:
    """Return what an ended container of a pod says.

    Args:
        pod: whose status tells what was read before, by whoever led then.

    Raises:
        HostUnreachable: it could not be read now.
    """
    shown = _shown(pod, ended.id)
    if shown is not None:
        return shown
    spec = pod.spec
    every = (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)
    container = next((each for each in every if each.name == ended.name), None)
    if container is None:
        return ""
    said = await _read(host, container, ended)
    text = f"{ended.message}: {said}" if ended.message and said else said or ended.message
    return text.encode()[: _LONGEST_OF_POD // len(every)].decode(errors="ignore")


def told(seen: PodObservation | None, known: Mapping[str, str]) -> PodObservation | None:
    """Return what a host has of a pod with these messages in it."""
    if seen is None or not known:
        return seen
    containers = (
        replace(each, message=known[each.id]) if each.id in known else each
        for each in seen.containers
    )
    return replace(seen, containers=tuple(containers))


def _shown(pod: Pod, container_id: str) -> str | None:
    """Return the message of an end that the pod's status tells of."""
    for status in pod.status.all_container_statuses:
        for state in (status.state.terminated, status.last_state.terminated):
            if state is not None and state.container_id.rpartition("//")[2] == container_id:
                return state.message
    return None


async def _read(host: Host, container: Container, ended: ContainerStatus) -> str:
    try:
        async with asyncio.timeout(_WITHIN):
            said = await _last_words(host, container, ended)
    except TimeoutError as error:
        raise HostUnreachable(
            f"what container {ended.name} says about its end was not told in {_WITHIN:g} s"
        ) from error
    except EngineRejected:
        return ""  # it is gone, or what it left cannot be read
    return said.decode(errors="replace")


async def _last_words(host: Host, container: Container, ended: ContainerStatus) -> bytes:
    said, path = b"", container.termination_message_path
    if path and isinstance(host, MessageHost):
        said = await host.termination_message(ended.id, path, _LONGEST)
    if not said and container.termination_message_policy == _FALLBACK and ended.exit_code:
        async for chunk in host.logs(ended.id, LogOptions(tail=_LINES)):
            said = (said + chunk)[-_LONGEST_LOG:]
    return said
