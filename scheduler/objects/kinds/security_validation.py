"""What security contexts may say (Kubernetes core/v1 validation, in its words)."""

import re
from collections.abc import Iterator

from ...errors import Cause
from ..json import JsonObject
from .causes import duplicate, forbidden, invalid, one_of, required
from .fields import child, indexed, number, text, texts

_MAX_ID = 2**31 - 1
_SYSCTL = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?\Z"
)
_CAPABILITY = re.compile(r"[A-Za-z_]{1,64}\Z")  # engines read them in any case
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def pod_security_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a pod's security context."""
    security, where = child(spec, "securityContext"), f"{path}.securityContext"
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from _id(security, field, where)
    groups = security.get("supplementalGroups")
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        yield from _id({"": group}, "", f"{where}.supplementalGroups[{index}]")
    yield from _profiles(security, where)
    seen: set[str] = set()
    for here, sysctl in indexed(security, "sysctls", where):
        name = text(sysctl, "name")
        if not name:
            yield required(f"{here}.name")
        elif not _SYSCTL.match(name):
            yield invalid(f"{here}.name", name, "must be the name of a kernel parameter")
        elif name in seen:
            yield duplicate(f"{here}.name", name)
        elif spec.get("hostNetwork") and name.startswith("net"):
            yield invalid(f"{here}.name", name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and name.startswith(("kernel.", "fs.mqueue.")):
            yield invalid(f"{here}.name", name, "may not be specified when 'hostIPC' is true")
        seen.add(name)


def container_security_causes(container: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a container's security context."""
    security, where = child(container, "securityContext"), f"{path}.securityContext"
    for field in ("runAsUser", "runAsGroup"):
        yield from _id(security, field, where)
    yield from _profiles(security, where)
    if security.get("procMount") is not None:
        mounts = ("Default", "Unmasked")
        yield from one_of(f"{where}.procMount", text(security, "procMount"), mounts)
    capabilities = child(security, "capabilities")
    for field in ("add", "drop"):
        for index, name in enumerate(texts(capabilities, field)):
            if not _CAPABILITY.match(name.removeprefix("CAP_")):
                here = f"{where}.capabilities.{field}[{index}]"
                yield invalid(here, name, "must be the name of a capability, such as NET_ADMIN")
    if security.get("allowPrivilegeEscalation") is False:
        why = "cannot set `allowPrivilegeEscalation` to false and `{}` to true"
        if security.get("privileged"):
            yield invalid(where, "", why.format("privileged"))
        if "SYS_ADMIN" in {n.removeprefix("CAP_") for n in texts(capabilities, "add")}:
            yield invalid(where, "", why.format("capabilities.Add CAP_SYS_ADMIN"))


def _id(at: JsonObject, field: str, path: str) -> Iterator[Cause]:
    if at.get(field) is not None and not 0 <= number(at, field, -1) <= _MAX_ID:
        where = f"{path}.{field}" if field else path
        yield invalid(where, at.get(field), f"must be between 0 and {_MAX_ID}, inclusive")


def _profiles(security: JsonObject, path: str) -> Iterator[Cause]:
    for field in ("seccompProfile", "appArmorProfile"):
        profile, where = child(security, field), f"{path}.{field}"
        if not profile:
            continue
        kind, name = text(profile, "type"), text(profile, "localhostProfile")
        yield from one_of(f"{where}.type", kind, _PROFILES)
        if kind == "Localhost" and not name:
            yield required(f"{where}.localhostProfile", "must be set when type is Localhost")
        elif kind == "Localhost" and field == "seccompProfile":
            why = "no file of a host can be read over its engine's API"
            yield forbidden(f"{where}.localhostProfile", f"not supported by Ironfree: {why}")
        elif kind != "Localhost" and name:
            yield invalid(
                f"{where}.localhostProfile", name, "can only be set when type is Localhost"
            )
