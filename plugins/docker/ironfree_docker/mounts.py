"""A container's mounts as the engine is told of them: whole volumes, parts of them, host paths."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.drivers import Mount
from scheduler.errors import EngineRejected
from scheduler.objects.json import Json, JsonObject

from .labels import CONTENT, volume_name
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


async def resolve(
    volumes: Volumes, pod_uid: str, mounts: Sequence[Mount], api: tuple[int, int]
) -> Mounts:
    """Return a container's mounts.

    Raises EngineRejected for a part of a volume that this engine cannot mount safely: before API
    1.45 it would follow links that a container of the pod has made, out of the volume.
    """
    found = Mounts()
    for mount in mounts:
        _check(mount)
        if mount.host_path:
            _bind(found, mount)
        elif not mount.sub_path:
            found.mounts.append(_volume(pod_uid, mount))
        elif api >= SUBPATH:
            body = _volume(pod_uid, mount)
            body["VolumeOptions"] = {"NoCopy": True, "Subpath": mount.sub_path}
            found.mounts.append(body)
        else:
            found.mounts.append(await _part(volumes, pod_uid, mount, api))
    return found


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


def _bind(found: Mounts, mount: Mount) -> None:
    source = (
        f"{mount.host_path.rstrip('/')}/{mount.sub_path}" if mount.sub_path else mount.host_path
    )
    propagation = _PROPAGATION[mount.propagation]
    if mount.create:
        options = ["ro" if mount.read_only else "rw", *filter(None, [propagation])]
        found.binds.append(f"{source}:{mount.path}:{','.join(options)}")
        return
    found.mounts.append(
        {
            "Type": "bind",
            "Source": source,
            "Target": mount.path,
            "ReadOnly": mount.read_only,
            **({"BindOptions": {"Propagation": propagation}} if propagation else {}),
        }
    )


async def _part(volumes: Volumes, pod_uid: str, mount: Mount, api: tuple[int, int]) -> JsonObject:
    """A part of a volume whose files only Ironfree writes, by its path on the host."""
    volume = await volumes.inspect(mount.lasting or volume_name(pod_uid, mount.volume))
    if volume is None or CONTENT not in (volume.labels or {}) or not volume.mountpoint:
        least, offered = (".".join(map(str, each)) for each in (SUBPATH, api))
        raise EngineRejected(
            f"subPath of volume {mount.volume} needs a Docker Engine with API {least} (Docker 26) "
            f"or newer; this one offers {offered}"
        )
    return {
        "Type": "bind",
        "Source": f"{volume.mountpoint}/..data/{mount.sub_path}",
        "Target": mount.path,
        "ReadOnly": True,
    }
