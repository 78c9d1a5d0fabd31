"""Directories that a subPath names and that a volume does not have yet, as kubelet makes them.

An engine mounts only what is there. The infra container has every volume of its pod mounted, and
directories of the host that containers see parts of, so they are made through it; the engine then
sees to it that no link leads out of the volume.
"""

import base64
from collections.abc import Sequence
from posixpath import normpath

import msgspec

from scheduler.drivers import SandboxStatus
from scheduler.errors import EngineRejected
from scheduler.volumes import Mount

from .containers import Containers, container_path
from .engine import CREATE, Engine
from .image_archive import RootFile, tar_archive
from .labels import CONTENT, volume_name
from .mounts import SUBPATH
from .volumes import Volumes

_STAT = "X-Docker-Container-Path-Stat"
_SET_GID = 1 << 22  # of Go's FileMode


class _Stat(msgspec.Struct):
    mode: int = 0


class VolumeParts:
    """Of one engine's pods."""

    def __init__(self, engine: Engine, containers: Containers, volumes: Volumes) -> None:
        self._engine = engine
        self._containers = containers
        self._volumes = volumes

    async def have(self, sandbox: SandboxStatus, mounts: Sequence[Mount]) -> None:
        """Have what mounts show of volumes; a part that is missing becomes a directory.

        It has the mode of the volume. Volumes whose files Ironfree writes stay as they are.
        """
        parts = [mount for mount in mounts if mount.sub_path]
        if not parts or self._engine.api < SUBPATH:
            return
        infra = await self._containers.foreign(sandbox.id)
        places = {
            each.name or each.source: each.destination
            for each in (infra.mounts or [] if infra else [])
        }
        for mount in parts:
            name = mount.lasting or volume_name(sandbox.identity.uid, mount.volume)
            whole = normpath(mount.host_path) if mount.host_path else name
            if whole in places:
                await self._have(sandbox.id, places[whole], name, mount)

    async def _have(self, infra: str, place: str, volume: str, mount: Mount) -> None:
        words = [word for word in mount.sub_path.split("/") if word not in {"", "."}]
        paths = ["/".join(words[:count]) for count in range(1, len(words) + 1)]
        missing: list[str] = []
        while paths and await self._mode(infra, f"{place}/{paths[-1]}") is None:
            missing.insert(0, paths.pop())
        if not missing or not (mount.host_path or await self._is_open(volume)):
            return
        mode = await self._mode(infra, place) or 0
        made = RootFile(
            directory=True,
            mode=mode & 0o777 | (0o2000 if mode & _SET_GID else 0),
            group=mount.group,
        )
        archive = tar_archive(dict.fromkeys(missing, made))
        where = f"{container_path(infra)}/archive"
        await self._engine.send(where, archive, query={"path": place}, within=CREATE)

    async def _is_open(self, volume: str) -> bool:
        """Whether containers may write into a volume."""
        found = await self._volumes.inspect(volume)
        return found is not None and CONTENT not in (found.labels or {})

    async def _mode(self, infra: str, path: str) -> int | None:
        """Return the mode of a file of the infra container as Go has it, None if there is none."""
        try:
            headers = await self._engine.head(
                f"{container_path(infra)}/archive", query={"path": path}
            )
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise
        try:
            return msgspec.json.decode(base64.b64decode(headers.get(_STAT, "")), type=_Stat).mode
        except (msgspec.DecodeError, ValueError):
            return 0o777
