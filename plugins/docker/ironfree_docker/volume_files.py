"""Files that Ironfree writes into a pod's volumes, through the infra container with all of them.

Laid out as kubelet does: the files are in a directory of their own for every version, `..data`
points to the present one, and each file's name in the root is a link through `..data`. So all
files change at the moment in which `..data` does. An engine that is sent a link again removes the
one that is there first, so links are sent only where the set of names is another one; a version's
name begins with what tells that.
"""

import base64
import hashlib
import io
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from urllib.parse import quote

import msgspec

from scheduler.drivers import SandboxSpec
from scheduler.errors import EngineRejected
from scheduler.volumes import EmptyDir, FilesVolume, NamedVolume, VolumeFile

from . import tools
from .engine import CREATE, Engine
from .execs import Execs
from .pause import VOLUME_DIRECTORIES

_ROOT = "/volumes"
_SHARED = 0o2777
_SWAP = 10.0
_STAT = "X-Docker-Container-Path-Stat"


class _Stat(msgspec.Struct, rename="camel"):
    link_target: str = ""


class VolumeFiles:
    """Writes into volumes of one engine's pods."""

    def __init__(self, engine: Engine, execs: Execs) -> None:
        self._engine = engine
        self._execs = execs
        self._begun = set[str]()  # uids of pods that have had an infra container made here
        self._empty = set[str]()  # infra containers of those whose first it is

    def begin(self, infra: str, pod_uid: str) -> None:
        """Take in that a pod's infra container is new; unless it had one, its volumes are, too."""
        if pod_uid not in self._begun:
            self._begun.add(pod_uid)
            self._empty.add(infra)

    def forget(self, pod_uid: str, infra: Iterable[str]) -> None:
        """Take in that a pod is gone, with its volumes."""
        self._begun.discard(pod_uid)
        self._empty.difference_update(infra)

    async def give_to_group(
        self, infra: str, spec: SandboxSpec, made: Collection[NamedVolume]
    ) -> None:
        """Give a new pod's volumes on disk to its fsGroup; those in memory are mounted so.

        Args:
            made: lasting volumes that were made just now; others keep what they have.
        """
        if spec.fs_group is None:
            return
        disks = [
            index
            for index, volume in enumerate(spec.volumes[:VOLUME_DIRECTORIES])
            if (isinstance(volume, EmptyDir) and volume.medium != "Memory") or volume in made
        ]
        if disks:
            entries = (_directory(str(index), _SHARED, spec.fs_group) for index in disks)
            await self._put(infra, _archive(entries))

    async def write(self, infra: str, spec: SandboxSpec, volumes: Sequence[FilesVolume]) -> None:
        """Have exactly these files in volumes of a running sandbox."""
        places = {volume.name: index for index, volume in enumerate(spec.volumes)}
        group, empty = spec.fs_group or 0, infra in self._empty
        self._empty.discard(infra)
        first: list[tuple[tarfile.TarInfo, bytes]] = []
        for volume in volumes:
            place, version = places[volume.name], _version(volume, group)
            if place >= VOLUME_DIRECTORIES:
                raise EngineRejected(
                    f"volume {volume.name}: a pod has at most {VOLUME_DIRECTORIES} volumes here"
                )
            present = None if empty else await self._present(infra, str(place))
            if present == version:
                continue
            entries = [*_entries(str(place), version, volume.files, group)]
            if present is None or not present.startswith(_shape(volume)):
                names = _names(volume)
                entries += (_link(f"{place}/{name}", f"..data/{name}") for name in names)
            if present is None:  # nobody reads yet
                first += [*entries, _link(f"{place}/..data", version)]
            else:
                await self._exchange(infra, str(place), version, _archive(entries))
        if first:
            await self._put(infra, _archive(first))

    async def _exchange(self, infra: str, place: str, version: str, archive: bytes) -> None:
        """Have other files in a volume, all at one moment."""
        await self._put(infra, archive)
        swap = [tools.PATH, "swap", f"{_ROOT}/{place}", version]
        try:
            swapped = await self._execs.run(infra, swap, _SWAP)
        except EngineRejected:
            swapped = None
        if swapped is None or swapped.exit_code != 0:
            # an infra container of another image has no such program: not quite at one moment
            await self._put(infra, _archive([_link(f"{place}/..data", version)]))

    async def _present(self, infra: str, place: str) -> str | None:
        """The version that is there, "" if that cannot be told, None if there is none."""
        path = f"{_ROOT}/{place}/..data"
        try:
            headers = await self._engine.head(f"{_of(infra)}/archive", query={"path": path})
            stat = msgspec.json.decode(base64.b64decode(headers.get(_STAT, "")), type=_Stat)
        except EngineRejected as error:
            return None if error.code == 404 else ""
        except (msgspec.DecodeError, ValueError):
            return ""
        return stat.link_target.rpartition("/")[2]

    async def _put(self, infra: str, archive: bytes) -> None:
        query = {"path": _ROOT}
        await self._engine.send(f"{_of(infra)}/archive", archive, query=query, within=CREATE)


def _of(container: str) -> str:
    return f"/containers/{quote(container, safe='')}"


def _version(volume: FilesVolume, group: int) -> str:
    digest = hashlib.blake2b(str(group).encode(), digest_size=16)
    for file in volume.files:
        digest.update(f"\0{file.path}\0{file.mode}\0{len(file.content)}\0".encode())
        digest.update(file.content)
        if file.user:
            digest.update(f"\0{file.user}".encode())
    return _shape(volume) + digest.hexdigest()


def _shape(volume: FilesVolume) -> str:
    """Return how the names of versions begin that have the same names in the root."""
    names = "/".join(sorted(_names(volume)))
    return f"..{hashlib.blake2b(names.encode(), digest_size=8).hexdigest()}."


def _names(volume: FilesVolume) -> list[str]:
    return list(dict.fromkeys(file.path.split("/")[0] for file in volume.files))


def _entries(
    place: str, version: str, files: Sequence[VolumeFile], group: int
) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    base = f"{place}/{version}"
    shared = 0o2000 if group else 0
    yield _directory(base, 0o755 | shared, group)
    made: set[str] = set()
    for file in files:
        parents = file.path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            parent = "/".join(parents[:depth])
            if parent not in made:
                made.add(parent)
                yield _directory(f"{base}/{parent}", 0o755 | shared, group)
        member = tarfile.TarInfo(f"{base}/{file.path}")
        member.size, member.uid, member.gid = len(file.content), file.user, group
        member.mode = file.mode | (0o440 if group else 0)
        yield member, file.content


def _directory(path: str, mode: int, group: int) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.gid = tarfile.DIRTYPE, mode, group
    return member, b""


def _link(path: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
    return member, b""


def _archive(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in entries:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
