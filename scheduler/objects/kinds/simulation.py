"""Simulation (ironfree.dev/v1): what would happen; answered at once and never stored."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, field_at
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    def number(path: str) -> int:
        value = field_at(obj, path)
        return value if isinstance(value, int) else 0

    return (name(obj), number("status.placed"), number("status.unplaced"))


KIND = Kind(
    kind="Simulation",
    plural="simulations",
    message="ironfree.v1.Simulation",
    group="ironfree.dev",
    categories=("ironfree",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Placed", "integer", description="Pending pods that got a node."),
            Column("Unplaced", "integer", description="Pending pods without one."),
        ),
        _cells,
    ),
    has_status=False,
    builtin=False,
    computed=True,
    verbs=("create",),
)
