"""The program that gives pods the addresses and names of services, between hosts of namespaces."""

import contextlib
import hashlib
import os
import random
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.docker.tests.network_hosts import (
    KEY,
    PEERS,
    WAIT,
    HostNetwork,
    Hosts,
    accept,
    hello,
    lodge,
    read_all,
    read_exactly,
)

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


# --- connections ------------------------------------------------------------------------------


def test_a_service_answers_on_its_own_host_and_on_others(hosts: Hosts):
    one = hosts[0]
    one.serve(one.pod(1), 80, says(b"first"))
    for host, peer in (hosts, hosts[::-1]):
        assert host.run().state(*ground(host, peer), listen((one, 1))) == []
        assert host.read(SERVICE, 80) == b"first"


def test_connections_are_spread_over_backends_and_a_dead_one_is_passed_over(hosts: Hosts):
    one, other = hosts
    pods = [
        one.serve(one.pod(1), 80, says(b"1")),
        one.serve(one.pod(2), 80, says(b"2")),
        other.serve(other.pod(1), 80, says(b"3")),
    ]
    program = one.run()
    other.run().state(*ground(other, one))
    program.state(*ground(one, other), listen((one, 1), (one, 2), (other, 1), (other, 2), (one, 3)))
    answers = [one.read(SERVICE, 80) for _ in range(60)]
    assert set(answers) == {b"1", b"2", b"3"}
    assert sum(pod.served for pod in pods) == 60
    assert max(pod.served for pod in pods) < 50
    program.say(f"unpeer {other.pods}", listen((one, 1)))
    assert one.read(SERVICE, 80) == b"1"


def test_a_client_sticks_to_a_backend(hosts: Hosts):
    one, other = hosts
    pods = {number: one.serve(one.pod(number), 80, says(b"%d" % number)) for number in (1, 2, 3, 4)}
    program = one.run()
    program.state(*ground(one, other), listen(*((one, n) for n in pods), sticky=1))
    chosen = {}
    for source in (one.address, *(one.pod(n) for n in range(1, 6)), "127.0.0.1"):
        answers = {one.read(SERVICE, 80, source) for _ in range(6)}
        assert len(answers) == 1
        chosen[source] = int(answers.pop())
    assert len(set(chosen.values())) > 1
    gone = chosen["127.0.0.1"]
    left = [number for number in pods if number != gone]
    pods[gone].close()
    assert int(one.read(SERVICE, 80, "127.0.0.1")) in left
    program.say(listen(*((one, n) for n in left), sticky=1))
    for source, number in chosen.items():
        if number != gone:
            assert int(one.read(SERVICE, 80, source)) == number


@pytest.mark.parametrize("far", [False, True])
def test_much_is_carried_both_ways_and_ends_are_passed_on(hosts: Hosts, far: bool):
    one, other = hosts
    sizes = 20_000_000
    there, back = (random.Random(seed).randbytes(sizes) for seed in (1, 2))
    home = other if far else one
    server = home.listen(home.pod(1), 80)
    one.run().state(*ground(one, other), listen((home, 1)))
    other.run().state(*ground(other, one))
    with one.connect(SERVICE, 80) as client, accept(server) as pod:
        got: dict[str, bytes] = {}

        def read(name: str, connection: socket.socket) -> None:
            got[name] = read_all(connection)

        def send() -> None:
            client.sendall(there)
            client.shutdown(socket.SHUT_WR)

        readers = [
            threading.Thread(target=read, args=each) for each in (("pod", pod), ("client", client))
        ]
        sender = threading.Thread(target=send)
        for thread in (*readers, sender):
            thread.start()
        pod.sendall(back)
        sender.join(WAIT)
        readers[0].join(WAIT)
        assert hashlib.sha256(got["pod"]).digest() == hashlib.sha256(there).digest()
        pod.sendall(b"the end")
        pod.shutdown(socket.SHUT_WR)
        readers[1].join(WAIT)
        assert got["client"] == back + b"the end"


@pytest.mark.parametrize("far", [False, True])
def test_a_reset_is_passed_on(hosts: Hosts, far: bool):
    one, other = hosts
    home = other if far else one
    server = home.listen(home.pod(1), 80)
    one.run().state(*ground(one, other), listen((home, 1)))
    other.run().state(*ground(other, one))
    linger = b"\1\0\0\0\0\0\0\0"
    for which in (0, 1):
        with one.connect(SERVICE, 80) as client, accept(server) as pod:
            ends = (client, pod)
            ends[0].sendall(b"x")
            assert ends[1].recv(1) == b"x"
            ends[which].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            ends[which].close()
            with pytest.raises(ConnectionResetError):
                ends[1 - which].recv(1)


