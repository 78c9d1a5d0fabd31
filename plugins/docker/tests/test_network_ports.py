"""Services whose ports others on the host have, too (nf_tables)."""

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from plugins.docker.tests.network_hosts import (
    PEERS,
    SERVICE,
    WAIT,
    HostNetwork,
    Hosts,
    client_of,
    echo,
    ground,
    listen,
    lodge,
    read_all,
    says,
)

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
