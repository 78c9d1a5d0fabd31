"""What `build` and `commit` share: an ImageBuild that is made, followed to its end, and removed."""

import argparse
import secrets
import sys
import time
from typing import cast

from ..errors import BadRequest
from ..objects.image_build import DEFAULT_DEADLINE, FINAL
from ..objects.json import Json, JsonObject
from .connection import Connection, child, connect, namespace_of
from .connection import add_arguments as add_client_arguments
from .get import dump
from .resources import discover

_PAUSE = 0.5  # seconds between two looks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what both verbs take."""
    add_client_arguments(parser)
    parser.add_argument(
        "--distribute",
        nargs="?",
        const="",
        metavar="LABELS",
        help="copy it to every host of its architecture, or to those that have labels key=value,…",
    )
    parser.add_argument("--push", action="store_true", help="push it to the registry in its name")
    parser.add_argument("--push-secret", metavar="NAME", help="a Secret that says as whom to push")
    parser.add_argument(
        "--deadline",
        type=int,
        default=DEFAULT_DEADLINE,
        metavar="SECONDS",
        help=f"default: {DEFAULT_DEADLINE}",
    )
    parser.add_argument("--name", metavar="NAME", help="keep the ImageBuild under this name")


def run(arguments: argparse.Namespace, spec: JsonObject, context: bytes | None = None) -> int:
    """Have an image made, show the log; returns 1 if nothing came of it.

    Args:
        spec: the source and what else the verb knows.
        context: to upload.
    """
    connection = connect(arguments)
    namespace = namespace_of(arguments, connection)
    kept = cast("str | None", arguments.name)
    name = kept or f"build-{secrets.token_hex(4)}"
    build: JsonObject = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "ImageBuild",
        "metadata": {"name": name},
        "spec": {**_common(arguments), **spec},
    }
    resource = discover(connection).named("imagebuilds")
    connection.request("POST", resource.path(namespace), body=build)
    ended = False
    try:
        if context is not None:
            path = resource.path(namespace, name, "context")
            connection.send("PUT", path, context, "application/gzip")
        done = _wait(connection, resource.path(namespace, name), quiet=bool(arguments.json))
        ended = True
    finally:
        if not kept or not ended:  # interrupted: what was begun for it is broken off
            connection.request("DELETE", resource.path(namespace, name))
    return _told(done, as_json=bool(arguments.json))


def _common(arguments: argparse.Namespace) -> JsonObject:
    spec: JsonObject = {"deadlineSeconds": cast(int, arguments.deadline)}
    if arguments.distribute is not None:
        spec["distributeTo"] = label_selector("--distribute", cast(str, arguments.distribute))
    if arguments.push or arguments.push_secret:
        secret = cast("str | None", arguments.push_secret)
        spec["push"] = {"secretName": secret} if secret else {}
    return spec


def label_selector(option: str, text: str) -> JsonObject:
    """Return key=value,… as a LabelSelector; BadRequest names the option."""
    labels = pairs(option, text.split(",") if text else [])
    return {"matchLabels": labels} if labels else {}


def pairs(option: str, given: list[str]) -> dict[str, Json]:
    """Return KEY=VALUE texts as a map; BadRequest names the option."""
    found: dict[str, Json] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadRequest(f"{option}: {text[:80]!r} must be key=value")
        found[key] = value
    return found


def _wait(connection: Connection, path: str, *, quiet: bool) -> JsonObject:
    """Return the ImageBuild once it has ended; what its log says comes on standard error."""
    seen = 0
    while True:
        obj = connection.get(path)
        status = child(obj, "status")
        count, lines = status.get("logLines"), status.get("log")
        if not quiet and isinstance(count, int) and isinstance(lines, list):
            new = count - seen
            if new > len(lines):
                print(f"… {new - len(lines)} lines left out", file=sys.stderr)
            for line in lines[max(0, len(lines) - new) :]:
                print(line, file=sys.stderr, flush=True)
            seen = count
        if status.get("phase") in FINAL:
            return obj
        time.sleep(_PAUSE)


def _told(done: JsonObject, *, as_json: bool) -> int:
    spec, status = child(done, "spec"), child(done, "status")
    succeeded = status.get("phase") == "Succeeded"
    if as_json:
        print(dump(done, "json"), end="")
    elif succeeded:
        size = cast(int, status.get("sizeBytes") or 0) >> 20
        print(f"{spec.get('image')}: {status.get('imageID')}, {size} MiB")
        print(f"on host {status.get('nodeName')}{_copies(child(status, 'distribution'))}")
        if status.get("digest"):
            print(f"pushed, digest {status['digest']}")
    else:
        print(f"Error: {status.get('reason')}: {status.get('message')}", file=sys.stderr)
    return 0 if succeeded else 1


def _copies(distribution: JsonObject) -> str:
    if not distribution:
        return ""
    return f", copied to {distribution.get('copied')} of {distribution.get('hosts')} others"
