"""NetworkPolicy (networking.k8s.io/v1): kept and returned; nothing enforces it."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from ...errors import BadRequest, Cause
from ..json import Json, JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import port_name_complaints
from ..selectors import from_label_selector
from .causes import forbidden, invalid, one_of, required
from .fields import child, children, default_text, ensure, indexed, number, text, texts
from .pod_validation import port_causes
from .printing import AGE, NAME, age, name
from .template import selector_text

_TYPES = ("Ingress", "Egress")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RULES = (("ingress", "from"), ("egress", "to"))


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    ensure(spec, "podSelector")
    for rules, _peers in _RULES:
        for rule in children(spec, rules):
            for port in children(rule, "ports"):
                default_text(port, "protocol", "TCP")
    if not texts(spec, "policyTypes"):
        types: list[Json] = ["Ingress"]
        if children(spec, "egress"):
            types.append("Egress")
        spec["policyTypes"] = types


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from _selector_causes(spec, "podSelector", "spec")
    for rules, peers in _RULES:
        for where, rule in indexed(spec, rules, "spec"):
            for at, port in indexed(rule, "ports", where):
                yield from _port_causes(port, at)
            for at, peer in indexed(rule, peers, where):
                yield from _peer_causes(peer, at)
    types = texts(spec, "policyTypes")
    if len(types) > len(_TYPES):
        why = "may not specify more than two policyTypes"
        yield invalid("spec.policyTypes", [*types], why)
        return
    for index, kind in enumerate(types):
        yield from one_of(f"spec.policyTypes[{index}]", kind, _TYPES)


def _selector_causes(obj: JsonObject, field: str, path: str) -> Iterable[Cause]:
    try:
        from_label_selector(obj.get(field))
    except BadRequest as error:
        yield Cause(f"{path}.{field}", f"Invalid value: {error.message}")


def _port_causes(port: JsonObject, where: str) -> Iterable[Cause]:
    yield from one_of(f"{where}.protocol", text(port, "protocol"), _PROTOCOLS)
    wanted, last = port.get("port"), port.get("endPort")
    if isinstance(wanted, int):
        yield from port_causes(f"{where}.port", wanted)
    elif isinstance(wanted, str):
        for complaint in port_name_complaints(wanted):
            yield invalid(f"{where}.port", wanted, complaint)
    if last is None:
        return
    if isinstance(wanted, str):
        yield forbidden(f"{where}.endPort", "may not be specified when `port` is non-numeric")
    elif wanted is None:
        yield forbidden(f"{where}.endPort", "may not be specified when `port` is not specified")
    elif number(port, "endPort") < number(port, "port"):
        yield invalid(f"{where}.endPort", last, "must be greater than or equal to `port`")
    yield from port_causes(f"{where}.endPort", number(port, "endPort"))


def _peer_causes(peer: JsonObject, where: str) -> Iterable[Cause]:
    given = [field for field in ("podSelector", "namespaceSelector") if peer.get(field) is not None]
    for field in given:
        yield from _selector_causes(peer, field, where)
    if peer.get("ipBlock") is not None:
        if given:
            yield forbidden(where, "may not specify both ipBlock and another peer")
        yield from _block_causes(child(peer, "ipBlock"), f"{where}.ipBlock")
    elif not given:
        yield required(where, "must specify a peer")


def _block_causes(block: JsonObject, where: str) -> Iterable[Cause]:
    cidr = text(block, "cidr")
    if not cidr:
        yield required(f"{where}.cidr")
        return
    whole = _network(cidr)
    if whole is None:
        yield invalid(f"{where}.cidr", cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24)")
        return
    for index, each in enumerate(texts(block, "except")):
        part, at = _network(each), f"{where}.except[{index}]"
        if part is None:
            yield invalid(at, each, "must be a valid CIDR value, (e.g. 10.9.8.0/24)")
        elif not _strictly_within(part, whole):
            yield invalid(at, each, f"must be a strict subset of `{whole}`")


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: str) -> _Network | None:
    if "/" not in value:
        return None
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


def _strictly_within(part: _Network, whole: _Network) -> bool:
    if part.version != whole.version or part.prefixlen <= whole.prefixlen:
        return False
    return part.supernet(new_prefix=whole.prefixlen) == whole


def _warnings(_obj: JsonObject) -> Iterable[str]:
    yield "network policies are not enforced in Ironfree: pods reach whatever their host lets them"


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec = child(obj, "spec")
    return name(obj), selector_text({"selector": child(spec, "podSelector")}), age(obj, now)


KIND = Kind(
    kind="NetworkPolicy",
    plural="networkpolicies",
    group="networking.k8s.io",
    message="networking.v1.NetworkPolicy",
    short_names=("netpol",),
    printer=Printer(
        (NAME, Column("Pod-Selector", description="Labels of the pods it is about."), AGE), _cells
    ),
    default=_default,
    validate=_validate,
    warnings=_warnings,
    has_status=False,
)
