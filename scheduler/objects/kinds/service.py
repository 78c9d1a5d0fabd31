"""Service (core/v1)."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .causes import duplicate, forbidden, invalid, label_map_causes, one_of, required
from .fields import (
    child,
    children,
    default_text,
    ensure,
    indexed,
    number,
    setdefault,
    text,
    texts,
)
from .pod_validation import label_name_complaints, port_causes
from .printing import AGE, NAME, age, name, or_none, selector

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
HEADLESS = "None"
NODE_PORTS = range(30000, 32768)
_OPEN = frozenset({"NodePort", "LoadBalancer"})
_LONGEST_NAME = 253


def has_address(spec: JsonObject) -> bool:
    """Tell whether a Service is to have an address of the cluster."""
    return text(spec, "clusterIP") != HEADLESS and text(spec, "type") != "ExternalName"


def has_node_ports(spec: JsonObject) -> bool:
    """Tell whether a Service's ports are to be open on nodes."""
    kind = text(spec, "type")
    wanted = spec.get("allocateLoadBalancerNodePorts") is not False
    return kind == "NodePort" or (kind == "LoadBalancer" and wanted)


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "type", "ClusterIP")
    default_text(spec, "sessionAffinity", "None")
    if text(spec, "sessionAffinity") == "ClientIP":
        setdefault(
            ensure(ensure(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800
        )
    for port in children(spec, "ports"):
        default_text(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if text(spec, "type") == "ExternalName":
        return
    setdefault(spec, "ipFamilies", ["IPv4"])
    default_text(spec, "ipFamilyPolicy", "SingleStack")
    default_text(spec, "internalTrafficPolicy", "Cluster")
    if text(spec, "type") in _OPEN:
        default_text(spec, "externalTrafficPolicy", "Cluster")
    if text(spec, "type") == "LoadBalancer":
        setdefault(spec, "allocateLoadBalancerNodePorts", True)
    if text(spec, "clusterIP"):
        spec["clusterIPs"] = [text(spec, "clusterIP")]
    elif texts(spec, "clusterIPs"):
        spec["clusterIP"] = texts(spec, "clusterIPs")[0]


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    kind = text(spec, "type")
    yield from one_of("spec.type", kind, _TYPES)
    yield from one_of("spec.sessionAffinity", text(spec, "sessionAffinity"), ("ClientIP", "None"))
    yield from label_map_causes(child(spec, "selector"), "spec.selector")
    if kind == "ExternalName":
        yield from _external_name(text(spec, "externalName"))
        if text(spec, "clusterIP") not in {"", HEADLESS}:
            yield forbidden("spec.clusterIP", "may not be set when `type` is 'ExternalName'")
    elif not children(spec, "ports") and text(spec, "clusterIP") != HEADLESS:
        yield required("spec.ports")
    yield from _address(spec)
    yield from _ports(spec)
    if "IPv6" in texts(spec, "ipFamilies") or text(spec, "ipFamilyPolicy") == "RequireDualStack":
        yield forbidden("spec.ipFamilies", "not supported by Ironfree: addresses are IPv4 only")


def _external_name(wanted: str) -> Iterable[Cause]:
    if not wanted:
        yield required("spec.externalName")
        return
    for part in wanted.removesuffix(".").split("."):
        for complaint in label_name_complaints(part):
            yield invalid("spec.externalName", wanted[:_LONGEST_NAME], complaint)
            return
    if len(wanted) > _LONGEST_NAME:
        yield invalid("spec.externalName", wanted[:_LONGEST_NAME], "must be no more than 253 bytes")


def _address(spec: JsonObject) -> Iterable[Cause]:
    address = text(spec, "clusterIP")
    if address in {"", HEADLESS}:
        return
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        yield invalid("spec.clusterIPs[0]", address, "must be a valid IPv4 address")
    if texts(spec, "clusterIPs")[1:]:
        yield forbidden("spec.clusterIPs", "not supported by Ironfree: one address per Service")


def _ports(spec: JsonObject) -> Iterable[Cause]:
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    opened: set[tuple[str, int]] = set()
    several = len(children(spec, "ports")) > 1
    for where, port in indexed(spec, "ports", "spec"):
        yield from port_causes(f"{where}.port", number(port, "port"))
        yield from one_of(f"{where}.protocol", text(port, "protocol"), ("SCTP", "TCP", "UDP"))
        target = port.get("targetPort")
        if isinstance(target, int):
            yield from port_causes(f"{where}.targetPort", target)
        yield from _node_port(f"{where}.nodePort", number(port, "nodePort"), text(spec, "type"))
        own = text(port, "name")
        if not own and several:
            yield required(f"{where}.name")
        if own:
            for complaint in label_name_complaints(own):
                yield invalid(f"{where}.name", own, complaint)
            if own in names:
                yield duplicate(f"{where}.name", own)
            names.add(own)
        key = (text(port, "protocol"), number(port, "port"))
        if key in numbers:
            yield duplicate(where, f"{key[1]}/{key[0]}")
        numbers.add(key)
        open_at = (text(port, "protocol"), number(port, "nodePort"))
        if open_at[1] and open_at in opened:
            yield duplicate(f"{where}.nodePort", str(open_at[1]))
        opened.add(open_at)


def _node_port(where: str, wanted: int, kind: str) -> Iterable[Cause]:
    if wanted and kind not in _OPEN:
        yield forbidden(where, "may not be used when `type` is 'ClusterIP'")
    elif wanted and wanted not in NODE_PORTS:
        within = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
        yield invalid(where, str(wanted), f"the range of valid ports is {within}")


def _carry_over(old: JsonObject, new: JsonObject) -> None:
    before, after = child(old, "spec"), ensure(new, "spec")
    _carry_node_ports(before, after)
    if text(after, "type") not in {"", "ClusterIP", "NodePort", "LoadBalancer"}:
        return
    if not text(after, "clusterIP") and text(before, "clusterIP"):
        for field in ("clusterIP", "clusterIPs"):
            if field in before:
                after[field] = before[field]


def _carry_node_ports(before: JsonObject, after: JsonObject) -> None:
    """Keep ports of nodes that an update leaves out, and drop those of a type that has none."""
    held = {
        (text(port, "protocol") or "TCP", number(port, "port")): number(port, "nodePort")
        for port in children(before, "ports")
    }
    kept = {number(port, "nodePort") for port in children(after, "ports")}
    for port in children(after, "ports"):
        known = held.get((text(port, "protocol") or "TCP", number(port, "port")), 0)
        wanted = number(port, "nodePort")
        if text(after, "type") not in _OPEN and wanted and wanted == known:
            del port["nodePort"]
        elif text(after, "type") in _OPEN and not wanted and known and known not in kept:
            port["nodePort"] = known


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = text(child(old, "spec"), "clusterIP"), text(child(new, "spec"), "clusterIP")
    released = text(child(new, "spec"), "type") == "ExternalName"
    if before and before != after and not released:
        yield Cause("spec.clusterIPs[0]", f'Invalid value: ["{after}"]: may not change once set')


def _warnings(obj: JsonObject) -> Iterable[str]:
    spec = child(obj, "spec")
    kind = text(spec, "type") or "ClusterIP"
    if kind == "LoadBalancer":
        yield "spec.type: there is no load balancer in Ironfree; use the ports of nodes (nodePort)"
    if any(text(port, "protocol") == "SCTP" for port in children(spec, "ports")):
        yield "spec.ports: SCTP is not carried in Ironfree"
    for field in ("externalIPs", "loadBalancerIP", "loadBalancerSourceRanges", "loadBalancerClass"):
        if spec.get(field):
            yield f"spec.{field}: has no effect in Ironfree"
    for policy in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if text(spec, policy) == "Local":
            yield f"spec.{policy}: Local has no effect in Ironfree"


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"loadBalancer": {}}


def _port_cell(port: JsonObject) -> str:
    node_port = number(port, "nodePort")
    middle = f":{node_port}" if node_port else ""
    return f"{number(port, 'port')}{middle}/{text(port, 'protocol')}"


def _external(obj: JsonObject) -> str:
    spec = child(obj, "spec")
    if text(spec, "type") == "ExternalName":
        return text(spec, "externalName")
    ingress = children(child(child(obj, "status"), "loadBalancer"), "ingress")
    listed = [text(each, "ip") or text(each, "hostname") for each in ingress]
    found = ",".join([*listed, *texts(spec, "externalIPs")])
    return found or ("<pending>" if text(spec, "type") == "LoadBalancer" else "<none>")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec = child(obj, "spec")
    return (
        name(obj),
        text(spec, "type"),
        or_none(text(spec, "clusterIP")),
        _external(obj),
        or_none(",".join(map(_port_cell, children(spec, "ports")))),
        age(obj, now),
        selector(spec, "selector"),
    )


KIND = Kind(
    kind="Service",
    plural="services",
    message="core.v1.Service",
    short_names=("svc",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Type", description="How it is reached."),
            Column("Cluster-IP", description="Its address inside the cluster."),
            Column("External-IP", description="Its address outside the cluster."),
            Column("Port(s)", description="Ports it listens on."),
            AGE,
            Column("Selector", priority=1, description="Labels of the pods behind it."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    carry_over=_carry_over,
    validate=_validate,
    validate_update=_validate_update,
    warnings=_warnings,
    fields={"spec.clusterIP": text_at("spec.clusterIP"), "spec.type": text_at("spec.type")},
    name_rule="service",
)
