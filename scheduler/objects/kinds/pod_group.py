"""PodGroup (ironfree.dev/v1): pods that get their nodes together or not at all."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..pod_group import MOST_MEMBERS
from .causes import invalid
from .fields import child, children, number, setdefault, text
from .printing import AGE, NAME, age, name

_LONGEST = 2_147_483_647


def _default(obj: JsonObject) -> None:
    setdefault(child(obj, "spec"), "minMember", 1)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    least = number(spec, "minMember", 1)
    if least < 1:
        yield invalid("spec.minMember", least, "must be greater than or equal to 1")
    elif least > MOST_MEMBERS:
        yield invalid(
            "spec.minMember",
            least,
            f"must be less than or equal to {MOST_MEMBERS}: members are bound in one transaction",
        )
    timeout = number(spec, "scheduleTimeoutSeconds")
    if not 0 <= timeout <= _LONGEST:
        yield invalid(
            "spec.scheduleTimeoutSeconds",
            timeout,
            f"must be between 0, which is no deadline, and {_LONGEST}",
        )


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"phase": "Pending", "members": 0, "scheduled": 0, "running": 0}


def _message(status: JsonObject) -> str:
    """Return why the members have no nodes, "" where they have."""
    for condition in children(status, "conditions"):
        if text(condition, "type") == "Scheduled" and text(condition, "status") == "False":
            return text(condition, "message")
    return ""


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    return (
        name(obj),
        text(status, "phase"),
        number(spec, "minMember", 1),
        number(status, "members"),
        number(status, "scheduled"),
        number(status, "running"),
        age(obj, now),
        _message(status),
    )


KIND = Kind(
    kind="PodGroup",
    plural="podgroups",
    message="ironfree.v1.PodGroup",
    group="ironfree.dev",
    short_names=("pg",),
    categories=("ironfree",),
    printer=Printer(
        (
            NAME,
            Column("Phase", description="How far its members are."),
            Column("Min", "integer", description="Members that get their nodes together."),
            Column("Members", "integer", description="Pods that belong to it and live."),
            Column("Scheduled", "integer", description="Members with a node."),
            Column("Running", "integer", description="Members that run."),
            AGE,
            Column("Reason", priority=1, description="Why members have no nodes."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    fields={"status.phase": text_at("status.phase")},
    builtin=False,
)
