"""ReplicationController (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, Scale, text_at
from ..pod_owner import map_selector
from .causes import label_map_causes, required
from .fields import child, ensure, number, setdefault, text_map
from .pod_defaults import default_pod_spec
from .printing import AGE, NAME, age, container_images, container_names, name, selector
from .template import not_negative_causes, template_causes, template_spec, template_warnings


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
    spec, status = child(obj, "spec"), child(obj, "status")
    pod_spec = template_spec(obj)
    return (
        name(obj),
        number(spec, "replicas"),
        number(status, "replicas"),
        number(status, "readyReplicas"),
        age(obj, now),
        container_names(pod_spec),
        container_images(pod_spec),
        selector(spec, "selector"),
    )


KIND = Kind(
    kind="ReplicationController",
    plural="replicationcontrollers",
    message="core.v1.ReplicationController",
    short_names=("rc",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Desired", "integer", description="Pods wanted."),
            Column("Current", "integer", description="Pods there are."),
            Column("Ready", "integer", description="Pods that are ready."),
            AGE,
            Column("Containers", priority=1, description="Containers of its pods."),
            Column("Images", priority=1, description="Images of its pods."),
            Column("Selector", priority=1, description="Labels of its pods."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    warnings=template_warnings,
    fields={"status.replicas": text_at("status.replicas")},
    scale=Scale(),
)
