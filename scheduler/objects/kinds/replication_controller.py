"""ReplicationController (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, Scale, text_at
from .causes import invalid, label_map_causes, required
from .fields import child, ensure, number, setdefault, text, text_map
from .pod_defaults import default_pod_spec
from .pod_support import warnings
from .pod_validation import not_ephemeral_causes, pod_spec_causes
from .printing import AGE, NAME, age, container_images, container_names, name, selector


def _template(obj: JsonObject) -> JsonObject:
    return child(child(obj, "spec"), "template")


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
    for field in ("replicas", "minReadySeconds"):
        if number(spec, field) < 0:
            why = "must be greater than or equal to 0"
            yield invalid(f"spec.{field}", number(spec, field), why)
    wanted = text_map(spec, "selector")
    if not wanted:
        yield required("spec.selector")
    yield from label_map_causes(child(spec, "selector"), "spec.selector")
    if not isinstance(spec.get("template"), dict):
        yield required("spec.template")
        return
    template = _template(obj)
    labels = text_map(child(template, "metadata"), "labels")
    if any(labels.get(key) != value for key, value in wanted.items()):
        shown = "{" + ",".join(f'"{k}":"{v}"' for k, v in sorted(labels.items())) + "}"
        why = f"Invalid value: {shown}: `selector` does not match template `labels`"
        yield Cause("spec.template.metadata.labels", why)
    yield from label_map_causes(
        child(child(template, "metadata"), "labels"), "spec.template.metadata.labels"
    )
    pod_spec = child(template, "spec")
    if text(pod_spec, "restartPolicy") not in {"", "Always"}:
        yield Cause(
            "spec.template.spec.restartPolicy",
            f'Unsupported value: "{text(pod_spec, "restartPolicy")}": supported values: "Always"',
            "FieldValueNotSupported",
        )
    yield from pod_spec_causes(pod_spec, "spec.template.spec")
    yield from not_ephemeral_causes(pod_spec, "spec.template.spec")


def _warnings(obj: JsonObject) -> Iterable[str]:
    return warnings(child(_template(obj), "spec"), "spec.template.spec")


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"replicas": 0}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    pod_spec = child(_template(obj), "spec")
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
    warnings=_warnings,
    fields={"status.replicas": text_at("status.replicas")},
    scale=Scale(),
)
