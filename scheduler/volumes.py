"""The volumes of a pod, as a driver makes them, and where its containers see them.

Values only: what goes into them and who may have them is decided before a driver is asked.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A volume that lives as long as the pod on its host.

    Args:
        medium: "" for disk, "Memory" for tmpfs.
        size_limit: bytes, or None.
    """

    name: str
    medium: str = ""
    size_limit: int | None = None


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """A file of a volume: a path below its root, what is in it, its permission bits and owner."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    user: int = 0


@dataclass(frozen=True, slots=True)
class FilesVolume:
    """A volume whose files are given; containers can only read it.

    Args:
        memory: it is never written to a disk.
    """

    name: str
    files: tuple[VolumeFile, ...] = ()
    memory: bool = False


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume of the engine's own making.

    Args:
        lasting: its name on the engine, if it is to stay when the pod goes; "" for the pod's own.
        options: for the engine's local driver, e.g. type, device and o of a mount.
    """

    name: str
    lasting: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HostPathVolume:
    """A directory of the host of which containers of the pod see parts.

    Args:
        create: make it if there is nothing.
    """

    name: str
    path: str
    create: bool = False


SandboxVolume = EmptyDir | FilesVolume | NamedVolume | HostPathVolume


@dataclass(frozen=True, slots=True)
class Mount:
    """A sandbox volume, or a path of the host, seen in a container.

    Args:
        sub_path: what of the volume, "" for all of it.
        lasting: the volume's name on the engine, where it is not the pod's own.
        group: whom a part belongs to that is not there yet, and is made.
        host_path: of the host instead of a volume; create: make a directory if there is nothing.
            A sub_path of it is mounted so that no link leads out of it.
        propagation: "", "HostToContainer" or "Bidirectional"; of whole host paths only.
    """

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""
    host_path: str = ""
    create: bool = False
    propagation: str = ""
    lasting: str = ""
    group: int = 0
