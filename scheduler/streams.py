"""What a driver may offer besides running pods: to speak with what runs in them, to measure it.

Like the streaming calls of the Kubernetes CRI (Exec, Attach, PortForward). A stream lives as long
as its `async with`: leaving it, for whatever reason, leaves no connection to the engine behind.
Nothing here buffers without bound: `write` returns when the far end has taken the bytes, and what
is not read stays with whoever writes it.

Opening and reading raise DriverError only, as in scheduler.drivers; EngineRejected with code 429
says that the host has as many streams open as it may.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

STDOUT, STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class Ends:
    """Which ends of a process are wanted; a terminal has stdout only."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class ProcessStream(Protocol):
    """The standard streams of a process. One reader and one writer at a time."""

    async def read(self) -> tuple[int, bytes] | None:
        """Return the next bytes and whether STDOUT or STDERR wrote them; None at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Give bytes to stdin; those that nobody will read any more are dropped."""
        ...

    async def end_input(self) -> None:
        """Let stdin end, after all that was written."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size; a process that has ended does not mind."""
        ...

    async def exit_code(self) -> int | None:
        """Return how the process ended, once it has; None where that is not the stream's to say."""
        ...


class PortStream(Protocol):
    """A TCP connection to a port of a pod."""

    async def read(self) -> bytes:
        """Return the next bytes, b"" when the other side has closed."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes; those that nobody will read any more are dropped."""
        ...

    async def end_input(self) -> None:
        """Half-close: nothing more will be sent."""
        ...

    async def failure(self) -> str:
        """Return, after the end, why the port could not be reached; "" when it could."""
        ...


@runtime_checkable
class StreamingHost(Protocol):
    """What a scheduler.drivers.Host may offer besides."""

    def exec(
        self, container_id: str, command: tuple[str, ...], ends: Ends
    ) -> AbstractAsyncContextManager[ProcessStream]:
        """Run a command in a running container.

        A command that cannot be started says so in its output and exits with 126 or 127.
        """
        ...

    def attach(self, container_id: str, ends: Ends) -> AbstractAsyncContextManager[ProcessStream]:
        """Join the standard streams of a container's own process, from now on."""
        ...

    def connect(self, pod_uid: str, port: int) -> AbstractAsyncContextManager[PortStream]:
        """Connect to what listens on a port of the pod's own loopback, published or not."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container has used (Kubernetes CRI ContainerStats).

    Args:
        at: when the engine looked, on its clock; UTC.
        cpu_nanoseconds: of processor time since the container started.
        memory_bytes: its working set: what it uses without the inactive file cache.
        processes: and threads that it has; 0 where the engine does not tell.
    """

    at: datetime
    cpu_nanoseconds: int
    memory_bytes: int
    processes: int = 0


@runtime_checkable
class MeteredHost(Protocol):
    """What a scheduler.drivers.Host may offer besides."""

    async def usage(self) -> Mapping[str, ContainerUsage]:
        """Look once at every running container of this installation, sandboxes too, by id.

        Bounds itself: the engine has but a few of these questions at a time. A container that
        cannot be measured is left out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Level:
    """How much of something a host has left, and has at all."""

    available: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Signals:
    """What pods may run short of on a host (kubelet's eviction signals); None: it cannot be told.

    Args:
        memory: bytes that processes can get without swapping (MemAvailable).
        pids: processes and threads.
        disk: bytes where containers and their volumes are; a capacity of 0 is not known.
        inodes: of the same disk; None where it has no fixed number of them.
    """

    memory: Level | None
    pids: Level | None
    disk: Level | None = None
    inodes: Level | None = None


@runtime_checkable
class SignallingHost(Protocol):
    """What a scheduler.drivers.Host may offer besides."""

    async def signals(self) -> Signals | None:
        """Look once at the host as a whole, cheaply; None where it cannot tell."""
        ...


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What pods keep on the disk of their host; bytes.

    Args:
        layers: what a container has written into its own file system, by the container's id.
        volumes: of each volume that is a pod's own, by the pod's uid and the volume's name in it.
    """

    layers: Mapping[str, int]
    volumes: Mapping[tuple[str, str], int]


@runtime_checkable
class DiskMeteredHost(Protocol):
    """What a scheduler.drivers.Host may offer besides."""

    async def disk_usage(self, containers: Collection[str], *, volumes: bool) -> DiskUsage:
        """Measure, which is dear: an engine walks through all files. One call goes on at a time.

        Logs are in none of it, for engines do not tell their size.

        Args:
            containers: ids of those to measure; one that is gone is left out.
            volumes: measure volumes, too; an engine then walks through all that it has.
        """
        ...
