"""`ironfree get`: prints objects as the server's tables, or in full as YAML or JSON."""

import argparse
import json
from typing import cast

import yaml

from ..errors import StatusError
from ..objects.json import JsonObject
from .connection import (
    JSON,
    TABLE,
    Connection,
    Query,
    connect,
    entries,
    metadata,
    namespace_of,
)
from .connection import (
    add_arguments as add_client_arguments,
)
from .resources import Resource, discover
from .table import TableWriter

_PAGE = "500"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("what", nargs="+", help="pods · pod NAME · pod/a rc/b · pods,rc · all")
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("-o", "--output", choices=["wide", "yaml", "json", "name"], default="")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS")
    parser.add_argument("--field-selector", default="", metavar="FIELDS")
    parser.add_argument("-w", "--watch", action="store_true", help="and changes as they come")


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    connection = connect(arguments)
    targets = discover(connection).targets(cast(list[str], arguments.what))
    namespace = "" if arguments.all_namespaces else namespace_of(arguments, connection)
    output = "json" if arguments.json else cast(str, arguments.output)
    if arguments.watch:
        if len(targets) != 1:
            raise StatusError("only one resource can be watched at a time")
        return _watch(connection, targets[0], namespace, arguments, output)
    if output in {"yaml", "json", "name"}:
        return _print_objects(connection, targets, namespace, arguments, output)
    shown = 0
    for resource, name in targets:
        several = len({r for r, _ in targets}) > 1
        writer = _writer(arguments, resource, several=several)
        path, query = _request(resource, name, namespace, arguments)
        shown += sum(writer.write(page) for page in _pages(connection, path, query, TABLE))
        if several and writer.used:
            print()
    if not shown:
        scoped = namespace and any(resource.namespaced for resource, _ in targets)
        print("No objects found" + (f" in namespace {namespace}" if scoped else ""))
    return 0


def _request(
    resource: Resource, name: str, namespace: str, arguments: argparse.Namespace
) -> tuple[str, dict[str, str]]:
    """Return path and query; a single object is the list of that name when it is watched."""
    if name and not arguments.watch:
        return resource.path(namespace or "default", name), {}
    fields = [cast(str, arguments.field_selector), f"metadata.name={name}" if name else ""]
    query = {
        "labelSelector": cast(str, arguments.selector),
        "fieldSelector": ",".join(field for field in fields if field),
    }
    return resource.path(namespace), {k: v for k, v in query.items() if v}


def _pages(connection: Connection, path: str, query: Query, accept: str = JSON) -> list[JsonObject]:
    pages: list[JsonObject] = []
    onward = ""
    while True:
        paging = {"limit": _PAGE} | ({"continue": onward} if onward else {})
        page = connection.get(path, {**query, **paging}, accept)
        pages.append(page)
        onward = metadata(page).get("continue", "")
        if not onward:
            return pages


def _writer(
    arguments: argparse.Namespace, resource: Resource, *, several: bool = False
) -> TableWriter:
    return TableWriter(
        wide=arguments.output == "wide",
        namespace=bool(arguments.all_namespaces) and resource.namespaced,
        prefix=f"{resource.full_name}/" if several else "",
    )


def _print_objects(
    connection: Connection,
    targets: list[tuple[Resource, str]],
    namespace: str,
    arguments: argparse.Namespace,
    output: str,
) -> int:
    found: list[JsonObject] = []
    for resource, name in targets:
        path, query = _request(resource, name, namespace, arguments)
        for page in _pages(connection, path, query):
            items = entries(page.get("items")) if "items" in page else [page]
            kind: JsonObject = {"apiVersion": resource.api_version, "kind": resource.kind}
            found += [kind | item for item in items]
        if output == "name":
            for obj in found:
                print(f"{resource.full_name}/{metadata(obj).get('name')}")
            found.clear()
    if output == "name":
        return 0
    single = len(targets) == 1 and bool(targets[0][1])
    document: JsonObject = {"apiVersion": "v1", "kind": "List", "items": [*found]}
    print(dump(found[0] if single else document, output), end="")
    return 0


def dump(obj: JsonObject, output: str) -> str:
    """Return a document as YAML or JSON text."""
    if output == "json":
        return json.dumps(obj, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(obj, sort_keys=False, allow_unicode=True)


def _watch(
    connection: Connection,
    target: tuple[Resource, str],
    namespace: str,
    arguments: argparse.Namespace,
    output: str,
) -> int:
    resource, name = target
    path, query = _request(resource, name, namespace, arguments)
    writer = _writer(arguments, resource)
    accept = JSON if output in {"json", "yaml", "name"} else TABLE
    position = "0"
    while True:  # the server ends every watch after some time
        for event, obj in connection.watch(
            path, {**query, "resourceVersion": position, "allowWatchBookmarks": "true"}, accept
        ):
            position = metadata(obj).get("resourceVersion", position)
            if event == "BOOKMARK":
                continue
            if accept == TABLE:
                writer.write(obj, event=event)
            elif output == "name":
                print(f"{resource.full_name}/{metadata(obj).get('name')}", flush=True)
            elif output == "yaml":
                print(f"---\n{dump(obj, 'yaml')}", end="", flush=True)
            else:
                print(json.dumps({"type": event, "object": obj}), flush=True)
