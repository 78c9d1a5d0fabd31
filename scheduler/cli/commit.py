"""`ironfree commit`: an image of a running container's files as they are now."""

import argparse
from typing import cast

from ..objects.json import JsonObject
from . import build_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    build_progress.add_arguments(parser)
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("image", metavar="IMAGE", help="the image's name")
    parser.add_argument(
        "-c", "--container", metavar="NAME", help="needed where the pod has several"
    )
    parser.add_argument(
        "--no-pause", action="store_true", help="let it run while its files are read"
    )


def run(arguments: argparse.Namespace) -> int:
    """Commit; returns 1 if there is no image in the end."""
    commit: JsonObject = {
        "pod": cast(str, arguments.pod).removeprefix("pod/"),
        "pause": not arguments.no_pause,
    }
    if arguments.container:
        commit["container"] = cast(str, arguments.container)
    spec: JsonObject = {"image": cast(str, arguments.image), "commit": commit}
    return build_progress.run(arguments, spec)
