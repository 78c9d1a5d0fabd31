"""A real sshd on loopback that takes one key."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Sshd:
    """A running sshd that takes one key, and what its clients are configured with."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    def children(self) -> list[str]:
        """Connections that it serves; each has a process."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return path.read_text().split()


@contextlib.contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """An sshd on loopback, and an `ssh` that may log in to it; skips where there is none."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None or shutil.which("ssh") is None or os.geteuid() != 0:
        reason = "needs root and the Debian package openssh-server"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(mode=0o700)
    for key in ("host", "user", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"listening" in process.stderr.readline()
    sshd = Sshd(port, folder, process)
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    configure(sshd)
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"  # ssh takes its configuration from the home of the uid
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    try:
        yield sshd
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def configure(sshd: Sshd, key: str = "user") -> None:
    """Write the configuration of clients."""
    (sshd.folder / "config").write_text(
        f"IdentityFile {sshd.folder}/{key}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {sshd.folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n"
    )
