"""What a pod spec may say (Kubernetes core/v1 validation, in its words)."""

import ipaddress
import re
from collections.abc import Iterator

from ...errors import Cause
from ..json import JsonObject
from ..names import (
    label_key_complaints,
    label_name_complaints,
    subdomain_complaints,
)
from ..quantity import parse
from .causes import duplicate, forbidden, invalid, one_of, required
from .fields import child, children, indexed, number, text, texts
from .handler_validation import handler_causes, init_container_causes, restart_causes
from .placement_validation import placement_causes
from .pod_support import rejections
from .security_validation import container_security_causes, pod_security_causes
from .volume_validation import mount_causes, volume_causes, whole_mounts_causes

_ENV_NAME = re.compile(r"[ -<>-~]+\Z")  # RelaxedEnvironmentVariableValidation: printable, no "="
_NOT_ENV_NAME = (
    "a valid environment variable name must consist only of printable ASCII characters other than "
    "'='"
)
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)\Z")
_NO_DNS = "None"
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", _NO_DNS)
_MAX_INT32 = 2**31 - 1
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def port_causes(path: str, value: int) -> Iterator[Cause]:
    """Yield a cause when the number is no port."""
    if not 1 <= value <= 65535:
        yield invalid(path, value, "must be between 1 and 65535, inclusive")


def pod_spec_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a defaulted pod spec.

    Args:
        path: of the spec, e.g. "spec.template.spec".
    """
    yield from rejections(spec, path)
    yield from volume_causes(spec, path)
    if not children(spec, "containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    volumes = {text(volume, "name"): volume for volume in children(spec, "volumes")}
    grace = number(spec, "terminationGracePeriodSeconds", 30)
    inits = [*indexed(spec, "initContainers", path)]
    for where, container in (*inits, *indexed(spec, "containers", path)):
        yield from _container(container, where, volumes)
        yield from handler_causes(container, where, grace)
        yield from restart_causes(container, where)
        yield from container_security_causes(container, where)
        name = text(container, "name")
        if name and name in names:
            yield duplicate(f"{where}.name", name)
        names.add(name)
    for where, container in inits:
        yield from init_container_causes(container, where)
    for where, container in indexed(spec, "ephemeralContainers", path):
        yield from _container(container, where, volumes)
        yield from whole_mounts_causes(container, where)
        yield from container_security_causes(container, where)
        name, target = text(container, "name"), text(container, "targetContainerName")
        if name and name in names:
            yield duplicate(f"{where}.name", name)
        if target and target not in names:
            yield invalid(f"{where}.targetContainerName", target, "must be a container of the pod")
        names.add(name)
    yield from _host_ports(spec, path)
    yield from pod_security_causes(spec, path)
    yield from _names(spec, path)
    yield from _settings(spec, path)
    yield from placement_causes(spec, path)


def not_ephemeral_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause when there are ephemeral containers, which only a running pod may get."""
    if children(spec, "ephemeralContainers"):
        yield forbidden(f"{path}.ephemeralContainers", "cannot be set on create")


def _settings(spec: JsonObject, path: str) -> Iterator[Cause]:
    yield from one_of(f"{path}.restartPolicy", text(spec, "restartPolicy"), _RESTART_POLICIES)
    if number(spec, "terminationGracePeriodSeconds") < 0:
        grace = number(spec, "terminationGracePeriodSeconds")
        where = f"{path}.terminationGracePeriodSeconds"
        yield invalid(where, grace, "must be greater than or equal to 0")
    yield from _life(spec, path)
    if text(spec, "preemptionPolicy"):
        policies = ("Never", "PreemptLowerPriority")
        yield from one_of(f"{path}.preemptionPolicy", text(spec, "preemptionPolicy"), policies)
    for where, alias in indexed(spec, "hostAliases", path):
        if not text(alias, "ip"):
            yield required(f"{where}.ip")
        for host in texts(alias, "hostnames"):
            for complaint in subdomain_complaints(host):
                yield invalid(f"{where}.hostnames", host, complaint)
    runtime = text(spec, "runtimeClassName")
    for complaint in subdomain_complaints(runtime) if runtime else ():
        yield invalid(f"{path}.runtimeClassName", runtime, complaint)
    yield from amount_causes(child(spec, "overhead"), f"{path}.overhead")
    yield from _resources(child(spec, "resources"), f"{path}.resources")
    yield from _unique_names(spec, "schedulingGates", path)
    group = text(child(spec, "schedulingGroup"), "podGroupName")
    for complaint in subdomain_complaints(group) if group else ():
        yield invalid(f"{path}.schedulingGroup.podGroupName", group, complaint)


