"""A host whose engine is Podman: its Docker-compatible API on a unix socket."""

import contextlib
import json
import shutil
from pathlib import Path

import docker

from .host import Host
from .slot import remove_cgroups

_CNI = Path("/usr/lib/cni/bridge")
_BEGIN = """
set -e
mount -t tmpfs tmpfs /dev/shm # where all Podmans of a machine would share their locks
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni # and their addresses
exec "$@"
"""


def missing_podman() -> str:
    """Why no such host can run here, or "" if one can."""
    return "" if shutil.which("podman") else "a Podman host needs the Debian package podman"


class PodmanHost(Host):
    """As a Host, but for TCP: Podman knows no TLS, so it is reached by its unix socket only."""

    def power_off(self) -> None:
        """As of every host; Podman's containers are in a cgroup whose name is fixed."""
        super().power_off()
        remove_cgroups("libpod_parent")

    def _write_configuration(self) -> None:
        etc = self.directory / "etc"
        (etc / "networks").mkdir(parents=True, exist_ok=True)
        (etc / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n')
        engine = {"cgroup_manager": "cgroupfs", "events_logger": "file", "runtime": "runc"}
        network = {
            "network_backend": "cni" if _CNI.exists() else "netavark",  # as the package needs
            "network_config_dir": str(etc / "networks"),
            "default_subnet": f"10.88.{self.index}.0/24",
        }
        (etc / "containers.conf").write_text(
            f"[engine]\n{_toml(engine)}[network]\n{_toml(network)}"
        )

    def _daemon_command(self) -> list[str]:
        etc, data = self.directory / "etc", self.directory / "data"
        given = [f"CONTAINERS_CONF={etc}/containers.conf"]
        given += [f"CONTAINERS_REGISTRIES_CONF={etc}/registries.conf"]
        where = [f"--root={data}", "--runroot=/run/containers", "--tmpdir=/run/libpod"]
        serve = ["system", "service", "--time=0", f"unix://{self.unix_socket}"]
        return ["sh", "-c", _BEGIN, "sh", "env", *given, "podman", *where, *serve]

    def _remove_containers(self, api: docker.APIClient) -> None:
        while listed := api.containers(all=True, quiet=True):  # first those that join others
            for item in listed:
                with contextlib.suppress(docker.errors.APIError):
                    api.remove_container(item["Id"], force=True, v=True)


def _toml(values: dict[str, str]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
