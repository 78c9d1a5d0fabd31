"""`ironfree apply`: server-side apply of YAML and JSON files."""

import argparse
from typing import cast

import msgspec

from ..errors import BadRequest, StatusError
from ..objects.json import JsonObject
from .connection import (
    APPLY_PATCH,
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
from .resources import Resource, Resources, discover
from .rollout import PodState, follow

_MANAGER = "ironfree"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE|DIR|-", dest="files"
    )
    parser.add_argument("--wait", action="store_true", help="until all their pods are ready")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--dry-run", action="store_true", help="check everything, keep nothing")
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take fields over from other managers"
    )


def run(arguments: argparse.Namespace) -> int:
    """Apply every object in order; goes on after an error and returns 1 then."""
    connection = connect(arguments)
    resources = discover(connection)
    namespace = namespace_of(arguments, connection)
    query = {"fieldManager": _MANAGER}
    query |= {"dryRun": "All"} if arguments.dry_run else {}
    query |= {"force": "true"} if arguments.force_conflicts else {}
    applied: list[JsonObject] = []
    failures: list[str] = []
    for obj in read_manifests(cast(list[str], arguments.files)):
        try:
            done, verb = apply(connection, resources, obj, namespace, query)
        except StatusError as error:
            if error.code == 503:
                raise
            failures.append(str(error))
            print(f"{_title(obj)} failed: {error}", flush=True)
            continue
        applied.append(done)
        note = " (dry run)" if arguments.dry_run else ""
        print(dump(done, "json") if arguments.json else f"{_title(obj)} {verb}{note}", flush=True)
    if arguments.wait and applied and not arguments.dry_run:
        show = _ignore if arguments.json else _show
        follow(connection, resources, applied, cast(float, arguments.timeout), show)
    if failures:
        raise StatusError(f"{len(failures)} of {len(failures) + len(applied)} objects failed")
    return 0


def apply(
    connection: Connection,
    resources: Resources,
    obj: JsonObject,
    namespace: str,
    query: dict[str, str],
) -> tuple[JsonObject, str]:
    """Apply one object; returns it as stored, and "created", "configured" or "unchanged".

    Raises:
        BadRequest: it has no name. StatusError: the server refused.
    """
    resource: Resource = resources.of_object(obj)
    meta = metadata(obj)
    if not meta.get("name"):
        raise BadRequest(f"a {resource.kind} has no metadata.name")
    path = resource.path(meta.get("namespace", namespace), meta["name"])
    before = _position(connection, path)
    answer_path = path + "?" + "&".join(f"{key}={value}" for key, value in query.items())
    code, done = connection.send(
        "PATCH", answer_path, msgspec.json.encode(obj), content_type=APPLY_PATCH
    )
    if code == 201:
        return done, "created"
    same = metadata(done).get("resourceVersion") == before
    return done, "unchanged" if same else "configured"


def _position(connection: Connection, path: str) -> str:
    try:
        return metadata(connection.get(path)).get("resourceVersion", "")
    except StatusError as error:
        if error.code == 404:
            return ""
        raise


def _title(obj: JsonObject) -> str:
    return f"{str(obj.get('kind', '?')).lower()}/{metadata(obj).get('name', '?')}"


def _show(pod: PodState) -> None:
    where = f" on {pod.node}" if pod.node else ""
    print(f"pod/{pod.name} {pod.state}{where}", flush=True)


def _ignore(_pod: PodState) -> None:
    """Say nothing."""
