"""`ironfree plan`: what more or fewer hosts would mean, and which are the cheapest that suffice.

Adding and removing are simulations over the live cluster, compared with one of the cluster as it
is. The cheapest hosts are a Placement of the pods onto host types that a table offers.
"""

import argparse
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import cast

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.names import subdomain_complaints
from .connection import Connection, child, connect, entries, namespace_of
from .connection import add_arguments as add_client_arguments
from .get import dump
from .manifests import read_manifests
from .packing_shapes import host_objects, host_types, template_entries
from .place import assignments, template_of, wait, workloads
from .resources import discover
from .simulate import SIMULATIONS

_MOST_ADDED = 1000
_PODS = "110"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="NAME=cpu:8,memory:32Gi[,COUNT]",
        help="as if there were these hosts, too; label:KEY:VALUE gives them a label",
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="HOST", help="as if the host were gone"
    )
    parser.add_argument(
        "--cheapest",
        metavar="SHAPES.csv",
        help="which of the table's hosts are the cheapest that hold the pods (price, count)",
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE|DIR|-",
        dest="files",
        help="with --cheapest: the pods; those of the table, or else all of the cluster's",
    )
    parser.add_argument("--deadline", type=int, default=30, metavar="SECONDS", help="default: 30")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; returns 1 if pods would have no room."""
    changes = bool(arguments.add or arguments.remove)
    if changes == bool(arguments.cheapest):
        raise BadRequest("give --add and --remove, or --cheapest")
    connection = connect(arguments)
    if changes:
        return _compare(connection, arguments)
    return _cheapest(connection, arguments)


def _compare(connection: Connection, arguments: argparse.Namespace) -> int:
    """Print who gains and who loses a node by a change of hosts."""
    nodes: list[Json] = [node for text in cast(list[str], arguments.add) for node in added(text)]
    gone: list[Json] = [*cast(list[str], arguments.remove)]
    for name in gone:
        connection.get(discover(connection).named("nodes").path("", str(name)))
    before = _simulated(connection, {})
    after = _simulated(connection, {"nodes": nodes, "without": {"nodes": gone}})
    gained = {
        pod: node for pod, (node, _) in after.items() if node and not before.get(pod, (node,))[0]
    }
    moved = {pod: node for pod, (node, _) in after.items() if node and pod not in before}
    lost = {pod: why for pod, (node, why) in after.items() if not node and _had_node(pod, before)}
    if arguments.json:
        told: JsonObject = {
            "gained": {**gained},
            "moved": {**moved},
            "lost": {**lost},
            "waiting": sum(not node for node, _ in after.values()),
        }
        print(dump(told, "json"), end="")
        return 1 if lost else 0
    for verb, pods in (("would be placed on", gained), ("would move to", moved)):
        for pod, node in pods.items():
            print(f"pod/{pod} {verb} {node}")
    for pod, why in lost.items():
        print(f"pod/{pod} would have no room: {why}")
    print(f"{len(gained)} gained, {len(moved)} moved, {len(lost)} lost")
    return 1 if lost else 0


def _had_node(pod: str, before: dict[str, tuple[str, str]]) -> bool:
    """Tell whether a pod runs now (it was not tried), or would be placed."""
    return pod not in before or bool(before[pod][0])


def _simulated(connection: Connection, more: JsonObject) -> dict[str, tuple[str, str]]:
    """Return pod → (node or "", why none) of the pods that would be tried."""
    spec: JsonObject = {"cluster": "live", "explain": "none", **more}
    _code, answer = connection.request("POST", SIMULATIONS, body={"spec": spec})
    return {
        str(result.get("pod")): (str(result.get("nodeName") or ""), str(result.get("message", "")))
        for result in entries(child(answer, "status").get("results"))
    }


def added(text: str) -> Iterator[JsonObject]:
    """Yield the Nodes of an --add.

    Args:
        text: NAME=RESOURCE:AMOUNT,…,label:KEY:VALUE,…[,COUNT].

    Raises:
        BadRequest: says which part cannot be read.
    """
    name, equals, rest = text.partition("=")
    complaints = list(subdomain_complaints(name))
    if not equals or complaints:
        raise BadRequest(f"--add: {text!r} must be NAME=cpu:8,memory:32Gi[,COUNT]")
    offer: JsonObject = {"pods": _PODS}
    labels: JsonObject = {}
    count = 1
    for part in rest.split(","):
        what, colon, amount = part.rpartition(":")
        if part.isascii() and part.isdecimal() and 0 < int(part) <= _MOST_ADDED:
            count = int(part)
        elif colon and what.startswith("label:"):
            labels[what.removeprefix("label:")] = amount
        elif colon and what and amount:
            offer[what] = amount
        else:
            raise BadRequest(
                f"--add: {part!r} is no RESOURCE:AMOUNT, label:KEY:VALUE or count to {_MOST_ADDED}"
            )
    for number in range(count):
        host = f"{name}-{number}" if count > 1 else name
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": host, "labels": {"kubernetes.io/hostname": host, **labels}},
            "status": {
                "allocatable": {**offer},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }


def _cheapest(connection: Connection, arguments: argparse.Namespace) -> int:
    """Print the cheapest hosts of a table that hold the pods, and what no choice can beat."""
    table = cast(str, arguments.cheapest)
    nodes = host_objects(table)
    if not nodes:
        raise BadRequest(f"{table} offers no hosts: it needs lines of kind host")
    files = cast(list[str], arguments.files)
    templates: list[Json] = template_entries(table)
    if files:
        found = workloads(read_manifests(files))
        templates += [template_of(obj, number) for number, obj in enumerate(found)]
    if not templates:
        templates = [*_running(entries(connection.get("/api/v1/pods").get("items")))]
    if not templates:
        raise BadRequest("there are no pods to find hosts for")
    pods: JsonObject = {"templates": templates}
    hosts: JsonObject = {"nodes": nodes}
    spec: JsonObject = {
        "pods": pods,
        "hosts": hosts,
        "objective": [{"hosts": "cost"}],
        "deadlineSeconds": cast(int, arguments.deadline),
    }
    return _show(*_solved(connection, arguments, spec), host_types(table), as_json=arguments.json)


def _solved(
    connection: Connection, arguments: argparse.Namespace, spec: JsonObject
) -> tuple[JsonObject, Counter[str]]:
    """Return the status of a Placement that is deleted afterwards, and pods by host."""
    resource = discover(connection).named("placements")
    namespace, name = namespace_of(arguments, connection), f"plan-{secrets.token_hex(4)}"
    body: JsonObject = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "Placement",
        "metadata": {"name": name},
        "spec": spec,
    }
    connection.request("POST", resource.path(namespace), body=body)
    try:
        done = wait(connection, resource.path(namespace, name), quiet=arguments.json)
        found = assignments(connection, resource.path(namespace, name, "assignments"))
        return child(done, "status"), Counter(str(each.get("node")) for each in found)
    finally:
        connection.request("DELETE", resource.path(namespace, name))


def _show(status: JsonObject, hosts: Counter[str], types: dict[str, str], *, as_json: bool) -> int:
    counts = Counter(types[host] for host in hosts)
    goals = entries(child(status, "solver").get("goals"))
    goal: JsonObject = goals[0] if goals else {}
    complete = status.get("phase") == "Planned" and status.get("placed") == status.get("pods")
    if as_json:
        told: JsonObject = {"hosts": {**counts}, "cost": goal, "status": status}
        print(dump(told, "json"), end="")
    elif complete:
        for name, count in sorted(counts.items()):
            print(f"{count} x {name}")
        value, bound, gap = goal.get("value"), goal.get("bound"), goal.get("gap")
        print(f"cost {value}; none cheaper than {bound} (gap {gap})")
    else:
        reasons = [str(each.get("reason")) for each in entries(status.get("unplaced"))]
        words = (str(status.get("message") or ""), *reasons)
        impossible = status.get("phase") == "Infeasible"
        verb = "do not hold the pods" if impossible else "hold the pods in no way that was found"
        print(f"the hosts of the table {verb}: {'; '.join(filter(None, words))}")
    return 0 if complete else 1


def _running(pods: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Yield a cluster's pods as templates, alike ones together; pods of daemons are not asked."""
    counts: Counter[str] = Counter()
    samples: dict[str, JsonObject] = {}
    for pod in pods:
        owners = entries(child(pod, "metadata").get("ownerReferences"))
        if child(pod, "status").get("phase") in {"Succeeded", "Failed"} or any(
            owner.get("kind") == "DaemonSet" for owner in owners
        ):
            continue
        spec = {key: value for key, value in child(pod, "spec").items() if key != "nodeName"}
        template: JsonObject = {
            "metadata": {"labels": child(pod, "metadata").get("labels") or {}},
            "spec": spec,
        }
        key = dump(template, "json")
        counts[key] += 1
        samples.setdefault(key, template)
    for number, (key, template) in enumerate(samples.items()):
        yield {"name": f"pods-{number}", "count": counts[key], "template": template}
