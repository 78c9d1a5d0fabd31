"""StorageClass (storage.k8s.io/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..storage import DEFAULT_CLASS, PROVISIONER, RETAIN, WAIT
from .causes import forbidden, one_of, required
from .fields import child, default_text, text, text_map
from .printing import AGE, NAME, age, name

_IMMUTABLE = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")


def _default(obj: JsonObject) -> None:
    default_text(obj, "reclaimPolicy", "Delete")
    own = text(obj, "provisioner") == PROVISIONER
    default_text(obj, "volumeBindingMode", WAIT if own else "Immediate")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    if not text(obj, "provisioner"):
        yield required("provisioner")
    yield from one_of("reclaimPolicy", text(obj, "reclaimPolicy"), ("Delete", RETAIN))
    mode = text(obj, "volumeBindingMode")
    yield from one_of("volumeBindingMode", mode, ("Immediate", WAIT))
    if text(obj, "provisioner") != PROVISIONER:
        return
    if mode == "Immediate":
        why = f"{PROVISIONER} makes volumes where pods are: use {WAIT}"
        yield forbidden("volumeBindingMode", why)
    for field in ("parameters", "mountOptions", "allowedTopologies"):
        if obj.get(field):
            yield forbidden(field, f"{PROVISIONER} has none")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    for field in _IMMUTABLE:
        if old.get(field) != new.get(field):
            yield forbidden(field, "updates to " + field + " are forbidden.")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    annotations = text_map(child(obj, "metadata"), "annotations")
    default = " (default)" if annotations.get(DEFAULT_CLASS) == "true" else ""
    return (
        name(obj) + default,
        text(obj, "provisioner"),
        text(obj, "reclaimPolicy"),
        text(obj, "volumeBindingMode"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    )


KIND = Kind(
    kind="StorageClass",
    plural="storageclasses",
    message="storage.v1.StorageClass",
    group="storage.k8s.io",
    short_names=("sc",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Provisioner", description="Who makes its volumes."),
            Column("ReclaimPolicy", description="What becomes of a volume without its claim."),
            Column("VolumeBindingMode", description="When claims get their volumes."),
            Column("AllowVolumeExpansion", "boolean", description="Whether volumes may grow."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    has_status=False,
)
