"""Taking out of an object what is not stored: nulls and fields the kind does not have."""

from ..objects.json import Json, JsonObject
from ..objects.schema import Field, Message, Type, load

_ENVELOPE = frozenset({"apiVersion", "kind"})


def clean(message: str, obj: JsonObject) -> JsonObject:
    """Return the object without nulls and unknown fields, as Kubernetes' typed decoder leaves it.

    Args:
        message: the kind's message; apiVersion and kind stay.
    """
    found = _clean(load().message(message), obj)
    head: JsonObject = {key: obj[key] for key in _ENVELOPE if key in obj}
    return {**head, **found}


def _clean(message: Message, obj: JsonObject) -> JsonObject:
    found: JsonObject = {}
    for key, value in obj.items():
        field = message.fields.get(key)
        if field is not None and value is not None:
            found[key] = _value(field, value)
    return found


def _value(field: Field, value: Json) -> Json:
    if field.type is not Type.MESSAGE:
        if field.map and isinstance(value, dict):
            return {key: _blank(field) if item is None else item for key, item in value.items()}
        if field.repeated and isinstance(value, list):
            return [_blank(field) if item is None else item for item in value]
        return value
    inner = load().message(field.message)
    if field.repeated and isinstance(value, list):
        return [_element(inner, item) for item in value]
    if field.map and isinstance(value, dict):
        return {key: _element(inner, item) for key, item in value.items()}
    return _clean(inner, value) if isinstance(value, dict) else value


def _element(message: Message, item: Json) -> Json:
    """Return an element of a list or map; null is an empty message, as in Go."""
    if item is None:
        return {}
    return _clean(message, item) if isinstance(item, dict) else item


def _blank(field: Field) -> Json:
    return "" if field.type in {Type.STRING, Type.BYTES} else None
