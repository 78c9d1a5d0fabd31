"""`make bench-network`: what it costs to reach a pod through the network server.

    make bench-network [ARGS="--gigabytes 2 --connections 5000"]

Two hosts, which are network namespaces of this machine joined by a cable (veth), with the program
that serves their networks. Through a Service's address and straight to where the pod listens, in
turn: one transfer, and connections one after the other, each with an answer of one byte; names,
asked one after the other. Needs root, as namespaces do. Client and pods share the machine.
"""

import argparse
import contextlib
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import track
from rich.table import Table

from plugins.docker.tests.network_hosts import KEY, HostNetwork, join

SERVICE, RESOLVER = "10.96.0.20", "10.96.0.10"
BULK, SHORT = 80, 81
_PART = 1 << 20
_ROUNDS = 5


@contextlib.contextmanager
def hosts() -> Iterator[tuple[HostNetwork, HostNetwork]]:
    """Two hosts, joined."""
    with contextlib.ExitStack() as closing:
        one, other = (closing.enter_context(contextlib.closing(HostNetwork(n))) for n in (1, 2))
        join(one, other)
        yield one, other


def pour(connection: socket.socket) -> None:
    """Send as many bytes as are asked for."""
    (left,) = struct.unpack("<Q", connection.recv(8))
    part = bytes(_PART)
    while left:
        left -= connection.send(part[: min(left, _PART)])


def answer(host: HostNetwork, where: str) -> None:
    """Send one byte to whoever connects, all on one thread."""
    server = host.listen(where, SHORT)
    server.settimeout(None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # it is closed in the end
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"1")

    threading.Thread(target=serve, daemon=True).start()
    host.closing.callback(server.shutdown, socket.SHUT_RDWR)


def transfer(client: HostNetwork, where: str, size: int) -> float:
    """Return MB/s of one transfer."""
    into = bytearray(_PART)
    with client.connect(where, BULK) as connection:
        begun = time.perf_counter()
        connection.sendall(struct.pack("<Q", size))
        left = size
        while left:
            got = connection.recv_into(into)
            assert got, "it ended early"
            left -= got
        return size / (time.perf_counter() - begun) / 1e6


def connections(client: HostNetwork, where: str, count: int) -> float:
    """Return microseconds a connection."""
    begun = time.perf_counter()
    for _ in range(count):
        with client.connect(where, SHORT) as connection:
            assert connection.recv(1) == b"1"
    return (time.perf_counter() - begun) / count * 1e6


def names(client: HostNetwork, count: int) -> float:
    """Return microseconds a question for a name of the cluster."""
    labels = b"".join(bytes([len(x)]) + x for x in b"web.default.svc.cluster.local".split(b"."))
    asker = client.open(socket.SOCK_DGRAM)
    asker.connect((RESOLVER, 53))
    begun = time.perf_counter()
    for number in range(count):
        asker.send(
            struct.pack(">HHHHHH", number & 0xFFFF, 256, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
        )
        assert asker.recv(512)[6:8] == b"\0\1", "one answer"
    return (time.perf_counter() - begun) / count * 1e6


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of a transfer")
    parser.add_argument("--connections", type=int, default=2000, help="one after the other")
    wanted = parser.parse_args()
    size = int(wanted.gigabytes * 1e9)
    with hosts() as (one, other):
        ground = [
            f"key {KEY}",
            "range 10.96.0.0/16",
            f"resolver {RESOLVER} 53",
            "zone cluster.local",
        ]
        for host, peer in ((one, other), (other, one)):
            host.serve(host.pod(1), BULK, pour)
            answer(host, host.pod(1))
            answer(host, host.address)
            host.serve(host.address, BULK, pour)
            host.run().state(
                *ground,
                f"self {host.pods}",
                f"peer {peer.pods} {peer.address}",
                *(f"listen {SERVICE} {port} tcp 0 {one.pod(1)}:{port}" for port in (BULK, SHORT)),
                "name web.default.svc.cluster.local a 10.96.0.20",
            )
        ways = {
            ("same host", "straight"): (one, one.pod(1)),
            ("same host", "Service"): (one, SERVICE),
            ("from host to host", "straight"): (other, one.address),
            ("from host to host", "Service"): (other, SERVICE),
        }
        found: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
        asked: list[float] = []
        for _ in track(range(_ROUNDS), "rounds"):
            for way, (client, where) in ways.items():
                each = wanted.connections // _ROUNDS
                found[way].append((transfer(client, where, size), connections(client, where, each)))
            asked.append(names(one, wanted.connections // _ROUNDS))
    table = Table(title=f"{_ROUNDS} rounds, medians")
    for column in ("", "", "one transfer, MB/s", "a connection with an answer, µs"):
        table.add_column(column, justify="right")
    for (where, how), rounds in found.items():
        moved, took = (statistics.median(each) for each in zip(*rounds, strict=True))
        table.add_row(where, how, f"{moved:,.0f}", f"{took:,.0f}")
    Console(width=120).print(table, f"a name: {statistics.median(asked):,.0f} µs")


if __name__ == "__main__":
    main()
