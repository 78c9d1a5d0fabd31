"""Namespace (core/v1)."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .fields import child, ensure, setdefault, text
from .printing import AGE, NAME, age, name

NAME_LABEL = "kubernetes.io/metadata.name"


def _default(obj: JsonObject) -> None:
    setdefault(ensure(obj, "spec"), "finalizers", ["kubernetes"])
    metadata = ensure(obj, "metadata")
    if text(metadata, "name"):
        ensure(metadata, "labels")[NAME_LABEL] = metadata["name"]


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), text(child(obj, "status"), "phase"), age(obj, now))


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"phase": "Active"}


KIND = Kind(
    kind="Namespace",
    plural="namespaces",
    message="core.v1.Namespace",
    short_names=("ns",),
    namespaced=False,
    printer=Printer((NAME, Column("Status", description="Phase of its life."), AGE), _cells),
    default=_default,
    initial_status=_initial_status,
    fields={"status.phase": text_at("status.phase"), "name": text_at("metadata.name")},
    name_rule="label",
)
