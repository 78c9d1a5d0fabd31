"""The names that the network program answers, and what it asks of the host's name servers."""

import contextlib
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from plugins.docker.tests.network_hosts import (
    WAIT,
    HostNetwork,
    Hosts,
    Program,
    read_all,
    read_exactly,
)

RANGE = "range 10.96.0.0/16"
RESOLVER = "10.96.0.53"
A, CNAME, SOA, MX, AAAA, SRV, OPT, ANY = 1, 5, 6, 15, 28, 33, 41, 255
KNOWN = (
    "zone cluster.local",
    "name web.shop.svc.cluster.local a 10.96.0.10",
    "name Pods.shop.svc.cluster.local a 10.1.0.1 10.1.0.2 10.1.0.3",
    "name _http._tcp.web.shop.svc.cluster.local srv 80:web.shop.svc.cluster.local "
    "8080:other.example",
    "name near.shop.svc.cluster.local cname web.shop.svc.cluster.local",
    "name out.shop.svc.cluster.local cname www.example.com",
    "name twice.shop.svc.cluster.local cname out.shop.svc.cluster.local",
    *(
        f"name {name}.shop.svc.cluster.local cname {name}.example.com"
        for name in ("missing", "refused", "silent", "large", "chain", "mail", "six", "broken")
    ),
    "name loop.shop.svc.cluster.local cname loop.shop.svc.cluster.local",
    "name many.shop.svc.cluster.local a "
    + " ".join(f"10.2.{n // 200}.{n % 200}" for n in range(900)),
)


@dataclass
class Answer:
    number: int
    flags: int
    question: tuple[str, int]
    answers: list[tuple[str, int, int, object]]
    authority: list[tuple[str, int, int, object]]
    size: int | None

    @property
    def code(self) -> int:
        return self.flags & 15

    @property
    def truncated(self) -> bool:
        return bool(self.flags & 0x200)

    @property
    def data(self) -> list[object]:
        return [data for *_, data in self.answers]


