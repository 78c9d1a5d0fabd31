"""`ironfree tour`: on an empty cluster, offers hosts, runs an example and says where and why."""

import argparse
import http.client
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from ..errors import BadRequest, ConfigurationError, StatusError
from ..objects.json import JsonObject
from .apply import apply
from .connection import (
    Connection,
    child,
    connect,
    entries,
    namespace_of,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .kubeconfig import default_path
from .manifests import read_manifests
from .node import host_name, wait_ready
from .resources import Resources, discover
from .rollout import PodState, follow

_SIMULATED = 3
_PATIENCE = 50.0  # seconds for the example's pods, images included
_HOST_PATIENCE = 15.0  # seconds
_EVENT_PATIENCE = "5"  # seconds
_DOCKER_SOCKET = "unix:///var/run/docker.sock"
_EXAMPLES = Path(__file__).parents[2] / "examples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("--hosts", choices=["auto", "docker", "simulated", "none"], default="auto")
    parser.add_argument("--example", default="hello", metavar="NAME|FILE|none")


def run(arguments: argparse.Namespace) -> int:
    """Walk a newcomer through; does nothing that an existing cluster would notice."""
    connection = connect(arguments)
    resources = discover(connection)
    console = Console(highlight=False)
    if _count(connection, resources, "dockerhosts") == 0 and arguments.hosts != "none":
        _offer_hosts(connection, resources, console, cast(str, arguments.hosts))
    example = cast(str, arguments.example)
    if example != "none" and _count(connection, resources, "pods") == 0:
        _run_example(connection, resources, console, example, namespace_of(arguments, connection))
    console.print(
        f"\nGo on with\n  ironfree get pods -A -o wide\n"
        f"  export KUBECONFIG={default_path().absolute()} && kubectl get pods -A -o wide\n"
        "Stop with Ctrl-C; containers keep running and data stays.",
        soft_wrap=True,
    )
    return 0


def _count(connection: Connection, resources: Resources, resource: str) -> int:
    path = resources.named(resource).path()
    return len(entries(connection.get(path, {"limit": "1"}).get("items")))


def local_engine() -> str | None:
    """Return the URL of the Docker engine that DOCKER_HOST or the usual socket leads to, or None.

    Only engines that answer without credentials; others are added with `ironfree node add`.
    """
    url = os.environ.get("DOCKER_HOST") or _DOCKER_SOCKET
    return url if _answers(url) else None


def _answers(url: str) -> bool:
    address = urlsplit(url)
    family = socket.AF_UNIX if address.scheme == "unix" else socket.AF_INET
    if address.scheme not in {"unix", "tcp"}:
        return False
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(family)
    try:
        connection.sock.settimeout(3)
        if family is socket.AF_UNIX:
            connection.sock.connect(address.path)
        else:
            connection.sock.connect((address.hostname or "", address.port or 2375))
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _offer_hosts(
    connection: Connection, resources: Resources, console: Console, hosts: str
) -> None:
    engine = local_engine() if hosts in {"auto", "docker"} else None
    if engine:
        console.print(f"Found a Docker engine at {engine}; it becomes a node.", soft_wrap=True)
        _host(connection, resources, host_name(engine), engine, "docker")
        _await_hosts(connection, resources, console, [host_name(engine)])
        return
    if hosts == "docker":
        raise ConfigurationError(
            "no Docker engine answers at DOCKER_HOST or /var/run/docker.sock; start one, or add a "
            "host with `ironfree node add URL`"
        )
    console.print(
        f"No Docker engine here: offering {_SIMULATED} simulated hosts, on which pods only seem to "
        "run.\nAdd a real one with `ironfree node add tcp://HOST:2376 --tls DIR`.",
        soft_wrap=True,
    )
    names = [f"simulated-{number}" for number in range(1, _SIMULATED + 1)]
    for name in names:
        _host(connection, resources, name, f"simulated://{name}", "simulated")
    _await_hosts(connection, resources, console, names)


def _await_hosts(
    connection: Connection, resources: Resources, console: Console, names: Sequence[str]
) -> None:
    """Wait for the nodes, so that the example need not; what is wrong with one is said."""
    for name in names:
        try:
            wait_ready(connection, resources, name, _HOST_PATIENCE)
        except StatusError as error:
            console.print(f"[yellow]{error}[/yellow]", soft_wrap=True)


def _host(
    connection: Connection, resources: Resources, name: str, address: str, driver: str
) -> None:
    spec: JsonObject = {"address": address, "driver": driver}
    host: JsonObject = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": name},
        "spec": spec,
    }
    apply(connection, resources, host, "", {"fieldManager": "ironfree"})


def _run_example(
    connection: Connection, resources: Resources, console: Console, example: str, namespace: str
) -> None:
    path = _EXAMPLES / f"{example}.yaml"
    source = Path(example) if "/" in example or not path.exists() else path
    if not source.exists():
        known = ", ".join(sorted(file.stem for file in _EXAMPLES.glob("*.yaml")))
        raise BadRequest(f'no example "{example}"; there are {known}')
    query = {"fieldManager": "ironfree"}
    applied = [
        apply(connection, resources, obj, namespace, query)[0]
        for obj in read_manifests([str(source)])
    ]
    console.print(f"Applied {source.name}; waiting for its pods …")
    try:
        pods = follow(connection, resources, applied, _PATIENCE, _ignore)
    except StatusError as error:
        console.print(f"[yellow]{error}[/yellow]", soft_wrap=True)
        pods = []
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("Pod", "State", "Node", "Why"):
        table.add_column(column, overflow="fold")
    why = reasons(connection, resources, pods)
    for pod in pods:
        table.add_row(pod.name, pod.state, pod.node, why.get(pod.uid, ""))
    if pods:
        console.print(table)


def reasons(
    connection: Connection, resources: Resources, pods: Sequence[PodState]
) -> dict[str, str]:
    """Return the scheduler's words, by pod uid, on why pods are where they are.

    They are in the Scheduled events, which are written a moment after the bindings.
    """
    nodes = {pod.uid: pod.node for pod in pods}
    found: dict[str, str] = {}
    query = {
        "fieldSelector": "reason=Scheduled",
        "resourceVersion": "0",
        "timeoutSeconds": _EVENT_PATIENCE,
    }
    for _, event in connection.watch(resources.named("events").path(), query) if pods else ():
        uid = str(child(event, "involvedObject").get("uid"))
        if uid in nodes:
            message = str(event.get("message"))
            found[uid] = message.partition(f"to {nodes[uid]}: ")[2] or message
        if len(found) == len(nodes):
            break
    return found


def _ignore(_pod: PodState) -> None:
    """Say nothing until all run."""
