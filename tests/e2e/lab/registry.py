"""Debian's docker-registry on the lab's own address: a real registry to pull from."""

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
"""


class Registry:
    """A running registry; `address` is HOST:PORT, the first part of an image's name."""

    def __init__(self, gateway: str, directory: Path) -> None:
        self.address = f"{gateway}:5000"
        directory.mkdir()
        configuration = directory / "config.yml"
        configuration.write_text(_CONFIGURATION.format(directory=directory, address=self.address))
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(configuration)], stdout=log, stderr=log
            )
        self._wait_ready()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _wait_ready(self) -> None:
        host, _, port = self.address.partition(":")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
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
