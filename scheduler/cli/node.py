"""`ironfree node`: adds, lists, examines and drains hosts (DockerHost and Node objects)."""

import argparse
import re
import socket
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from ..errors import BadRequest, StatusError
from ..objects.json import JsonObject
from .apply import apply
from .connection import (
    TABLE,
    Connection,
    child,
    connect,
    entries,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .docker_context import read_context
from .doctor import doctor, findings, tell
from .drain import add_arguments as add_drain_arguments
from .drain import cordon, drain, stay
from .get import dump
from .resources import Resources, discover
from .table import TableWriter

TLS_NAMESPACE = "kube-system"
_TLS_FILES = {"ca.crt": "ca.pem", "tls.crt": "cert.pem", "tls.key": "key.pem"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs `node add`, `list`, `doctor`, `drain` and `uncordon`."""
    verbs = parser.add_subparsers(dest="action", required=True)
    add = verbs.add_parser("add", help="tell Ironfree of a host")
    add_client_arguments(add, namespaced=False)
    add.add_argument(
        "url", nargs="?", help="unix:///var/run/docker.sock · tcp://10.0.0.5:2376 · ssh://me@host"
    )
    add.add_argument("--context", metavar="NAME", help="a Docker context, instead of a URL")
    add.add_argument("--name", default="", help="of the node; default: the host's name")
    add.add_argument("--zone", default="")
    add.add_argument("--driver", default="", help="default: as the address says")
    add.add_argument(
        "--tls", metavar="DIR", type=Path, help="directory with ca.pem, cert.pem and key.pem"
    )
    for flag, what in (
        ("--label", "a label of the node"),
        ("--reserve", "kept from pods, e.g. cpu=500m"),
        ("--capacity", "instead of what the engine says, e.g. memory=8Gi"),
        ("--option", "a setting of the driver"),
    ):
        add.add_argument(flag, action="append", default=[], metavar="KEY=VALUE", help=what)
    add.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    add.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")
    add_client_arguments(verbs.add_parser("list", help="print hosts and nodes"), namespaced=False)
    examined = verbs.add_parser("doctor", help="say what is wrong with a host, and what to mend")
    add_client_arguments(examined, namespaced=False)
    examined.add_argument("name")
    examined.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS")
    for name, text in (
        ("drain", "let nothing new onto a node and move its pods, replacements first"),
        ("uncordon", "let pods onto a drained node again"),
    ):
        single = verbs.add_parser(name, help=text)
        add_client_arguments(single, namespaced=False)
        single.add_argument("name")
        if name == "drain":
            add_drain_arguments(single)


def run(arguments: argparse.Namespace) -> int:
    """Do one of them."""
    connection = connect(arguments)
    resources = discover(connection)
    match cast(str, arguments.action):
        case "add":
            return _add(connection, resources, arguments)
        case "list":
            return _list(connection, resources, arguments)
        case "doctor":
            name, patience = cast(str, arguments.name), cast(float, arguments.timeout)
            as_json = bool(arguments.json)
            return doctor(connection, resources, name, patience, as_json=as_json)
        case "drain":
            return drain(connection, resources, arguments)
        case _:
            return _open_again(connection, resources, arguments)


def _add(connection: Connection, resources: Resources, arguments: argparse.Namespace) -> int:
    url, tls = _reached(arguments)
    name = cast(str, arguments.name) or host_name(url)
    spec: JsonObject = {"address": url}
    if arguments.driver:
        spec["driver"] = cast(str, arguments.driver)
    if arguments.zone:
        spec["zone"] = cast(str, arguments.zone)
    for field, flag in (
        ("labels", "label"),
        ("reserved", "reserve"),
        ("capacity", "capacity"),
        ("options", "option"),
    ):
        if pairs := _pairs(cast(list[str], getattr(arguments, flag)), f"--{flag}"):
            spec[field] = pairs
    if tls is not None:
        spec["tlsSecretName"] = f"{name}-tls"
        secret = _tls_secret(f"{name}-tls", tls)
        _apply(connection, resources, secret, TLS_NAMESPACE)
    host: JsonObject = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": name},
        "spec": spec,
    }
    stored, verb = _apply(connection, resources, host, "")
    if not arguments.json:
        print(f"dockerhost.ironfree.dev/{name} {verb}", flush=True)
    if not arguments.no_wait:
        stored = wait_ready(connection, resources, name, cast(float, arguments.timeout))
    if arguments.json:
        print(dump(stored, "json"), end="")
    elif not arguments.no_wait:
        print(f"node/{name} ready", flush=True)
        found = findings(connection.get(resources.named("dockerhosts").path("", name)))
        tell([check for check in found if not check["sound"]])
    return 0


def _reached(arguments: argparse.Namespace) -> tuple[str, Path | None]:
    """Return the address that is given, and the folder of TLS material."""
    url, context = cast(str | None, arguments.url), cast(str | None, arguments.context)
    if (url is None) == (context is None):
        raise BadRequest("give either a URL or --context NAME")
    tls = cast(Path | None, arguments.tls)
    if context is None:
        assert url is not None
        return url, tls
    found = read_context(context)
    return found.address, tls or found.tls


def _apply(
    connection: Connection, resources: Resources, obj: JsonObject, namespace: str
) -> tuple[JsonObject, str]:
    query = {"fieldManager": "ironfree", "force": "true"}
    return apply(connection, resources, obj, namespace, query)


def host_name(url: str) -> str:
    """Return a node name for an engine's URL: its host, or this machine's for a unix socket."""
    host = urlsplit(url).hostname or socket.gethostname()
    return re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip("-.") or "host"


def _pairs(words: list[str], flag: str) -> JsonObject:
    pairs: JsonObject = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadRequest(f"{flag} takes KEY=VALUE, not {word!r}")
        pairs[key] = value
    return pairs


def _tls_secret(name: str, directory: Path) -> JsonObject:
    try:
        texts: JsonObject = {
            field: (directory / file).read_text() for field, file in _TLS_FILES.items()
        }
    except OSError as error:
        raise BadRequest(f"--tls: {error}") from error
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": TLS_NAMESPACE},
        "stringData": texts,
    }


def wait_ready(
    connection: Connection, resources: Resources, name: str, seconds: float
) -> JsonObject:
    """Return the node once it is ready.

    Args:
        seconds: patience.

    Raises:
        StatusError: it was not ready in time; with the host's complaint.
    """
    deadline = time.monotonic() + seconds
    path = resources.named("nodes").path()
    query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": "0"}
    while (left := deadline - time.monotonic()) > 0:
        limits = {"timeoutSeconds": str(max(1, int(left)))}
        for event, node in connection.watch(path, query | limits):
            if event != "DELETED" and condition(node, "Ready").get("status") == "True":
                return node
    host = connection.get(resources.named("dockerhosts").path("", name))
    reason = condition(host, "Ready").get("message") or "it has not answered yet"
    raise StatusError(f'host "{name}" is not ready after {seconds:g} s: {reason}')


def condition(obj: JsonObject, kind: str) -> JsonObject:
    """Return a condition of an object's status, empty where there is none."""
    for found in entries(child(obj, "status").get("conditions")):
        if found.get("type") == kind:
            return found
    return {}


def _list(connection: Connection, resources: Resources, arguments: argparse.Namespace) -> int:
    hosts, nodes = resources.named("dockerhosts"), resources.named("nodes")
    if arguments.json:
        found = [connection.get(resource.path()) for resource in (hosts, nodes)]
        print(dump({"hosts": found[0]["items"], "nodes": found[1]["items"]}, "json"), end="")
        return 0
    table = connection.get(hosts.path(), accept=TABLE)
    if not entries(table.get("rows")):
        print("No hosts; add one with `ironfree node add URL`")
    else:
        TableWriter(wide=True).write(table)
    table = connection.get(nodes.path(), accept=TABLE)
    if entries(table.get("rows")):
        print()
        TableWriter(wide=True).write(table)
    return 0


def _open_again(connection: Connection, resources: Resources, arguments: argparse.Namespace) -> int:
    name = cast(str, arguments.name)
    node = cordon(connection, resources, name, away=False)
    stay(connection, resources, name)
    print(dump({"node": node}, "json") if arguments.json else f"node/{name} open again\n", end="")
    return 0
