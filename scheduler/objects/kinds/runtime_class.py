"""RuntimeClass (node.k8s.io/v1): a name for a runtime of the engines, such as gVisor's."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import label_name_complaints
from .causes import forbidden, invalid, label_map_causes, required
from .fields import child, text
from .placement_validation import toleration_causes
from .pod_validation import amount_causes
from .printing import AGE, NAME, age, name


def _validate(obj: JsonObject) -> Iterable[Cause]:
    handler, scheduling = text(obj, "handler"), child(obj, "scheduling")
    if not handler:
        yield required("handler")
    for complaint in label_name_complaints(handler) if handler else ():
        yield invalid("handler", handler, complaint)
    yield from amount_causes(child(child(obj, "overhead"), "podFixed"), "overhead.podFixed")
    yield from label_map_causes(child(scheduling, "nodeSelector"), "scheduling.nodeSelector")
    yield from toleration_causes(scheduling, "scheduling")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if old.get("handler") != new.get("handler"):
        yield forbidden("handler", "field is immutable")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), text(obj, "handler"), age(obj, now))


KIND = Kind(
    kind="RuntimeClass",
    plural="runtimeclasses",
    message="node.v1.RuntimeClass",
    group="node.k8s.io",
    namespaced=False,
    printer=Printer(
        (NAME, Column("Handler", description="The engine's name of the runtime."), AGE), _cells
    ),
    validate=_validate,
    validate_update=_validate_update,
    has_status=False,
)
