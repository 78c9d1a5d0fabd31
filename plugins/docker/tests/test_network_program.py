"""Connections to services and between hosts, by the program that serves a host's network."""

import contextlib
import hashlib
import random
import resource
import signal
import socket
import threading
from collections.abc import Callable

import pytest

from plugins.docker.tests.network_hosts import (
    KEY,
    PEERS,
    SERVICE,
    WAIT,
    Hosts,
    accept,
    ground,
    hello,
    listen,
    read_all,
    says,
)

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


def test_a_client_cannot_take_all_that_leads_to_the_host_itself(hosts: Hosts):
    """As the gateway to the API does, which takes few connections."""
    one, other = hosts

    def stay(connection: socket.socket) -> None:
        connection.sendall(b".")
        connection.recv(1)

    one.serve("127.0.0.1", 8443, stay)
    program = one.run()
    program.state(*ground(one, other), f"listen {SERVICE} 443 tcp 0 127.0.0.1:8443")

    def let_in(source: str) -> socket.socket | None:
        try:
            client = one.connect(SERVICE, 443, source)
            return client if client.recv(1) == b"." else None
        except ConnectionResetError:
            return None

    held = [let_in(one.pod(1)) for _ in range(128)]
    assert None not in held
    assert let_in(one.pod(1)) is None
    assert let_in(one.pod(2)) is not None
    for client in held[:2]:
        assert client is not None
        client.close()
    assert any(let_in(one.pod(1)) is not None for _ in range(WAIT * 10))


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
