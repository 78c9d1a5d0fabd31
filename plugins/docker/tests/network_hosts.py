"""Hosts for the network program: network namespaces of this machine, joined by a cable."""

import contextlib
import ctypes
import os
import platform
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

TOOLS = Path(__file__).parents[1] / "ironfree_docker" / "tools"
PROGRAM = TOOLS / {"x86_64": "tools-amd64", "aarch64": "tools-arm64"}.get(platform.machine(), "-")
KEY = "5a" * 32
PEERS = 7946
WAIT = 10
T = TypeVar("T")
NEW_NETWORK = 0x40000000


def unshare_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK):
        raise PermissionError(ctypes.get_errno(), "no network namespace may be made")


class Pod:
    """A server on one address, which serves each connection on a thread of its own."""

    def __init__(self, server: socket.socket, serve: Callable[[socket.socket], None]):
        self.server, self.serve, self.served = server, serve, 0
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.served += 1
            thread = threading.Thread(target=self.attend, args=[connection])
            self.threads.append(thread)
            thread.start()

    def attend(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT)
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for thread in self.threads:
            thread.join(WAIT)


class Program:
    """The program on a host, and what it is told."""

    def __init__(self, process: subprocess.Popen[bytes]):
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.input, self.output = process, process.stdin, process.stdout
        self.number, self.rest = 0, b""

    def write(self, text: str | bytes) -> None:
        self.input.write(text.encode() if isinstance(text, str) else text)
        self.input.flush()

    def line(self) -> str:
        while b"\n" not in self.rest:
            assert select.select([self.output], [], [], WAIT)[0], "nothing is told"
            got = os.read(self.output.fileno(), 65536)
            assert got, "it has ended"
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def say(self, *lines: str) -> list[str]:
        """What it tells of `lines`, which take effect at once."""
        self.number += 1
        self.write("".join(f"{line} .\n" for line in (*lines, f"commit {self.number}")))
        told = []
        while (line := self.line()) != f"done {self.number}":
            told.append(line)
        return told

    def state(self, *lines: str) -> list[str]:
        return self.say("reset", *lines)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(WAIT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        with contextlib.suppress(OSError):
            self.input.close()
        self.output.close()


class HostNetwork:
    """One host: whatever is done in its namespace is done by its thread."""

    def __init__(self, number: int):
        self.number = number
        self.address = f"192.168.77.{number}"
        self.thread = ThreadPoolExecutor(1)
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.thread.shutdown)
        try:
            self.do(unshare_network)
        except BaseException:
            self.close()
            raise
        self.namespace = f"/proc/{os.getpid()}/task/{self.do(threading.get_native_id)}/ns/net"
        self.ip("link set lo up", *(f"addr add {self.pod(n)}/32 dev lo" for n in range(1, 6)))

    def close(self) -> None:
        self.closing.close()

    def pod(self, number: int) -> str:
        """The address of a pod, behind the network's own and its gateway's."""
        return f"10.{self.number}.0.{number + 1}"

    @property
    def pods(self) -> str:
        return f"10.{self.number}.0.0/24"

    def do(self, action: Callable[..., T], *args: object) -> T:
        return self.thread.submit(action, *args).result(WAIT)

    def ip(self, *commands: str) -> str:
        """What `ip` says to these commands."""
        if len(commands) == 1:
            words = ["ip", *commands[0].split()]
            return self.do(lambda: subprocess.check_output(words, timeout=WAIT, text=True))
        batch = "\n".join(commands).encode()
        self.do(lambda: subprocess.run(["ip", "-b", "-"], input=batch, check=True, timeout=WAIT))
        return ""

    def command(self, *words: str) -> str:
        """What a program of this host says."""
        return self.do(lambda: subprocess.check_output(words, timeout=WAIT, text=True))

    def held(self, *words: str) -> subprocess.Popen[str]:
        """A program of this host that is talked to."""
        process = self.do(
            lambda: subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        )
        self.closing.callback(lambda: (process.kill(), process.communicate()))
        return process

    def run(self, *, port: int = PEERS, settings: Path | None = None) -> Program:
        """The program, and optionally a file in the place of /etc/resolv.conf."""
        command = [str(PROGRAM), "network", str(port)]
        if settings is not None:
            mount = f"mount --bind {settings} /etc/resolv.conf && exec {' '.join(command)}"
            command = ["unshare", "--mount", "sh", "-c", mount]
        started = self.do(
            lambda: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        program = Program(started)
        self.closing.callback(program.close)
        return program

    def open(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        made = self.do(socket.socket, socket.AF_INET, kind)
        self.closing.callback(made.close)
        made.settimeout(WAIT)
        return made

    def serve(self, ip: str, port: int, serve: Callable[[socket.socket], None]) -> Pod:
        server = self.listen(ip, port)
        server.settimeout(None)
        pod = Pod(server, serve)
        self.closing.callback(pod.close)
        return pod

    def listen(self, ip: str, port: int) -> socket.socket:
        server = self.open()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ip, port))
        server.listen(128)
        return server

    def datagrams(self, ip: str, port: int) -> socket.socket:
        made = self.open(socket.SOCK_DGRAM)
        made.bind((ip, port))
        return made

    def connect(self, ip: str, port: int, source: str | None = None) -> socket.socket:
        made = self.open()
        if source is not None:
            made.bind((source, 0))
        made.connect((ip, port))
        return made

    def read(self, ip: str, port: int, source: str | None = None) -> bytes:
        """All that whoever is there says."""
        with self.connect(ip, port, source) as connection:
            return read_all(connection)