def test_what_came_before_a_reset_arrives(hosts: Hosts):
    one, other = hosts
    server = one.listen(one.pod(1), 80)
    program = one.run()
    program.state(*ground(one, other), listen((one, 1)))
    with one.connect(SERVICE, 80) as client, accept(server) as pod:
        client.sendall(b"x" * 100_000)
        assert pod.recv(1) == b"x"
        program.process.send_signal(signal.SIGSTOP)
        pod.sendall(b"too much")
        pod.close()
        program.process.send_signal(signal.SIGCONT)
        assert client.recv(100) == b"too much"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_slow_reader_holds_up_only_its_own_connection(hosts: Hosts):
    one, other = hosts
    content = bytes(3_000_000)
    one.serve(one.pod(1), 80, says(content))
    one.run().state(*ground(one, other), listen((one, 1)))
    with one.connect(SERVICE, 80) as slow:
        for _ in range(3):
            assert one.read(SERVICE, 80) == content
        assert read_all(slow) == content


def test_without_backends_connections_are_refused(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), listen((one, 1)))
    assert one.read(SERVICE, 80) == b"1"
    program.say(listen())
    with pytest.raises(ConnectionRefusedError):
        one.connect(SERVICE, 80)
    program.say(listen((one, 1)))
    assert one.read(SERVICE, 80) == b"1"
    program.say(f"unlisten {SERVICE} 80 tcp")
    with pytest.raises(ConnectionRefusedError):
        one.connect(SERVICE, 80)


def test_a_client_is_reset_when_no_backend_accepts(hosts: Hosts):
    one, other = hosts
    one.run().state(*ground(one, other), listen((one, 1), (other, 1)))
    with pytest.raises(ConnectionResetError):
        one.read(SERVICE, 80)


def waits(connect: Callable[[], socket.socket]) -> bool:
    """Whether a new connection is held, or reset within a moment."""
    try:
        client = connect()
        client.settimeout(0.1)
        client.recv(1)
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False
    raise AssertionError("it was answered, or ended in order")


