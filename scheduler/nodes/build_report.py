"""What an ImageBuild's status says while it is worked on."""

import asyncio
from collections import deque

from msgspec.structs import replace

from ..objects.image_build import (
    LONGEST_LINE,
    MOST_ATTEMPTS,
    MOST_LINES,
    RESOURCE,
    ImageBuild,
    ImageBuildStatus,
    Phase,
)
from ..objects.meta import now_seconds
from ..objects.stored import ObjectKey
from ..store.status_write import write_status
from ..store.store import Store


class BuildReport:
    """The status of one build.

    Args:
        status: as it is known now, which may be newer than the build's own.
    """

    def __init__(
        self, store: Store, epoch: int, build: ImageBuild, status: ImageBuildStatus
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._build = build
        self._lines = deque(status.log, maxlen=MOST_LINES)
        self._counted = status.log_lines
        self._writing = asyncio.Lock()
        self.status = status

    def line(self, text: str) -> None:
        """Add a line to the log."""
        plain = "".join(c if c.isprintable() else " " for c in text[:LONGEST_LINE].rstrip())
        self._lines.append(plain)
        self._counted += 1

    async def write(self, status: ImageBuildStatus) -> None:
        """Write a status, with the log as it is now.

        Raises:
            Fenced: another leader has taken over. Unavailable: the database does not answer.
        """
        async with self._writing:
            await self._write(status)

    async def write_log(self) -> None:
        """Write the log, if it has grown; raises as `write`."""
        async with self._writing:
            await self._write(self.status)

    async def _write(self, status: ImageBuildStatus) -> None:
        meta = self._build.meta
        told = replace(
            status,
            log=tuple(self._lines),
            log_lines=self._counted,
            observed_generation=meta.generation,
        )
        if told == self.status:
            return
        key = ObjectKey(RESOURCE, meta.namespace, meta.name)
        await write_status(self._store, key, meta.uid, told, self._epoch)
        self.status = told

    async def begin(self, node: str) -> None:
        """Say that it is begun on a node."""
        self.line(f"begun on host {node}")
        begun = replace(
            self.status,
            phase=Phase.BUILDING,
            reason="",
            message="",
            node_name=node,
            attempts=self.status.attempts + 1,
            start_time=self.status.start_time or now_seconds(),
        )
        await self.write(begun)

    async def fail(self, reason: str, message: str) -> None:
        """Say that nothing came of it."""
        ended = {"phase": Phase.FAILED, "completion_time": now_seconds()}
        await self.write(replace(self.status, reason=reason, message=message[:1024], **ended))

    async def give_up(self, message: str) -> None:
        """Say that it was broken off, and is begun again unless that was often enough."""
        if self.status.attempts >= MOST_ATTEMPTS:
            why = f"{message}; it was begun {self.status.attempts} times"
            await self.fail("HostUnreachable", why)
            return
        self.line(f"broken off: {message}")
        again = f"{message}; it is begun again"
        await self.write(replace(self.status, phase=Phase.PENDING, message=again[:1024]))
