"""Services of datagrams, by the program that serves a host's network."""

import random
import socket
import threading

import pytest

from plugins.docker.tests.network_hosts import (
    KEY,
    PEERS,
    WAIT,
    Hosts,
    accept,
    client_of,
    echo,
    ground,
    hello,
    listen,
    read_exactly,
)


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
