"""`ironfree simulate`: what would happen, and why, without doing it."""

import argparse
from typing import cast

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from .connection import add_arguments as add_client_arguments
from .connection import child, connect, entries, metadata
from .get import dump
from .manifests import read_manifests

SIMULATIONS = "/apis/ironfree.dev/v1/simulations"
_LISTS = {
    "Node": "nodes",
    "Pod": "pods",
    "Namespace": "namespaces",
    "Service": "services",
    "ReplicationController": "replicationControllers",
    "ReplicaSet": "replicaSets",
    "StatefulSet": "statefulSets",
    "PodDisruptionBudget": "podDisruptionBudgets",
    "PriorityClass": "priorityClasses",
    "PodGroup": "podGroups",
    "LimitRange": "limitRanges",
    "RuntimeClass": "runtimeClasses",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE|DIR|-",
        dest="files",
        help="a Simulation, or nodes, pods and what bears on them",
    )
    parser.add_argument(
        "--live", action="store_true", help="lay the objects over the cluster as it is"
    )
    parser.add_argument(
        "--without-node",
        action="append",
        default=[],
        metavar="NODE",
        help="as if the node were gone (with --live)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print one line a pod; returns 1 if a pod would have no node."""
    connection = connect(arguments)
    spec = _spec(arguments)
    _code, answer = connection.request("POST", SIMULATIONS, body={"spec": spec})
    status = child(answer, "status")
    if arguments.json:
        print(dump(answer, "json"))
    else:
        for result in entries(status.get("results")):
            print(_line(result))
        print(f"{status.get('placed')} placed, {status.get('unplaced')} not")
    return 1 if status.get("unplaced") else 0


def _spec(arguments: argparse.Namespace) -> JsonObject:
    files = cast(list[str], arguments.files)
    objects = read_manifests(files) if files else []
    simulations = [obj for obj in objects if obj.get("kind") == "Simulation"]
    if len(simulations) > 1:
        raise BadRequest(f"{len(simulations)} Simulations in {', '.join(files)}; give one")
    spec: JsonObject = dict(child(simulations[0], "spec")) if simulations else {}
    for obj in objects:
        kind = str(obj.get("kind", ""))
        if kind == "Simulation":
            continue
        if kind not in _LISTS:
            raise BadRequest(
                f"{kind}/{metadata(obj).get('name', '?')} has no place in a simulation; "
                f"there is for {', '.join(_LISTS)}"
            )
        present = spec.setdefault(_LISTS[kind], [])
        assert isinstance(present, list)
        present.append(obj)
    if arguments.live or arguments.without_node:
        gone: list[Json] = [*cast(list[str], arguments.without_node)]
        spec["cluster"] = "live"
        spec["without"] = {"nodes": gone}
    if not spec:
        raise BadRequest("nothing to simulate: give --filename, --live or --without-node")
    return spec


def _line(result: JsonObject) -> str:
    name, node = result.get("pod"), result.get("nodeName")
    if node:
        return f"pod/{name} -> {node}"
    victims = result.get("victims")
    if isinstance(victims, list) and victims:
        evicted = ", ".join(str(victim) for victim in victims)
        return f"pod/{name} -> {result.get('nominatedNodeName')} once {evicted} left"
    return f"pod/{name} has no node: {result.get('message', '')}"
