"""Request bodies into JSON: JSON itself, YAML, Kubernetes protobuf."""

import asyncio
import re
from collections.abc import Hashable
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
LARGE = 32 * 1024  # bytes of YAML that take longer to read than others should wait
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_MAX_NUMBER = 400  # characters; beyond the largest double nothing is a number of JSON


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates and numbers to base 60 (`80:80`) stay text.

    `complaints` has a sentence for each key given twice; the last one wins.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.complaints: list[str] = []

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        """Build a mapping, noticing keys given twice."""
        seen: set[tuple[str, str]] = set()
        for key, _value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                self.complaints.append(f'line {line}: key "{key.value}" already set in map')
            seen.add((key.tag, key.value))
        return cast(dict[Hashable, object], super().construct_mapping(node, deep=deep))

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Build a number; long or sexagesimal ones would take time that grows with their square."""
        if len(node.value) > _MAX_NUMBER or ":" in node.value:
            raise yaml.constructor.ConstructorError(
                None, None, f'"{node.value[:32]}" is not a number', node.start_mark
            )
        build = self.construct_yaml_int if node.tag == _INT else self.construct_yaml_float
        return build(node)


_Loader.yaml_implicit_resolvers = {
    first: [
        (
            tag,
            re.compile(r"(?!.*:)" + pattern.pattern, re.VERBOSE)
            if tag in {_INT, _FLOAT}
            else pattern,
        )
        for tag, pattern in resolvers
        if tag != "tag:yaml.org,2002:timestamp"
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(_INT, _Loader.construct_number)
_Loader.add_constructor(_FLOAT, _Loader.construct_number)


async def decode_aside(content_type: str, data: bytes) -> tuple[JsonObject, list[str]]:
    """Do what `decode` does; others get their turn while a long YAML body is read."""
    if content_type in YAML and len(data) > LARGE:
        return await asyncio.to_thread(decode, content_type, data)
    return decode(content_type, data)


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
        value, complaints = decode_yaml(data)
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


def decode_yaml(data: bytes) -> tuple[Json, list[str]]:
    """Return the one document of a YAML body as JSON, and complaints about keys given twice.

    Raises:
        BadRequest: it is not YAML, has aliases, keys that are not text, or nests too deeply.
    """
    try:
        _refuse_bombs(data)
        loader = _Loader(data)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise BadRequest(
            f"error converting YAML to JSON: yaml: {where}{error.problem or error}"
        ) from None
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from None
    except (LookupError, AttributeError, TypeError):
        # the library's constructors expect that a tag given by hand fits its value
        raise BadRequest("error converting YAML to JSON: a value does not fit its tag") from None
    return _as_json(value, 0), loader.complaints


def _refuse_bombs(data: bytes) -> None:
    """Refuse what must not reach the composer.

    A few aliases can stand for gigabytes, and the composer recurses in C: deep nesting overflows
    its stack, which no handler catches. Events come without recursion, one at a time.
    """
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BadRequest("error converting YAML to JSON: aliases are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise BadRequest(f"error converting YAML to JSON: nested deeper than {_MAX_DEPTH}")


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