def test_a_client_cannot_take_all_connections(hosts: Hosts):
    one, other = hosts
    program = one.run()
    program.state(*ground(one, other), f"resolver {SERVICE} 53")  # which waits for queries
    most = 8192
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 2 * most:
        pytest.skip("too few files may be open")
    with contextlib.ExitStack() as restoring:
        restoring.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))

        def connect(source: str) -> socket.socket:
            client = restoring.enter_context(socket.socket())
            client.settimeout(WAIT)
            client.bind((source, 0))
            client.connect((SERVICE, 53))
            return client

        for _ in range(most // 64):
            held = one.do(lambda: [connect(one.pod(1)) for _ in range(64)])
        with pytest.raises(ConnectionResetError):  # at the latest when it waits
            one.do(connect, one.pod(1)).recv(1)
        another = one.do(connect, one.pod(2))
        for each in (another, held[-1]):
            each.settimeout(0.2)
            with pytest.raises(TimeoutError):
                each.recv(1)
        held[-1].close()
        assert any(waits(lambda: one.do(connect, one.pod(1))) for _ in range(WAIT * 10))


# --- peers ------------------------------------------------------------------------------------


def test_a_peer_is_answered_only_with_the_key_and_for_pods_of_this_host(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    own = ("10.1.0.0", "10.1.0.1", "10.1.0.255")
    one.ip(*(f"addr add {ip}/32 dev lo" for ip in own))
    for ip in (one.address, *own):
        one.serve(ip, 80, says(b"host"))
    program = one.run()

    def asked(said: bytes) -> bytes:
        with other.connect(one.address, PEERS) as connection:
            connection.sendall(said)
            return read_all(connection)

    good = hello(KEY, 6, one.pod(1), 80)
    program.say(f"self {one.pods}")
    assert asked(hello("00" * 32, 6, one.pod(1), 80)) == b""
    program.say(f"key {KEY}")
    assert asked(good) == b"\0" + b"1"
    for bad in (
        hello("5b" + KEY[2:], 6, one.pod(1), 80),
        hello(KEY[:-2] + "5b", 6, one.pod(1), 80),
        hello(KEY, 7, one.pod(1), 80),
        hello(KEY, 6, one.address, 80),
        hello(KEY, 6, "127.0.0.1", 80),
        *(hello(KEY, 6, ip, 80) for ip in own),
        hello(KEY, 6, one.pod(1), 81),
        b"IFN2" + good[4:],
    ):
        assert asked(bad) == b""
    with other.connect(one.address, PEERS) as connection:
        connection.sendall(good[:20])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    with other.connect(one.address, PEERS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in good:
            connection.sendall(bytes([byte]))
        assert read_all(connection) == b"\0" + b"1"


def test_silent_peers_are_few_and_are_cut_off(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other))
    silent = [other.connect(one.address, PEERS) for _ in range(256)]
    silent[1].close()
    with other.connect(one.address, PEERS) as peer:
        peer.sendall(hello(KEY, 6, one.pod(1), 80))
        assert read_all(peer) == b"\0" + b"1"
    silent += [other.connect(one.address, PEERS) for _ in range(11)]
    for each in (silent[0], *silent[2:11]):
        each.settimeout(1)
        assert each.recv(1) == b""
    program.process.send_signal(signal.SIGSTOP)
    silent[11].sendall(hello(KEY, 6, one.pod(1), 80))
    silent += [other.connect(one.address, PEERS) for _ in range(2)]
    program.process.send_signal(signal.SIGCONT)
    assert read_all(silent[11]) == b"\0" + b"1", "it had said what it wanted"
    assert silent[12].recv(1) == b""
    silent[13].setblocking(False)
    with pytest.raises(BlockingIOError):
        silent[13].recv(1)
    silent[13].settimeout(WAIT)
    for each in silent[13:]:
        assert each.recv(1) == b""


def test_a_peer_port_that_is_taken_is_told(hosts: Hosts):
    one = hosts[0]
    with one.listen("0.0.0.0", 7000):
        program = one.run(port=7000)
        assert program.line() == "fail peers 98"
        assert program.say() == []
        for _ in range(2):
            assert program.state() == ["fail peers 98"]
    assert program.state() == []


# --- what is said -----------------------------------------------------------------------------


def test_a_statement_drops_what_it_does_not_say_and_leaves_the_rest_alone(hosts: Hosts):
    one, other = hosts
    server = one.listen(one.pod(1), 80)
    kept, gone = (f"listen 10.96.0.{n} 80 tcp 0 {one.pod(1)}:80" for n in (1, 2))
    program = one.run()
    program.state(*ground(one, other), "range 10.97.0.0/16", kept, gone)
    with one.connect("10.96.0.1", 80) as client, accept(server) as pod:
        program.write("reset .\n")
        program.write("".join(f"{line} .\n" for line in (*ground(one, other), kept)))
        with one.connect("10.96.0.2", 80), accept(server):
            pass
        assert program.say() == []
        with pytest.raises(ConnectionRefusedError):
            one.connect("10.96.0.2", 80)
        client.sendall(b"still")
        assert pod.recv(5) == b"still"
        program.say(f"listen 10.96.0.1 80 tcp 0 {one.pod(2)}:80")
        pod.sendall(b"there")
        assert client.recv(5) == b"there"
    routes = one.ip("route show table local")
    assert "10.96.0.0/16" in routes
    assert "10.97.0.0/16" not in routes
    program.state()
    assert "10.96.0.0/16" not in one.ip("route show table local")


def test_lines_that_are_cut_or_not_understood_change_nothing(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), listen((one, 1)))
    for bad in (
        b"reset\n",
        b"resetx.\n",
        b"reset ",
        b"reset  .\n",
        b" reset .\n",
        f"listen {SERVICE} 80 tcp 0\n".encode(),
        f"listen {SERVICE} 80 tcp 0 10.1.0.2:8".encode(),
        f"listen {SERVICE} 80 tcp 2 .\n".encode(),
        f"listen {SERVICE} 80 tcp 0 10.1.0.2:99999 .\n".encode(),
        f"listen {SERVICE} 80 tcp 0 10.1.0.256:80 .\n".encode(),
        f"listen {SERVICE} 80 tcp 0 10.1.0.2 .\n".encode(),
        f"listen {SERVICE}\0 80 tcp 0 .\n".encode(),
        f"unlisten {SERVICE} 80 tcp x .\n".encode(),
        f"key {KEY}00 .\n".encode(),
        f"listen {SERVICE} 80 tcp 0 ".encode() + b"10.1.0.2:81 " * 6000 + b".\n",
        b"commit 123456789012345678901 .\n",
        b"commit -1 .\n",
        random.Random(1).randbytes(200_000),
    ):
        program.write(bad)
        program.write("\n")
        assert program.say() == [], bad
    assert one.read(SERVICE, 80) == b"1"
    program.write(f"unlisten {SERVICE} 80 tc")
    program.write("p .\n")
    program.say()
    with pytest.raises(ConnectionRefusedError):
        one.connect(SERVICE, 80)


def test_it_serves_on_after_its_feeder_is_gone(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), listen((one, 1)))
    program.input.close()
    program.output.close()
    for _ in range(3):
        assert one.read(SERVICE, 80) == b"1"
    assert program.process.poll() is None
    assert program.end() == 0


