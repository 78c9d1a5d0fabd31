"""Endpoints (core/v1): the addresses of a Service in one object, for older clients."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .causes import required
from .endpoint_fields import address_causes, port_causes_of, shown
from .fields import children, indexed, number, text
from .printing import AGE, NAME, age, name


def _validate(obj: JsonObject) -> Iterable[Cause]:
    for where, subset in indexed(obj, "subsets", ""):
        if not children(subset, "addresses") and not children(subset, "notReadyAddresses"):
            yield required(where, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for place, address in indexed(subset, field, where):
                yield from address_causes(f"{place}.ip", text(address, "ip"))
        yield from port_causes_of(subset, where)


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    found: list[str] = []
    for subset in children(obj, "subsets"):
        addresses = [text(each, "ip") for each in children(subset, "addresses")]
        ports = [number(each, "port") for each in children(subset, "ports")]
        found += [f"{ip}:{port}" for port in ports for ip in addresses] if ports else addresses
    return (name(obj), shown(found), age(obj, now))


KIND = Kind(
    kind="Endpoints",
    plural="endpoints",
    message="core.v1.Endpoints",
    short_names=("ep",),
    printer=Printer(
        (NAME, Column("Endpoints", description="Addresses and ports that are ready."), AGE), _cells
    ),
    validate=_validate,
    has_status=False,
)
