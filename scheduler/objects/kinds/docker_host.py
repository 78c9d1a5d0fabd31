"""DockerHost (ironfree.dev/v1): how to reach a container engine; becomes a Node."""

import re
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..names import label_value_complaints
from .causes import invalid, label_map_causes
from .fields import child, children, default_text, text
from .host_limit_validation import host_limit_causes
from .node import amount_causes, taint_causes
from .printing import AGE, NAME, age, name, or_none

_ADDRESS = re.compile(r"(unix:///\S+|tcp://\S+|[a-z][a-z0-9+.-]*://\S*)\Z")
_DOCKER_SCHEMES = frozenset({"unix", "tcp", "ssh", "npipe", "http", "https"})
_WORD = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")


def _default(obj: JsonObject) -> None:
    spec = child(obj, "spec")
    scheme = text(spec, "address").partition("://")[0]
    named = _WORD.match(scheme) and scheme not in _DOCKER_SCHEMES
    default_text(spec, "driver", scheme if named else "docker")


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


def _ready(obj: JsonObject) -> str:
    conditions = children(child(obj, "status"), "conditions")
    return next((text(c, "status") for c in conditions if c.get("type") == "Ready"), "Unknown")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    return (
        name(obj),
        text(spec, "driver"),
        text(spec, "address"),
        _ready(obj),
        or_none(text(status, "nodeName")),
        age(obj, now),
        or_none(text(status, "engineVersion")),
        or_none(text(spec, "zone")),
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
            AGE,
            Column("Engine", priority=1, description="The engine and its version."),
            Column("Zone", priority=1, description="The topology zone it is in."),
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    fields={"spec.driver": text_at("spec.driver"), "status.nodeName": text_at("status.nodeName")},
    builtin=False,
)