Hosts = tuple[HostNetwork, HostNetwork]


def read_all(connection: socket.socket) -> bytes:
    got = bytearray()
    while some := connection.recv(1 << 16):
        got += some
    return bytes(got)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """As many bytes, or fewer at the end. A socket with a timeout knows no MSG_WAITALL."""
    got = bytearray()
    while len(got) < size and (some := connection.recv(size - len(got))):
        got += some
    return bytes(got)


def accept(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(WAIT)
    return connection


def join(one: HostNetwork, other: HostNetwork) -> None:
    """Lay a cable between two hosts."""
    one.ip(f"link add cable type veth peer name cable netns {other.namespace}")
    for host in (one, other):
        host.ip(f"addr add {host.address}/24 dev cable", "link set cable up")


def lodge(guest: HostNetwork, host: HostNetwork) -> None:
    """Give a host a pod in a namespace of its own, which reaches everything through its host."""
    host.ip(f"link add guest type veth peer name eth0 netns {guest.namespace}")
    host.ip("addr add 172.31.9.1/24 dev guest", "link set guest up")
    guest.ip("addr add 172.31.9.2/24 dev eth0", "link set eth0 up")
    guest.ip("route add default via 172.31.9.1")


def hello(key: str, protocol: int, ip: str, port: int) -> bytes:
    """How a peer begins."""
    where = struct.pack(">BBH4s4x", protocol, 0, port, socket.inet_aton(ip))
    return b"IFN1" + bytes.fromhex(key) + where


RANGE = "range 10.96.0.0/16"
SERVICE = "10.96.0.10"


def ground(host: HostNetwork, other: HostNetwork) -> list[str]:
    """What is said on every host."""
    return [f"key {KEY}", f"self {host.pods}", RANGE, f"peer {other.pods} {other.address}"]


def says(text: bytes):
    """A server that says this and no more."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)

    return serve


def backends(*pods: tuple[HostNetwork, int], port: int = 80) -> str:
    return " ".join(f"{host.pod(number)}:{port}" for host, number in pods)


def listen(*pods: tuple[HostNetwork, int], sticky: int = 0, protocol: str = "tcp") -> str:
    return f"listen {SERVICE} 80 {protocol} {sticky} {backends(*pods)}".strip()


def echo(pod: socket.socket) -> bytes:
    """Answers what comes with what came, backwards."""
    got, client = pod.recvfrom(65536)
    pod.sendto(got[::-1], client)
    return got


def client_of(host: HostNetwork) -> socket.socket:
    client = host.open(socket.SOCK_DGRAM)
    client.connect((SERVICE, 80))
    return client
