"""`ironfree delete`: deletes objects and waits until they are gone."""

import argparse
from typing import cast

from ..errors import BadRequest, StatusError
from ..objects.json import JsonObject
from .connection import (
    Connection,
    connect,
    metadata,
    namespace_of,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .get import dump
from .manifests import read_manifests
from .resources import Resource, discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("what", nargs="*", help="pod NAME · pod/a rc/b")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE|DIR|-")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS")
    parser.add_argument("--all", action="store_true", help="all of the resource in the namespace")
    parser.add_argument("--grace-period", type=int, metavar="SECONDS")
    parser.add_argument("--ignore-not-found", action="store_true")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is gone")


def run(arguments: argparse.Namespace) -> int:
    """Delete what was named, last created first for files."""
    connection = connect(arguments)
    resources = discover(connection)
    namespace = namespace_of(arguments, connection)
    doomed: list[tuple[Resource, str, str]] = []
    if arguments.filename:
        for obj in reversed(read_manifests(cast(list[str], arguments.filename))):
            meta = metadata(obj)
            place = meta.get("namespace", namespace)
            doomed.append((resources.of_object(obj), place, meta["name"]))
    elif not arguments.what:
        raise BadRequest("say what to delete: KIND NAME, or -f FILE")
    else:
        for resource, name in resources.targets(cast(list[str], arguments.what)):
            names = [name] if name else _selected(connection, resource, namespace, arguments)
            doomed += [(resource, namespace, name) for name in names]
    pending = [_delete(connection, arguments, *target) for target in doomed]
    if not arguments.no_wait:
        for (resource, place, name), uid in zip(doomed, pending, strict=True):
            _wait_gone(connection, resource, place, name, uid)
    return 0


def _selected(
    connection: Connection, resource: Resource, namespace: str, arguments: argparse.Namespace
) -> list[str]:
    selector = cast(str, arguments.selector)
    if not selector and not arguments.all:
        raise BadRequest(f"name the {resource.plural} to delete, or use -l LABELS or --all")
    query = {"labelSelector": selector} if selector else {}
    items = connection.get(resource.path(namespace), query).get("items")
    return [metadata(cast(JsonObject, item))["name"] for item in cast("list[object]", items or [])]


def _delete(
    connection: Connection,
    arguments: argparse.Namespace,
    resource: Resource,
    namespace: str,
    name: str,
) -> str:
    """Ask for it; returns the uid to wait for, "" when it is gone already."""
    grace = cast("int | None", arguments.grace_period)
    query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
    try:
        _, answer = connection.request("DELETE", resource.path(namespace, name), query=query)
    except StatusError as error:
        if error.code == 404 and arguments.ignore_not_found:
            return ""
        raise
    if arguments.json:
        print(dump(answer, "json"), end="")
    else:
        print(f"{resource.full_name}/{name} deleted", flush=True)
    return "" if answer.get("kind") == "Status" else metadata(answer).get("uid", "")


def _wait_gone(
    connection: Connection, resource: Resource, namespace: str, name: str, uid: str
) -> None:
    while uid:
        try:
            found = metadata(connection.get(resource.path(namespace, name)))
        except StatusError as error:
            if error.code == 404:
                return
            raise
        if found.get("uid") != uid:
            return
        query = {
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": found["resourceVersion"],
        }
        for event, obj in connection.watch(resource.path(namespace), query):
            if event == "DELETED" and metadata(obj).get("uid") == uid:
                return
