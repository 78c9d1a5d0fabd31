"""Explanation (ironfree.dev/v1): why a pod is where it is, or not; answered at once, not stored."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .printing import NAME, name

_node = text_at("status.nodeName")


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj), _node(obj))


KIND = Kind(
    kind="Explanation",
    plural="explanations",
    message="ironfree.v1.Explanation",
    group="ironfree.dev",
    categories=("ironfree",),
    printer=Printer((NAME, Column("Node", description="Where the pod is.")), _cells),
    has_status=False,
    builtin=False,
    computed=True,
    verbs=("create",),
)