def test_a_range_that_is_reached_otherwise_is_refused(hosts: Hosts):
    one = hosts[0]
    one.ip("route add 10.98.7.0/24 via 192.168.77.2", "route add default via 192.168.77.2")
    one.ip("route add 10.99.0.0/16 via 192.168.77.2 table 100", "addr add 10.100.0.1/32 dev lo")
    program = one.run()
    assert program.state("range 10.98.0.0/16") == ["fail range 10.98.0.0/16 17"]
    assert program.say("range 10.98.7.128/25") == ["fail range 10.98.7.128/25 17"]
    assert program.say("range 10.99.3.0/24") == ["fail range 10.99.3.0/24 17"]
    assert program.say("range 10.100.0.0/16") == ["fail range 10.100.0.0/16 17"]
    assert program.say("range 10.98.8.0/24", "range 10.98.8.0/24", "range 10.98.0.0/22") == []
    assert "10.98.7" not in one.ip("route show table local")
    assert program.say("unrange 10.98.8.0/24", "unrange 10.98.0.0/22") == []
    assert "10.98" not in one.ip("route show table local")


def test_a_listener_that_cannot_be_had_is_told_with_each_statement_and_tried_again(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 8080, says(b"1"))
    said = f"listen {one.address} 80 tcp 0 {one.pod(1)}:8080"
    program = one.run()
    program.state(*ground(one, other))
    with one.listen("0.0.0.0", 80):
        failed = [f"fail listen {one.address} 80 tcp 98"]
        assert program.say(said) == failed
        assert program.say(said) == []
        assert program.state(*ground(one, other), said) == failed
        assert program.state(*ground(one, other), said) == failed
        assert program.say(said) == []
    assert program.say(said) == []
    assert one.read(one.address, 80) == b"1"
    outside = f"listen 10.55.0.1 80 tcp 0 {one.pod(1)}:8080"
    assert program.say(outside) == ["fail listen 10.55.0.1 80 tcp 99"]
    assert program.say("range 10.55.0.0/24") == []
    assert one.read("10.55.0.1", 80) == b"1"


def test_a_listener_on_a_pods_own_address_is_not_opened(hosts: Hosts):
    one, other = hosts
    program = one.run()
    own = f"listen {one.pod(1)} 80 tcp 0 {one.pod(2)}:80"
    one.serve(one.pod(2), 80, says(b"2"))
    assert program.state(*ground(one, other), own) == []
    one.listen(one.pod(1), 80).close()
    program.state(own, f"key {KEY}", RANGE)
    assert one.read(one.pod(1), 80) == b"2"
    program.say(f"self {one.pods}")
    with pytest.raises(ConnectionRefusedError):
        one.connect(one.pod(1), 80)


def test_it_never_connects_to_itself(hosts: Hosts):
    """As it would for a service behind itself, or for pods of a host that it does not know."""
    one, other = hosts
    pod = one.serve(one.pod(1), 81, says(b"1"))
    program = one.run()
    inner = f"listen {SERVICE} 81 tcp 0 {one.pod(1)}:81"
    outer = f"listen {SERVICE} 80 tcp 0 {SERVICE}:81"
    program.state(*ground(one, other), inner, outer)
    with pytest.raises(ConnectionResetError):
        one.read(SERVICE, 80)
    assert pod.served == 0
    program.say(f"{outer} {one.pod(1)}:81")
    assert {one.read(SERVICE, 80) for _ in range(8)} == {b"1"}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_of_the_host_does_not_lead_to_itself(hosts: Hosts, protocol: str):
    one, other = hosts
    one.ip("addr add 192.168.77.9/24 dev cable")  # the kernel's own choice is the first one
    other.serve(other.address, 30080, says(b"other"))
    one.serve(one.address, 8080, says(b"host"))
    program = one.run()
    own = " ".join(f"{ip}:30080" for ip in (one.address, "192.168.77.9", "127.0.0.1", "127.8.0.1"))
    every = f"listen 0.0.0.0 30080 {protocol} 0 {own}"
    single = f"listen {one.address} 30081 {protocol} 0 {one.address}:30081"
    program.state(*ground(one, other), every, single)

    def sockets() -> int:
        return len([*Path(f"/proc/{program.process.pid}/fd").iterdir()])

    def opened() -> int:
        text = one.do(Path("/proc/thread-self/net/snmp").read_text)
        names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
        return int(values[names.index("ActiveOpens")])

    before, opened_before = sockets(), opened()
    for port in (30080, 30081):
        if protocol == "tcp":
            with pytest.raises(ConnectionResetError):
                one.read(one.address, port)
        else:
            client = one.open(socket.SOCK_DGRAM)
            client.sendto(b"?", (one.address, port))
        assert program.say() == []
        time.sleep(0.1)
        assert sockets() <= before + 1
    assert opened() <= opened_before + 2
    if protocol == "tcp":
        program.say(f"listen 0.0.0.0 30080 tcp 0 {own} {other.address}:30080")
        assert one.read("127.0.0.1", 30080) == b"other"
        program.say(f"listen 0.0.0.0 30080 tcp 0 {own} {one.address}:8080")
        assert one.read("127.0.0.1", 30080) == b"host"


