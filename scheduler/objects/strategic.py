"""Strategic merge patch: a merge patch that knows which lists are keyed (Kubernetes)."""

from copy import deepcopy

from ..errors import BadRequest
from .json import Json, JsonObject
from .schema import Field, Message, Type, load

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


def strategic_merge(doc: JsonObject, patch: JsonObject, message: str) -> JsonObject:
    """Return doc with a strategic merge patch applied.

    Args:
        doc: the object now; not changed.
        patch: part of the object, with directives ($patch, $retainKeys, $setElementOrder/F,
            $deleteFromPrimitiveList/F).
        message: the kind's message, e.g. "core.v1.Pod".

    Raises:
        BadRequest: an item lacks its merge key, a directive is malformed, or nesting is too deep.
    """
    try:
        return _object(deepcopy(doc), deepcopy(patch), load().message(message))
    except RecursionError:
        raise BadRequest("the patch nests too deeply") from None


def _object(doc: JsonObject, patch: JsonObject, message: Message | None) -> JsonObject:
    directive = patch.pop(_PATCH, None)
    if directive == "replace":
        return _stripped_object(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"unknown directive $patch: {directive!r:.64}")
    _retain(doc, patch)
    orders = {key: patch.pop(key) for key in [*patch] if key.startswith(_ORDER)}
    deletes = {key: patch.pop(key) for key in [*patch] if key.startswith(_DELETE_PRIMITIVES)}
    for key, gone in deletes.items():
        _delete_primitives(doc, key.removeprefix(_DELETE_PRIMITIVES), gone)
    for key, value in patch.items():
        if value is None:
            doc.pop(key, None)
            continue
        field = message.fields.get(key) if message else None
        merged = _value(doc.get(key), value, field)
        # a list of which nothing but deletions was sent is not brought into being
        if merged == [] and key not in doc and value:
            continue
        doc[key] = merged
    for key, order in orders.items():
        name = key.removeprefix(_ORDER)
        field = message.fields.get(name) if message else None
        items = doc.get(name)
        if isinstance(items, list):
            doc[name] = _ordered(items, order, patch.get(name), field)
    return doc


def _retain(doc: JsonObject, patch: JsonObject) -> None:
    if _RETAIN not in patch:
        return
    keep = patch.pop(_RETAIN)
    if not isinstance(keep, list):
        raise BadRequest(f"{_RETAIN} must be a list of field names")
    for key in [*doc]:
        if key not in keep:
            del doc[key]


def _delete_primitives(doc: JsonObject, name: str, gone: Json) -> None:
    if not isinstance(gone, list):
        raise BadRequest(f"{_DELETE_PRIMITIVES}{name} must be a list")
    items = doc.get(name)
    if isinstance(items, list):
        doc[name] = [item for item in items if item not in gone]


def _value(doc: Json, patch: Json, field: Field | None) -> Json:
    if isinstance(patch, dict):
        if field is not None and field.replace and _PATCH not in patch:
            return _stripped_object(patch)
        inner = _message(field) if field is not None and not field.map else None
        return _object(doc if isinstance(doc, dict) else {}, patch, inner)
    if isinstance(patch, list) and field is not None and field.merge:
        current = doc if isinstance(doc, list) else []
        if field.merge_key:
            return _keyed_list(current, patch, field)
        return [*current, *(item for item in patch if item not in current)]
    return _stripped(patch)


def _message(field: Field) -> Message | None:
    return load().message(field.message) if field.type is Type.MESSAGE else None


def _keyed_list(doc: list[Json], patch: list[Json], field: Field) -> list[Json]:
    items: list[JsonObject] = [each for each in patch if isinstance(each, dict)]
    if len(items) != len(patch):
        raise BadRequest(f"{field.name}: the items of the list must be objects")
    if any(item.get(_PATCH) == "replace" for item in items):
        return [_stripped_object(item) for item in items if _PATCH not in item]
    out = [*doc]
    for item in items:
        identity = item.get(field.merge_key)
        if identity is None:
            raise BadRequest(
                f"map: {_preview(item)} does not contain declared merge key: {field.merge_key}"
            )
        places = [
            place
            for place, each in enumerate(out)
            if isinstance(each, dict) and each.get(field.merge_key) == identity
        ]
        if item.get(_PATCH) == "delete":
            out = [each for place, each in enumerate(out) if place not in places]
        elif places:
            current = out[places[0]]
            assert isinstance(current, dict)
            out[places[0]] = _object(current, item, _message(field))
        else:
            out.append(_object({}, item, _message(field)))
    return out


def _preview(item: JsonObject) -> str:
    """Name an item by its fields only; values may be secret."""
    return "{" + ", ".join(sorted(item))[:128] + "}"


def _ordered(items: list[Json], order: Json, patched: Json, field: Field | None) -> list[Json]:
    """Order a list: what $setElementOrder names in that order, others where they stood."""
    if not isinstance(order, list):
        raise BadRequest("$setElementOrder must be a list")
    key = field.merge_key if field is not None else ""
    wanted = {str(_identity(each, key)): place for place, each in enumerate(order)}
    if isinstance(patched, list):
        for each in patched:
            missing = str(_identity(each, key)) not in wanted
            if missing and not (isinstance(each, dict) and _PATCH in each):
                raise BadRequest(
                    "The order in patch list doesn't match $setElementOrder list: "
                    f"an item of {field.name if field else 'the list'} is not in it"
                )
    named = sorted(
        (each for each in items if str(_identity(each, key)) in wanted),
        key=lambda each: wanted[str(_identity(each, key))],
    )
    # Server-only items keep their place relative to the item they followed.
    queue = iter(named)
    return [next(queue) if str(_identity(each, key)) in wanted else each for each in items]


def _identity(item: Json, key: str) -> Json:
    return item.get(key) if key and isinstance(item, dict) else item


def _stripped(value: Json) -> Json:
    if isinstance(value, dict):
        return _stripped_object(value)
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value


def _stripped_object(value: JsonObject) -> JsonObject:
    """Return an object without directives and without nulls."""
    return {
        key: _stripped(inner)
        for key, inner in value.items()
        if inner is not None and key not in (_PATCH, _RETAIN) and not _is_prefixed(key)
    }


def _is_prefixed(key: str) -> bool:
    return key.startswith((_ORDER, _DELETE_PRIMITIVES))