def wire(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def query(name: str, kind: int = A, size: int | None = None, number: int = 7) -> bytes:
    extra = b"" if size is None else struct.pack(">BHHIH", 0, OPT, size, 0, 0)
    head = struct.pack(">6H", number, 0x100, 1, 0, 0, bool(extra))
    return head + wire(name) + struct.pack(">HH", kind, 1) + extra


def read_name(message: bytes, at: int) -> tuple[str, int]:
    parts, end = [], 0
    while length := message[at]:
        if length >= 192:
            end = end or at + 2
            at = int.from_bytes(message[at : at + 2]) & 0x3FFF
        else:
            parts.append(message[at + 1 : at + 1 + length].decode("latin-1"))
            at += length + 1
    return ".".join(parts), end or at + 1


def read_record(message: bytes, at: int) -> tuple[tuple[str, int, int, object], int]:
    name, at = read_name(message, at)
    kind, second, ttl, size = struct.unpack_from(">HHIH", message, at)
    at += 10
    data: object = message[at : at + size]
    if kind == A:
        data = socket.inet_ntoa(message[at : at + 4])
    elif kind == CNAME:
        data = read_name(message, at)[0]
    elif kind == MX:
        data = read_name(message, at + 2)[0]
    elif kind == SRV:
        port = int.from_bytes(message[at + 4 : at + 6])
        data = port, read_name(message, at + 6)[0]
    elif kind == SOA:
        server, next_at = read_name(message, at)
        mailbox, next_at = read_name(message, next_at)
        assert next_at + 20 == at + size
        data = server, mailbox
    return (name, kind, second if kind == OPT else ttl, data), at + size


def parse(message: bytes) -> Answer:
    number, flags, questions, answers, authority, extra = struct.unpack_from(">6H", message)
    assert flags & 0x8000
    question, at = ("", 0), 12
    if questions:
        name, at = read_name(message, at)
        question, at = (name, int.from_bytes(message[at : at + 2])), at + 4
    sections = []
    for count in (answers, authority, extra):
        sections.append([])
        for _ in range(count):
            record, at = read_record(message, at)
            sections[-1].append(record)
    assert at == len(message)
    size = sections[2][0][2] if sections[2] else None
    return Answer(number, flags, question, sections[0], sections[1], size)


@dataclass
class Names:
    """A client of the program on a host."""

    host: HostNetwork
    program: Program
    settings: Path
    socket: socket.socket

    def ask(self, name: str, kind: int = A, size: int | None = None) -> Answer:
        self.socket.send(query(name, kind, size))
        answer = parse(self.socket.recv(65536))
        assert answer.number == 7
        assert answer.question == (name, kind)
        assert (answer.size is None) == (size is None)
        return answer

    def connect(self) -> socket.socket:
        return self.host.connect(RESOLVER, 53)


def ask_over(connection: socket.socket, message: bytes) -> bytes:
    connection.sendall(struct.pack(">H", len(message)) + message)
    return receive(connection)


def receive(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">H", read_exactly(connection, 2))
    return read_exactly(connection, size)


@pytest.fixture
def names(hosts: Hosts, tmp_path: Path) -> Names:
    host = hosts[0]
    settings = tmp_path / "resolv.conf"
    settings.write_text(f"# none\nnameserver {RESOLVER}\n")
    program = host.run(settings=settings)
    assert program.state(f"resolver {RESOLVER} 53", RANGE, *KNOWN) == []
    client = host.open(socket.SOCK_DGRAM)
    client.connect((RESOLVER, 53))
    return Names(host, program, settings, client)


def test_addresses_are_answered_and_take_turns(names: Names):
    answer = names.ask("web.shop.svc.cluster.local")
    assert answer.flags == 0x8580
    assert answer.answers == [("web.shop.svc.cluster.local", A, 5, "10.96.0.10")]
    assert names.ask("WEB.Shop.svc.Cluster.LOCAL", size=1232).data == ["10.96.0.10"]
    turns = [names.ask("pods.shop.svc.cluster.local").data for _ in range(3)]
    assert {turn[0] for turn in turns} == {"10.1.0.1", "10.1.0.2", "10.1.0.3"}
    assert {frozenset(turn) for turn in turns} == {frozenset(turns[0])}
    names.program.say("name web.shop.svc.cluster.local a 10.96.0.11")
    assert names.ask("web.shop.svc.cluster.local").data == ["10.96.0.11"]


def test_names_of_the_zone_that_are_not_known_do_not_exist(names: Names):
    nothing = [("cluster.local", SOA, 5, ("ns.dns.cluster.local", "hostmaster.cluster.local"))]
    for unknown in (
        "web.shop.svc.cluster.local.shop.svc.cluster.local",
        "other.shop.svc.cluster.local",
        "x.cluster.local",
        "b.shop.svc.cluster.local",
    ):
        answer = names.ask(unknown, size=4096)
        assert (answer.code, answer.answers, answer.authority) == (3, [], nothing)
    for known, kind in (
        ("web.shop.svc.cluster.local", AAAA),
        ("web.shop.svc.cluster.local", SRV),
        ("_tcp.web.shop.svc.cluster.local", A),
        ("shop.svc.cluster.local", A),
        ("cluster.local", A),
    ):
        answer = names.ask(known, kind)
        assert (answer.code, answer.answers, answer.authority) == (0, [], nothing)


def test_services_and_aliases(names: Names):
    web = "web.shop.svc.cluster.local"
    answer = names.ask(f"_http._tcp.{web}", SRV)
    assert answer.data == [(80, web), (8080, "other.example")]
    answer = names.ask("near.shop.svc.cluster.local")
    alias = ("near.shop.svc.cluster.local", CNAME, 5, web)
    assert answer.answers == [alias, (web, A, 5, "10.96.0.10")]
    assert names.ask("near.shop.svc.cluster.local", AAAA).answers == [alias]
    assert names.ask("near.shop.svc.cluster.local", CNAME).answers == [alias]
    assert names.ask("out.shop.svc.cluster.local", CNAME).data == ["www.example.com"]
    assert names.ask("out.shop.svc.cluster.local", ANY).data == ["www.example.com"]
    assert names.ask("loop.shop.svc.cluster.local").code == 0


def test_names_come_and_go(names: Names):
    web = "web.shop.svc.cluster.local"
    names.program.say(f"unname {web} a")
    assert names.ask(web).code == 0
    names.program.say(f"unname _http._tcp.{web} srv")
    assert names.ask(web).code == 3
    names.program.state(f"resolver {RESOLVER} 53", RANGE, *KNOWN[:2])
    assert names.ask(web).data == ["10.96.0.10"]
    assert names.ask("pods.shop.svc.cluster.local").code == 3
    names.program.state(f"resolver {RESOLVER} 53", RANGE, "zone cluster.local")
    assert names.ask("svc.cluster.local").code == 3
    assert names.ask("cluster.local").code == 0
    names.program.state(RANGE)
    names.socket.send(query("cluster.local"))
    with pytest.raises(ConnectionRefusedError):
        names.socket.recv(512)


def test_what_does_not_fit_is_told_and_had_over_a_connection(names: Names):
    name = "many.shop.svc.cluster.local"
    for size, most in ((None, 512), (100, 512), (1000, 1000), (4096, 1232), (65535, 1232)):
        names.socket.send(query(name, A, size))
        message = names.socket.recv(65536)
        answer = parse(message)
        assert most - 16 < len(message) <= most
        assert answer.truncated
        assert answer.data
    with names.connect() as connection:
        for _ in range(2):
            answer = parse(ask_over(connection, query(name, A)))
            assert not answer.truncated
            assert len(set(answer.data)) == 900
        several = b"".join(
            struct.pack(">H", len(each)) + each
            for each in (query(f"x{n}.cluster.local", number=n) for n in range(50))
        )
        for part in (several[:1], several[1:33], several[33:]):
            connection.sendall(part)
        for number in range(50):
            answer = parse(receive(connection))
            assert (answer.number, answer.code) == (number, 3)


# --- name servers -----------------------------------------------------------------------------


class NameServer:
    """A name server on an address of a host: answers any name, a few oddly."""

    def __init__(self, host: HostNetwork, ip: str, says: str):
        self.socket = host.datagrams(ip, 53)
        self.server = host.serve(ip, 53, self.serve)
        self.says, self.asked, self.numbers, self.ports = says, [], [], []
        self.chance = random.Random(4)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        host.closing.callback(self.close)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT)

    def answer(self, message: bytes) -> bytes:
        name, end = read_name(message, 12)
        head = message[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
        record = struct.pack(">HHHIH", 0xC00C, A, 1, 60, 4) + socket.inet_aton(self.says)
        if name.startswith("refused"):
            return head[:3] + b"\x85" + bytes([0, 1, 0, 0, 0, 0, 0, 0]) + message[12 : end + 4]
        if name.startswith("large"):
            return head[:6] + b"\0\x32" + head[8:] + message[12 : end + 4] + record * 50
        if name.startswith("missing"):
            return head[:3] + b"\x83" + bytes([0, 1, 0, 0, 0, 0, 0, 0]) + message[12 : end + 4]
        asked = message[12 : end + 4]
        if name.startswith(("chain", "mutated")):
            alias = struct.pack(">HHHIH", 0xC00C, CNAME, 1, 60, 7) + b"\4edge\xc0\x0c"
            owner = struct.pack(">H", 0xC000 | 12 + len(asked) + 12)
            return head[:7] + b"\2" + head[8:] + asked + alias + owner + record[2:]
        if name.startswith("mail"):
            return head + asked + struct.pack(">HHHIHH", 0xC00C, MX, 1, 60, 7, 9) + b"\2mx\xc0\x0c"
        if name.startswith("six"):
            return head + asked + struct.pack(">HHHIH", 0xC00C, AAAA, 1, 60, 16) + bytes(16)
        if name.startswith("broken"):
            owner = struct.pack(">H", 0xC000 | 12 + len(asked))
            return head + asked + owner + record[2:]
        if message[end : end + 2] == struct.pack(">H", AAAA):
            return head[:6] + b"\0\0" + head[8:] + asked
        return head + message[12 : end + 4] + record

    def run(self) -> None:
        self.socket.settimeout(None)
        while True:
            try:
                message, client = self.socket.recvfrom(65536)
            except OSError:
                return
            if not message:
                return
            name = read_name(message, 12)[0]
            self.asked.append(name)
            self.numbers.append(message[:2])
            self.ports.append(client[1])
            if name.startswith("silent"):
                continue
            answer = self.answer(message)
            if name.startswith("mutated"):
                changed = bytearray(answer)
                for _ in range(self.chance.randint(1, 4)):
                    at = self.chance.choice([6, 7, *range(len(message), len(changed))])
                    changed[at] = self.chance.choice([0, 1, 5, 63, 64, 192, 255, 12, 40])
                cut = len(message) + self.chance.randrange(len(answer) - len(message) + 1)
                answer = bytes(changed if self.chance.random() < 0.5 else changed[:cut])
            if name.startswith("forged"):
                wrong = answer[:-1] + b"\x63"
                self.socket.sendto(bytes([wrong[0] ^ 1]) + wrong[1:], client)
                self.socket.sendto(wrong[:13] + b"x" + wrong[14:], client)
                self.socket.sendto(answer[:20], client)
            self.socket.sendto(answer, client)

    def serve(self, connection: socket.socket) -> None:
        while True:
            head = read_exactly(connection, 2)
            if len(head) < 2:
                return
            message = read_exactly(connection, int.from_bytes(head))
            answer = self.answer(message)
            connection.sendall(struct.pack(">H", len(answer)) + answer)


@pytest.fixture
def servers(names: Names) -> list[NameServer]:
    ips = [names.host.pod(1), names.host.pod(2)]
    return [NameServer(names.host, ip, f"192.0.2.{n}") for n, ip in enumerate(ips, 1)]


def use(names: Names, *ips: str) -> None:
    names.settings.write_text("".join(f"nameserver {ip}\n" for ip in (RESOLVER, "::1", *ips)))


def test_other_names_are_asked_of_the_hosts_name_servers(names: Names, servers: list[NameServer]):
    assert names.ask("www.example.com").code == 2
    use(names, names.host.pod(1))
    first, second = servers
    for _ in range(20):
        assert names.ask("www.example.com").data == ["192.0.2.1"]
    assert len(set(first.ports)) > 10
    assert len(set(first.numbers)) > 10
    assert names.ask("forged.example").data == ["192.0.2.1"]
    large = names.ask("large.example")
    assert (large.truncated, large.answers) == (True, [])
    use(names, names.host.pod(3), names.host.pod(2))
    assert names.ask("local").data == ["192.0.2.2"]
    assert second.asked == ["local"]
    use(names, names.host.pod(1), names.host.pod(2))
    assert names.ask("refused.example").code == 5
    assert (first.asked[-1], second.asked[-1]) == ("refused.example", "refused.example")


def test_a_silent_name_server_is_passed_over(names: Names, servers: list[NameServer]):
    names.host.ip(f"addr add {names.host.pod(9)}/32 dev lo")
    with names.host.datagrams(names.host.pod(9), 53):
        use(names, names.host.pod(9), names.host.pod(2))
        for number in (1, 2):
            names.socket.send(query("silent.example", number=number))
        assert names.ask("here.cluster.local").code == 3
        assert names.ask("www.example").data == ["192.0.2.2"]
        answers = [parse(names.socket.recv(512)) for _ in range(2)]
        assert {(each.number, each.code) for each in answers} == {(1, 2), (2, 2)}


def test_a_connection_is_carried_on_to_a_name_server(names: Names, servers: list[NameServer]):
    use(names, names.host.pod(3), names.host.pod(1))
    with names.connect() as connection:
        answer = parse(ask_over(connection, query("web.shop.svc.cluster.local")))
        assert answer.data == ["10.96.0.10"]
        for name in ("www.example", "large.example"):
            assert parse(ask_over(connection, query(name))).data[0] == "192.0.2.1"
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


# --- aliases of names elsewhere ---------------------------------------------------------------


def test_what_an_alias_means_elsewhere_is_asked_for(names: Names, servers: list[NameServer]):
    use(names, names.host.pod(1))
    home = "shop.svc.cluster.local"
    out = (f"out.{home}", CNAME, 5, "www.example.com")
    there = ("www.example.com", A, 60, "192.0.2.1")
    for size in (None, 1232):
        assert names.ask(f"out.{home}", A, size).answers == [out, there]
    assert names.ask(f"OUT.{home}".lower(), AAAA).answers == [out]
    twice = (f"twice.{home}", CNAME, 5, f"out.{home}")
    assert names.ask(f"twice.{home}").answers == [twice, out, there]
    assert names.ask(f"chain.{home}").answers == [
        (f"chain.{home}", CNAME, 5, "chain.example.com"),
        ("chain.example.com", CNAME, 60, "edge.chain.example.com"),
        ("edge.chain.example.com", A, 60, "192.0.2.1"),
    ]
    assert names.ask(f"mail.{home}", MX).answers[1] == (
        "mail.example.com",
        MX,
        60,
        "mx.mail.example.com",
    )
    assert names.ask(f"six.{home}", AAAA).data == ["six.example.com", bytes(16)]
    assert set(servers[0].asked) == {
        f"{name}.example.com" for name in ("www", "chain", "mail", "six")
    }
    missing = names.ask(f"missing.{home}")
    assert (missing.code, missing.data) == (3, ["missing.example.com"])
    broken = names.ask(f"broken.{home}")
    assert (broken.code, broken.data) == (0, ["broken.example.com"])
    large = names.ask(f"large.{home}")
    assert not large.truncated
    assert 20 < len(large.data) < 30
    assert len(names.ask(f"large.{home}", A, 1232).data) == 51


def test_an_alias_is_asked_of_the_next_name_server(names: Names, servers: list[NameServer]):
    name = "refused.shop.svc.cluster.local"
    assert names.ask(name).code == 2
    use(names, names.host.pod(1), names.host.pod(2))
    answer = names.ask(name)
    assert (answer.code, answer.data) == (5, ["refused.example.com"])
    assert [server.asked for server in servers] == [["refused.example.com"]] * 2


def test_an_alias_that_changes_while_it_is_asked_for(names: Names, servers: list[NameServer]):
    use(names, names.host.pod(1))
    name = "silent.shop.svc.cluster.local"
    names.socket.send(query(name))
    while not servers[0].asked:
        time.sleep(0.01)
    names.program.say(f"unname {name} cname", f"name {name} a 10.96.0.77")
    answer = parse(names.socket.recv(512))
    assert (answer.number, answer.data) == (7, ["10.96.0.77"])


def test_aliases_are_followed_over_a_connection(names: Names, servers: list[NameServer]):
    use(names, names.host.pod(1))
    name = "shop.svc.cluster.local"
    with names.connect() as connection:
        large = parse(ask_over(connection, query(f"large.{name}")))
        assert len(large.data) == 51
        several = [query(f"{'out' if n % 3 else 'web'}.{name}", number=n) for n in range(50)]
        connection.sendall(b"".join(struct.pack(">H", len(each)) + each for each in several))
        for number in range(50):
            answer = parse(receive(connection))
            assert answer.number == number
            assert answer.data == (
                ["www.example.com", "192.0.2.1"] if number % 3 else ["10.96.0.10"]
            )
        assert parse(ask_over(connection, query("www.example"))).data == ["192.0.2.1"]
    use(names)
    with names.connect() as connection:
        connection.sendall(b"".join(struct.pack(">H", len(each)) + each for each in several * 20))
        for number in range(1000):
            assert parse(receive(connection)).code == (2 if number % 50 % 3 else 0)
    use(names, names.host.pod(1))
    leaving = names.connect()
    message = query(f"silent.{name}")
    leaving.sendall(struct.pack(">H", len(message)) + message)
    while "silent.example.com" not in servers[0].asked:
        time.sleep(0.01)
    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    leaving.close()
    with names.connect() as connection:
        time.sleep(5.5)
        assert parse(ask_over(connection, query(f"web.{name}"))).data == ["10.96.0.10"]


@pytest.mark.parametrize("options", ["", "use-vc", "edns0"])
def test_a_stub_resolver_finds_what_is_elsewhere(
    names: Names, servers: list[NameServer], tmp_path: Path, options: str
):
    use(names, names.host.pod(1))
    settings = tmp_path / "stub.conf"
    search = "search shop.svc.cluster.local svc.cluster.local cluster.local"
    settings.write_text(f"nameserver {RESOLVER}\n{search}\noptions ndots:5 {options}\n")
    program = "import socket; print(socket.getaddrinfo('out', 80, type=socket.SOCK_STREAM)[0][4])"
    script = f'mount --bind {settings} /etc/resolv.conf && exec {sys.executable} -c "$0"'
    command = ["unshare", "--mount", "sh", "-c", script, program]
    found = names.host.do(lambda: subprocess.check_output(command, timeout=WAIT, text=True))
    assert found == "('192.0.2.1', 80)\n"


def test_nonsense_from_a_name_server_is_survived(names: Names, servers: list[NameServer]):
    use(names, names.host.pod(1))
    alias = "name mutated.shop.svc.cluster.local cname mutated.example.com"
    names.program.say(alias)
    for number in range(2000):
        names.socket.send(query("mutated.shop.svc.cluster.local", number=number))
        got = names.socket.recv(65536)
        assert got[:2] == struct.pack(">H", number)
        assert len(got) <= 512
    assert names.ask("web.shop.svc.cluster.local").data == ["10.96.0.10"]


# --- nonsense ---------------------------------------------------------------------------------


def mutated(chance: random.Random) -> bytes:
    names = ["web.shop.svc.cluster.local", "many.shop.svc.cluster.local", "x.cluster.local"]
    kinds = [A, AAAA, CNAME, SRV, 255]
    message = bytearray(query(chance.choice(names), chance.choice(kinds), chance.choice([None, 9])))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(message))
        match chance.randrange(4):
            case 0:
                message[at] = chance.randrange(256)
            case 1:
                message[at] = chance.choice([0, 63, 64, 192, 255])
            case 2:
                del message[at:]
                message += chance.randbytes(chance.randrange(1, 20))
            case 3:
                message[at:at] = chance.randbytes(chance.randrange(300))
    return bytes(message)


