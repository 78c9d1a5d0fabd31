"""What a host has of a pod once an instruction has been carried out. Pure."""

from collections.abc import Callable

from msgspec.structs import replace as with_fields

from ..drivers import ContainerStatus, PodIdentity, PodObservation, SandboxStatus

Seen = PodObservation | None
Effect = Callable[[Seen], Seen]


def unchanged(seen: Seen) -> Seen:
    """Nothing has changed."""
    return seen


def nothing(_seen: Seen) -> Seen:
    """Nothing of the pod is left."""
    return None


def with_sandbox(identity: PodIdentity, sandbox: SandboxStatus, seen: Seen) -> Seen:
    """There is this sandbox."""
    return PodObservation(identity, sandbox, seen.containers if seen else ())


def without_sandbox(seen: Seen) -> Seen:
    """There is no sandbox any more."""
    return with_fields(seen, sandbox=None) if seen and seen.containers else None


def with_sandbox_stopped(seen: Seen) -> Seen:
    """The sandbox has stopped."""
    if seen is None or seen.sandbox is None:
        return seen
    return with_fields(seen, sandbox=with_fields(seen.sandbox, running=False, ip=""))


def with_container(identity: PodIdentity, status: ContainerStatus, seen: Seen) -> Seen:
    """There is this attempt of a container."""
    base = seen or PodObservation(identity, None)
    others = tuple(
        c for c in base.containers if (c.name, c.attempt) != (status.name, status.attempt)
    )
    return with_fields(base, containers=(*others, status))


def without_container(container_id: str, seen: Seen) -> Seen:
    """There is no such container any more."""
    if seen is None:
        return None
    return with_fields(seen, containers=tuple(c for c in seen.containers if c.id != container_id))
