"""Ingress (networking.k8s.io/v1): kept and returned; nothing serves it yet."""

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import (
    port_name_complaints,
    service_name_complaints,
    subdomain_complaints,
    wildcard_complaints,
)
from .causes import invalid, one_of, required
from .endpoint_fields import shown
from .fields import child, children, indexed, number, text, text_map, texts
from .pod_validation import port_causes
from .printing import AGE, NAME, age, name, or_none

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")
_BAD_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_AT_ENDS = ("/..", "/.")


def _backends(spec: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    if isinstance(spec.get("defaultBackend"), dict):
        yield "spec.defaultBackend", child(spec, "defaultBackend")
    for where, rule in indexed(spec, "rules", "spec"):
        for at, path in indexed(child(rule, "http"), "paths", f"{where}.http"):
            yield f"{at}.backend", child(path, "backend")


def _default(obj: JsonObject) -> None:
    for _where, backend in _backends(child(obj, "spec")):
        port = child(child(backend, "service"), "port")
        if not port.get("number"):  # protobuf writes what JSON leaves out
            port.pop("number", None)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    if not children(spec, "rules") and not isinstance(spec.get("defaultBackend"), dict):
        yield invalid("spec", {}, "either `defaultBackend` or `rules` must be specified")
    for index, entry in enumerate(children(spec, "tls")):
        for at, host in enumerate(texts(entry, "hosts")):
            yield from _host_causes(f"spec.tls[{index}].hosts[{at}]", host)
    for where, rule in indexed(spec, "rules", "spec"):
        yield from _rule_causes(rule, where)
    for where, backend in _backends(spec):
        yield from _backend_causes(backend, where)
    own = text(spec, "ingressClassName")
    for complaint in subdomain_complaints(own) if own else ():
        yield invalid("spec.ingressClassName", own, complaint)


def _validate_creation(obj: JsonObject) -> Iterable[Cause]:
    annotated = text_map(child(obj, "metadata"), "annotations").get(_CLASS_ANNOTATION, "")
    own = text(child(obj, "spec"), "ingressClassName")
    if annotated and own and annotated != own:
        why = "must match `ingressClassName` when both are specified"
        yield invalid(f"metadata.annotations.{_CLASS_ANNOTATION}", annotated, why)


def _rule_causes(rule: JsonObject, where: str) -> Iterable[Cause]:
    host = text(rule, "host")
    if host:
        yield from _address_causes(f"{where}.host", host)
        yield from _host_causes(f"{where}.host", host)
    if not isinstance(rule.get("http"), dict):
        return
    paths = list(indexed(child(rule, "http"), "paths", f"{where}.http"))
    if not paths:
        yield required(f"{where}.http.paths")
    for at, path in paths:
        yield from _path_causes(path, at)


def _host_causes(where: str, host: str) -> Iterable[Cause]:
    complain = wildcard_complaints if "*" in host else subdomain_complaints
    for complaint in complain(host):
        yield invalid(where, host, complaint)


def _address_causes(where: str, host: str) -> Iterable[Cause]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    yield invalid(where, host, "must be a DNS name, not an IP address")


def _path_causes(entry: JsonObject, where: str) -> Iterable[Cause]:
    kind, path = text(entry, "pathType"), text(entry, "path")
    if entry.get("pathType") is None:
        yield required(f"{where}.pathType", "pathType must be specified")
        return
    yield from one_of(f"{where}.pathType", kind, _PATH_TYPES)
    if not path.startswith("/") and (path or kind != "ImplementationSpecific"):
        yield invalid(f"{where}.path", path, "must be an absolute path")
    if kind == "ImplementationSpecific":
        return
    for bad in _BAD_IN_PATHS:
        if bad in path:
            yield invalid(f"{where}.path", path, f"must not contain '{bad}'")
    for bad in _BAD_AT_ENDS:
        if path.endswith(bad):
            yield invalid(f"{where}.path", path, f"cannot end with '{bad}'")


def _backend_causes(backend: JsonObject, where: str) -> Iterable[Cause]:
    has_service = isinstance(backend.get("service"), dict)
    has_resource = isinstance(backend.get("resource"), dict)
    if has_service and has_resource:
        yield invalid(where, "", "cannot set both resource and service backends")
    elif has_resource:
        for field in ("kind", "name"):
            if not text(child(backend, "resource"), field):
                yield required(f"{where}.resource.{field}")
    elif has_service:
        yield from _service_causes(child(backend, "service"), f"{where}.service")
    else:
        yield required(where, "resource or service backend is required")


def _service_causes(service: JsonObject, where: str) -> Iterable[Cause]:
    own, port = text(service, "name"), child(service, "port")
    if not own:
        yield required(f"{where}.name")
    for complaint in service_name_complaints(own) if own else ():
        yield invalid(f"{where}.name", own, complaint)
    named, numbered = text(port, "name"), port.get("number") is not None
    if named and numbered:
        yield invalid(where, "", "cannot set both port name & port number")
    elif numbered:
        yield from port_causes(f"{where}.port.number", number(port, "number"))
    elif named:
        for complaint in port_name_complaints(named):
            yield invalid(f"{where}.port.name", named, complaint)
    else:
        yield required(where, "port name or number is required")


def _warnings(_obj: JsonObject) -> Iterable[str]:
    yield "nothing in Ironfree serves Ingresses yet: use hostPort on a container to reach it"


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"loadBalancer": {}}


def _hosts(spec: JsonObject) -> str:
    listed = [text(rule, "host") for rule in children(spec, "rules") if text(rule, "host")]
    return shown(listed) if listed else "*"


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    found = children(child(status, "loadBalancer"), "ingress")
    annotated = text_map(child(obj, "metadata"), "annotations").get(_CLASS_ANNOTATION, "")
    return (
        name(obj),
        or_none(text(spec, "ingressClassName") or annotated),
        _hosts(spec),
        ",".join(text(each, "ip") or text(each, "hostname") for each in found),
        "80, 443" if children(spec, "tls") else "80",
        age(obj, now),
    )


KIND = Kind(
    kind="Ingress",
    plural="ingresses",
    group="networking.k8s.io",
    message="networking.v1.Ingress",
    short_names=("ing",),
    printer=Printer(
        (
            NAME,
            Column("Class", description="Who is to serve it."),
            Column("Hosts", description="Names that it answers to."),
            Column("Address", description="Where it is served."),
            Column("Ports", description="Ports that it is served at."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_creation=_validate_creation,
    warnings=_warnings,
)
