"""Debian's docker-registry on the lab's own address: a real registry to pull from.

It listens twice on the same images: for everybody, and for who knows ACCOUNT.
"""

import http.client
import subprocess
import time
from pathlib import Path

_CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
http: {{addr: "{address}"}}
{access}
"""
ACCOUNT = ("lab-user", "lab-word-1")
_PASSWORDS = "lab-user:$2y$04$abcdefghijklmnopqrstuunh80kJZxSkm.qpoBaOBPcWnay8ipTVi\n"


class Registry:
    """A running registry.

    Attributes:
        address: HOST:PORT, the first part of an image's name.
        private: the same where one must log in.
    """

    def __init__(self, gateway: str, directory: Path) -> None:
        self.address, self.private = f"{gateway}:5000", f"{gateway}:5001"
        directory.mkdir()
        passwords = directory / "passwords"
        passwords.write_text(_PASSWORDS)
        access = f"auth: {{htpasswd: {{realm: lab, path: {passwords}}}}}"
        self._processes = [
            self._serve(directory, "public", self.address, ""),
            self._serve(directory, "private", self.private, access),
        ]
        for address in self.address, self.private:
            self._wait_ready(address)

    def stop(self) -> None:
        """End it."""
        for process in self._processes:
            process.kill()
            process.wait()

    @staticmethod
    def _serve(directory: Path, name: str, address: str, access: str) -> "subprocess.Popen[bytes]":
        configuration = directory / f"{name}.yml"
        configuration.write_text(
            _CONFIGURATION.format(directory=directory, address=address, access=access)
        )
        with (directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                ["docker-registry", "serve", str(configuration)], stdout=log, stderr=log
            )

    def _wait_ready(self, address: str) -> None:
        host, _, port = address.partition(":")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and all(p.poll() is None for p in self._processes):
            connection = http.client.HTTPConnection(host, int(port), timeout=2)
            try:
                connection.request("GET", "/v2/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()
        raise RuntimeError("docker-registry did not start")
