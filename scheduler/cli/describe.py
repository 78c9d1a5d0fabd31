"""`ironfree describe`: one object in full, and what happened to it."""

import argparse
from typing import cast

from ..objects.json import JsonObject
from .connection import (
    TABLE,
    Connection,
    child,
    connect,
    entries,
    metadata,
    namespace_of,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .get import dump
from .resources import Resource, Resources, discover
from .table import TableWriter

_NOISE = ("managedFields", "creationTimestamp", "generation", "resourceVersion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("what", nargs="+", help="pod NAME · pod/NAME rc/NAME · node NAME")


def run(arguments: argparse.Namespace) -> int:
    """Print every object asked for; all of a resource when no name is given."""
    connection = connect(arguments)
    resources = discover(connection)
    namespace = namespace_of(arguments, connection)
    separate = ""
    for resource, name in resources.targets(cast(list[str], arguments.what)):
        answer = connection.get(resource.path(namespace, name))
        objects = [answer] if name else entries(answer.get("items"))
        for obj in objects:
            events = _events(connection, resources, resource, obj)
            if arguments.json:
                print(dump({"object": obj, "events": [*entries(events.get("items"))]}, "json"))
                continue
            print(separate, end="")
            separate = "\n"
            _print(connection, resources, resource, obj)
    return 0


def _events(
    connection: Connection,
    resources: Resources,
    resource: Resource,
    obj: JsonObject,
    accept: str = "application/json",
) -> JsonObject:
    meta = metadata(obj)
    fields = f"involvedObject.kind={resource.kind},involvedObject.name={meta['name']}"
    path = resources.named("events").path(meta.get("namespace", ""))
    return connection.get(path, {"fieldSelector": fields}, accept)


def _print(
    connection: Connection, resources: Resources, resource: Resource, obj: JsonObject
) -> None:
    shown = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}
    meta = {k: v for k, v in child(obj, "metadata").items() if k not in _NOISE}
    document: JsonObject = {"kind": resource.kind, **shown, "metadata": meta}
    print(dump(document, "yaml"), end="")
    if resource.kind == "Node":
        pods = resources.named("pods").path()
        on_node = {"fieldSelector": f"spec.nodeName={metadata(obj)['name']}"}
        print("pods:")
        if not TableWriter(namespace=True).write(connection.get(pods, on_node, TABLE)):
            print("none")
    print("events:")
    if not TableWriter().write(_events(connection, resources, resource, obj, TABLE)):
        print("none")
