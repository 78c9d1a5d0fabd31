"""Request bodies into JSON: JSON itself, YAML, Kubernetes protobuf."""

from typing import cast

import yaml

from ..errors import BadRequest
from ..objects.checking import decode_strict
from ..objects.json import Json, JsonObject
from . import protobuf
from .status_errors import UnsupportedMediaType

PROTOBUF = "application/vnd.kubernetes.protobuf"
YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
_MAX_DEPTH = 200


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: without dates, which stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decode(content_type: str, data: bytes) -> tuple[JsonObject, list[str]]:
    """Return the object in a body, and complaints about fields given twice.

    Args:
        content_type: without parameters; "" means JSON.

    Raises:
        BadRequest: the body cannot be read; says where.
        UnsupportedMediaType: the form is not known.
    """
    complaints: list[str] = []
    if content_type in {"", "application/json"}:
        if not data.strip():
            raise BadRequest("the request has no body; an object is needed")
        value, complaints = decode_strict(data)
    elif content_type in YAML:
        value = decode_yaml(data)
    elif content_type == PROTOBUF:
        value = protobuf.decode(data)
    else:
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: "
            f"application/json, application/yaml, {PROTOBUF}"
        )
    if not isinstance(value, dict):
        raise BadRequest("couldn't get version/kind; the body must be one object")
    return value, complaints


def decode_yaml(data: bytes) -> Json:
    """Return the one document of a YAML body as JSON.

    Raises:
        BadRequest: it is not YAML, has aliases, keys that are not text, or nests too deeply.
    """
    try:
        if b"*" in data:
            _refuse_aliases(data)
        value = yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe loader, restricted further
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise BadRequest(
            f"error converting YAML to JSON: yaml: {where}{error.problem or error}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from None
    return _as_json(value, 0)


def _refuse_aliases(data: bytes) -> None:
    """A few aliases can stand for gigabytes."""
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BadRequest("error converting YAML to JSON: aliases are not accepted")


def _as_json(value: object, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise BadRequest(f"error converting YAML to JSON: nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict):
        found: JsonObject = {}
        for key, item in cast(dict[object, object], value).items():
            if isinstance(key, bool) or not isinstance(key, (str, int, float)):
                raise BadRequest(f"error converting YAML to JSON: key {key!r:.64} is not text")
            found[str(key)] = _as_json(item, depth + 1)
        return found
    if isinstance(value, list):
        return [_as_json(item, depth + 1) for item in cast(list[object], value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise BadRequest(f"error converting YAML to JSON: {type(value).__name__} is not allowed")
