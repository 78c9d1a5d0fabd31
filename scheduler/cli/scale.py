"""`ironfree scale`: sets the number of replicas."""

import argparse
from typing import cast

from .connection import (
    MERGE_PATCH,
    child,
    connect,
    namespace_of,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .get import dump
from .resources import discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("what", nargs="+", help="rc NAME · rc/NAME …")
    parser.add_argument("--replicas", type=int, required=True, metavar="N")


def run(arguments: argparse.Namespace) -> int:
    """Patch /scale of every object named."""
    connection = connect(arguments)
    namespace = namespace_of(arguments, connection)
    for resource, name in discover(connection).targets(cast(list[str], arguments.what)):
        path = resource.path(namespace, name, "scale")
        before = child(connection.get(path), "spec").get("replicas", 0)
        body = {"spec": {"replicas": cast(int, arguments.replicas)}}
        _, scaled = connection.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        if arguments.json:
            print(dump(scaled, "json"), end="")
        else:
            print(f"{resource.full_name}/{name} scaled from {before} to {arguments.replicas}")
    return 0