def test_nonsense_is_survived(names: Names):
    chance = random.Random(3)
    names.settings.write_text("")
    for count in range(4000):
        nonsense = mutated(chance) if count % 2 else chance.randbytes(chance.randrange(600))
        names.socket.send(nonsense)
        if count % 50 == 0:
            names.socket.send(query("web.shop.svc.cluster.local", number=count))
            while (got := names.socket.recv(65536))[:2] != struct.pack(">H", count):
                parse(got)
    for count in range(200):
        nonsense = mutated(chance)
        with names.connect() as connection, contextlib.suppress(ConnectionError):
            size = len(nonsense) if count % 2 else chance.randrange(65536)
            connection.sendall(struct.pack(">H", size) + nonsense)
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
    names.socket.send(query("web.shop.svc.cluster.local", number=65535))
    while (got := names.socket.recv(65536))[:2] != b"\xff\xff":
        parse(got)
    assert parse(got).data == ["10.96.0.10"]


def test_malformed_queries_are_told_so(names: Names):
    good = query("web.shop.svc.cluster.local")

    def code(message: bytes) -> int:
        names.socket.send(message)
        return parse(names.socket.recv(512)).code

    assert code(good) == 0
    assert code(good[:-1]) == 1
    assert code(good + b"x") == 1
    assert code(good[:5] + b"\2" + good[6:]) == 1
    assert code(good[:12] + b"\xc0\x0c\0\1\0\1") == 1
    assert code(good[:12] + b"\x40" + good[13:]) == 1
    assert code(good[:12] + b"\3abc" * 70 + b"\0\0\1\0\1") == 1
    assert code(good[:2] + b"\x11" + good[3:]) == 4
    assert code(good[:-2] + b"\0\3") == 5
    assert code(query("web.shop.svc.cluster.local", A, 512)[:-5] + b"\1\0\0\0\0") == 0
