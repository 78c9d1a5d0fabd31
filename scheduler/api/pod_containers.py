"""Which container of a pod a request means, and what the engine calls it."""

from ..errors import BadRequest
from ..objects.pod import Pod, PodContainerStatus, bare_id


def choose(pod: Pod, name: str) -> str:
    """Return the name of the container that is meant; "" means the only one.

    Raises:
        BadRequest: there is none of that name, or the name is left out with several there.
    """
    names = [container.name for container in pod.spec.containers]
    names += [container.name for container in pod.spec.init_containers]
    only = names[0] if len(names) == 1 else ""
    names += [container.name for container in pod.spec.ephemeral_containers]
    if name:
        if name not in names:
            raise BadRequest(f"container {name[:64]} is not valid for pod {pod.meta.name}")
        return name
    if only:
        return only
    raise BadRequest(
        f"a container name must be specified for pod {pod.meta.name}, choose one of: "
        f"[{' '.join(names)}]"
    )


def current_id(pod: Pod, name: str) -> str:
    """Return the engine's id of the container, or of how it ran last when it waits for a restart.

    Raises:
        BadRequest: it has not started yet; says why.
    """
    status = _status(pod, name)
    found = (status.container_id or _ended_id(status)) if status is not None else ""
    if not found:
        raise BadRequest(
            f'container "{name}" in pod "{pod.meta.name}" is waiting to start: {_reason(status)}'
        )
    return bare_id(found)


def previous_id(pod: Pod, name: str) -> str:
    """Return the engine's id of how the container ran before.

    Raises:
        BadRequest: it has not run before.
    """
    found = _ended_id(_status(pod, name))
    if not found:
        raise BadRequest(
            f'previous terminated container "{name}" in pod "{pod.meta.name}" not found'
        )
    return bare_id(found)


def running_id(pod: Pod, name: str) -> str:
    """Return the engine's id of a container that runs.

    Raises:
        BadRequest: it does not run; says what it does instead.
    """
    found = current_id(pod, name)
    status = _status(pod, name)
    if status is None or status.state.running is None:
        ended = status.state.terminated if status is not None else None
        what = f"it has ended with exit code {ended.exit_code}" if ended else _reason(status)
        raise BadRequest(f'container "{name}" in pod "{pod.meta.name}" is not running: {what}')
    return found


def _status(pod: Pod, name: str) -> PodContainerStatus | None:
    return next((each for each in pod.status.all_container_statuses if each.name == name), None)


def _reason(status: PodContainerStatus | None) -> str:
    waiting = status.state.waiting if status is not None else None
    return (waiting.reason if waiting is not None else "") or "ContainerCreating"


def _ended_id(status: PodContainerStatus | None) -> str:
    ended = status.last_state.terminated if status is not None else None
    return ended.container_id if ended is not None else ""
