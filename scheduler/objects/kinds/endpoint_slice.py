"""EndpointSlice (discovery/v1): up to some hundred addresses of a Service."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .causes import invalid, one_of, required
from .endpoint_fields import address_causes, port_causes_of, shown
from .fields import children, indexed, number, text, texts
from .pod_validation import label_name_complaints
from .printing import AGE, NAME, age, name

_TYPES = ("FQDN", "IPv4", "IPv6")
_MOST_ENDPOINTS = 1000
_MOST_ADDRESSES = 100


def _default(obj: JsonObject) -> None:
    for port in children(obj, "ports"):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    kind = text(obj, "addressType")
    yield from one_of("addressType", kind, _TYPES)
    if len(children(obj, "endpoints")) > _MOST_ENDPOINTS:
        said = f"must have at most {_MOST_ENDPOINTS} items"
        yield Cause("endpoints", f"Too many: {said}", "FieldValueTooMany")
    for where, endpoint in indexed(obj, "endpoints", ""):
        addresses = texts(endpoint, "addresses")
        if not addresses:
            yield required(f"{where}.addresses", "must contain at least 1 address")
        if len(addresses) > _MOST_ADDRESSES:
            said = f"must have at most {_MOST_ADDRESSES} items"
            yield Cause(f"{where}.addresses", f"Too many: {said}", "FieldValueTooMany")
        for complaint in label_name_complaints(text(endpoint, "hostname") or "a"):
            yield invalid(f"{where}.hostname", text(endpoint, "hostname")[:63], complaint)
        if kind != "FQDN":
            for index, address in enumerate(addresses):
                yield from address_causes(f"{where}.addresses[{index}]", address)
    yield from port_causes_of(obj, "")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if text(old, "addressType") != text(new, "addressType"):
        yield invalid("addressType", text(new, "addressType"), "field is immutable")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    ports = [str(number(each, "port")) for each in children(obj, "ports")]
    found = [
        each for endpoint in children(obj, "endpoints") for each in texts(endpoint, "addresses")
    ]
    unset = "<unset>"
    return (
        name(obj),
        text(obj, "addressType"),
        shown(ports) if ports else unset,
        shown(found) if found else unset,
        age(obj, now),
    )


KIND = Kind(
    kind="EndpointSlice",
    plural="endpointslices",
    group="discovery.k8s.io",
    message="discovery.v1.EndpointSlice",
    printer=Printer(
        (
            NAME,
            Column("AddressType", description="What its addresses are."),
            Column("Ports", description="Ports of every endpoint."),
            Column("Endpoints", description="Addresses."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    fields={"addressType": text_at("addressType")},
    has_status=False,
)
