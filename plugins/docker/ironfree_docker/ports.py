"""Connections to the ports of pods, published or not, through a relay in the pod's network."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from scheduler.errors import EngineRejected
from scheduler.streams import STDOUT, Ends

from . import relay
from .containers import Containers, container_path
from .engine import Engine
from .image_archive import RootFile, tar_archive
from .labels import ATTEMPT, POD_UID, belongs, number
from .observation import is_infra
from .processes import EngineProcess, Processes

_PUT_WITHIN = 30.0
_REMEMBERED = 4096
_CANNOT_RUN = (126, 127)  # exit codes of an exec that the engine could not start
_LONGEST_COMPLAINT = 1024


class RelayedPort:
    """Implements scheduler.streams.PortStream on an exec of the relay."""

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self._complaint = b""

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        while (part := await self._process.read()) is not None:
            stream, data = part
            if stream == STDOUT:
                return data
            self._complaint = (self._complaint + data)[:_LONGEST_COMPLAINT]
        return b""

    async def write(self, data: bytes) -> None:
        """Send."""
        await self._process.write(data)

    async def end_input(self) -> None:
        """Half-close."""
        await self._process.end_input()

    async def failure(self) -> str:
        """Why the port could not be reached, "" if it could."""
        code = await self._process.exit_code()
        if not code:
            return ""
        if code in _CANNOT_RUN:
            return self._complaint.decode(errors="replace").strip() or "the relay cannot be run"
        return f"connect: {os.strerror(code).lower()}"


class Ports:
    """Ports of one installation's pods on one engine."""

    def __init__(self, engine: Engine, containers: Containers, cluster: str) -> None:
        self._engine = engine
        self._cluster = cluster
        self._containers = containers
        self._processes = Processes(engine, containers, cluster)
        self._placed: set[str] = set()  # infra containers that have the relay
        self._placing = asyncio.Lock()

    @asynccontextmanager
    async def connect(self, pod_uid: str, port: int) -> AsyncGenerator[RelayedPort]:
        """Connect to a port of the pod's loopback; EngineRejected when the pod does not run."""
        sandbox = await self._sandbox(pod_uid)
        async with self._placing:  # replacing it takes it away from others for a moment
            await self._place_relay(sandbox)
        command, ends = (relay.PATH, str(port)), Ends(stdin=True)
        async with self._processes.exec(sandbox, command, ends, user="0") as process:
            yield RelayedPort(process)

    async def _sandbox(self, pod_uid: str) -> str:
        """The id of the pod's infra container: the newest that runs."""
        listed = await self._containers.list(f"{POD_UID}={pod_uid}")
        found = [
            (number(each.labels or {}, ATTEMPT), each.id)
            for each in listed
            if is_infra(each.labels or {})
            and each.state == "running"
            and belongs(each.labels or {}, self._cluster)
        ]
        if not found:
            raise EngineRejected(f"host {self._engine.name}: pod {pod_uid} has no sandbox running")
        return max(found)[1]

    async def _place_relay(self, sandbox: str) -> None:
        if sandbox in self._placed:
            return
        program = relay.program(self._engine.version.arch)
        if program is None:
            raise EngineRejected(
                f"host {self._engine.name}: ports are forwarded on amd64 and arm64 only, "
                f"not on {self._engine.version.arch}",
            )
        archive = tar_archive({relay.PATH.lstrip("/"): RootFile(program, 0o755)})
        opened = self._engine.stream(
            "PUT",
            f"{container_path(sandbox)}/archive",
            query={"path": "/"},
            data=archive,
            silence=_PUT_WITHIN,
        )
        async with opened as answer:
            async for _ in answer:
                pass
        if len(self._placed) >= _REMEMBERED:
            self._placed.clear()
        self._placed.add(sandbox)
