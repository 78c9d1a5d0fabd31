"""Ironfree as a process of its own, and the stock kubectl pointed at it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.lab import Host, Lab

T = TypeVar("T")
BIN = Path(sys.executable).parent
START_SECONDS = 30.0


def eventually(look: Callable[[], T], seconds: float = 45.0, what: str = "") -> T:
    """Return the first true value of `look`; AssertionError with the last value after `seconds`.

    For what only shows by asking (a daemon's list, a process): nothing there can be awaited.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what} (last: {value!r})"
        time.sleep(0.2)


class Ironfree:
    """`ironfree serve` on a port of its own, with a database given by URL."""

    def __init__(self, directory: Path, database_url: str, **environment: str) -> None:
        self.directory = directory
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "ironfree.log"
        self._environment = os.environ | {
            "DATABASE_URL": database_url,
            "IRONFREE_DATA_DIR": str(directory / "data"),
            "IRONFREE_PORT": str(self.port),
            "IRONFREE_SERVER": self.url,
            "IRONFREE_NODE_GRACE_SECONDS": "6",
            "IRONFREE_HEARTBEAT_SECONDS": "1",
            "IRONFREE_PRESSURE_SECONDS": "1",
            "IRONFREE_STORAGE_LIMIT_SECONDS": "1",
            "HOME": str(directory),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "ironfree", "serve"], env=self._environment, stdout=log, stderr=log
            )
        eventually(self._ready, START_SECONDS, "ironfree answers /readyz")

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"ironfree ended:\n{self.log()}"
        asked = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asked.request("GET", "/readyz")
            return asked.getresponse().status == 200
        except OSError:
            return False
        finally:
            asked.close()

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def log(self) -> str:
        """What it printed, the last part."""
        return self._log.read_text(errors="replace")[-8000:] if self._log.exists() else ""

    def command(self, *words: str) -> list[str]:
        """A kubectl command line for this server."""
        return [str(BIN / "kubectl"), "--server", self.url, *words]

    def kubectl(self, *words: str, given: str | None = None, seconds: float = 60.0) -> str:
        """Run kubectl; returns what it printed, and fails the test with its words otherwise."""
        done = subprocess.run(
            self.command(*words),
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {words}: {done.stderr}{done.stdout}\n{self.log()}"
        return done.stdout

    def cli(self, *words: str) -> tuple[int, str]:
        """Run `ironfree WORDS…` against this server; returns its exit code and output."""
        done = subprocess.run(
            [BIN / "ironfree", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        """Start a kubectl that goes on (watch, follow)."""
        return subprocess.Popen(
            self.command(*words),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def get(self, *words: str) -> Any:
        """`kubectl get … -o json`, decoded."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def pods(self, selector: str = "") -> list[Any]:
        """The pods of namespace default, those being deleted included."""
        return self.get("pods", *(["-l", selector] if selector else []))["items"]

    def running(
        self, count: int, selector: str = "", seconds: float = 45.0, away_from: str = ""
    ) -> list[Any]:
        """Wait until exactly `count` undeleted pods are there, all Ready; returns them.

        Args:
            away_from: a node that none of them may be on.
        """

        def look() -> list[Any] | None:
            pods = [p for p in self.pods(selector) if "deletionTimestamp" not in p["metadata"]]
            elsewhere = all(p["spec"].get("nodeName") != away_from for p in pods)
            return pods if len(pods) == count and elsewhere and all(map(is_ready, pods)) else None

        try:
            return eventually(look, seconds, f"{count} ready pods of {selector or 'default'}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._present(selector)}\n{self.log()}") from error

    def _present(self, selector: str) -> str:
        """What there is of pods, and what has happened to those of a selector."""
        asked = (
            ("get", "pods", "-A", "-o", "wide"),
            ("describe", "pods", "-l", selector),
            ("logs", "-l", selector, "--all-containers", "--ignore-errors", "--timestamps"),
        )
        return "\n".join(self._tried(*words) for words in asked)

    def _tried(self, *words: str) -> str:
        """What kubectl says, or that it says nothing."""
        command, env = self.command(*words), self._environment
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired as error:
            return str(error)
        return done.stdout + done.stderr

    def add_hosts(
        self, lab: Lab, hosts: Sequence[Host] = (), addresses: Mapping[str, str] | None = None
    ) -> None:
        """Tell it of hosts (default: all), and wait until they are Ready.

        Args:
            addresses: of hosts that are reached otherwise than over TCP with TLS.
        """
        hosts = hosts or lab.hosts
        told = _hosts(lab, hosts, addresses or {})
        self.kubectl("apply", "-f", "-", given=json.dumps(told))
        self.wait_for_hosts(hosts)

    def wait_for_hosts(self, hosts: Sequence[Host]) -> None:
        """Wait until every host is a Ready node that pods may come to."""
        names = {host.name for host in hosts}

        def look() -> bool:
            nodes = self.get("nodes")["items"]
            good = {
                n["metadata"]["name"] for n in nodes if is_ready(n) and not n["spec"].get("taints")
            }
            return names <= good

        eventually(look, what="every host is a Ready node")


def is_ready(obj: Any) -> bool:
    """Whether a pod's or node's Ready condition is True."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def replication_controller(
    name: str,
    replicas: int,
    *,
    command: Sequence[str] = (),
    gone_after: int = 2,
    spread_out: bool = True,
    **container: Any,
) -> str:
    """A ReplicationController of shell pods.

    Args:
        gone_after: seconds after which they leave a host that does not answer.
        spread_out: whether they are spread evenly over the hosts that answer.
    """
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    lost = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "topologySpreadConstraints": [spread] if spread_out else [],
                        "tolerations": [
                            {
                                "key": key,
                                "operator": "Exists",
                                "effect": "NoExecute",
                                "tolerationSeconds": gone_after,
                            }
                            for key in lost
                        ],
                        "containers": [
                            {
                                "name": "main",
                                "image": "lab-shell:v1",
                                "command": list(command) or ["sleep", "100000"],
                                "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
                                **container,
                            }
                        ],
                    },
                },
            },
        }
    )


def copies(hosts: Sequence[Host]) -> dict[str, list[str]]:
    """Pod uid → where a running `main` container of it is, as the daemons themselves say."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for container in host.containers():
            labels = container.labels
            name = labels.get("ironfree.dev/container")
            if container.state == "running" and name == "main":
                found.setdefault(labels["ironfree.dev/pod-uid"], []).append(host.name)
    return found


def _hosts(lab: Lab, hosts: Sequence[Host], addresses: Mapping[str, str]) -> Any:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "lab-tls", "namespace": "kube-system"},
        "stringData": {
            "ca.crt": lab.tls.ca.read_text(),
            "tls.crt": lab.tls.cert.read_text(),
            "tls.key": lab.tls.key.read_text(),
        },
    }
    items = [
        {
            "apiVersion": "ironfree.dev/v1",
            "kind": "DockerHost",
            "metadata": {"name": host.name},
            "spec": {
                **(
                    {"address": addresses[host.name]}
                    if host.name in addresses
                    else {"address": f"tcp://{host.tcp_address}", "tlsSecretName": "lab-tls"}
                ),
                "capacity": {"cpu": "4", "memory": "2Gi"},
            },
        }
        for host in hosts
    ]
    return {"apiVersion": "v1", "kind": "List", "items": [secret, *items]}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
