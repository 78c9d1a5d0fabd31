"""`ironfree build`: an image from a directory or a git repository, made by one of the hosts."""

import argparse
from pathlib import Path
from typing import cast

from ..errors import BadRequest
from ..objects.image_build import git_url, inner_path_complaint
from ..objects.json import Json, JsonObject
from . import build_progress
from .build_context import directory_context
from .build_progress import pairs

_GIT = ("https://", "http://", "ssh://")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    build_progress.add_arguments(parser)
    parser.add_argument(
        "context",
        metavar="DIR|URL",
        help="a directory, or a git repository: URL, URL#REF or URL#REF:DIRECTORY",
    )
    parser.add_argument("-t", "--tag", required=True, metavar="IMAGE", help="the image's name")
    parser.add_argument(
        "-f", "--file", default="Dockerfile", metavar="PATH", help="the Dockerfile in the context"
    )
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="K=V", help="an ARG; no secret"
    )
    parser.add_argument("--target", metavar="STAGE", help="the stage to end with")
    parser.add_argument("--node", metavar="NAME", help="the host to build on")
    parser.add_argument("--selector", metavar="LABELS", help="hosts to build on: key=value,…")
    parser.add_argument("--git-secret", metavar="NAME", help="a Secret with the git login")
    parser.add_argument(
        "--pull-secret", action="append", default=[], metavar="NAME", help="for private images"
    )


def run(arguments: argparse.Namespace) -> int:
    """Build; returns 1 if there is no image in the end."""
    context, dockerfile = cast(str, arguments.context), cast(str, arguments.file)
    if complaint := inner_path_complaint(dockerfile):
        raise BadRequest(f"--file: {complaint}")
    spec = _spec(arguments)
    if context.startswith(_GIT):
        secret = cast("str | None", arguments.git_secret)
        return build_progress.run(arguments, {**spec, "git": _git(context, dockerfile, secret)})
    directory = Path(context)
    if not directory.is_dir():
        raise BadRequest(f"{context[:200]} is no directory, nor a URL of https, ssh or http")
    spec["upload"] = {"dockerfile": dockerfile}
    return build_progress.run(arguments, spec, directory_context(directory, dockerfile))


def _spec(arguments: argparse.Namespace) -> JsonObject:
    spec: JsonObject = {"image": cast(str, arguments.tag)}
    if given := pairs("--build-arg", cast(list[str], arguments.build_arg)):
        spec["buildArgs"] = given
    if arguments.selector:
        labels = cast(str, arguments.selector).split(",")
        spec["nodeSelector"] = pairs("--selector", labels)
    for field, value in (("target", arguments.target), ("nodeName", arguments.node)):
        if value:
            spec[field] = cast(str, value)
    secrets: list[Json] = [{"name": name} for name in cast(list[str], arguments.pull_secret)]
    if secrets:
        spec["imagePullSecrets"] = secrets
    return spec


def _git(context: str, dockerfile: str, secret: str | None) -> JsonObject:
    """Return spec.git of Docker's notation of a repository."""
    url, _, rest = context.partition("#")
    why = git_url(url)
    if isinstance(why, str):
        raise BadRequest(f"the repository's URL {why}")
    ref, _, directory = rest.partition(":")
    found: JsonObject = {"url": url, "dockerfile": dockerfile}
    for field, value in (("ref", ref), ("directory", directory), ("secretName", secret)):
        if value:
            found[field] = value
    return found
