"""IngressClass (networking.k8s.io/v1)."""

import re
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from ..names import subdomain_complaints
from .causes import forbidden, invalid, one_of, required
from .fields import child, setdefault, text
from .printing import AGE, NAME, NONE, age, name

_LONGEST_CONTROLLER = 250
_SCOPES = ("Cluster", "Namespace")
_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def _default(obj: JsonObject) -> None:
    parameters = child(obj, "spec").get("parameters")
    if isinstance(parameters, dict):
        setdefault(parameters, "scope", "Cluster")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    controller = text(spec, "controller")
    if len(controller) > _LONGEST_CONTROLLER:
        said = f"may not be more than {_LONGEST_CONTROLLER} bytes"
        yield Cause("spec.controller", f"Too long: {said}", "FieldValueTooLong")
    elif not controller:
        yield required("spec.controller")
    elif not _domain_prefixed(controller):
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield invalid("spec.controller", controller, why)
    if spec.get("parameters") is None:
        return
    parameters = child(spec, "parameters")
    for field in ("kind", "name"):
        if not text(parameters, field):
            yield required(f"spec.parameters.{field}")
    scope, where = text(parameters, "scope"), "spec.parameters.namespace"
    yield from one_of("spec.parameters.scope", scope, _SCOPES)
    if scope == "Namespace" and not text(parameters, "namespace"):
        yield required(where, "`parameters.scope` is set to 'Namespace'")
    if scope == "Cluster" and text(parameters, "namespace"):
        yield forbidden(where, "`parameters.scope` is set to 'Cluster'")


def _domain_prefixed(path: str) -> bool:
    host, _, rest = path.partition("/")
    return not subdomain_complaints(host) and _PATH.fullmatch(rest) is not None


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    controller = text(child(new, "spec"), "controller")
    if controller != text(child(old, "spec"), "controller"):
        yield invalid("spec.controller", controller, "field is immutable")


def _warnings(_obj: JsonObject) -> Iterable[str]:
    yield "nothing in Ironfree serves Ingresses yet: a controller of this class must be run beside"


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec = child(obj, "spec")
    parameters, shown = child(spec, "parameters"), NONE
    if parameters:
        group = text(parameters, "apiGroup")
        kind = text(parameters, "kind") + (f".{group}" if group else "")
        shown = f"{kind}/{text(parameters, 'name')}"
    return name(obj), text(spec, "controller"), shown, age(obj, now)


KIND = Kind(
    kind="IngressClass",
    plural="ingressclasses",
    group="networking.k8s.io",
    message="networking.v1.IngressClass",
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Controller", description="Who serves Ingresses of the class."),
            Column("Parameters", description="Further settings for the controller."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    warnings=_warnings,
    has_status=False,
)