def test_the_gateway_of_pods_is_no_backend(hosts: Hosts):
    one, other = hosts
    own = ("10.1.0.0", "10.1.0.1", "10.1.0.255")
    one.ip(*(f"addr add {ip}/32 dev lo" for ip in own))
    for ip in own:
        one.serve(ip, 80, says(b"host"))
    one.serve(one.pod(1), 80, says(b"1"))
    host = " ".join(f"{ip}:80" for ip in own)
    program = one.run()
    program.state(*ground(one, other), f"listen {SERVICE} 80 tcp 0 {host}")
    with pytest.raises(ConnectionResetError):
        one.read(SERVICE, 80)
    program.say(f"listen {SERVICE} 80 tcp 0 {host} {one.pod(1)}:80")
    assert {one.read(SERVICE, 80) for _ in range(8)} == {b"1"}


def test_its_end_removes_the_routes(hosts: Hosts):
    one = hosts[0]

    def routes() -> set[str]:
        shown = one.ip("route show table local").splitlines()
        return {line.replace("linkdown", "").strip() for line in shown}

    before = routes()
    program = one.run()
    program.state(RANGE, "range 10.97.1.0/24")
    assert len(routes() - before) == 2
    assert program.end() == 0
    assert routes() == before


def test_routes_that_a_killed_one_left_go_with_the_first_statement(hosts: Hosts):
    one = hosts[0]
    killed = one.run()
    killed.state(RANGE, f"range {one.pods}")  # what is its own subnet now was another's before
    killed.process.kill()
    killed.process.wait()
    kept = "route add local 10.98.0.0/16 dev lo table local proto 74"
    one.ip(kept)
    one.run().state(RANGE, f"self {one.pods}")
    left = one.ip("route show table local")
    assert one.pods not in left
    assert RANGE.split()[1] in left
    assert "10.98.0.0/16" in left, "it is somebody else's"


# --- ports that others have ---------------------------------------------------------------------


TABLE = f"ironfree-{PEERS}"


@pytest.fixture
def guest(hosts: Hosts) -> Iterator[HostNetwork]:
    """A pod of the first host, in a namespace of its own."""
    with contextlib.closing(HostNetwork(3)) as guest:
        lodge(guest, hosts[0])
        yield guest


def served(host: HostNetwork) -> set[str]:
    """The addresses and ports that lead to the program, and no socket of their own."""
    listed = host.command("nft", "list", "set", "ip", TABLE, "services")
    return set(re.findall(r"([\d.]+ \. \d+)", listed))


def rules(host: HostNetwork) -> str:
    return host.command("nft", "-n", "list", "chain", "ip", TABLE, "services")


def tables(host: HostNetwork) -> str:
    return host.command("nft", "list", "tables")


