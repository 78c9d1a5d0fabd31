"""SelfSubjectAccessReview (authorization.k8s.io/v1): whether the asking client may do something."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


KIND = Kind(
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    message="authorization.v1.SelfSubjectAccessReview",
    group="authorization.k8s.io",
    namespaced=False,
    printer=Printer((NAME,), _cells),
    has_status=False,
    computed=True,
    verbs=("create",),
)
