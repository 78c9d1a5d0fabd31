"""One Docker host: its namespaces, its daemon, its faults and what it holds."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from .certificates import Tls
from .slot import Slot, kill_namespace, remove_cgroups, run

BOOT_TIMEOUT = 30.0
API_PORT = 2376
_HELPERS = ("/ironfree-dial-", "/ironfree-gateway-", "/ironfree-network")
_INIT = """
set -e
hostname "$1"
mount --bind "$2/etc-docker" /etc/docker
mount --bind "$2/resolv.conf" /etc/resolv.conf
mount -t tmpfs tmpfs /run
if [ "$3" != 0 ]; then
  mkdir -p "$2/data"
  if losetup -f >/dev/null 2>&1; then
    [ -e "$2/disk" ] || { truncate -s "$3M" "$2/disk"; mkfs.ext4 -q "$2/disk"; }
    mount -o loop "$2/disk" "$2/data"
  else # a container may have no loop devices
    mount -t tmpfs -o "size=$3m" tmpfs "$2/data"
  fi
fi
exec tini-static -g -- sleep infinity
"""


@dataclass(frozen=True)
class Container:
    """What the daemon says of one container.

    Args:
        state: created, running, paused, restarting, removing, exited or dead.
        status: the daemon's words, e.g. "Exited (137) 2 seconds ago".
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    labels: dict[str, str]


