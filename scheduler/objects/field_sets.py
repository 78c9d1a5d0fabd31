"""Which fields an object sets, as server-side apply counts them (Kubernetes FieldsV1).

A field set is a set of paths. A path is a tuple of FieldsV1 elements: "f:name" for a field,
'k:{"name":"c1"}' for an item of a keyed list, 'v:"x"' for an item of a set.
"""

from collections.abc import Iterable
from typing import TypeAlias, cast

import msgspec

from ..errors import BadRequest
from .json import Json, JsonObject
from .schema import Field, Message, Type, load

Path: TypeAlias = tuple[str, ...]
Flat: TypeAlias = dict[Path, Json]

PRESENT: Json = {".": {}}  # the value of a path that says only that a list item is there
KEY_DEFAULTS: dict[str, Json] = {"protocol": "TCP"}
_encode = msgspec.json.Encoder(order="sorted").encode


def flatten(obj: JsonObject, message: Message | None) -> Flat:
    """Return every owned path of an object with its value; atomic lists and maps are leaves.

    Args:
        obj: an object or part of one; nulls count as absent.
        message: its type, or None for a map.
    """
    flat: Flat = {}
    _object(flat, (), obj, message)
    return flat


def _object(flat: Flat, path: Path, obj: JsonObject, message: Message | None) -> None:
    for key, value in obj.items():
        field = message.fields.get(key) if message else None
        if value is not None:
            _value(flat, (*path, f"f:{key}"), value, field)


def _value(flat: Flat, path: Path, value: Json, field: Field | None) -> None:
    if field is None or value in ({}, []) or is_atomic(field):
        flat[path] = value
    elif isinstance(value, dict):
        _object(flat, path, value, None if field.map else item_message(field))
    elif isinstance(value, list) and field.list_keys:
        for item in value:
            here = (*path, item_key(item, field))
            flat[here] = PRESENT
            if isinstance(item, dict):
                _object(flat, here, item, item_message(field))
    elif isinstance(value, list):
        for item in value:
            flat[(*path, f"v:{_encode(item).decode()}")] = PRESENT
    else:
        flat[path] = value


def is_atomic(field: Field) -> bool:
    """Return whether a field is owned as a whole."""
    if field.repeated:
        return not (field.list_keys or field.list_set)
    if field.map:
        return field.map_atomic
    if field.type is Type.MESSAGE:
        return load().message(field.message).atomic
    return True


def item_message(field: Field) -> Message | None:
    """Return the type of a field's value or items, or None where it is no message."""
    return load().message(field.message) if field.type is Type.MESSAGE else None


def item_key(item: Json, field: Field) -> str:
    """Return the element of an item of a keyed list: 'k:{"name":"c1"}'.

    Raises:
        BadRequest: the item is no object, or lacks a key that has no default.
    """
    if not isinstance(item, dict):
        raise BadRequest(f"{field.name}: the items of the list must be objects")
    keys: JsonObject = {}
    for key in field.list_keys:
        value = item.get(key)
        keys[key] = KEY_DEFAULTS.get(key) if value is None else value
    if all(value is None for value in keys.values()):
        raise BadRequest(
            f"{field.name}: an item lacks its key{'s' * (len(keys) > 1)} {', '.join(keys)}"
        )
    return f"k:{_encode(keys).decode()}"


def to_fields(paths: Iterable[Path]) -> JsonObject:
    """Return the FieldsV1 object of a set of paths."""
    root: JsonObject = {}
    members = set(paths)
    for path in sorted(members):
        node = root
        for depth, element in enumerate(path):
            if path[:depth] in members:
                node["."] = {}
            node = cast(JsonObject, node.setdefault(element, {}))
    return root


def from_fields(fields: Json) -> frozenset[Path]:
    """Return the set of paths of a FieldsV1 object."""
    found: set[Path] = set()
    _collect(found, (), fields)
    return frozenset(found)


def _collect(found: set[Path], path: Path, node: Json) -> None:
    if not isinstance(node, dict):
        return
    if path and (not node or "." in node):
        found.add(path)
    for element, inner in node.items():
        if element != ".":
            _collect(found, (*path, element), inner)


def path_text(path: Path) -> str:
    """Return a path as conflicts print it: .spec.containers[name="c1"].image."""
    out: list[str] = []
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            out.append(f".{rest}")
        elif kind == "v":
            out.append(f"[={rest}]")
        else:
            keys = cast(JsonObject, msgspec.json.decode(rest))
            pairs = (f"{key}={_encode(value).decode()}" for key, value in keys.items())
            out.append(f"[{','.join(pairs)}]")
    return "".join(out)


def without(doc: Json, path: Path) -> None:
    """Remove what a path names from a document, in place; absent is fine."""
    parents: list[tuple[Json, str]] = []
    for element in path:
        parents.append((doc, element))
        doc = _step(doc, element)
    for parent, element in reversed(parents):
        _drop(parent, element)
        if parent or not isinstance(parent, (dict, list)):
            return  # only containers that the removal emptied go too


def _step(doc: Json, element: str) -> Json:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return doc.get(rest) if isinstance(doc, dict) else None
    place = _place(doc, element)
    return doc[place] if place is not None and isinstance(doc, list) else None


def _drop(doc: Json, element: str) -> None:
    if isinstance(doc, dict):
        doc.pop(element.partition(":")[2], None)
    place = _place(doc, element)
    if place is not None and isinstance(doc, list):
        del doc[place]


def _place(doc: Json, element: str) -> int | None:
    """Return where a list holds the item an element names."""
    kind, _, rest = element.partition(":")
    if not isinstance(doc, list) or kind not in ("k", "v"):
        return None
    wanted: Json = msgspec.json.decode(rest)
    for place, item in enumerate(doc):
        if kind == "v" and item == wanted:
            return place
        if kind == "k" and isinstance(item, dict) and isinstance(wanted, dict):
            found = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in wanted}
            if found == wanted:
                return place
    return None
