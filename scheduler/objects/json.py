"""JSON values as they travel between the wire, the store and the typed views."""

from typing import TypeAlias

from ..errors import BadRequest

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
JsonObject: TypeAlias = dict[str, Json]


def get_object(parent: JsonObject, key: str, where: str) -> JsonObject:
    """Return a member that is an object; an absent one or null is {}.

    Args:
        where: of the parent, for the message.

    Raises:
        BadRequest: it is something else.
    """
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequest(f"{where}.{key} must be an object")
    return found
