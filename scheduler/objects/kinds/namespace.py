"""Namespace (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .causes import one_of
from .fields import child, ensure, setdefault, text, text_map
from .pod_security import LEVELS, MODES, PREFIX
from .printing import AGE, NAME, age, name

_LEVEL_LABELS = tuple(PREFIX + mode for mode in MODES)
NAME_LABEL = "kubernetes.io/metadata.name"


def _default(obj: JsonObject) -> None:
    setdefault(ensure(obj, "spec"), "finalizers", ["kubernetes"])
    metadata = ensure(obj, "metadata")
    if text(metadata, "name"):
        ensure(metadata, "labels")[NAME_LABEL] = metadata["name"]


def _validate(obj: JsonObject) -> Iterable[Cause]:
    for key, value in text_map(child(obj, "metadata"), "labels").items():
        if key in _LEVEL_LABELS:
            yield from one_of(f"metadata.labels[{key}]", value, LEVELS)


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
    validate=_validate,
    initial_status=_initial_status,
    fields={"status.phase": text_at("status.phase"), "name": text_at("metadata.name")},
    name_rule="label",
)
