"""`ironfree up` and the client verbs as processes, on simulated hosts and an embedded database."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("up")]
IRONFREE = [sys.executable, "-m", "scheduler"]
KUBECTL = Path(sys.executable).with_name("kubectl")


class Service:
    """One `ironfree up` on a data directory that survives it."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="ironfree-up-"))
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.url = ""
        self.lines = []
        self.process = None
        self.environment = {
            **os.environ,
            "HOME": str(self.directory),
            "IRONFREE_DATA_DIR": str(self.data),
            "DOCKER_HOST": f"unix://{self.directory}/absent.sock",
        }
        for name in ("DATABASE_URL", "KUBECONFIG", "IRONFREE_SERVER"):
            self.environment.pop(name, None)

    def start(self, *words):
        command = [*IRONFREE, "up", "--port", "0", *words]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = self.read_until(r"Ironfree serves at (\S+)")[1]
        return self

    def read_until(self, pattern):
        """Read what it prints up to a line that matches."""
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"ended without {pattern!r}: {''.join(self.lines)}")

    def run(self, *words, code=0, given=None):
        done = subprocess.run(
            [*IRONFREE, *words],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}{self.lines}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def pods(self):
        return json.loads(self.run("get", "pods", "--json"))["items"]

    def end(self, number):
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=40)
        self.lines.append(rest)
        return self.process.returncode

    def close(self):
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end(signal.SIGTERM)
            self.process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def service():
    made = Service()
    yield made
    made.close()


def example(service, replicas=2):
    text = (Path(__file__).parents[3] / "examples" / "hello.yaml").read_text()
    file = service.directory / "hello.yaml"
    file.write_text(text.replace("replicas: 4", f"replicas: {replicas}"))
    return str(file)


def test_a_newcomer_sees_pods_run_and_why_and_everything_survives_restarts(service):
    service.start("--example", "hello")
    service.read_until("offering 3 simulated hosts")
    rows = [service.read_until(r"^(hello-\w+) +Running +(simulated-\d)") for _ in range(4)]
    service.read_until("3 of 3 nodes fit|Go on with")
    assert len({row[1] for row in rows}) == 4
    assert stat.S_IMODE((service.data / "kubeconfig").stat().st_mode) == 0o600
    assert "Running" in service.run("get", "pods")

    begun = time.monotonic()
    assert service.end(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 30, "stops within seconds"
    before = {row[1] for row in rows}

    service.start("--example", "hello", "--log-level", "WARNING")
    service.read_until("Go on with")
    assert {pod["metadata"]["name"] for pod in service.pods()} == before, "no second example"

    os.kill(service.process.pid, signal.SIGKILL)
    service.process.communicate(timeout=10)
    service.start("--hosts", "none")
    service.run("scale", "rc", "hello", "--replicas", "5")
    service.run("apply", "--wait", "--force-conflicts", "-f", example(service, 5))
    names = {pod["metadata"]["name"] for pod in service.pods()}
    assert before < names
    assert len(names) == 5


def test_client_verbs_say_what_they_do(service):
    service.start("--hosts", "none")
    assert "No hosts" in service.run("node", "list")
    added = service.run(
        *("node", "add", "simulated://big?cpu=16", "--name", "big", "--driver", "simulated"),
        *("--label", "disk=ssd", "--zone", "z1", "--reserve", "cpu=500m"),
    )
    assert added.splitlines() == ["dockerhost.ironfree.dev/big created", "node/big ready"]
    node = json.loads(service.run("get", "node", "big", "--json"))
    assert node["status"]["allocatable"]["cpu"] == "15500m"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z1"
    assert node["metadata"]["labels"]["disk"] == "ssd"

    file = example(service)
    created = service.run("apply", "--wait", "-f", file).splitlines()
    assert created[0] == "replicationcontroller/hello created"
    assert sum(line.endswith("Running on big") for line in created) == 2
    assert service.run("apply", "-f", file) == "replicationcontroller/hello unchanged\n"
    one, two = (pod["metadata"]["name"] for pod in service.pods())
    assert "started" in service.run("logs", one)
    assert "1 of 1 nodes fit" in service.run("describe", "pod", one)
    assert service.run("scale", "rc/hello", "--replicas", "1").endswith("scaled from 2 to 1\n")
    assert "hello" in service.run("get", "all", "-o", "name")
    wide = service.run("get", "pods", "-A", "-o", "wide")
    assert "NAMESPACE" in wide
    assert "big" in wide

    drained = service.run("node", "drain", "big")
    assert "node/big drained" in drained
    assert "SchedulingDisabled" in service.run("get", "nodes")
    assert not {one, two} & {pod["metadata"]["name"] for pod in service.pods()}
    service.run("node", "uncordon", "big")
    service.run("apply", "--wait", "-f", file, "--force-conflicts")

    assert "deleted" in service.run("delete", "-f", file)
    assert "apiVersion and kind" in service.run("apply", "-f", "-", given="{}", code=1)
    assert 'pods "absent" not found' in service.run("get", "pod", "absent", code=1)
    assert "no resource" in service.run("get", "pots", code=1)
    service.run("scale", "rc/hello", code=2)

    exported = service.run("kubeconfig", "-o", str(service.directory / "mine"))
    assert exported == f"export KUBECONFIG={service.directory}/mine\n"
    kubectl = subprocess.run(
        [KUBECTL, "--kubeconfig", service.directory / "mine", "get", "nodes"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=service.environment,
    )
    assert "big" in kubectl.stdout


def test_a_watch_prints_changes_as_they_come(service):
    service.start("--hosts", "simulated")
    service.run("apply", "--wait", "-f", example(service, 1))
    watch = subprocess.Popen(
        [*IRONFREE, "get", "pods", "--json", "-w"],
        env=service.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        first = json.loads(watch.stdout.readline())  # now it has listed
        assert (first["type"], first["object"]["status"]["phase"]) == ("ADDED", "Running")
        service.run("apply", "--wait", "-f", example(service, 2))
        phases = []
        for line in watch.stdout:
            pod = json.loads(line)["object"]
            if pod["metadata"]["name"] != first["object"]["metadata"]["name"]:
                phases.append(pod["status"]["phase"])
            if "Running" in phases:
                break
        assert phases[0] == "Pending"
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
        watch.stdout.close()


def test_what_cannot_work_is_said_in_one_line(service):
    service.start("--hosts", "none")
    port = service.url.rpartition(":")[2]
    other = ("--data-dir", str(service.directory / "other"))
    assert f"cannot listen on 127.0.0.1 port {port}" in service.run(
        "serve", "--port", port, *other, code=1
    )
    assert "is in use by process" in service.run("serve", "--port", "0", code=1)
    unreachable = service.run("get", "pods", "--server", "http://127.0.0.1:1", code=1)
    assert "no answer from http://127.0.0.1:1" in unreachable
    assert "Traceback" not in unreachable


def test_it_goes_on_when_postgresql_has_crashed(service):
    service.start("--hosts", "simulated")
    service.run("apply", "--wait", "-f", example(service, 1))
    before = {pod["metadata"]["name"] for pod in service.pods()}
    postmaster = int((service.data / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGQUIT)  # as pg_ctl stop -m immediate
    service.run("scale", "rc/hello", "--replicas", "2")
    service.run("apply", "--wait", "--force-conflicts", "-f", example(service, 2))
    after = {pod["metadata"]["name"] for pod in service.pods()}
    assert before < after
    assert service.process.poll() is None
