"""`ironfree logs`: prints a container's output, raw."""

import argparse
import sys
from typing import cast

from .connection import add_arguments as add_client_arguments
from .connection import connect, namespace_of
from .resources import discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("pod", help="NAME or pod/NAME")
    parser.add_argument("-c", "--container", default="", help="needed when the pod has several")
    parser.add_argument("-f", "--follow", action="store_true")
    parser.add_argument("-p", "--previous", action="store_true", help="of the run before")
    parser.add_argument("--tail", type=int, metavar="LINES")
    parser.add_argument("--since", type=int, metavar="SECONDS")
    parser.add_argument("--timestamps", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Copy the log to standard output until it ends."""
    connection = connect(arguments)
    name = cast(str, arguments.pod).rpartition("/")[2]
    pods = discover(connection).named("pods")
    wanted = {
        "container": cast(str, arguments.container),
        "follow": arguments.follow and "true",
        "previous": arguments.previous and "true",
        "timestamps": arguments.timestamps and "true",
        "tailLines": "" if arguments.tail is None else str(arguments.tail),
        "sinceSeconds": "" if arguments.since is None else str(arguments.since),
    }
    query = {key: value for key, value in wanted.items() if value}
    path = pods.path(namespace_of(arguments, connection), name, "log")
    for chunk in connection.stream(path, query, accept="*/*"):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return 0
