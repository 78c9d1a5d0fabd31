"""What the program that serves a host's network makes of what it is told."""

import contextlib
import random
import socket
import time
from pathlib import Path

import pytest

from plugins.docker.tests.network_hosts import (
    KEY,
    RANGE,
    SERVICE,
    Hosts,
    accept,
    ground,
    listen,
    says,
)


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


def test_statements_of_two_feeders_drop_nothing_that_the_other_says(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    first, second, third = (f"listen 10.96.0.{n} 80 tcp 0 {one.pod(1)}:80" for n in (1, 2, 3))
    program = one.run()
    program.state(*ground(one, other), first, second, third)

    def served() -> list[int]:
        found: list[int] = []
        for number in (1, 2, 3):
            with contextlib.suppress(ConnectionRefusedError):
                assert one.read(f"10.96.0.{number}", 80) == b"1"
                found.append(number)
        return found

    def feed(*lines: str) -> None:
        program.write("".join(f"{line} .\n" for line in lines))
        if lines[-1].startswith("commit"):
            assert program.line() == lines[-1].replace("commit", "done")

    feed("reset 18446744073709551615", *ground(one, other), first)
    feed("commit 77")
    assert served() == [1, 2, 3], "the commit was of nothing that had begun"
    feed(second, "commit 18446744073709551615")
    assert served() == [1, 2]
    feed("reset 78", third)
    feed("reset 79", *ground(one, other), first, "commit 79")
    assert served() == [1, 3], "what was said by the one that began first"
    feed(second, "commit 78")
    assert served() == [1, 2, 3], "that is over"
    feed("reset 80", *ground(one, other), first, "commit 80")
    assert served() == [1]


def test_lines_that_are_cut_or_not_understood_change_nothing(hosts: Hosts):
    one, other = hosts
    one.serve(one.pod(1), 80, says(b"1"))
    program = one.run()
    program.state(*ground(one, other), listen((one, 1)))
    for bad in (
        b"reset\n",
        b"resetx.\n",
        b"reset ",
        b"reset x .\n",
        b"reset 123456789012345678901 .\n",
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


def test_a_range_with_the_hosts_name_server_is_refused_unless_it_is_this_program(
    hosts: Hosts, tmp_path: Path
):
    settings = tmp_path / "resolv.conf"
    settings.write_text("nameserver 10.98.0.10\nnameserver 10.99.3.1\n")
    program = hosts[0].run(settings=settings)
    ranges = ("range 10.98.0.0/16", "range 10.99.0.0/16", "range 10.100.0.0/16")
    refused = ["fail range 10.99.0.0/16 17"]
    assert program.state("resolver 10.98.0.10 53", *ranges) == refused
    said = program.state("resolver 10.98.0.10 53", "self 10.99.3.0/24", ranges[0])
    assert said == ["fail range 10.99.3.0/24 17"], "of the pods' own it is told"
    settings.write_text("nameserver 192.168.77.2\n")
    assert program.state("resolver 10.98.0.10 53", *ranges) == []


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
