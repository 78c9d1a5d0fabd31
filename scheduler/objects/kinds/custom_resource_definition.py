"""CustomResourceDefinition (apiextensions.k8s.io/v1): listed, for tools that ask; always empty.

A kind is one file here, not an object that a client can make, so there is nothing to write.
"""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .fields import child, text
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj), text(child(obj, "metadata"), "creationTimestamp"))


KIND = Kind(
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    message="apiextensions.v1.CustomResourceDefinition",
    group="apiextensions.k8s.io",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    namespaced=False,
    printer=Printer((NAME, Column("Created At", description="When it was created.")), _cells),
    has_status=False,
    builtin=False,
    verbs=("get", "list", "watch"),
)
