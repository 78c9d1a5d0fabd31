"""Adoption (ironfree.dev/v1): what containers that run would be as pods; answered, never stored."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


KIND = Kind(
    kind="Adoption",
    plural="adoptions",
    message="ironfree.v1.Adoption",
    group="ironfree.dev",
    categories=("ironfree",),
    printer=Printer((NAME,), _cells),
    has_status=False,
    builtin=False,
    computed=True,
    verbs=("create",),
)
