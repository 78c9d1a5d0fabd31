"""ReplicaSet (apps/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Kind, Printer, Scale, text_at
from .fields import child, ensure, setdefault
from .template import (
    REPLICA_COLUMNS,
    default_template,
    immutable_causes,
    not_negative_causes,
    replica_cells,
    selector_causes,
    selector_of,
    selector_text,
    template_causes,
    template_warnings,
)


def _default(obj: JsonObject) -> None:
    setdefault(ensure(obj, "spec"), "replicas", 1)
    default_template(obj)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from not_negative_causes(spec, "replicas", "minReadySeconds")
    yield from selector_causes(spec)
    yield from template_causes(spec, selector_of(spec))


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    return immutable_causes(old, new, "selector")


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"replicas": 0}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return replica_cells(obj, now, selector_text(child(obj, "spec")))


KIND = Kind(
    kind="ReplicaSet",
    plural="replicasets",
    group="apps",
    message="apps.v1.ReplicaSet",
    short_names=("rs",),
    categories=("all",),
    printer=Printer(REPLICA_COLUMNS, _cells),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
    warnings=template_warnings,
    fields={"status.replicas": text_at("status.replicas")},
    scale=Scale(),
)
