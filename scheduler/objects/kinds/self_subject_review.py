"""SelfSubjectReview (authentication.k8s.io/v1): who the asking client is."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


KIND = Kind(
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    message="authentication.v1.SelfSubjectReview",
    group="authentication.k8s.io",
    namespaced=False,
    printer=Printer((NAME,), _cells),
    has_status=False,
    computed=True,
    verbs=("create",),
)
