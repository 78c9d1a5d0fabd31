"""A slot: the number that names one lab's namespaces, subnet, cgroups and directory.

Run as a program (`slot.py NUMBER`) it sweeps that slot, unless a living lab holds it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLOTS = 64
BASE = Path(tempfile.gettempdir()) / "ironfree-lab"


class Slot:
    """An exclusive claim on one slot, held until `release` or the end of the process."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock = lock
        self.prefix = f"il{number}-"
        self.directory = BASE / str(number)

    @classmethod
    def claim(cls) -> "Slot":
        """The lowest free slot; leftovers of dead labs are swept on the way."""
        claimed: Slot | None = None
        for number in range(SLOTS):
            if claimed is not None and not (BASE / str(number)).exists():
                continue
            slot = cls.claim_number(number)
            if slot is None:
                continue
            slot.sweep()
            if claimed is None:
                claimed = slot
                claimed.directory.mkdir(mode=0o711)
            else:
                slot.release()
        if claimed is None:
            raise RuntimeError(f"all {SLOTS} lab slots under {BASE} are held by living processes")
        return claimed

    @classmethod
    def claim_number(cls, number: int) -> "Slot | None":
        """Slot `number`, or None if a living process holds it."""
        BASE.mkdir(mode=0o711, exist_ok=True)
        lock = os.open(BASE / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return cls(number, lock)

    def release(self) -> None:
        """Give the slot back."""
        os.close(self._lock)

    def sweep(self) -> None:
        """End every process in the slot's namespaces and remove all it left."""
        for namespace in self._namespaces():
            kill_namespace(namespace)
        if Path(f"/sys/class/net/{self.prefix}up").exists():
            subprocess.run(["ip", "link", "delete", f"{self.prefix}up"], check=False)
        remove_cgroups(self.prefix)
        if self.directory.exists():  # last: it is what says that there is something to sweep
            shutil.rmtree(self.directory)

    def _namespaces(self) -> list[str]:
        folder = Path("/run/netns")
        return sorted(p.name for p in folder.glob(f"{self.prefix}*")) if folder.exists() else []


def kill_namespace(name: str) -> None:
    """Kill every process in network namespace `name`, then delete it."""
    deadline = time.monotonic() + 10
    while pids := _output("ip", "netns", "pids", name).split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} in {name} survive SIGKILL")
        time.sleep(0.01)
    subprocess.run(["ip", "netns", "delete", name], check=False)


def remove_cgroups(prefix: str) -> None:
    """Remove the cgroup trees whose top directory starts with `prefix`, deepest first."""
    root = Path("/sys/fs/cgroup")
    tops = [*root.glob(f"{prefix}*"), *root.glob(f"*/{prefix}*")]
    for top in tops:
        for folder, _, _ in os.walk(top, topdown=False):
            _remove_cgroup(folder)


def _remove_cgroup(folder: str) -> None:
    for _ in range(50):  # killed processes leave their cgroup a moment later
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return


def run(*command: str) -> str:
    """The output of a command; RuntimeError with its complaint if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


if __name__ == "__main__":
    orphan = Slot.claim_number(int(sys.argv[1]))
    if orphan is not None:
        orphan.sweep()
