"""The lab itself: its hosts are real, apart, and fail as asked."""

import http.client
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.lab import Host, Lab
from tests.e2e.lab.host import API_PORT
from tests.e2e.lab.images import GUESTBOOK_IMAGES, SHELL_IMAGE


def ask(lab: Lab, host: Host, timeout: float = 5) -> bytes:
    context = ssl.create_default_context(cafile=str(lab.tls.ca))
    context.load_cert_chain(lab.tls.cert, lab.tls.key)
    connection = http.client.HTTPSConnection(host.tcp_address, timeout=timeout, context=context)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().read()
    finally:
        connection.close()


def answer(address: str, port: int, line: str) -> str:
    """The answer to a line; a container that was started a moment ago may not listen yet."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection((address, port), timeout=2) as connection:
                connection.sendall(f"{line}\n".encode())
                with connection.makefile() as stream:
                    if found := stream.readline().strip():
                        return found
        except ConnectionError:
            pass
        assert time.monotonic() < deadline, f"{address}:{port} does not answer"
        time.sleep(0.02)


def page(address: str, port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_hosts_are_apart_and_speak_tls(lab: Lab):
    for host in lab.hosts:
        host.run("run", "-d", "--name", "one", "--network", "host", SHELL_IMAGE, "sleep", "100")
        assert ask(lab, host) == b"OK"
    assert len({host.containers()[0].id for host in lab.hosts}) == len(lab.hosts)
    assert {host.run("info", "--format", "{{.Name}}").strip() for host in lab.hosts} == {
        host.name for host in lab.hosts
    }


def test_without_a_client_certificate_there_is_no_answer(lab: Lab, host: Host):
    context = ssl.create_default_context(cafile=str(lab.tls.ca))
    with (
        socket.create_connection((host.address, API_PORT), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host.address) as secured,
        pytest.raises(ssl.SSLError),
    ):
        secured.recv(1)  # TLS 1.3 tells a client at its first read


def test_power_loss_ends_containers_and_boot_finds_them_exited(lab: Lab, host: Host):
    host.run("run", "-d", "--name", "gone", SHELL_IMAGE, "sleep", "100")
    host.power_off()
    with pytest.raises(OSError):  # noqa: PT011 - timeout or no route, depending on the ARP cache
        ask(lab, host, timeout=0.5)
    assert ask(lab, lab.hosts[1]) == b"OK"
    host.boot()
    assert host.inspect("gone")["State"]["Status"] == "exited"
    assert ask(lab, host) == b"OK"


def test_a_crashed_daemon_leaves_containers_running(host: Host):
    host.run("run", "-d", "--name", "kept", SHELL_IMAGE, "sleep", "100")
    before = host.inspect("kept")["State"]["Pid"]
    host.kill_daemon()
    assert not host.answers()
    host.start_daemon()
    assert host.inspect("kept")["State"]["Pid"] == before


@pytest.mark.parametrize("fault", ["partition", "api_partition", "pause_daemon"])
def test_a_silent_api_times_out_and_comes_back(lab: Lab, host: Host, fault: str):
    getattr(host, fault)()
    with pytest.raises(OSError, match=r"timed out|No route"):
        ask(lab, host, timeout=0.5)
    host.resume_daemon()
    host.heal()
    assert ask(lab, host) == b"OK"


def test_a_refusing_api_refuses_and_comes_back(lab: Lab, host: Host):
    host.refuse()
    with pytest.raises(ConnectionRefusedError):
        ask(lab, host)
    host.heal()
    assert ask(lab, host) == b"OK"


def test_published_ports_serve_through_an_api_partition(lab: Lab, host: Host):
    host.run("run", "-d", "-p", "7000:6379", GUESTBOOK_IMAGES["leader"])
    assert answer(host.address, 7000, "PING") == "+PONG"
    host.api_partition()
    assert answer(host.address, 7000, "PING") == "+PONG"


def test_the_guestbook_works_across_hosts(lab: Lab):
    one, two, three = lab.hosts
    one.run("run", "-d", "-p", "7000:6379", GUESTBOOK_IMAGES["leader"])
    leader = f"{one.address}:7000"
    follower = f"{two.address}:7000"
    two.run(
        "run", "-d", "-p", "7000:6379", "-e", f"LEADER_ADDR={leader}", GUESTBOOK_IMAGES["follower"]
    )
    three.run(
        *("run", "-d", "--name", "web", "-p", "8080:8080", "--add-host", f"leader:{one.address}"),
        *("-e", "LEADER_ADDR=leader:7000", "-e", f"FOLLOWER_ADDR={follower}"),
        GUESTBOOK_IMAGES["frontend"],
    )
    for each in one, two:
        assert answer(each.address, 7000, "PING") == "+PONG"
    web = three.address, 8080
    assert answer(*web, "GET /healthz HTTP/1.0\n").startswith("HTTP/1.1 200")
    assert page(*web, "/healthz") == (200, "ok")
    assert page(*web, "/set?key=guest&value=hello") == (200, "+OK")
    deadline = time.monotonic() + 10
    while (seen := page(*web, "/get?key=guest")) != (200, "$hello"):
        assert time.monotonic() < deadline, f"the follower never copied the value: {seen}"
        time.sleep(0.05)
    assert answer(two.address, 7000, "SET a b") == "-READONLY"
    two.run("kill", two.containers()[0].name)
    assert page(*web, "/get?key=guest")[0] == 502
    assert "frontend: GET /healthz" in three.run("logs", "web")
    three.run("stop", "-t", "20", "web")
    assert three.inspect("web")["State"]["ExitCode"] == 0


def test_the_registry_serves_what_was_pushed(lab: Lab):
    one, two, _ = lab.hosts
    name = f"{lab.registry().address}/shell:v1"
    one.run("tag", SHELL_IMAGE, name)
    one.run("push", "-q", name)
    two.run("pull", "-q", name)
    assert name in two.images()
    for host in one, two:
        host.remove_image(name)


def test_reset_ends_faults_and_removes_containers_and_volumes(lab: Lab, host: Host):
    host.run("run", "-d", "-v", "data:/data", SHELL_IMAGE, "sleep", "100")
    host.refuse()
    lab.hosts[1].power_off()
    lab.hosts[2].kill_daemon()
    lab.reset()
    for each in lab.hosts:
        assert ask(lab, each) == b"OK"
        assert each.containers() == []
        assert each.volumes() == []
        assert SHELL_IMAGE in each.images()


def test_nothing_is_left_when_the_owner_of_a_lab_is_killed():
    program = (
        "import os, signal\n"
        "from tests.e2e.lab import Lab\n"
        "lab = Lab.start(1)\n"
        "print(lab.hosts[0].namespace, lab.watchdog_pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    namespace, watchdog = killed.stdout.split()
    wait_for_end(int(watchdog))
    assert not Path(f"/run/netns/{namespace}").exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{namespace}"))


def wait_for_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([process], [], [], 20)[0], f"process {pid} did not end"
    os.close(process)
