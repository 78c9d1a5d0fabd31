"""Decoding JSON strictly, and checking an object against its kind's fields.

The usual case, an object without fault, is decided by msgspec (compiled types made from the
schema). Only when it objects does the slower walk run, which names every fault by its path.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, cast

import msgspec

from ..errors import BadRequest
from . import quantity
from .json import Json, JsonObject
from .schema import Field, Type, load

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.IGNORECASE | re.ASCII
)
# Days that every month has, in UTC; the others are left to the slower walk.
_USUAL_TIME = (
    r"^[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z\Z"
)
_MAX_PROBLEMS = 50
_QUOTE_ESCAPE = b"\\u0022"
_TYPE_META = (
    Field(0, "apiVersion", Type.STRING),
    Field(0, "kind", Type.STRING),
)


@dataclass(frozen=True)
class Problem:
    """One fault of an object.

    Args:
        path: where, e.g. "spec.containers[0].image".
        message: upstream's sentence.
        unknown: the field does not exist (a matter of fieldValidation); otherwise its value is of
            the wrong type and the object cannot be read at all.
    """

    path: str
    message: str
    unknown: bool = False


def decode_strict(data: bytes) -> tuple[Json, list[str]]:
    """Decode JSON and report object keys given twice; the last one wins.

    Args:
        data: UTF-8 JSON.

    Returns:
        The value, and upstream's sentences: `duplicate field "spec.replicas"`.

    Raises:
        BadRequest: data is not JSON, or nests too deeply.
    """
    try:
        value = cast(Json, msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None
    # A dropped key takes its quotes with it, so equal counts mean that nothing was dropped.
    if _QUOTE_ESCAPE not in data and data.count(b'"') == msgspec.json.encode(value).count(b'"'):
        return value, []
    return value, [f'duplicate field "{path}"' for path in _duplicates(data)]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """A JSON object with its repeated keys still apart."""

    items: list[tuple[str, object]]


def _duplicates(data: bytes) -> list[str]:
    """Return the paths of keys that occur more than once in their object."""
    try:
        tree: object = json.loads(data, object_pairs_hook=_Pairs)
        return list(dict.fromkeys(_repeated(tree, "")))[:_MAX_PROBLEMS]
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None


def _repeated(value: object, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, inner in value.items:
            here = f"{path}.{key}" if path else key
            if key in seen:
                yield here
            seen.add(key)
            yield from _repeated(inner, here)
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[object], value)):
            yield from _repeated(inner, f"{path}[{index}]")


def check(message: str, obj: JsonObject) -> list[Problem]:
    """Return what is wrong with an object's fields: unknown names and wrong types.

    Args:
        message: the kind's message, e.g. "core.v1.Pod"; apiVersion and kind are allowed beside
            its fields.
        obj: decoded JSON.

    Returns:
        The faults in the order of the document (at most 50), [] for a good object.

    Sources: wording of Kubernetes' strict decoder and of Go's encoding/json.
    """
    if fits(message, obj):
        return []
    found: list[Problem] = []
    for problem in _walk(message, obj, ("", ""), top=True):
        found.append(problem)
        if len(found) == _MAX_PROBLEMS:
            break
    return found


def fits(message: str, obj: JsonObject) -> bool:
    """Return whether the fast check finds the object good (a False may still be good)."""
    try:
        msgspec.convert(obj, _struct(message, top=True))
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


@cache
def _struct(message: str, *, top: bool = False) -> type[msgspec.Struct]:
    """Return a msgspec type that accepts exactly the message's fields."""
    known = load().message(message).fields
    meta = [field for field in _TYPE_META if top and field.name not in known]
    fields = [*known.values(), *meta]
    names = {f"f{index}": field.name for index, field in enumerate(fields)}
    columns = [
        (name, _fast_type(field) | None, None) for name, field in zip(names, fields, strict=True)
    ]
    return msgspec.defstruct(
        message.rpartition(".")[2], columns, rename=names, forbid_unknown_fields=True, gc=False
    )


_FAST_TYPES: dict[Type, Any] = {
    Type.STRING: str,
    Type.BOOL: bool,
    Type.BYTES: bytes,
    Type.QUANTITY: Annotated[str, msgspec.Meta(pattern=quantity.PATTERN)] | int,
    Type.TIME: Annotated[str, msgspec.Meta(pattern=_USUAL_TIME)],
    Type.MICRO_TIME: Annotated[str, msgspec.Meta(pattern=_USUAL_TIME)],
    Type.INT_OR_STRING: Annotated[int, msgspec.Meta(ge=-_INT32 - 1, le=_INT32)] | str,
    Type.STRINGS: list[str],
    Type.ANY: Any,
}


