"""What probes and lifecycle hooks may say (Kubernetes core/v1 validation, in its words)."""

import re
from collections.abc import Iterator

from ...errors import Cause
from ..json import JsonObject
from .causes import forbidden, invalid, one_of, required
from .fields import child, indexed, number, text

_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)\Z")
_HEADER_NAME = re.compile(r"[-A-Za-z0-9]+\Z")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_TIMES = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def handler_causes(container: JsonObject, path: str, grace: int) -> Iterator[Cause]:
    """Yield a cause per bad field of a container's probes and hooks.

    Args:
        grace: the pod's terminationGracePeriodSeconds.
    """
    for name in PROBES:
        if container.get(name) is not None:
            yield from _probe(child(container, name), f"{path}.{name}", name)
    lifecycle = child(container, "lifecycle")
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            where = f"{path}.lifecycle.{name}"
            yield from _handler(child(lifecycle, name), where, _HOOK_HANDLERS)
            if child(lifecycle, name).get("sleep") is not None:
                seconds = number(child(child(lifecycle, name), "sleep"), "seconds")
                if not 0 <= seconds <= grace:
                    why = (
                        "must be non-negative and less than terminationGracePeriodSeconds "
                        f"({grace})"
                    )
                    yield invalid(f"{where}.sleep", seconds, why)


def init_container_causes(container: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per field that only containers which stay may have."""
    if text(container, "restartPolicy") == "Always":
        return
    why = "may not be set for init containers without restartPolicy=Always"
    for name in ("lifecycle", *PROBES):
        if container.get(name):
            yield forbidden(f"{path}.{name}", why)


def restart_causes(container: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a container's own restart policy."""
    policy = text(container, "restartPolicy")
    if policy:
        yield from one_of(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
    if container.get("restartPolicyRules") and not policy:
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when rules are used")
    for where, rule in indexed(container, "restartPolicyRules", path):
        yield from one_of(f"{where}.action", text(rule, "action"), ("Restart",))
        codes = child(rule, "exitCodes")
        if not codes:
            yield required(f"{where}.exitCodes")
        else:
            operators = ("In", "NotIn")
            yield from one_of(f"{where}.exitCodes.operator", text(codes, "operator"), operators)


def _probe(probe: JsonObject, path: str, name: str) -> Iterator[Cause]:
    yield from _handler(probe, path, _PROBE_HANDLERS)
    for field in _TIMES:
        if number(probe, field) < 0:
            why = "must be greater than or equal to 0"
            yield invalid(f"{path}.{field}", number(probe, field), why)
    if name != "readinessProbe" and number(probe, "successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", number(probe, "successThreshold"), "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    where = f"{path}.terminationGracePeriodSeconds"
    if grace is not None and name == "readinessProbe":
        yield invalid(where, grace, "must not be set for readinessProbes")
    elif grace is not None and number(probe, "terminationGracePeriodSeconds") < 1:
        yield invalid(where, grace, "must be greater than 0")


def _handler(handler: JsonObject, path: str, kinds: tuple[str, ...]) -> Iterator[Cause]:
    chosen = [kind for kind in kinds if handler.get(kind) is not None]
    if not chosen:
        yield required(path, "must specify a handler type")
    for kind in chosen[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
    if "exec" in chosen and not child(handler, "exec").get("command"):
        yield required(f"{path}.exec.command")
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in chosen:
            yield from _port(child(handler, kind), f"{path}.{kind}.port")
    if "httpGet" in chosen:
        get, where = child(handler, "httpGet"), f"{path}.httpGet"
        yield from one_of(f"{where}.scheme", text(get, "scheme") or "HTTP", ("HTTP", "HTTPS"))
        for here, header in indexed(get, "httpHeaders", where):
            if not _HEADER_NAME.match(text(header, "name")):
                why = "a valid HTTP header must consist of alphanumeric characters or '-'"
                yield invalid(f"{here}.name", text(header, "name"), why)


def _port(action: JsonObject, path: str) -> Iterator[Cause]:
    port = action.get("port")
    if isinstance(port, str) and not port.isdecimal():
        if not _PORT_NAME.match(port):
            yield invalid(path, port, "must be the number of a port, or the name of one")
    elif not (isinstance(port, int | str) and 1 <= int(port) <= 65535):
        yield invalid(path, port, "must be between 1 and 65535, inclusive")
