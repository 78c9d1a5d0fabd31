"""The three structural patches: JSON patch, merge patch and strategic merge patch (in strategic).

Pure: a patch returns a new document and never changes its inputs.
"""

from copy import deepcopy

from ..errors import BadRequest, Invalid
from .json import Json, JsonObject

_MAX_OPERATIONS = 10_000
_OPERATIONS = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}
_MAX_COPIED = 1_000_000


def merge_patch(doc: Json, patch: Json) -> Json:
    """Return doc with a JSON merge patch applied (RFC 7386): null deletes, lists replace.

    Raises:
        BadRequest: the patch nests too deeply.
    """
    try:
        return _merge(deepcopy(doc), patch)
    except RecursionError:
        raise BadRequest("the patch nests too deeply") from None


def _merge(doc: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return deepcopy(patch)
    out: JsonObject = dict(doc) if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merge(out.get(key), value)
    return out


def json_patch(doc: Json, operations: Json) -> Json:
    """Return doc with JSON patch operations applied, all or none (RFC 6902).

    Args:
        doc: any JSON.
        operations: a list of {"op", "path", "value"?, "from"?}.

    Raises:
        BadRequest: the patch is not a list of operations.
        Invalid: a test failed, or a path does not exist.
    """
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(operations) > _MAX_OPERATIONS:
        raise BadRequest(f"a JSON patch may hold at most {_MAX_OPERATIONS} operations")
    try:
        return _patched(deepcopy(doc), operations)
    except RecursionError:
        raise BadRequest("the patch nests too deeply") from None


def _patched(out: Json, operations: list[Json]) -> Json:
    copied = 0
    for operation in operations:
        kind, path, source = _operation(operation)
        value = operation.get("value") if isinstance(operation, dict) else None
        if kind == "copy":
            copied += _size(_read(out, source))
            if copied > _MAX_COPIED:
                raise BadRequest("the JSON patch copies too much")
        out = _apply(out, kind, path, source, value)
    return out


def _size(value: Json) -> int:
    """Return how many values there are in a value."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _operation(operation: Json) -> tuple[str, list[str], list[str]]:
    """Return an operation's name and its split path and from."""
    if not isinstance(operation, dict):
        raise BadRequest("each JSON patch operation must be an object")
    kind = operation.get("op")
    if not isinstance(kind, str) or kind not in _OPERATIONS:
        raise BadRequest(f"unexpected JSON patch operation {kind!r:.64}")
    for member in _OPERATIONS[kind]:
        if member not in operation:
            raise BadRequest(f'JSON patch operation "{kind}" lacks "{member}"')
    return kind, _pointer(operation.get("path")), _pointer(operation.get("from", ""))


def _pointer(text: Json) -> list[str]:
    """Split a JSON pointer (RFC 6901)."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise BadRequest(f"JSON patch path {text!r:.128} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _apply(doc: Json, kind: str, path: list[str], source: list[str], value: Json) -> Json:
    match kind:
        case "test":
            if not _same(_read(doc, path), value):
                raise Invalid(f"testing value /{'/'.join(path)} failed")
            return doc
        case "remove":
            return _remove(doc, path)
        case "replace":
            _read(doc, path)
            return _replace(doc, path, deepcopy(value))
        case "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise Invalid(f"JSON patch cannot move /{'/'.join(source)} into itself")
            moved = _read(doc, source)
            return _add(_remove(doc, source), path, moved)
        case "copy":
            return _add(doc, path, deepcopy(_read(doc, source)))
        case _:
            return _add(doc, path, deepcopy(value))


def _same(left: Json, right: Json) -> bool:
    """Return JSON equality: unlike Python's, true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _missing(path: list[str]) -> Invalid:
    return Invalid(f"the JSON patch path /{'/'.join(path)} does not exist")


def _read(doc: Json, path: list[str]) -> Json:
    for part in path:
        if isinstance(doc, dict):
            if part not in doc:
                raise _missing(path)
            doc = doc[part]
        elif isinstance(doc, list):
            doc = doc[_index(part, len(doc) - 1, path)]
        else:
            raise _missing(path)
    return doc


def _index(part: str, limit: int, path: list[str]) -> int:
    if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0"):
        raise _missing(path)
    if len(part) > 9 or int(part) > limit:
        raise _missing(path)
    return int(part)


def _add(doc: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _read(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), path), value)
    else:
        raise _missing(path)
    return doc


def _replace(doc: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _read(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent[_index(last, len(parent) - 1, path)] = value
    return doc


def _remove(doc: Json, path: list[str]) -> Json:
    if not path:
        return None
    _read(doc, path)
    parent, last = _read(doc, path[:-1]), path[-1]
    if isinstance(parent, dict):
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, len(parent) - 1, path)]
    return doc
