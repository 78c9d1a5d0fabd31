"""Directories for work with credentials in them, which do not outlive this process for long.

A process that is killed cleans nothing up. So whoever uses a directory holds a lock on it, which
goes with the process; and who starts later removes those of the same user that nobody holds.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger(__name__)
PREFIX = "ironfree-git-"
_TRIES = 10


@contextmanager
def workplace() -> Generator[Path, None, None]:
    """Make a directory that only this user can read, and remove it in the end.

    Raises:
        OSError: there is no room, or no place for temporary files.
    """
    directory, lock = _made()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def sweep() -> int:
    """Remove what processes that were killed have left; returns how many directories that were."""
    swept = 0
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or gone meanwhile
            lock = _locked(directory)
            try:
                shutil.rmtree(directory)
                swept += 1
            finally:
                os.close(lock)
    if swept:
        _log.info("removed %d directories that a killed process had left", swept)
    return swept


def _made() -> tuple[Path, int]:
    """Return a new directory and its lock; one that was swept before it was locked is no loss."""
    for _ in range(_TRIES):
        directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError, BlockingIOError):
            lock = _locked(directory)
            if directory.exists():
                return directory, lock
            os.close(lock)
    raise FileNotFoundError(f"{PREFIX}… is removed as soon as it is made")


def _locked(directory: Path) -> int:
    """Lock a directory of this user's, as long as the descriptor that is returned is open.

    Raises:
        BlockingIOError: somebody holds it. PermissionError: it is somebody else's.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            raise PermissionError(f"{directory} is not this user's own")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
