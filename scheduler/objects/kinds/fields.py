"""Reading and filling JSON objects by field name, with one type check each."""

from collections.abc import Iterator

from ..json import Json, JsonObject


def child(obj: JsonObject, key: str) -> JsonObject:
    """Return the object under key, or an empty one that is not attached."""
    value = obj.get(key)
    return value if isinstance(value, dict) else {}


def ensure(obj: JsonObject, key: str) -> JsonObject:
    """Return the object under key, attaching an empty one where there is none."""
    value = obj.get(key)
    if isinstance(value, dict):
        return value
    fresh: JsonObject = {}
    obj[key] = fresh
    return fresh


def children(obj: JsonObject, key: str) -> list[JsonObject]:
    """Return the objects in the list under key, [] where there is none."""
    value = obj.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(obj: JsonObject, key: str) -> list[str]:
    """Return the strings in the list under key, [] where there is none."""
    value = obj.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def text(obj: JsonObject, key: str) -> str:
    """Return the string under key, "" where there is none."""
    value = obj.get(key)
    return value if isinstance(value, str) else ""


def number(obj: JsonObject, key: str, default: int = 0) -> int:
    """Return the integer under key, or the default where there is none."""
    value = obj.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def text_map(obj: JsonObject, key: str) -> dict[str, str]:
    """Return the string-to-string map under key, {} where there is none."""
    return {k: v for k, v in child(obj, key).items() if isinstance(v, str)}


def setdefault(obj: JsonObject, key: str, value: Json) -> None:
    """Set the field where it is absent or null."""
    if obj.get(key) is None:
        obj[key] = value


def default_text(obj: JsonObject, key: str, value: str) -> None:
    """Set the text where it is absent, null or empty, as upstream's string defaults do."""
    if not obj.get(key):
        obj[key] = value


def indexed(obj: JsonObject, key: str, path: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield each object of the list under key with its path: ("spec.ports[0]", {…})."""
    for index, item in enumerate(children(obj, key)):
        yield f"{path}.{key}[{index}]" if path else f"{key}[{index}]", item
