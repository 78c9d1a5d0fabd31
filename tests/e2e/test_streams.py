"""exec, cp, attach, port-forward and logs by the stock kubectl on real Docker hosts."""

import concurrent.futures
import fcntl
import hashlib
import json
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from kubernetes_asyncio import client
from kubernetes_asyncio.stream import WsApiClient

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, eventually

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ironfree(shared_ironfree: Ironfree) -> Ironfree:
    """One process for all tests here."""
    return shared_ironfree


def pod(name: str, *command: str, **container) -> str:
    main = {"name": "main", "image": "lab-shell:v1", "command": list(command), **container}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [main]},
        }
    )


@pytest.fixture
def shell(ironfree: Ironfree) -> Ironfree:
    """A pod "shell" that sleeps, with a page served on its loopback only, on port 8080."""
    serve = "mkdir /www; echo hello > /www/index.html; httpd -p 127.0.0.1:8080 -h /www; sleep 9999"
    ironfree.kubectl("apply", "-f", "-", given=pod("shell", "sh", "-c", serve))
    ironfree.running(1, "app=shell")
    return ironfree


def run(
    ironfree: Ironfree, *words: str, given: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ironfree.command(*words), input=given, capture_output=True, timeout=60, check=False
    )


def test_exec_gives_output_exit_code_and_takes_stdin_to_its_end(shell: Ironfree):
    done = run(shell, "exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert done.stderr.startswith(b"err\n")
    data = random.Random(1).randbytes(3 << 20)
    done = run(shell, "exec", "-i", "shell", "--", "cat", given=data)
    assert (done.returncode, done.stdout == data) == (0, True)
    done = run(shell, "exec", "-i", "shell", "--", "wc", "-c", given=data)
    assert done.stdout.strip() == str(len(data)).encode()
    done = run(shell, "exec", "shell", "--", "no-such-command")
    assert done.returncode in {126, 127}
    assert b"no-such-command" in done.stdout + done.stderr
    done = run(shell, "exec", "shell", "--", "sh", "-c", "exec >&- 2>&-; sleep 1; exit 5")
    assert done.returncode == 5, "a process may end later than its output"


def test_exec_in_a_terminal(shell: Ironfree):
    said = Terminal(shell.command("exec", "-it", "shell", "--", "sh"))
    said.until("~ # ")
    said.type("stty size; tty; echo a$((20+22))\n")
    text = said.until("a42")
    assert "24 80" in text
    assert "/dev/pts/" in text
    said.resize(33, 101)
    eventually(lambda: said.ask("stty size\n", "~ # ").count("33 101"), 10, "the new size")
    said.type("echo a$((21+22)); sleep 100\n")
    said.until("a43")
    said.type("\x03")
    said.until("~ # ")
    said.type("exit 4\n")
    assert said.end() == 4


class Terminal:
    """A program in a pseudo terminal, seen from the near end."""

    def __init__(self, command: list[str]) -> None:
        self._descriptor, far = pty.openpty()
        self._set_size(24, 80)
        self._program = subprocess.Popen(
            command, stdin=far, stdout=far, stderr=far, env=os.environ | {"TERM": "xterm"}
        )
        os.close(far)

    def end(self) -> int:
        """Its exit code, once it has ended."""
        code = self._program.wait(20)
        os.close(self._descriptor)
        return code

    def kill(self) -> None:
        self._program.kill()
        self.end()

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def until(self, end: str, seconds: float = 20.0) -> str:
        """What was shown, up to `end`."""
        text = ""
        while end not in text:
            ready, _, _ = select.select([self._descriptor], [], [], seconds)
            assert ready, f"waited for {end!r}, saw {text!r}"
            text += os.read(self._descriptor, 4096).decode(errors="replace")
        return text

    def ask(self, text: str, end: str) -> str:
        self.type(text)
        return self.until(end)

    def _set_size(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)

    def resize(self, rows: int, columns: int) -> None:
        self._set_size(rows, columns)
        self._program.send_signal(signal.SIGWINCH)


def test_a_shell_ends_with_the_terminal_it_was_in(shell: Ironfree):
    said = Terminal(shell.command("exec", "-it", "shell", "--", "sh"))
    said.until("~ # ")
    said.type("sleep 54321\n")

    def sleeping() -> bool:
        return b"54321" in run(shell, "exec", "shell", "--", "ps").stdout

    eventually(sleeping, 10, "the command runs")
    said.kill()
    eventually(lambda: not sleeping(), 20, "the command has ended with its terminal")
    eventually(
        lambda: run(shell, "exec", "shell", "--", "ps").stdout.count(b" sh\n") == 0,
        20,
        "the shell has ended, too",
    )


def test_cp_both_ways_keeps_every_byte(shell: Ironfree, tmp_path: Path):
    there, back = tmp_path / "there", tmp_path / "back"
    (there / "deep").mkdir(parents=True)
    for name, size in {"empty": 0, "small": 1, "deep/large": 5 << 20}.items():
        (there / name).write_bytes(random.Random(size).randbytes(size))
    shell.kubectl("cp", str(there), "shell:/www/got")
    shell.kubectl("cp", "shell:/www/got", str(back))
    assert digests(back) == digests(there)
    done = run(shell, "exec", "shell", "--", "sha256sum", "/www/got/deep/large")
    assert done.stdout.split()[0].decode() == digests(there)["deep/large"]
    # kubectl may have ended before it says so: busybox sends an empty archive first
    run(shell, "cp", "shell:/nothing/here", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_attach_takes_stdin_and_shows_output(ironfree: Ironfree):
    reader = "while read line; do echo got $line; done; echo over; sleep 9999"
    manifest = pod("reader", "sh", "-c", reader, stdin=True, stdinOnce=True)
    ironfree.kubectl("apply", "-f", "-", given=manifest)
    ironfree.running(1, "app=reader")
    attached = subprocess.Popen(
        ironfree.command("attach", "-i", "reader"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert attached.stdin is not None
    assert attached.stdout is not None
    attached.stdin.write(b"one\ntwo\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"got one\n"
    assert attached.stdout.readline() == b"got two\n"
    attached.stdin.close()
    assert attached.stdout.readline() == b"over\n"
    attached.kill()
    attached.wait()
    attached.stdout.close()


def test_attach_to_a_terminal(ironfree: Ironfree):
    manifest = pod("terminal", "sh", stdin=True, tty=True)
    ironfree.kubectl("apply", "-f", "-", given=manifest)
    ironfree.running(1, "app=terminal")
    said = Terminal(ironfree.command("attach", "-it", "terminal"))
    said.type("word=kept; tty; echo a$((20+22))\n")
    assert "/dev/pts/" in said.until("a42")
    said.resize(33, 101)
    eventually(lambda: said.ask("stty size\n", "# ").count("33 101"), 10, "the new size")
    said.kill()
    again = Terminal(ironfree.command("attach", "-it", "terminal"))
    again.type("echo $word-$((40+2))\n")
    again.until("kept-42")
    again.type("exit 5\n")
    again.end()

    def code() -> int | None:
        (status,) = ironfree.get("pod", "terminal")["status"]["containerStatuses"]
        ends = status["lastState"].get("terminated") or status["state"].get("terminated")
        return ends and ends["exitCode"]

    assert eventually(code, what="its shell has ended") == 5


async def test_kubernetes_asyncio_execs_and_forwards(shell: Ironfree):
    configuration = client.Configuration(host=shell.url)
    async with WsApiClient(configuration) as session:
        streams = client.CoreV1Api(session)
        command = ["sh", "-c", "echo out; echo err >&2; cat; exit 7"]
        opened = await streams.connect_get_namespaced_pod_exec(
            "shell",
            "default",
            command=command,
            stdin=True,
            stdout=True,
            stderr=True,
            _preload_content=False,
        )
        said = {1: b"", 2: b"", 3: b""}
        async with opened as socket:
            await socket.send_bytes(b"\x00typed\n")
            async for message in socket:
                said[message.data[0]] += message.data[1:]
                if b"typed\n" in said[1]:
                    break
        assert (said[1], said[2]) == (b"out\ntyped\n", b"err\n")
        command = ["sh", "-c", "exit 7"]
        opened = await streams.connect_get_namespaced_pod_exec(
            "shell", "default", command=command, stdout=True, _preload_content=False
        )
        async with opened as socket:
            (status,) = [message.data async for message in socket]
        assert WsApiClient.parse_error_data(status[1:].decode()) == 7
        opened = await streams.connect_get_namespaced_pod_portforward(
            "shell", "default", ports="8080", _preload_content=False
        )
        async with opened as socket:
            assert [await socket.receive_bytes() for _ in range(2)] == [
                b"\0\x90\x1f",
                b"\1\x90\x1f",
            ]
            await socket.send_bytes(b"\0" + FETCH)
            answer = b""
            async for message in socket:
                answer += message.data[1:]
        assert answer.endswith(b"hello\n")


def test_run_with_stdin_ends_with_the_exit_code(ironfree: Ironfree):
    run_it = ("run", "once", "--image=lab-shell:v1", "--restart=Never", "-i", "--rm", "-q")
    done = run(ironfree, *run_it, "--", "sh", "-c", "cat; exit 3", given=b"through\n")
    assert (done.returncode, done.stdout.splitlines()[0]) == (3, b"through")


FETCH = b"GET / HTTP/1.0\r\n\r\n"


def fetch(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(FETCH)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_port_forward_reaches_a_port_that_is_published_nowhere(shell: Ironfree, lab: Lab):
    forward = shell.spawn("port-forward", "pod/shell", ":8080", ":9")
    assert forward.stdout is not None
    ports = {}
    while len(ports) < 2:
        line = forward.stdout.readline()
        assert line, "kubectl ended"
        if found := re.match(r"Forwarding from 127.0.0.1:(\d+) -> (\d+)", line):
            ports[int(found[2])] = int(found[1])
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, [ports[8080]] * 24))
    assert all(answer.endswith(b"hello\n") for answer in answers), answers
    assert fetch(ports[9]) == b"", "nothing listens there"
    said, _ = forward.communicate(timeout=20)
    assert "connection refused" in said
    assert "lost connection to pod" in said, "kubectl itself ends then"

    def connected() -> list[bytes]:
        table = run(shell, "exec", "shell", "--", "cat", "/proc/net/tcp").stdout
        return re.findall(rb"\w+:1F90 \w+:\w+ 01", table)

    eventually(lambda: not connected(), 20, "no connection is left in the pod")


def test_debug_joins_a_running_pod(shell: Ironfree):
    look = (
        "read go; ps | grep -c 'sleep 999[9]'; "
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 8080"
    )
    debug = ("debug", "-i", "-q", "shell", "--image=lab-shell:v1", "-c", "looker")
    done = run(shell, *debug, "--target=main", "--", "sh", "-c", look, given=b"go\n")
    assert done.stdout.startswith(b"1\n"), (done, "it sees the target's processes")
    assert done.stdout.endswith(b"hello\n"), (done, "it has the pod's network")
    (found,) = shell.pods("app=shell")
    (status,) = found["status"]["ephemeralContainerStatuses"]
    assert status["name"] == "looker"
    ended = eventually(
        lambda: shell.pods("app=shell")[0]["status"]["ephemeralContainerStatuses"][0]["state"].get(
            "terminated"
        ),
        20,
        "its end is shown",
    )
    assert ended["reason"] in {"Completed", "Error"}
    assert shell.running(1, "app=shell")[0]["status"]["containerStatuses"][0]["restartCount"] == 0
    again = run(shell, "debug", "-q", "shell", "--image=lab-shell:v1", "--", "echo", "again")
    assert again.returncode == 0, again
    logs = eventually(
        lambda: run(shell, "logs", "shell", "-c", "looker").stdout, 10, "its output is kept"
    )
    assert logs.startswith(b"1\n")
    node = found["spec"]["nodeName"]
    on_host = run(shell, "debug", "-q", f"node/{node}", "--image=lab-shell:v1", "--", "ls", "/host")
    assert on_host.returncode == 0, on_host
    (looker,) = (p["metadata"]["name"] for p in shell.pods() if "debugger" in p["metadata"]["name"])
    seen = eventually(lambda: run(shell, "logs", looker).stdout, 20, "it sees the host's root")
    assert b"etc\n" in seen
    shell.kubectl("delete", "pod", looker, "--now")


def test_what_ends_at_once_ends_kubectl_run(shell: Ironfree):
    """Its container may end while kubectl attaches, which an engine does not tell."""
    words = ("run", "-i", "--rm", "once", "--image=lab-shell:v1", "--restart=Never", "--")
    done = run(shell, *words, "sh", "-c", "echo hello; exit 3")
    assert done.returncode == 3, done
    assert b"hello\n" in done.stdout


def test_top_shows_what_burns(ironfree: Ironfree):
    limits = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    burn = pod("burner", "sh", "-c", "while :; do :; done", resources=limits)
    ironfree.kubectl("apply", "-f", "-", given=burn)
    (burner,) = ironfree.running(1, "app=burner")

    def row(*words: str) -> list[str]:
        done = run(ironfree, "top", *words, "--no-headers")
        return done.stdout.decode().split()

    measured = eventually(lambda: row("pod", "burner"), 20, "it is measured")
    assert measured[0] == "burner"
    assert 50 <= int(measured[1].removesuffix("m")) <= 260, measured
    assert 0 <= int(measured[2].removesuffix("Mi")) <= 64, measured
    node = row("node", burner["spec"]["nodeName"])
    assert int(node[1].removesuffix("m")) >= 50, node


def test_logs_in_every_variant(ironfree: Ironfree):
    say = (
        "echo one; sleep 1; echo two >&2; sleep 1; echo three; "  # two pipes keep no order
        "[ -e /data/again ] && sleep 9999; touch /data/again; exit 1"
    )
    manifest = json.loads(pod("talker", "sh", "-c", say))
    manifest["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    manifest["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(manifest))

    def restarted() -> bool:
        (found,) = ironfree.pods("app=talker")
        statuses = found["status"].get("containerStatuses", [])
        return bool(statuses and statuses[0]["restartCount"] and "running" in statuses[0]["state"])

    eventually(restarted, 40, "it has run twice")
    follow = ironfree.spawn("logs", "-f", "talker")
    assert follow.stdout is not None
    assert [follow.stdout.readline() for _ in range(3)] == ["one\n", "two\n", "three\n"]

    def logs(*words: str) -> list[str]:
        return ironfree.kubectl("logs", "talker", *words).splitlines()

    assert logs("--previous") == ["one", "two", "three"]
    assert logs("--tail=1") == ["three"]
    assert logs("--tail=0") == []
    assert logs("--limit-bytes=5") == ["one", "t"]
    stamped = logs("--timestamps")
    moment = stamped[2].split()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z three", stamped[2])
    assert logs(f"--since-time={moment}") == ["three"]
    assert logs("--since=1h") == ["one", "two", "three"]
    assert ironfree.kubectl("logs", "-l", "app=talker", "--prefix", "--tail=1").endswith("three\n")
    ironfree.kubectl("delete", "pod", "talker", "--now")
    assert follow.wait(20) == 0, "to follow ends with the container"
    follow.stdout.close()
