"""ControllerRevision (apps/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .causes import forbidden
from .fields import child, children, number, text
from .printing import AGE, NAME, NONE, age, name


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if old.get("data") != new.get("data"):
        yield forbidden("data", "field is immutable")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    owners = children(child(obj, "metadata"), "ownerReferences")
    owner = next((each for each in owners if each.get("controller")), None)
    shown = NONE
    if owner is not None:
        group = text(owner, "apiVersion").partition("/")[0]
        shown = f"{text(owner, 'kind').lower()}.{group}/{text(owner, 'name')}"
    return (name(obj), shown, number(obj, "revision"), age(obj, now))


KIND = Kind(
    kind="ControllerRevision",
    plural="controllerrevisions",
    group="apps",
    message="apps.v1.ControllerRevision",
    printer=Printer(
        (
            NAME,
            Column("Controller", description="Whose template it was."),
            Column("Revision", "integer", description="Later ones have higher numbers."),
            AGE,
        ),
        _cells,
    ),
    validate_update=_validate_update,
    has_status=False,
)