class Host:
    """A dockerd in its own namespaces, reached by unix socket and by TCP with TLS.

    Faults of the network (partition, api_partition, refuse, lose) do not touch the unix socket:
    through it the test sees the truth while the scheduler, over TCP, does not.

    Args:
        disk: MiB of a disk of its own for all that its daemon keeps; 0 for the machine's.
    """

    def __init__(self, slot: Slot, index: int, tls: Tls, disk: int = 0) -> None:
        self.live_restore = True  # heeded when the daemon starts
        self._disk = disk
        self.name = f"host-{index}"
        self.index = index
        self.address = f"10.77.{slot.number}.{index}"
        self.namespace = f"{slot.prefix}h{index}"
        self.directory = slot.directory / f"h{index}"
        self.unix_socket = self.directory / "docker.sock"
        self.tcp_address = f"{self.address}:{API_PORT}"
        self._switch = f"{slot.prefix}sw"
        self._registries = f"10.77.{slot.number}.254/32"  # on any port
        self._tls = tls
        self._outer: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        (self.directory / "etc-docker").mkdir(mode=0o711, parents=True)
        # The machine's name server may be in a range of the cluster's. Nobody is there.
        (self.directory / "resolv.conf").write_text("nameserver 192.0.2.53\n")

    # Power and daemon ---------------------------------------------------------------------

    def boot(self, *, wait: bool = True) -> None:
        """Power on: cable, namespaces, PID 1, dockerd; nothing if it is on."""
        if self._outer is not None:
            return
        self._plug_in()
        command = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", "--propagation", "private", "sh", "-c", _INIT, "sh"]
        given = [self.name, str(self.directory), str(self._disk)]
        self._outer = self._spawn([*self._in_network(), *command, *given])
        self.start_daemon(wait=wait)

    def power_off(self) -> None:
        """Lose power: every process dies at once and the cable goes dead; nothing if it is off."""
        if self._outer is None:
            return
        self.partition()  # first: no last connection is accepted by a daemon that is dying
        kill_namespace(self.namespace)
        self._outer.wait()
        self._outer = None
        if self._daemon is not None:
            self._daemon.wait()
            self._daemon = None
        self.unix_socket.unlink(missing_ok=True)
        remove_cgroups(self.namespace)

    def start_daemon(self, *, wait: bool = True) -> None:
        """Start dockerd on a host that is on; nothing if it runs."""
        if self._daemon is not None:
            return
        self._write_configuration()
        enter = ["nsenter", "-t", str(self._init_pid()), "--mount", "--uts", "--net", "--pid", "--"]
        self._daemon = self._spawn([*enter, *self._daemon_command()])
        if wait:
            self.wait_ready()

    def kill_daemon(self) -> None:
        """SIGKILL dockerd; its containers go on (live-restore). Nothing if it is down."""
        if self._daemon is None:
            return
        os.kill(self._daemon_pid(), signal.SIGKILL)
        while True:  # nsenter stops when its child is stopped, and may be so from a pause before
            self._daemon.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(0.1)
                break
        self._daemon = None

    def stop_daemon(self) -> None:
        """SIGTERM dockerd and wait until it has ended, as `systemctl stop docker` does."""
        if self._daemon is None:
            return
        os.kill(self._daemon_pid(), signal.SIGTERM)
        self._daemon.wait(BOOT_TIMEOUT)
        self._daemon = None

    def pause_daemon(self) -> None:
        """Hang dockerd: connections are accepted and never answered."""
        os.kill(self._daemon_pid(), signal.SIGSTOP)

    def resume_daemon(self) -> None:
        """Let a hung dockerd go on."""
        os.kill(self._daemon_pid(), signal.SIGCONT)

    def restart_daemon(self, *, live_restore: bool) -> None:
        """Kill dockerd and start it so; without live-restore it ends its containers then."""
        self.kill_daemon()
        self.live_restore = live_restore
        self.start_daemon()

    def fill_disk(self) -> None:
        """Leave no room on the host's own disk."""
        with contextlib.suppress(RuntimeError):  # which is how dd says that it is full
            self._inside("dd", "if=/dev/zero", f"of={self._ballast}", "bs=64k")

    def free_disk(self) -> None:
        """Give the room back."""
        self._inside("rm", "-f", self._ballast)

    @property
    def _ballast(self) -> str:
        return str(self.directory / "data" / "ballast")

    def _inside(self, *command: str) -> None:
        run("nsenter", "-t", str(self._init_pid()), "--mount", "--", *command)

    def wait_ready(self) -> None:
        """Return when dockerd answers; RuntimeError with the end of its log if it does not."""
        deadline = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < deadline:
            assert self._daemon is not None
            if self._daemon.poll() is not None:
                break
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"dockerd of {self.name} did not start:\n{self.log()[-3000:]}")

    def answers(self) -> bool:
        """Whether dockerd answers on its unix socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.unix_socket))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 OK" in connection.recv(64)
            except OSError:
                return False

    # Network faults -----------------------------------------------------------------------

    def partition(self) -> None:
        """Unplug the cable: nothing gets in or out, everything times out."""
        run("ip", "-n", self._switch, "link", "set", f"p{self.index}", "down")

    def api_partition(self) -> None:
        """Drop what reaches the host itself: the API times out, published ports serve."""
        self._iptables("-I", "INPUT", "-i", "eth0", "-j", "DROP")

    def refuse(self) -> None:
        """Refuse connections to the API, as when nothing listens."""
        rule = ["-p", "tcp", "--dport", str(API_PORT), "-j", "REJECT", "--reject-with", "tcp-reset"]
        self._iptables("-I", "INPUT", "-i", "eth0", *rule)

    def lose(self, share: float) -> None:
        """Lose that share (0..1) of the packets that reach the host itself."""
        chance = ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        self._iptables("-I", "INPUT", "-i", "eth0", *chance, "-j", "DROP")

    def heal(self) -> None:
        """End every network fault."""
        run("ip", "-n", self._switch, "link", "set", f"p{self.index}", "up")
        self._iptables("-F", "INPUT")

    # What it holds ------------------------------------------------------------------------

    def containers(self, *, label: str = "", dialers: bool = False) -> list[Container]:
        """All containers, running or not, that carry `label` ("key" or "key=value").

        Args:
            dialers: with Ironfree's own, which dial for it and serve its network.
        """
        with self._api() as api:
            found = api.containers(all=True, filters={"label": label} if label else None)
        return [
            Container(
                id=item["Id"],
                name=item["Names"][0].lstrip("/") if item["Names"] else "",
                image=item["Image"],
                state=item["State"],
                status=item["Status"],
                labels=item["Labels"] or {},
            )
            for item in found
            if dialers or not any(name.startswith(_HELPERS) for name in item["Names"])
        ]

    def inspect(self, container: str) -> dict[str, Any]:
        """The daemon's full description of a container, by name or id."""
        with self._api() as api:
            return api.inspect_container(container)

    def kill(self, container: str, name: str = "KILL") -> None:
        """Send signal `name` to a container behind the scheduler's back."""
        with self._api() as api:
            api.kill(container, name)

    def remove(self, container: str) -> None:
        """Remove a container by force behind the scheduler's back."""
        with self._api() as api:
            api.remove_container(container, force=True, v=True)

    def volumes(self) -> list[str]:
        """Names of the host's volumes."""
        with self._api() as api:
            return [item["Name"] for item in api.volumes()["Volumes"] or []]

    def images(self) -> set[str]:
        """Tags of the host's images."""
        with self._api() as api:
            return {tag for item in api.images() for tag in item["RepoTags"] or []}

    def load(self, archive: bytes) -> None:
        """Load an image archive, as `docker load`."""
        with self._api(timeout=60) as api:
            for line in api.load_image(archive, quiet=True):
                if "error" in line:
                    raise RuntimeError(f"{self.name} cannot load the image: {line['error']}")

    def remove_image(self, name: str) -> None:
        """Remove an image; nothing if it is absent."""
        with self._api() as api, contextlib.suppress(docker.errors.ImageNotFound):
            api.remove_image(name, force=True)

    def run(self, *arguments: str) -> str:
        """Run `docker ARGUMENTS…` against this host; returns stdout."""
        return run("docker", "-H", f"unix://{self.unix_socket}", *arguments)

    def reset(self) -> None:
        """End every fault and remove all containers, volumes and networks; images stay."""
        self.boot(wait=False)
        if self._daemon is not None:
            self.resume_daemon()
        if not self.live_restore:
            self.kill_daemon()
            self.live_restore = True
        self.start_daemon(wait=False)
        self.wait_ready()
        self.heal()
        with self._api(timeout=60) as api:
            self._remove_containers(api)
            for volume in api.volumes()["Volumes"] or []:
                with contextlib.suppress(docker.errors.NotFound):  # the scheduler was faster
                    api.remove_volume(volume["Name"], force=True)
            for network in api.networks(filters={"type": "custom"}):
                with contextlib.suppress(docker.errors.APIError):  # a container has just come
                    api.remove_network(network["Id"])

    def _remove_containers(self, api: docker.APIClient) -> None:
        for item in api.containers(all=True, quiet=True):
            with contextlib.suppress(docker.errors.NotFound):
                _remove(api, item["Id"])

    def log(self) -> str:
        """What dockerd wrote."""
        return (self.directory / "dockerd.log").read_text(errors="replace")

    # ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _api(self, timeout: float = 10) -> Iterator[docker.APIClient]:
        client = docker.APIClient(f"unix://{self.unix_socket}", version="1.41", timeout=timeout)
        try:
            yield client
        finally:
            client.close()

    def _plug_in(self) -> None:
        host, switch, port = self.namespace, self._switch, f"p{self.index}"
        card = f"02:00:00:00:00:{self.index:02x}"  # the same at each boot: neighbours remember it
        run("ip", "netns", "add", host)
        subprocess.run(  # a cable of the life before goes away a moment after its namespace
            ["ip", "-n", switch, "link", "delete", port], check=False, capture_output=True
        )
        cable = ["type", "veth", "peer", "name", "eth0", "netns", host]
        run("ip", "-n", switch, "link", "add", port, *cable)
        run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", host, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", host, "link", "set", "eth0", "address", card, "up")
        run("ip", "-n", host, "link", "set", "lo", "up")

    def _write_configuration(self) -> None:
        configuration = {
            "insecure-registries": [self._registries],
            "max-download-attempts": 2,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "live-restore": self.live_restore,
        }
        (self.directory / "daemon.json").write_text(json.dumps(configuration))

    def _daemon_command(self) -> list[str]:
        tls, directory = self._tls, self.directory
        options = {
            "--data-root": directory / "data",
            "--exec-root": "/run/docker",
            "--pidfile": "/run/docker.pid",
            "--tlscacert": tls.ca,
            "--tlscert": tls.server_cert,
            "--tlskey": tls.server_key,
            "--bip": f"10.88.{self.index}.1/24",
            "--default-address-pool": f"base=10.{100 + self.index}.0.0/16,size=24",
            "--cgroup-parent": f"/{self.namespace}",
            "--config-file": directory / "daemon.json",
        }
        listen = [
            f"unix://{self.unix_socket}",
            "unix:///run/docker.sock",
            f"tcp://{self.tcp_address}",
        ]
        arguments = [f"--host={address}" for address in listen]
        arguments += ["--tlsverify", *(f"{key}={value}" for key, value in options.items())]
        return ["dockerd", *arguments]

    def _in_network(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def _iptables(self, *arguments: str) -> None:
        run(*self._in_network(), "iptables", "-w", *arguments)

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.directory / "dockerd.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # no proxy and no credentials of whoever runs the tests
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.directory)},
                start_new_session=True,
            )

    def _init_pid(self) -> int:
        """PID 1 of the host, seen from outside, once it has become tini."""
        assert self._outer is not None, f"{self.name} is off"
        deadline = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < deadline and self._outer.poll() is None:
            for pid in _children(self._outer.pid):
                if _command_name(pid).startswith("tini"):
                    return pid
            time.sleep(0.005)
        raise RuntimeError(f"PID 1 of {self.name} did not start:\n{self.log()[-3000:]}")

    def _daemon_pid(self) -> int:
        assert self._daemon is not None, f"dockerd of {self.name} is down"
        while not (pids := _children(self._daemon.pid)):  # nsenter forks a moment after its start
            if self._daemon.poll() is not None:
                raise RuntimeError(f"dockerd of {self.name} ended:\n{self.log()[-3000:]}")
            time.sleep(0.002)
        return pids[0]


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]


def _command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return ""


def _remove(api: docker.APIClient, container: str) -> None:
    """Remove it; if somebody else is at it, until it is gone: he may fail, and not try again."""
    while True:
        try:
            api.remove_container(container, force=True, v=True)
            return
        except docker.errors.APIError as error:
            if "already in progress" not in str(error):
                raise
        time.sleep(0.1)