def test_a_service_and_a_program_of_the_host_have_the_same_port(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    one.serve(one.pod(1), 8080, says(b"pod"))
    said = [
        f"listen {SERVICE} {port} tcp 0 {one.pod(1)}:8080" for port in (80, 81, PEERS, 1, 65535)
    ]
    one.serve("0.0.0.0", 80, says(b"before"))
    assert one.run().state(*ground(one, other), *said) == []
    one.serve("0.0.0.0", 81, says(b"after"))
    for client in (one, guest):
        assert client.read(one.address, 80) == b"before"
        assert client.read(one.address, 81) == b"after"
        for port in (80, 81, PEERS, 1, 65535):
            assert client.read(SERVICE, port) == b"pod"


def test_what_docker_has_published_does_not_catch_services(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    rule = "-m addrtype --dst-type LOCAL -j DOCKER"
    for words in (
        "-N DOCKER",
        f"-A PREROUTING {rule}",
        f"-A OUTPUT ! -d 127.0.0.0/8 {rule}",
        f"-A DOCKER -p tcp --dport 80 -j DNAT --to-destination {one.pod(5)}:8080",
        f"-A DOCKER -p udp --dport 80 -j DNAT --to-destination {one.pod(5)}:8080",
    ):
        one.command("iptables", "-t", "nat", *words.split())
    one.serve(one.pod(5), 8080, says(b"published"))
    one.serve(one.pod(1), 81, says(b"pod"))
    published, pod = one.datagrams(one.pod(5), 8080), one.datagrams(one.pod(1), 81)
    program = one.run()
    said = [f"listen {SERVICE} 80 {protocol} 0 {one.pod(1)}:81" for protocol in ("tcp", "udp")]
    program.state(*ground(one, other), *said)
    for client in (one, guest):
        assert client.read(one.address, 80) == b"published"
        assert client.read(SERVICE, 80) == b"pod"
        asker = client.open(socket.SOCK_DGRAM)
        asker.connect((one.address, 80))
        asker.send(b"published")
        assert echo(published) == b"published"
        assert asker.recv(10) == b"dehsilbup"
        asker = client_of(client)
        asker.send(b"pod")
        assert echo(pod) == b"pod"
        assert asker.recv(10) == b"dop"
    program.say(listen())
    for client in (one, guest):
        with pytest.raises(ConnectionRefusedError):
            client.connect(SERVICE, 80)


def test_pods_are_refused_what_has_no_backends(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), listen())
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            guest.connect(SERVICE, 80)
        program.say(listen((one, 1)))
        assert guest.read(SERVICE, 80) == b"1"
        program.say(listen())
    program.say(listen((one, 1)), "self 10.96.0.0/24")
    with pytest.raises(ConnectionRefusedError):
        guest.connect(SERVICE, 80)


def test_nobody_else_answers_for_a_service(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    one.serve("0.0.0.0", 80, says(b"host"))
    one.serve("0.0.0.0", 22, says(b"host"))
    one.serve(one.pod(1), 8080, says(b"pod"))
    program = one.run()
    program.state(*ground(one, other), listen())
    for client in (one, guest):
        assert client.read(one.address, 80) == b"host"
        for port in (80, 22):
            with pytest.raises(ConnectionRefusedError):
                client.connect(SERVICE, port)
    program.say(f"listen {SERVICE} 80 tcp 0 {one.pod(1)}:8080")
    for client in (one, guest):
        assert client.read(SERVICE, 80) == b"pod"


def test_pods_stick_to_a_backend_by_their_own_address(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    numbers = (1, 2, 3, 4)
    for number in numbers:
        one.serve(one.pod(number), 80, says(b"%d" % number))
    one.run().state(*ground(one, other), listen(*((one, n) for n in numbers), sticky=1))
    sources = [f"172.31.9.{n}" for n in range(3, 13)]
    guest.ip(*(f"addr add {source}/24 dev eth0" for source in sources))
    chosen = [{guest.read(SERVICE, 80, source) for _ in range(4)} for source in sources]
    assert {len(answers) for answers in chosen} == {1}
    assert len(set.union(*chosen)) > 1


def test_a_port_of_a_pod_may_lead_to_several_services_at_once(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    numbers = (1, 2, 3)
    for number in numbers:
        one.serve(one.pod(number), 80, says(b"%d" % number))
    said = [f"listen 10.96.0.{n} 80 tcp 0 {one.pod(n)}:80" for n in numbers]
    one.run().state(*ground(one, other), *said)
    clients = [guest.open() for _ in numbers]
    for number, client in zip(numbers, clients, strict=True):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("172.31.9.2", 4500))
        client.connect((f"10.96.0.{number}", 80))
    assert [read_all(client) for client in clients] == [b"1", b"2", b"3"]


def test_one_that_was_led_here_too_late_is_reset(hosts: Hosts, guest: HostNetwork):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    for client in (one, guest):
        program.state(*ground(one, other), listen((one, 1)))
        program.process.send_signal(signal.SIGSTOP)
        os.waitpid(program.process.pid, os.WUNTRACED)
        program.write(f"unlisten {SERVICE} 80 tcp .\n")
        with client.connect(SERVICE, 80) as late:
            program.process.send_signal(signal.SIGCONT)
            with pytest.raises(ConnectionResetError):
                late.recv(1)


def test_listeners_have_sockets_only_outside_the_ranges(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 8080, says(b"1"))
    program = one.run()
    program.state(
        *ground(one, other),
        f"listen {SERVICE} 80 tcp 0 {one.pod(1)}:8080",
        f"listen 0.0.0.0 30080 tcp 0 {one.pod(1)}:8080",
    )
    assert served(one) == {f"{SERVICE} . 80"}
    assert other.read(one.address, 30080) == b"1"
    with one.listen(SERVICE, 80):
        assert one.read(SERVICE, 80) == b"1"
    with pytest.raises(OSError, match="in use"):
        one.listen("0.0.0.0", 30080)


def test_ranges_that_come_and_go_take_their_services_with_them(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), "range 10.97.0.0/24", listen((one, 1)))
    assert rules(one).count("dnat to ip daddr") == 2
    assert "ip daddr 10.97.0.0/24" in rules(one)
    assert program.say("unrange 10.96.0.0/16", "unrange 10.97.0.0/24") == []
    assert served(one) == set()
    assert "dnat" not in rules(one)
    assert program.say("range 10.96.0.0/24") == []
    assert "ip daddr 10.96.0.0/24" in rules(one)
    assert served(one) == {f"{SERVICE} . 80"}
    assert one.read(SERVICE, 80) == b"1"
    program.state(listen((one, 1)), "range 10.98.0.0/16")
    assert served(one) == set()
    assert rules(one).count("dnat") == 1


def test_many_services_are_served_and_forgotten(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    many = [f"10.96.{n >> 8}.{n & 255}" for n in range(20_000)]
    said = [f"listen {ip} 80 tcp 0 {one.pod(1)}:80" for ip in many]
    assert program.state(*ground(one, other), *said) == []
    assert served(one) == {f"{ip} . 80" for ip in many}
    assert one.read(many[-1], 80) == b"1"
    assert program.state(*ground(one, other), *said[10:], "range 10.97.0.0/16") == []
    assert served(one) == {f"{ip} . 80" for ip in many[10:]}
    assert program.say("self 10.96.0.0/17") == []
    assert served(one) == set()
    assert program.state(*ground(one, other), *said) == []
    assert served(one) == {f"{ip} . 80" for ip in many}
    program.state(*ground(one, other), said[5])
    assert served(one) == {f"{many[5]} . 80"}


def test_a_service_is_served_before_all_is_said(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other))
    program.write(f"{listen((one, 1))} .\n")
    until = time.monotonic() + WAIT
    while not served(one):
        assert time.monotonic() < until
    assert one.read(SERVICE, 80) == b"1"


def test_its_table_goes_with_it(hosts: Hosts):
    one, other = hosts
    for end in (signal.SIGTERM, signal.SIGKILL):
        program = one.run()
        program.state(*ground(one, other), listen((one, 1)))
        assert tables(one) == f"table ip {TABLE}\n"
        program.process.send_signal(end)
        program.process.wait(WAIT)
        if end == signal.SIGTERM:
            assert tables(one) == ""
    program = one.run()
    program.state(*ground(one, other))
    assert served(one) == set()
    assert tables(one) == f"table ip {TABLE}\n"
    program.end()
    assert tables(one) == ""


def test_a_table_that_was_left_is_made_anew(hosts: Hosts):
    """As one is by a killed program where the kernel knows no owners of tables."""
    one, other = hosts
    left = f"add set ip {TABLE} services {{ type ipv4_addr . inet_service; }};"
    left += f"add element ip {TABLE} services {{ 10.96.0.9 . 80 }}"
    one.command("nft", f"add table ip {TABLE}; {left}")
    one.command("nft", "add table ip ironfree-1")
    one.serve(one.pod(1), 80, says(b"1"))
    assert one.run().state(*ground(one, other), listen((one, 1))) == []
    assert served(one) == {f"{SERVICE} . 80"}
    assert one.read(SERVICE, 80) == b"1"
    assert "table ip ironfree-1\n" in tables(one)


def test_without_a_table_services_have_sockets(hosts: Hosts):
    one, other = hosts
    holder = one.held("nft", "-i")
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"add table ip {TABLE} {{ flags owner; }}\nlist tables\n")
    while TABLE not in holder.stdout.readline():
        assert holder.poll() is None
    one.serve(one.pod(1), 8080, says(b"1"))
    said = f"listen {SERVICE} 80 tcp 0 {one.pod(1)}:8080"
    program = one.run()
    assert program.line() == "fail nat 1"
    with one.listen("0.0.0.0", 80):
        assert program.state(*ground(one, other), said) == [f"fail listen {SERVICE} 80 tcp 98"]
    assert program.say(said) == []
    assert one.read(SERVICE, 80) == b"1"
    with pytest.raises(OSError, match="in use"):
        one.listen(SERVICE, 80)


def test_a_table_is_made_as_soon_as_the_port_of_peers_is_free(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    with one.listen("0.0.0.0", PEERS):
        program = one.run()
        assert program.line() == "fail peers 98"
        program.state(*ground(one, other), listen((one, 1)))
        assert TABLE not in tables(one)
        assert one.read(SERVICE, 80) == b"1"
    program.say("range 10.97.0.0/16")
    assert served(one) == {f"{SERVICE} . 80"}
    assert one.read(SERVICE, 80) == b"1"


# --- datagrams --------------------------------------------------------------------------------


def echo(pod: socket.socket) -> bytes:
    """Answers what comes with what came, backwards."""
    got, client = pod.recvfrom(65536)
    pod.sendto(got[::-1], client)
    return got


def client_of(host: HostNetwork) -> socket.socket:
    client = host.open(socket.SOCK_DGRAM)
    client.connect((SERVICE, 80))
    return client


@pytest.mark.parametrize("far", [False, True])
def test_datagrams_are_carried_whole_both_ways(hosts: Hosts, far: bool):
    one, other = hosts
    home = other if far else one
    pod = home.datagrams(home.pod(1), 80)
    one.run().state(*ground(one, other), listen((home, 1), protocol="udp"))
    other.run().state(*ground(other, one))
    clients = [client_of(one) for _ in range(3)]
    for size in (1, 0, 1400, 65507, 30000):
        content = [random.Random(size + n).randbytes(size) for n in range(3)]
        for client, each in zip(clients, content, strict=True):
            client.send(each)
            assert echo(pod) == each
        for client, each in zip(clients, content, strict=True):
            assert client.recv(65536) == each[::-1]
    for number in range(20):
        clients[0].send(b"%d" % number)
    got, client = pod.recvfrom(100)
    numbers = [int(got), *(int(pod.recv(100)) for _ in range(19))]
    assert numbers == list(range(20))
    for number in numbers:
        pod.sendto(b"%d" % number, client)
    assert [int(clients[0].recv(100)) for _ in numbers] == numbers


def test_datagrams_sent_before_a_peer_answers_arrive(hosts: Hosts):
    one, other = hosts
    pod = other.datagrams(other.pod(1), 80)
    one.run().state(*ground(one, other), listen((other, 1), protocol="udp"))
    waiting = other.listen(other.address, PEERS)
    client = client_of(one)
    client.send(b"early")
    with accept(waiting) as peer:
        assert read_exactly(peer, 48) == hello(KEY, 17, other.pod(1), 80)
        client.send(b"also early")
        peer.sendall(b"\0")
        expected = b"\0\x05early\0\x0aalso early"
        assert read_exactly(peer, len(expected)) == expected
        for part in (b"\0", b"\5bac", b"k!\0\0\0\1"):
            peer.sendall(part)
        assert client.recv(10) == b"back!"
        assert client.recv(10) == b""
        peer.sendall(b"x")
        assert client.recv(10) == b"x"
        peer.sendall(b"\xff\xff")
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    pod.close()


@pytest.mark.parametrize("far", [False, True])
def test_clients_keep_their_backend_and_leave_one_that_refuses(hosts: Hosts, far: bool):
    one, other = hosts
    home = other if far else one
    pods = {n: home.datagrams(home.pod(n), 80) for n in (1, 2)}
    program = one.run()
    both = listen((home, 1), (home, 2), protocol="udp")
    program.state(*ground(one, other), both)
    other.run().state(*ground(other, one))
    stop = threading.Event()

    def serve(number: int) -> None:
        pod = pods[number]
        pod.settimeout(0.02)
        while not stop.is_set():
            try:
                _, client = pod.recvfrom(100)
            except TimeoutError:
                continue
            except OSError:
                return
            pod.sendto(b"%d" % number, client)

    def asked(client: socket.socket) -> int:
        client.settimeout(0.05)
        for _ in range(100):
            client.send(b"?")
            try:
                return int(client.recv(100))
            except TimeoutError:
                continue
        raise AssertionError("nobody answers")

    threads = [threading.Thread(target=serve, args=[number]) for number in pods]
    for thread in threads:
        thread.start()
    try:
        clients = [client_of(one) for _ in range(10)]
        first = [asked(client) for client in clients]
        assert set(first) == {1, 2}
        assert [asked(client) for client in clients] == first
        program.say(listen((home, 2), protocol="udp"))
        assert {asked(client) for client in clients} == {2}
        program.say(both)
        pods[2].close()
        threads[1].join(WAIT)
        assert {asked(client) for client in clients} == {1}
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT)
    program.say(listen(protocol="udp"))
    client = client_of(one)
    client.send(b"?")
    with pytest.raises(ConnectionRefusedError):
        client.recv(1)


@pytest.mark.parametrize("far", [False, True])
def test_answers_come_from_the_address_that_was_asked(hosts: Hosts, far: bool):
    one, other = hosts
    home = other if far else one
    second = "192.168.77.9"
    one.ip(f"addr add {second}/24 dev cable")
    pod = home.datagrams(home.pod(1), 80)
    one.run().state(*ground(one, other), f"listen 0.0.0.0 30080 udp 0 {home.pod(1)}:80")
    other.run().state(*ground(other, one))
    for host in hosts:
        client = host.open(socket.SOCK_DGRAM)
        for asked in (one.address, second, one.address):
            client.sendto(asked.encode(), (asked, 30080))
            assert echo(pod) == asked.encode()
            assert client.recvfrom(100) == (asked.encode()[::-1], (asked, 30080))
