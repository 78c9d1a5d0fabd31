"""Containers on a host that Ironfree does not manage: what a driver may offer to see them.

They are seen and counted, and never touched. What they hold is not offered to pods. One that is
adopted becomes a pod's: as the engine cannot mark what runs, the driver is told which those are.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from .drivers import PodIdentity
from .objects.pod_class import HostPort

FOREIGN = "foreign"
"""The action of a HostEvent, without a pod, that says that such a container came, went or changed.
"""


class ForeignContainer(msgspec.Struct, frozen=True):
    """A running container that is no pod's of this installation, and what it holds.

    Args:
        cpu: thousandths of a core that were set aside for it; 0 where nothing was.
        memory: bytes that were set aside for it or, with `measured`, that it used when looked at.
        devices: resource and id of devices that pods could be given otherwise.
        ports: of the host that it has taken.
    """

    id: str
    name: str
    image: str
    cpu: int = 0
    memory: int = 0
    measured: bool = False
    devices: tuple[tuple[str, str], ...] = ()
    ports: tuple[HostPort, ...] = ()


@runtime_checkable
class SharedHost(Protocol):
    """What a Host offers whose engine may run other containers besides pods."""

    async def foreign(self) -> tuple[ForeignContainer, ...]:
        """Return every running container that is not this installation's, ordered by name."""
        ...


class ForeignMount(msgspec.Struct, frozen=True):
    """Something mounted in a container.

    Args:
        kind: "bind" (source: a path of the host), "volume" (source: its name) or "tmpfs".
    """

    kind: str
    source: str
    path: str
    read_only: bool = False


class ForeignDescription(msgspec.Struct, frozen=True):
    """What a container was made of, as far as a pod can say it.

    Args:
        holds: what it has of its host.
        manager: what else manages it, "" for nobody; such a container is not adopted.
        project, service, number: of Docker Compose, "" and 0 for none.
        env: NAME=VALUE; may be secret, so it is never printed.
        ports: port of the container, and of the host where it is published.
        restart: Kubernetes' restartPolicy that comes closest to the engine's.
        cpu_limit, memory_limit: thousandths of a core and bytes; 0 for none.
        lost: what a pod cannot say of it, in words.
    """

    holds: ForeignContainer
    running: bool
    manager: str
    project: str = ""
    service: str = ""
    number: int = 0
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    stdin: bool = False
    mounts: tuple[ForeignMount, ...] = ()
    ports: tuple[tuple[int, HostPort], ...] = ()
    restart: str = "Never"
    cpu_limit: int = 0
    memory_limit: int = 0
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    privileged: bool = False
    read_only_root: bool = False
    capabilities_added: tuple[str, ...] = ()
    capabilities_dropped: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without what may be secret."""
        return f"ForeignDescription({self.holds!r})"


class Adopted(msgspec.Struct, frozen=True):
    """The pod that a container has become, and the name and hash it has there as attempt 0."""

    identity: PodIdentity
    container: str
    spec_hash: str


@runtime_checkable
class AdoptingHost(Protocol):
    """What a Host offers to take over containers that run already."""

    async def describe(
        self, containers: Sequence[str], project: str
    ) -> tuple[ForeignDescription, ...]:
        """Describe containers by name or id, and those of a Compose project; absent ones are not.

        Args:
            project: "" for none.
        """
        ...

    async def adopt(self, adopted: Mapping[str, Adopted]) -> None:
        """From now on treat these containers, by full id, as attempts of pods, and no others.

        They go on running and are observed, logged, stopped and removed like any; the container is
        its pod's sandbox while it runs. The engine restarts them no more.
        """
        ...
