"""A container's mounts as the engine is told of them: whole volumes, parts of them, host paths."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import normpath

from scheduler.drivers import PodIdentity
from scheduler.errors import EngineRejected
from scheduler.objects.json import Json, JsonObject
from scheduler.volumes import Mount

from . import wire
from .engine import Engine
from .labels import CONTENT, pod_labels, volume_name
from .volumes import Volumes

SUBPATH = (1, 45)
"""The API version since which a part of a volume can be mounted."""

_PROPAGATION = {"": "", "HostToContainer": "rslave", "Bidirectional": "rshared"}
"""Without one an engine takes rprivate, but rslave for a path that its own directory is under."""


@dataclass
class Mounts:
    """For HostConfig: `Mounts`, and `Binds`, which alone make directories of the host."""

    mounts: list[Json] = field(default_factory=list[Json])
    binds: list[Json] = field(default_factory=list[Json])

    def bind(self, mount: Mount) -> None:
        """Add a whole path of the host."""
        propagation = _PROPAGATION[mount.propagation]
        if mount.create:
            options = ["ro" if mount.read_only else "rw", *filter(None, [propagation])]
            self.binds.append(f"{mount.host_path}:{mount.path}:{','.join(options)}")
            return
        self.mounts.append(
            {
                "Type": "bind",
                "Source": mount.host_path,
                "Target": mount.path,
                "ReadOnly": mount.read_only,
                **({"BindOptions": {"Propagation": propagation}} if propagation else {}),
            }
        )


class MountResolver:
    """Of one engine.

    Args:
        cluster: this installation's id.
    """

    def __init__(self, engine: Engine, volumes: Volumes, cluster: str) -> None:
        self._engine = engine
        self._volumes = volumes
        self._cluster = cluster

    async def resolve(self, identity: PodIdentity, mounts: Sequence[Mount]) -> Mounts:
        """Return the mounts of a pod's container.

        Raises:
            EngineRejected: a part of a volume or of a path of the host cannot be mounted safely by
                this engine: before API 1.45 it would follow links that a container has made, out
                of the volume (CVE-2017-1002101 of Kubernetes).
        """
        found = Mounts()
        for mount in mounts:
            _check(mount)
            if mount.host_path and not mount.sub_path:
                found.bind(mount)
                continue
            body = _volume(identity.uid, mount)
            if mount.sub_path and self._engine.api < SUBPATH:
                body = await self._written_part(identity.uid, mount)
            elif mount.sub_path:
                options: JsonObject = {"NoCopy": True, "Subpath": mount.sub_path}
                body["VolumeOptions"] = options
                if mount.host_path:
                    options |= await self._bound(identity, mount.host_path)
            found.mounts.append(body)
        return found

    async def _bound(self, identity: PodIdentity, path: str) -> JsonObject:
        """Options of a volume that is a path of the host, for the engine to make it if needed.

        With what is mounted below it, unless that includes the engine's own directory: volumes
        would hold each other, twice as many mounts with every further one.
        """
        info = await self._engine.read("/info", wire.Info)
        root = PurePosixPath(info.docker_root_dir or "/")
        alone = root == PurePosixPath("/") or root.is_relative_to(normpath(path))
        how = "bind" if alone else "rbind,rslave"
        return {
            "Labels": dict[str, Json](pod_labels(identity, self._cluster)),
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "none", "device": path, "o": how},
            },
        }

    async def _written_part(self, pod_uid: str, mount: Mount) -> JsonObject:
        """A part of a volume whose files only Ironfree writes, by its path on the host."""
        name = mount.lasting or volume_name(pod_uid, mount.volume)
        volume = None if mount.host_path else await self._volumes.inspect(name)
        if volume is None or CONTENT not in (volume.labels or {}) or not volume.mountpoint:
            least, offered = (".".join(map(str, each)) for each in (SUBPATH, self._engine.api))
            raise EngineRejected(
                f"subPath of volume {mount.volume} needs a Docker Engine with API {least} "
                f"(Docker 26) or newer; this one offers {offered}"
            )
        return {
            "Type": "bind",
            "Source": f"{volume.mountpoint}/..data/{mount.sub_path}",
            "Target": mount.path,
            "ReadOnly": True,
        }


def _check(mount: Mount) -> None:
    if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
        raise EngineRejected(
            f"subPath {mount.sub_path!r} of volume {mount.volume} must be relative, without '..'"
        )


def _volume(pod_uid: str, mount: Mount) -> JsonObject:
    return {
        "Type": "volume",
        "Source": mount.lasting or volume_name(pod_uid, mount.volume),
        "Target": mount.path,
        "ReadOnly": mount.read_only,
        "VolumeOptions": {"NoCopy": True},  # a volume is as it was made, whatever the image has
    }
