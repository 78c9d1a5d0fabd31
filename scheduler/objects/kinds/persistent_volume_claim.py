"""PersistentVolumeClaim (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import BadRequest, Cause
from ..json import Json, JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..quantity import canonical, parse
from ..selectors import from_label_selector
from ..storage import CLAIM_PROTECTION
from .causes import forbidden, invalid, one_of, required
from .fields import child, default_text, ensure, text, texts
from .printing import AGE, NAME, age, name
from .storage_printing import (
    ACCESS_MODES,
    ATTRIBUTES,
    CAPACITY,
    CLASS,
    MODE,
    MODES,
    STATUS,
    UNSET,
    modes,
    phase,
    storage,
)

_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def _complete(obj: JsonObject) -> None:
    protect(obj, CLAIM_PROTECTION)


def protect(obj: JsonObject, finalizer: str) -> None:
    """Add a finalizer to a new object (admission plugin StorageObjectInUseProtection)."""
    meta = ensure(obj, "metadata")
    present = texts(meta, "finalizers")
    kept: list[Json] = [each for each in present if each != finalizer]
    meta["finalizers"] = [*kept, finalizer]


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "volumeMode", "Filesystem")
    requests = child(child(spec, "resources"), "requests")
    for resource, amount in requests.items():
        requests[resource] = canonical(str(amount))


def claim_causes(spec: JsonObject, path: str) -> Iterable[Cause]:
    """Yield a cause per bad field of a claim's spec."""
    yield from access_mode_causes(spec, path)
    amount = child(child(spec, "resources"), "requests").get("storage")
    where = f"{path}.resources[storage]"
    if amount is None:
        yield required(where)
    elif parse(str(amount)) <= 0:
        yield invalid(where, str(amount), "must be greater than zero")
    if text(spec, "volumeMode") == "Block":
        yield forbidden(f"{path}.volumeMode", "not supported by Ironfree: no block devices")
    else:
        yield from one_of(f"{path}.volumeMode", text(spec, "volumeMode"), ("Filesystem",))
    for field in ("dataSource", "dataSourceRef", "volumeAttributesClassName"):
        if spec.get(field):
            yield forbidden(f"{path}.{field}", "not supported by Ironfree: volumes begin empty")
    try:
        from_label_selector(spec.get("selector"))
    except BadRequest as error:
        yield invalid(f"{path}.selector", "", error.message)


def access_mode_causes(spec: JsonObject, path: str) -> Iterable[Cause]:
    """Yield a cause per bad access mode."""
    given = texts(spec, "accessModes")
    if not given:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in given:
        yield from one_of(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in given and len(given) > 1:
        why = "may not use ReadWriteOncePod with other access modes"
        yield forbidden(f"{path}.accessModes", why)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    yield from claim_causes(child(obj, "spec"), "spec")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = dict(child(old, "spec")), dict(child(new, "spec"))
    if not before.get("volumeName"):
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before.get("storageClassName") is None:
        before.pop("storageClassName", None)
        after.pop("storageClassName", None)
    if before != after:
        yield forbidden(
            "spec",
            "spec is immutable after creation; Ironfree's volumes have no size that could grow",
        )


def _initial_status(_obj: JsonObject) -> JsonObject | None:
    return {"phase": "Pending"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    bound = bool(text(spec, "volumeName"))
    old = child(child(obj, "metadata"), "annotations").get(_OLD_CLASS)
    return (
        name(obj),
        phase(obj),
        text(spec, "volumeName"),
        storage(child(status, "capacity")) if bound else "",
        modes(status) if bound else "",
        old if isinstance(old, str) else text(spec, "storageClassName"),
        text(spec, "volumeAttributesClassName") or UNSET,
        age(obj, now),
        text(spec, "volumeMode") or UNSET,
    )


KIND = Kind(
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    message="core.v1.PersistentVolumeClaim",
    short_names=("pvc",),
    printer=Printer(
        (
            NAME,
            STATUS,
            Column("Volume", description="The volume it is bound to."),
            CAPACITY,
            MODES,
            CLASS,
            ATTRIBUTES,
            AGE,
            MODE,
        ),
        _cells,
    ),
    default=_default,
    complete=_complete,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
)
