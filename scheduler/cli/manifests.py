"""Reads objects from YAML and JSON files, directories and standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import yaml

from ..errors import BadRequest
from ..objects.json import JsonObject
from .connection import entries

_SUFFIXES = {".yaml", ".yml", ".json"}


def read_manifests(sources: list[str]) -> list[JsonObject]:
    """Return the objects in order; lists are taken apart.

    Args:
        sources: files, directories (their .yaml, .yml and .json files by name), or "-".

    Raises:
        BadRequest: cannot be read; names file and place.
    """
    objects = [obj for source in sources for obj in _source(source)]
    if not objects:
        raise BadRequest(f"no objects in {', '.join(sources)}")
    return objects


def _source(source: str) -> Iterator[JsonObject]:
    if source == "-":
        yield from _parse(sys.stdin.read(), "standard input")
        return
    path = Path(source)
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"{file} cannot be read: {error}") from error
        yield from _parse(text, str(file))


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates stay text."""


_Loader.yaml_implicit_resolvers = {  # pyright: ignore[reportAttributeAccessIssue]
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str, where: str) -> Iterator[JsonObject]:
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise BadRequest(f"{where} is not YAML: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise BadRequest(f"{where}: an object is a mapping, not {type(document).__name__}")
        obj = cast(JsonObject, document)
        if str(obj.get("kind", "")).endswith("List") and "items" in obj:
            yield from entries(obj["items"])
        else:
            yield obj
