"""A directory as the context of a build: a compressed tar of what its .dockerignore leaves."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadRequest
from ..objects.image_build import MOST_CONTEXT
from .dockerignore import DockerIgnore

_LEVEL = 1  # of compression: the network is rarely slower than that


def directory_context(directory: Path, dockerfile: str) -> bytes:
    """Return a tar.gz of a directory.

    Args:
        dockerfile: its path in there.

    Raises:
        BadRequest: there is no Dockerfile, a file cannot be read, or it is too large.
    """
    if not (directory / dockerfile).is_file():
        raise BadRequest(f"there is no {directory / dockerfile}; name another with --file")
    archive = _Bounded()
    try:
        ignore = DockerIgnore(_text(directory / ".dockerignore"), frozenset({dockerfile}))
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=_LEVEL) as tar:
            for path in _paths(directory, ignore):
                _add(tar, directory, path)
    except OSError as error:
        raise BadRequest(f"the context cannot be read: {error}") from error
    return archive.getvalue()


class _Bounded(io.BytesIO):
    def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.tell() + len(data) > MOST_CONTEXT:
            raise BadRequest(
                f"the context has more than {MOST_CONTEXT >> 20} MiB, compressed; leave out more "
                "by .dockerignore"
            )
        return super().write(data)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _paths(directory: Path, ignore: DockerIgnore) -> Iterator[str]:
    """Yield what is to be sent, in an order that does not change."""
    for root, directories, files in os.walk(directory):
        below = Path(root).relative_to(directory).as_posix()
        prefix = "" if below == "." else f"{below}/"
        directories[:] = sorted(d for d in directories if not ignore.prunes(prefix + d))
        for name in sorted([*directories, *files]):
            if not ignore.ignores(prefix + name):
                yield prefix + name


def _add(tar: tarfile.TarFile, directory: Path, path: str) -> None:
    """Add one file, link or directory, of nobody in particular; other things are left out."""
    file = directory / path
    mode = file.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        return
    member = tar.gettarinfo(file, path)
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if member.type == tarfile.LNKTYPE:  # a second name of a file: its content once more
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", file.lstat().st_size
    if member.isreg():
        with file.open("rb") as content:
            tar.addfile(member, content)
    else:
        tar.addfile(member)
