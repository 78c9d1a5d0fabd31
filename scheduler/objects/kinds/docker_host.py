"""DockerHost (ironfree.dev/v1): how to reach a container engine; becomes a Node."""

import re
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..maintenance import CONDITION
from ..names import label_value_complaints
from .causes import invalid, label_map_causes
from .fields import child, children, default_text, number, setdefault, text
from .host_limit_validation import host_limit_causes
from .node import amount_causes, taint_causes
from .printing import AGE, NAME, age, name, or_none
from .window_validation import window_causes

_ADDRESS = re.compile(r"(unix:///\S+|tcp://\S+|[a-z][a-z0-9+.-]*://\S*)\Z")
_DOCKER_SCHEMES = frozenset({"unix", "tcp", "ssh", "npipe", "http", "https"})
_DAY = 24 * 3600
_WORD = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")


def _default(obj: JsonObject) -> None:
    spec = child(obj, "spec")
    scheme = text(spec, "address").partition("://")[0]
    named = _WORD.match(scheme) and scheme not in _DOCKER_SCHEMES
    default_text(spec, "driver", scheme if named else "docker")
    maintenance = child(spec, "maintenance")
    if maintenance:
        setdefault(maintenance, "leadSeconds", 1800)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    address, driver = text(spec, "address"), text(spec, "driver")
    if not address:
        yield Cause("spec.address", "Required value", "FieldValueRequired")
    elif not _ADDRESS.match(address) or len(address) > 1024:
        yield Cause(
            "spec.address",
            f'Invalid value: "{address[:80]}": must be unix:///path, tcp://host:port or an address '
            "the driver understands",
        )
    if not _WORD.match(driver):
        yield Cause("spec.driver", f'Invalid value: "{driver[:80]}": must be a driver\'s name')
    for field in ("capacity", "reserved"):
        yield from amount_causes(spec, field, "spec")
    yield from host_limit_causes(spec, "spec")
    yield from label_map_causes(child(spec, "labels"), "spec.labels")
    for complaint in label_value_complaints(text(spec, "zone")):  # it becomes a label of the Node
        yield invalid("spec.zone", text(spec, "zone"), complaint)
    yield from taint_causes(spec, "spec")
    maintenance = child(spec, "maintenance")
    yield from window_causes(maintenance, "spec.maintenance")
    lead = number(maintenance, "leadSeconds")
    if not 0 <= lead <= _DAY:
        yield invalid("spec.maintenance.leadSeconds", lead, f"must be between 0 and {_DAY}")


def _condition(obj: JsonObject, kind: str) -> JsonObject:
    conditions = children(child(obj, "status"), "conditions")
    return next((each for each in conditions if each.get("type") == kind), JsonObject())


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    maintenance = _condition(obj, CONDITION)
    return (
        name(obj),
        text(spec, "driver"),
        text(spec, "address"),
        text(_condition(obj, "Ready"), "status") or "Unknown",
        or_none(text(status, "nodeName")),
        or_none(f"{text(maintenance, 'reason')} {text(status, 'maintenanceTime')}".strip()),
        age(obj, now),
        or_none(text(status, "engineVersion")),
        or_none(text(spec, "zone")),
        or_none(text(maintenance, "message")),
    )


KIND = Kind(
    kind="DockerHost",
    plural="dockerhosts",
    message="ironfree.v1.DockerHost",
    group="ironfree.dev",
    short_names=("dh", "host"),
    categories=("ironfree",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Driver", description="The driver that speaks with the engine."),
            Column("Address", description="Where the engine listens."),
            Column("Ready", description="Whether the engine answers."),
            Column("Node", description="The Node made of it."),
            Column("Maintenance", description="How its window stands, and when that opens."),
            AGE,
            Column("Engine", priority=1, description="The engine and its version."),
            Column("Zone", priority=1, description="The topology zone it is in."),
            Column("Window", priority=1, description="What there is to say of its maintenance."),
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    fields={"spec.driver": text_at("spec.driver"), "status.nodeName": text_at("status.nodeName")},
    builtin=False,
)
