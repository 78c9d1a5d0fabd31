"""Lease (coordination.k8s.io/v1): heartbeats of nodes, leader election of clients."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .fields import child, number, text
from .printing import AGE, NAME, age, name


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    if "leaseDurationSeconds" in spec and number(spec, "leaseDurationSeconds") <= 0:
        yield Cause(
            "spec.leaseDurationSeconds",
            f"Invalid value: {number(spec, 'leaseDurationSeconds')}: must be greater than 0",
        )
    if number(spec, "leaseTransitions") < 0:
        yield Cause(
            "spec.leaseTransitions",
            f"Invalid value: {number(spec, 'leaseTransitions')}: must be greater than or equal to "
            "0",
        )


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), text(child(obj, "spec"), "holderIdentity"), age(obj, now))


KIND = Kind(
    kind="Lease",
    plural="leases",
    message="coordination.v1.Lease",
    group="coordination.k8s.io",
    printer=Printer((NAME, Column("Holder", description="Who holds it."), AGE), _cells),
    validate=_validate,
    has_status=False,
)
