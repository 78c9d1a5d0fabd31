"""The lab: a switch, certificates, N hosts, and a watchdog that cleans up after a crash."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from . import certificates, images
from .certificates import Tls
from .host import Host
from .podman import PodmanHost
from .registry import Registry
from .slot import Slot, run

Further = TypeVar("Further", bound=Host)
_PROGRAMS = {
    "dockerd": "docker.io",
    "tini-static": "tini",
    "ip": "iproute2",
    "iptables": "iptables",
    "busybox": "busybox-static",
    "gcc": "gcc libc6-dev",
    "openssl": "openssl",
    "docker-registry": "docker-registry",
    "nsenter": "util-linux",
}


def missing_requirements() -> str:
    """Why no lab can run here, or "" if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the lab of Docker hosts needs root on Linux"
    absent = sorted({package for name, package in _PROGRAMS.items() if shutil.which(name) is None})
    if absent:
        return f"the lab of Docker hosts needs the Debian packages {' '.join(absent)}"
    if importlib.util.find_spec("docker") is None:
        return "the lab of Docker hosts needs the Python package docker"
    return ""


class Lab:
    """Several Docker hosts on one switch.

    Attributes:
        hosts: in order; `host-1` first.
        tls: certificates with which a client reaches every host's `tcp_address`.
        gateway: this machine's address on the lab's switch; containers can reach it.
    """

    def __init__(self, slot: Slot, count: int) -> None:
        self.gateway = f"10.77.{slot.number}.254"
        self._slot = slot
        self._registry: Registry | None = None
        self._watchdog = subprocess.Popen(
            ["sh", "-c", 'cat; exec "$@"', "sh", sys.executable, slot_program(), str(slot.number)],
            stdin=subprocess.PIPE,  # closed by the kernel when this process dies, however it dies
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        addresses = [f"10.77.{slot.number}.{index}" for index in range(1, count + 2)]
        self.tls: Tls = certificates.make(slot.directory / "tls", addresses)
        self._build_switch()
        self.hosts = [Host(slot, index, self.tls) for index in range(1, count + 1)]

    @classmethod
    def start(cls, count: int = 3) -> "Lab":
        """Claim a slot and boot `count` hosts (1 to 16) with the lab's images loaded."""
        Path("/etc/docker").mkdir(exist_ok=True)  # a mount point; nothing is written here
        lab = cls(Slot.claim(), count)
        try:
            for host in lab.hosts:
                host.boot(wait=False)
            archives = images.lab_images(lab._slot.directory)
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda host: lab._prepare(host, archives), lab.hosts))
        except BaseException:
            lab.close()
            raise
        return lab

    @property
    def watchdog_pid(self) -> int:
        """The process that sweeps the slot when this one is gone."""
        return self._watchdog.pid

    def close(self) -> None:
        """Power everything off and leave nothing behind."""
        if self._registry is not None:
            self._registry.stop()
        for host in self.hosts:
            host.power_off()
        self._slot.sweep()
        self._watchdog.kill()
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait()
        self._slot.release()

    def reset(self) -> None:
        """`Host.reset` on every host at once."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(Host.reset, self.hosts))

    def host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for host in self.hosts if host.name == name)

    def small_host(self, disk: int) -> AbstractContextManager[Host]:
        """One more host, with a disk of so many MiB of its own and the shell image."""
        return self._one_more(Host(self._slot, len(self.hosts) + 1, self.tls, disk))

    def podman_host(self) -> AbstractContextManager[PodmanHost]:
        """One more host, with Podman for its engine and the shell image."""
        return self._one_more(PodmanHost(self._slot, len(self.hosts) + 1, self.tls))

    @staticmethod
    @contextlib.contextmanager
    def _one_more(host: Further) -> Iterator[Further]:
        try:
            host.boot()
            host.load(images.shell_image())
            yield host
        finally:
            host.power_off()
            shutil.rmtree(host.directory)

    def registry(self) -> Registry:
        """A real registry that all hosts trust, started at the first call."""
        if self._registry is None:
            self._registry = Registry(self.gateway, self._slot.directory / "registry")
        return self._registry

    @staticmethod
    def _prepare(host: Host, archives: list[bytes]) -> None:
        host.wait_ready()
        for archive in archives:
            host.load(archive)

    def _build_switch(self) -> None:
        switch, uplink = f"{self._slot.prefix}sw", f"{self._slot.prefix}up"
        commands = [
            f"ip netns add {switch}",
            f"ip -n {switch} link add br0 type bridge",
            f"ip -n {switch} link set br0 up",
            f"ip link add {uplink} type veth peer name root netns {switch}",
            f"ip -n {switch} link set root master br0 up",
            f"ip address add {self.gateway}/24 dev {uplink}",
            f"ip link set {uplink} up",
        ]
        for command in commands:
            run(*command.split())


def slot_program() -> str:
    """Path of the program that sweeps a slot."""
    return str(Path(__file__).with_name("slot.py"))
