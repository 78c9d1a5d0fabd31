"""NodeMetrics (metrics.k8s.io/v1beta1): what a node's containers use; measured, not stored."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


KIND = Kind(
    kind="NodeMetrics",
    plural="nodes",
    message="metrics.v1beta1.NodeMetrics",
    group="metrics.k8s.io",
    version="v1beta1",
    namespaced=False,
    printer=Printer((NAME,), _cells),
    has_status=False,
    computed=True,
    verbs=("get", "list"),
)
