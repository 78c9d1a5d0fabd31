"""Create and start by name, once, however often it is told and whatever gets lost on the way.

The name is a lock that the engine holds for us. A call that timed out may still happen, so after
it we look by the same name and never choose a new one.
"""

import asyncio
from dataclasses import dataclass

from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.objects.json import JsonObject

from . import wire
from .containers import Containers
from .labels import CLUSTER, EPOCH, POD_UID, SANDBOX, SPEC_HASH, belongs, number

_IDENTITY = (POD_UID, SPEC_HASH)
_LOOKS = 20
_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, slots=True)
class Ensured:
    """A container that is there; `found` is None when it was made by this call."""

    id: str
    found: wire.Container | None = None


async def ensure_created(
    containers: Containers, name: str, labels: dict[str, str], body: JsonObject
) -> Ensured:
    """Have a container of that name with those labels; adopts one that is there.

    Creating comes first, for nearly always there is none: looking before would be one more call.

    Raises EngineRejected 409 when the one there is another, or another's, or of a newer leader,
    ImageUnavailable when its image is not on the host, HostUnreachable when the outcome is unknown.
    """
    made = await _create(containers, name, body)
    if made.found is not None and _made_for_another_sandbox(made.found, labels):
        await containers.remove(made.id, force=True)
        made = await _create(containers, name, body)
    if made.found is not None:
        _check(name, made.found, labels)
    return made


async def ensure_started(containers: Containers, container: str) -> wire.Container:
    """Start it and return what it is then; a start that the engine refuses is in its state.

    Raises EngineRejected when the engine refuses for a reason that is not the container's own.
    """
    refusal: EngineRejected | HostUnreachable | None = None
    try:
        await containers.start(container)
    except (EngineRejected, HostUnreachable) as error:
        refusal = error
    found = await containers.inspect(container)
    if found is None:
        raise refusal or EngineRejected(f"container {container} vanished while it started", 404)
    if refusal is not None and found.state.status == "created":
        unknown = isinstance(refusal, HostUnreachable)
        if unknown or not found.state.exit_code or _is_joining(refusal):
            raise refusal
    return found


async def _create(containers: Containers, name: str, body: JsonObject) -> Ensured:
    try:
        return Ensured(await containers.create(name, body))
    except HostUnreachable:
        found = await containers.inspect(name)
        if found is None:
            raise
    except EngineRejected as error:
        found = await _present(containers, name, error)
        if found is None and error.code == 404 and "image" in str(error).lower():
            raise ImageUnavailable(str(error)) from error
        if found is None:
            raise
    return Ensured(found.id, found)


async def _present(
    containers: Containers, name: str, refusal: EngineRejected
) -> wire.Container | None:
    """Return the container for which, or in spite of which, the engine makes no new one."""
    if refusal.code == 409:
        return await _look(containers, name, refusal)
    return await containers.inspect(name)


async def _look(containers: Containers, name: str, conflict: EngineRejected) -> wire.Container:
    """Inspect a container that is there, or is being made under this name by a call before."""
    for _ in range(_LOOKS):
        found = await containers.inspect(name)
        if found is not None:
            return found
        await asyncio.sleep(_BETWEEN_LOOKS)
    raise HostUnreachable(
        f"the engine holds the name {name} but shows no such container: {conflict}"
    )


def _check(name: str, found: wire.Container, labels: dict[str, str]) -> None:
    if not belongs(found.labels, labels.get(CLUSTER, "")):
        raise EngineRejected(f"container {name} on the host is of another installation", 409)
    differing = [key for key in _IDENTITY if found.labels.get(key) != labels.get(key)]
    if differing:
        raise EngineRejected(
            f"container {name} on the host has another {', '.join(differing)}; remove it first", 409
        )
    if number(found.labels, EPOCH) > number(labels, EPOCH):
        raise EngineRejected(
            f"container {name} was made by a newer leader (epoch {found.labels[EPOCH]}, "
            f"this one is {labels.get(EPOCH)})",
            409,
        )


def _made_for_another_sandbox(found: wire.Container, labels: dict[str, str]) -> bool:
    """Whether it never ran and never can, because the sandbox it was to join is gone."""
    ours = belongs(found.labels, labels.get(CLUSTER, ""))
    stale = found.labels.get(SANDBOX) != labels.get(SANDBOX)
    return ours and stale and found.state.status == "created"


def _is_joining(refusal: EngineRejected | HostUnreachable) -> bool:
    """Whether it was the sandbox that was missing or dead, not the container that was wrong."""
    text = str(refusal)
    return "cannot join" in text or "non running container" in text or "No such container" in text