def _names(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad name that a pod is to have or to ask."""
    for field in ("hostname", "subdomain"):
        for complaint in label_name_complaints(text(spec, field)) if text(spec, field) else ():
            yield invalid(f"{path}.{field}", text(spec, field), complaint)
    if text(spec, "dnsPolicy"):
        yield from one_of(f"{path}.dnsPolicy", text(spec, "dnsPolicy"), _DNS_POLICIES)
    config, where = child(spec, "dnsConfig"), f"{path}.dnsConfig"
    servers = texts(config, "nameservers")
    if text(spec, "dnsPolicy") == "None" and not servers:
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield required(f"{where}.nameservers", why)
    for field, values, most in (
        ("nameservers", servers, 3),
        ("searches", texts(config, "searches"), 32),
    ):
        if len(values) > most:
            why = f"must not have more than {most} {field}"
            yield invalid(f"{where}.{field}", ", ".join(values), why)
    for index, server in enumerate(servers):
        if not _is_address(server):
            here = f"{where}.nameservers[{index}]"
            yield invalid(here, server, "must be a valid IP address, (e.g. 10.9.8.7)")


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _life(spec: JsonObject, path: str) -> Iterator[Cause]:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= number(spec, "activeDeadlineSeconds") <= _MAX_INT32:
        why = f"must be between 1 and {_MAX_INT32}, inclusive"
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, why)
    for where, gate in indexed(spec, "readinessGates", path):
        for complaint in label_key_complaints(text(gate, "conditionType")):
            yield invalid(f"{where}.conditionType", text(gate, "conditionType"), complaint)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, why)


def _unique_names(spec: JsonObject, field: str, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for where, item in indexed(spec, field, path):
        name = text(item, "name")
        if not name:
            yield required(f"{where}.name")
        elif name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)


def _container(container: JsonObject, path: str, volumes: dict[str, JsonObject]) -> Iterator[Cause]:
    name = text(container, "name")
    if not name:
        yield required(f"{path}.name")
    else:
        for complaint in label_name_complaints(name):
            yield invalid(f"{path}.name", name, complaint)
    image = text(container, "image")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(f"{path}.imagePullPolicy", text(container, "imagePullPolicy"), _PULL_POLICIES)
    yield from _ports(container, path)
    yield from _environment(container, path)
    yield from mount_causes(container, path, volumes)
    yield from _resources(child(container, "resources"), f"{path}.resources")


def _ports(container: JsonObject, path: str) -> Iterator[Cause]:
    names: set[str] = set()
    for where, port in indexed(container, "ports", path):
        if "containerPort" not in port:
            yield required(f"{where}.containerPort")
        else:
            yield from port_causes(f"{where}.containerPort", number(port, "containerPort"))
        if port.get("hostPort"):
            yield from port_causes(f"{where}.hostPort", number(port, "hostPort"))
        yield from one_of(f"{where}.protocol", text(port, "protocol"), _PROTOCOLS)
        name = text(port, "name")
        if name and not _PORT_NAME.match(name):
            yield invalid(
                f"{where}.name",
                name,
                "must be no more than 15 characters of a-z, 0-9 and single '-', contain a letter, "
                "and neither start nor end with '-'",
            )
        if name and name in names:
            yield duplicate(f"{where}.name", name)
        names.add(name)


def _host_ports(spec: JsonObject, path: str) -> Iterator[Cause]:
    seen: set[tuple[str, str, int]] = set()
    sidecars = (
        (where, container)
        for where, container in indexed(spec, "initContainers", path)
        if text(container, "restartPolicy") == "Always"
    )
    for where, container in (*sidecars, *indexed(spec, "containers", path)):
        for here, port in indexed(container, "ports", where):
            host_port = number(port, "hostPort")
            key = (text(port, "protocol"), text(port, "hostIP"), host_port)
            if host_port and key in seen:
                yield duplicate(f"{here}.hostPort", f"{key[1]}/{key[0]}/{host_port}")
            seen.add(key)
            if spec.get("hostNetwork") and host_port != number(port, "containerPort"):
                yield invalid(
                    f"{here}.containerPort",
                    number(port, "containerPort"),
                    "must match `hostPort` when `hostNetwork` is true",
                )


def _environment(container: JsonObject, path: str) -> Iterator[Cause]:
    for where, variable in indexed(container, "env", path):
        name = text(variable, "name")
        if not name:
            yield required(f"{where}.name")
        elif not _ENV_NAME.match(name):
            yield invalid(f"{where}.name", name, _NOT_ENV_NAME)
        if variable.get("valueFrom") is not None:
            yield from _env_source(variable, where)
    for where, source in indexed(container, "envFrom", path):
        prefix = text(source, "prefix")
        if prefix and not _ENV_NAME.match(prefix):
            yield invalid(f"{where}.prefix", prefix, _NOT_ENV_NAME)
        sources = [each for each in ("configMapRef", "secretRef") if source.get(each)]
        if len(sources) != 1:
            yield invalid(where, "", "must specify one of: `configMapRef` or `secretRef`")
        for each in sources:
            if not text(child(source, each), "name"):
                yield required(f"{where}.{each}.name")


def _env_source(variable: JsonObject, path: str) -> Iterator[Cause]:
    source, where = child(variable, "valueFrom"), f"{path}.valueFrom"
    if text(variable, "value"):
        yield invalid(where, "", "may not be specified when `value` is not empty")
    chosen = [each for each in source if source[each] is not None]
    if len(chosen) != 1:
        yield invalid(where, "", "must specify exactly one source")
        return
    reference = child(source, chosen[0])
    needed = {"fieldRef": "fieldPath", "resourceFieldRef": "resource"}.get(chosen[0], "key")
    if not text(reference, needed):
        yield required(f"{where}.{chosen[0]}.{needed}")
    if needed == "key" and not text(reference, "name"):
        yield required(f"{where}.{chosen[0]}.name")


def _resources(resources: JsonObject, path: str) -> Iterator[Cause]:
    limits, requests = child(resources, "limits"), child(resources, "requests")
    yield from amount_causes(limits, f"{path}.limits")
    yield from amount_causes(requests, f"{path}.requests")
    for name, request in requests.items():
        where = f"{path}.requests"
        if name not in limits:
            if _extended(name):
                yield Cause(
                    f"{path}.limits",
                    "Required value: Limit must be set for non overcommitable resources",
                    "FieldValueRequired",
                )
            continue
        asked, limit = parse(str(request)), parse(str(limits[name]))
        if _extended(name) and asked != limit:
            yield invalid(where, str(request), f"must be equal to {name} limit of {limits[name]}")
        elif asked > limit:
            yield invalid(
                where, str(request), f"must be less than or equal to {name} limit of {limits[name]}"
            )


def _extended(name: str) -> bool:
    """Return whether it is a countable resource outside Kubernetes' own (GPUs)."""
    return "/" in name and "kubernetes.io/" not in name


def amount_causes(amounts: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad amount of a resource."""
    for name, amount in amounts.items():
        value = parse(str(amount))
        if value < 0:
            yield invalid(f"{path}[{name}]", str(amount), "must be greater than or equal to 0")
        if _extended(name) and value != value.to_integral_value():
            yield invalid(f"{path}[{name}]", str(amount), "must be an integer")
        for complaint in label_key_complaints(name):
            yield invalid(f"{path}[{name}]", name, complaint)
