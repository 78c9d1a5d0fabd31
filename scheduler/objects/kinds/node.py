"""Node (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..quantity import canonical, parse
from .fields import child, children, ensure, indexed, text, text_map
from .printing import AGE, NAME, UNKNOWN, age, name, or_none

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _default(obj: JsonObject) -> None:
    ensure(obj, "spec")
    status = child(obj, "status")
    if status.get("allocatable") is None and "capacity" in status:
        status["allocatable"] = dict(child(status, "capacity"))
    for field in ("capacity", "allocatable"):
        amounts = child(status, field)
        for resource, amount in amounts.items():
            amounts[resource] = canonical(str(amount))


def _initial_status(obj: JsonObject) -> JsonObject | None:
    return child(obj, "status") or None


def taint_causes(spec: JsonObject, path: str) -> Iterable[Cause]:
    """Yield a cause per bad or repeated taint of a spec."""
    seen: set[tuple[str, str]] = set()
    for where, taint in indexed(spec, "taints", path):
        key, effect = text(taint, "key"), text(taint, "effect")
        if not key:
            yield Cause(f"{where}.key", "Required value", "FieldValueRequired")
        if effect not in _EFFECTS:
            listed = ", ".join(f'"{each}"' for each in sorted(_EFFECTS))
            yield Cause(
                f"{where}.effect",
                f'Unsupported value: "{effect}": supported values: {listed}',
                "FieldValueNotSupported",
            )
        if (key, effect) in seen:
            yield Cause(
                where,
                "Duplicate value: taints must be unique by key and effect pair",
                "FieldValueDuplicate",
            )
        seen.add((key, effect))


def amount_causes(obj: JsonObject, field: str, path: str) -> Iterable[Cause]:
    """Yield a cause per amount that no machine has (Kubernetes ValidateResourceQuantityValue).

    Args:
        field: "capacity", "allocatable" …, a map of resource to quantity, in `obj` at `path`.
    """
    for resource, amount in child(obj, field).items():
        value, where = parse(str(amount)), f"{path}.{field}.{resource}"
        if value < 0:
            why = "must be greater than or equal to 0"
            yield Cause(where, f'Invalid value: "{amount}": {why}')
        pieces = resource == "pods" or ("/" in resource and "kubernetes.io/" not in resource)
        if pieces and value != value.to_integral_value():
            yield Cause(where, f'Invalid value: "{amount}": must be an integer')


def _validate(obj: JsonObject) -> Iterable[Cause]:
    yield from taint_causes(child(obj, "spec"), "spec")


def _validate_status(obj: JsonObject) -> Iterable[Cause]:
    for field in ("capacity", "allocatable"):
        yield from amount_causes(child(obj, "status"), field, "status")


def _status(obj: JsonObject) -> str:
    conditions = children(child(obj, "status"), "conditions")
    ready = next((text(c, "status") for c in conditions if c.get("type") == "Ready"), "")
    word = {"True": "Ready", "False": "NotReady", "Unknown": "NotReady"}.get(ready, "Unknown")
    unschedulable = child(obj, "spec").get("unschedulable")
    return f"{word},SchedulingDisabled" if unschedulable else word


def _roles(obj: JsonObject) -> str:
    roles: set[str] = set()
    for label, value in text_map(child(obj, "metadata"), "labels").items():
        if label.startswith(_ROLE_PREFIX):
            roles.add(label.removeprefix(_ROLE_PREFIX))
        elif label == _ROLE_LABEL and value:
            roles.add(value)
    return or_none(",".join(sorted(roles - {""})))


def _address(status: JsonObject, kind: str) -> str:
    addresses = children(status, "addresses")
    return or_none(next((text(a, "address") for a in addresses if a.get("type") == kind), ""))


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    status = child(obj, "status")
    info = child(status, "nodeInfo")
    return (
        name(obj),
        _status(obj),
        _roles(obj),
        age(obj, now),
        text(info, "kubeletVersion"),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        text(info, "osImage") or UNKNOWN,
        text(info, "kernelVersion") or UNKNOWN,
        text(info, "containerRuntimeVersion") or UNKNOWN,
    )


def _unschedulable(obj: JsonObject) -> str:
    return "true" if child(obj, "spec").get("unschedulable") else "false"


KIND = Kind(
    kind="Node",
    plural="nodes",
    message="core.v1.Node",
    short_names=("no",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Status", description="Ready, NotReady or Unknown, and whether it is cordoned."),
            Column("Roles", description="Roles, from its labels."),
            AGE,
            Column("Version", description="Version of its agent."),
            Column("Internal-IP", priority=1, description="Address inside the cluster."),
            Column("External-IP", priority=1, description="Address outside the cluster."),
            Column("OS-Image", priority=1, description="Operating system."),
            Column("Kernel-Version", priority=1, description="Kernel."),
            Column("Container-Runtime", priority=1, description="Engine and version."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_status=_validate_status,
    fields={"spec.unschedulable": _unschedulable, "spec.providerID": text_at("spec.providerID")},
)