def _fast_type(field: Field) -> Any:  # noqa: ANN401 - a type expression has no narrower type
    item: Any
    if field.type is Type.MESSAGE:
        item = _struct(field.message)
    elif field.type is Type.INT:
        limit = _INT64 if field.int64 else _INT32
        item = Annotated[int, msgspec.Meta(ge=-limit - 1, le=limit)]
    else:
        item = _FAST_TYPES[field.type]
    if field.repeated:
        return list[item]
    return dict[str, item] if field.map else item


_Paths = tuple[str, str]  # with list indices, and as Go's decoder prints it, without


def _walk(message: str, obj: Json, paths: _Paths, *, top: bool = False) -> Iterator[Problem]:
    fields = load().message(message)
    if not isinstance(obj, dict):
        yield _mismatch(paths, obj, fields.short, f"v1.{fields.short}")
        return
    for key, value in obj.items():
        here = tuple(f"{path}.{key}" if path else key for path in paths)
        field = fields.fields.get(key)
        if field is None and top:
            field = next((each for each in _TYPE_META if each.name == key), None)
        if field is None:
            yield Problem(here[0], f'unknown field "{here[0]}"', unknown=True)
        elif value is not None:
            yield from _field(fields.short, field, value, (here[0], here[1]))


def _field(owner: str, field: Field, value: Json, paths: _Paths) -> Iterator[Problem]:
    path, bare = paths
    if field.repeated:
        if not isinstance(value, list):
            yield _mismatch(paths, value, owner, f"[]{_go_type(field)}")
            return
        for index, item in enumerate(value):
            yield from _item(owner, field, item, (f"{path}[{index}]", bare))
    elif field.map:
        if not isinstance(value, dict):
            yield _mismatch(paths, value, owner, f"map[string]{_go_type(field)}")
            return
        for key, item in value.items():
            yield from _item(owner, field, item, (f"{path}[{key}]", bare))
    else:
        yield from _item(owner, field, value, paths)


def _item(owner: str, field: Field, value: Json, paths: _Paths) -> Iterator[Problem]:
    if value is None or field.type is Type.ANY:
        return
    if field.type is Type.MESSAGE:
        if isinstance(value, dict):
            yield from _walk(field.message, value, paths)
        else:
            yield _mismatch(paths, value, owner, _go_type(field))
        return
    complaint = _scalar_complaint(field, value)
    if complaint == "":
        yield _mismatch(paths, value, owner, _go_type(field))
    elif complaint is not None:
        yield Problem(paths[0], f"{paths[0]}: {complaint}")


def _scalar_complaint(field: Field, value: Json) -> str | None:
    """Return None for a good value, "" for one of the wrong JSON type, else what is wrong."""
    match field.type:
        case Type.STRING:
            return None if isinstance(value, str) else ""
        case Type.BOOL:
            return None if isinstance(value, bool) else ""
        case Type.INT:
            return _integer_complaint(value, _INT64 if field.int64 else _INT32)
        case Type.INT_OR_STRING:
            return None if isinstance(value, str) else _integer_complaint(value, _INT32)
        case Type.STRINGS:
            strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
            return None if strings else ""
        case Type.QUANTITY:
            return _quantity_complaint(value)
        case Type.BYTES:
            return _base64_complaint(value)
        case _:
            return _time_complaint(value)


def _integer_complaint(value: Json, limit: int) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return ""
    return None if -limit - 1 <= value <= limit else ""


def _quantity_complaint(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    try:
        quantity.parse(str(value))
    except BadRequest as error:
        return error.message
    return None


def _base64_complaint(value: Json) -> str | None:
    if not isinstance(value, str):
        return ""
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        return f"illegal base64 data: {error}"
    return None


def _time_complaint(value: Json) -> str | None:
    if not isinstance(value, str):
        return ""
    try:
        if _TIME.match(value):
            datetime.fromisoformat(value.upper().replace("Z", "+00:00")[:19])
            return None
    except ValueError:
        pass
    return f'parsing time "{value[:64]}" as "2006-01-02T15:04:05Z07:00": not an RFC 3339 time'


_GO_TYPES = {
    Type.STRING: "string",
    Type.BOOL: "bool",
    Type.BYTES: "[]uint8",
    Type.QUANTITY: "resource.Quantity",
    Type.TIME: "v1.Time",
    Type.MICRO_TIME: "v1.MicroTime",
    Type.INT_OR_STRING: "intstr.IntOrString",
    Type.STRINGS: "[]string",
}


def _go_type(field: Field) -> str:
    if field.type is Type.INT:
        return "int64" if field.int64 else "int32"
    if field.type is Type.MESSAGE:
        return f"v1.{field.message.rpartition('.')[2]}"
    return _GO_TYPES[field.type]


def _mismatch(paths: _Paths, value: Json, owner: str, expected: str) -> Problem:
    return Problem(
        paths[0],
        f"json: cannot unmarshal {_json_type(value)} into Go struct field "
        f"{owner}.{paths[1]} of type {expected}",
    )


def _json_type(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        text = str(value)
        return f"number {text}" if len(text) <= 64 else "number"
    return "array" if isinstance(value, list) else "object"
