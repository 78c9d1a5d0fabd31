"""ReplicationController (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Kind, Printer, Scale, text_at
from ..pod_owner import map_selector
from .causes import label_map_causes, required
from .fields import child, ensure, setdefault, text_map
from .pod_defaults import default_pod_spec
from .printing import selector
from .template import (
    REPLICA_COLUMNS,
    not_negative_causes,
    replica_cells,
    template_causes,
    template_warnings,
)


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "replicas", 1)
    template = spec.get("template")
    if not isinstance(template, dict):
        return
    labels = text_map(child(template, "metadata"), "labels")
    if labels:
        if not child(spec, "selector"):
            spec["selector"] = {**labels}
        metadata = ensure(obj, "metadata")
        if not child(metadata, "labels"):
            metadata["labels"] = {**labels}
    default_pod_spec(ensure(template, "spec"))


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from not_negative_causes(spec, "replicas", "minReadySeconds")
    wanted = text_map(spec, "selector")
    if not wanted:
        yield required("spec.selector")
    yield from label_map_causes(child(spec, "selector"), "spec.selector")
    yield from template_causes(spec, map_selector(wanted))


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"replicas": 0}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return replica_cells(obj, now, selector(child(obj, "spec"), "selector"))


KIND = Kind(
    kind="ReplicationController",
    plural="replicationcontrollers",
    message="core.v1.ReplicationController",
    short_names=("rc",),
    categories=("all",),
    printer=Printer(REPLICA_COLUMNS, _cells),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    warnings=template_warnings,
    fields={"status.replicas": text_at("status.replicas")},
    scale=Scale(),
)
