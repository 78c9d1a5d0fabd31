"""What the lifecycle can ask of a host, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnsureSandbox:
    """Have the pod's sandbox running under this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class WriteVolumes:
    """Have the files of the pod's volumes in the sandbox as they should be now.

    Args:
        attempt: of the sandbox.
        version: of what the files depend on.
    """

    attempt: int
    version: str


@dataclass(frozen=True, slots=True)
class PullImage:
    """Have the image that this attempt of a container needs."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EnsureContainer:
    """Have this attempt of a container created and started once."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunPostStart:
    """Run the postStart hook of an attempt that has just been started."""

    container: str
    container_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Run the preStop hook of a running container, then stop it.

    Args:
        grace_seconds: for the hook and, of what is left then, between TERM and KILL.
        why: a sentence for the pod's events.
    """

    container: str
    container_id: str
    grace_seconds: int
    why: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove a stopped container nobody will ask about any more."""

    container: str
    container_id: str


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop the sandbox of a finished pod: its ports are free, its containers' logs stay."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Remove a sandbox that has died, to make room for the next attempt."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class RemovePod:
    """Kill and remove everything the host has of the pod."""

    uid: str


@dataclass(frozen=True, slots=True)
class FinishDeletion:
    """Nothing of the pod is left on its host: let the object go from the store."""

    uid: str


Instruction = (
    EnsureSandbox
    | WriteVolumes
    | PullImage
    | EnsureContainer
    | RunPostStart
    | StopContainer
    | RemoveContainer
    | StopSandbox
    | RemoveSandbox
    | RemovePod
    | FinishDeletion
)
