"""What containers say about their end: a file of the host, mounted where the pod's spec says.

An engine shows a file of an ended container only if it is on its root or a mount, and the usual
/dev/termination-log is neither. So each pod has a small volume of empty files, which come with the
infra container's image; a container finds one of them at that path, and its next attempt another.
"""

import io
import tarfile

from scheduler.drivers import ContainerSpec, SandboxStatus
from scheduler.errors import EngineRejected
from scheduler.objects.json import JsonObject

from .containers import container_path
from .engine import CREATE, Engine
from .image_archive import RootFile, tar_archive
from .labels import volume_name
from .pause import MESSAGE_FILES, MESSAGES
from .volumes import Volumes

_VOLUME = "MESSAGES"  # no volume of a pod has capitals in its name
_ATTEMPTS = 2  # of a container are kept on the host
_LONGEST = 1 << 20  # bytes of an archive
_SILENCE = 10.0


def messages_volume(pod_uid: str) -> str:
    """The one name of the volume with a pod's messages."""
    return volume_name(pod_uid, _VOLUME)


class TerminationMessages:
    """Of one engine's pods."""

    def __init__(self, engine: Engine, volumes: Volumes) -> None:
        self._engine = engine
        self._volumes = volumes

    async def mount(self, sandbox: SandboxStatus, spec: ContainerSpec) -> JsonObject | None:
        """Return the mount of an empty file for an attempt of a container.

        None where it is to have none: without a path, in a sandbox of an older version or of
        another image, and beyond the files that there are.
        """
        place = spec.position * _ATTEMPTS + spec.attempt % _ATTEMPTS
        if not spec.message_path or place >= MESSAGE_FILES:
            return None
        volume = await self._volumes.inspect(messages_volume(sandbox.identity.uid))
        if volume is None or not volume.mountpoint:
            return None
        if spec.attempt >= _ATTEMPTS:  # an earlier one had the file
            empty = tar_archive({str(place): RootFile(mode=0o666)})
            where = f"{container_path(sandbox.id)}/archive"
            await self._engine.send(where, empty, query={"path": MESSAGES}, within=CREATE)
        return {
            "Type": "bind",
            "Source": f"{volume.mountpoint}/{place}",
            "Target": spec.message_path,
        }

    async def read(self, container_id: str, path: str, most: int) -> bytes:
        """Return the last bytes of a file of a container, b"" if there is no such file.

        Of a file beyond 1 MiB those before that count as the last, for an engine gives all or none.
        """
        opened = self._engine.stream(
            "GET",
            f"{container_path(container_id)}/archive",
            query={"path": path},
            headers={"Accept-Encoding": "identity"},  # an engine compresses it otherwise
            silence=_SILENCE,
        )
        read = bytearray()
        try:
            async with opened as chunks:
                async for chunk in chunks:
                    read += chunk
                    if len(read) >= _LONGEST:
                        break
        except EngineRejected as error:
            if error.code == 404:
                return b""
            raise
        return _content(bytes(read))[-most:]


def _content(archive: bytes) -> bytes:
    """Return the first file of an archive, which may be cut off."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            member = opened.next()
    except tarfile.TarError:
        return b""
    if member is None or not member.isreg():
        return b""
    return archive[member.offset_data : member.offset_data + member.size]
