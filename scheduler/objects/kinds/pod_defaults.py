"""Defaults of pods and pod templates (Kubernetes core/v1 defaults, in place)."""

from collections.abc import Iterable
from decimal import Decimal

from ..image_reference import default_pull_policy
from ..json import Json, JsonObject
from ..quantity import canonical, parse
from .fields import child, children, default_text, ensure, setdefault, text

_CORE = ("cpu", "memory")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
TOLERATED_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def default_pod(obj: JsonObject) -> None:
    """Fill a Pod: the spec's defaults, and requests from limits."""
    spec = ensure(obj, "spec")
    default_pod_spec(spec)
    setdefault(spec, "enableServiceLinks", True)
    for container in _containers(spec):
        resources = child(container, "resources")
        limits = child(resources, "limits")
        if limits:
            requests = ensure(resources, "requests")
            for name, amount in limits.items():
                requests.setdefault(name, amount)
    _default_pod_requests(spec)
    if spec.get("hostNetwork"):
        _default_host_ports(spec)


def default_pod_spec(spec: JsonObject) -> None:
    """Fill a pod spec as it stands in a Pod or in a template."""
    default_text(spec, "restartPolicy", "Always")
    default_text(spec, "dnsPolicy", "ClusterFirst")
    default_text(spec, "schedulerName", "default-scheduler")
    setdefault(spec, "terminationGracePeriodSeconds", 30)
    setdefault(spec, "securityContext", {})
    if text(spec, "serviceAccountName") or text(spec, "serviceAccount"):
        default_text(spec, "serviceAccountName", text(spec, "serviceAccount"))
        spec["serviceAccount"] = spec["serviceAccountName"]
    for volume in children(spec, "volumes"):
        _default_volume(volume)
    for container in (*_containers(spec), *children(spec, "ephemeralContainers")):
        _default_container(container)
    for resources in (ensure(c, "resources") for c in _containers(spec)):
        _canonical_amounts(resources)
    if "resources" in spec:
        _canonical_amounts(child(spec, "resources"))
    _canonical(child(spec, "overhead"))


def _default_volume(volume: JsonObject) -> None:
    if volume.keys() == {"name"}:
        volume["emptyDir"] = {}
    for kind in ("configMap", "secret", "downwardAPI", "projected"):
        source = volume.get(kind)
        if isinstance(source, dict):
            setdefault(source, "defaultMode", 0o644)
    host = volume.get("hostPath")
    if isinstance(host, dict):
        setdefault(host, "type", "")
    projected = children(child(volume, "projected"), "sources")
    for source in projected:
        token = source.get("serviceAccountToken")
        if isinstance(token, dict):
            setdefault(token, "expirationSeconds", 3600)
    for holder in (volume, *projected):
        for item in children(child(holder, "downwardAPI"), "items"):
            if child(item, "fieldRef"):
                default_text(child(item, "fieldRef"), "apiVersion", "v1")
            if child(item, "resourceFieldRef"):
                setdefault(child(item, "resourceFieldRef"), "divisor", "0")


def _default_pod_requests(spec: JsonObject) -> None:
    """Request the pod-level limit of what no container requests (cpu, memory, huge pages)."""
    resources = child(spec, "resources")
    limits = child(resources, "limits")
    if not limits:
        return
    asked = {name for c in _containers(spec) for name in child(child(c, "resources"), "requests")}
    for name, amount in limits.items():
        if name not in asked and _is_pod_level(name):
            ensure(resources, "requests").setdefault(name, amount)


def _is_pod_level(name: str) -> bool:
    """Return whether a resource can be asked for by a pod as a whole."""
    return name in _CORE or name.startswith("hugepages-")


def _default_container(container: JsonObject) -> None:
    default_text(container, "terminationMessagePath", "/dev/termination-log")
    default_text(container, "terminationMessagePolicy", "File")
    default_text(container, "imagePullPolicy", default_pull_policy(text(container, "image")))
    for port in children(container, "ports"):
        default_text(port, "protocol", "TCP")
    for variable in children(container, "env"):
        reference = child(child(variable, "valueFrom"), "fieldRef")
        if reference:
            default_text(reference, "apiVersion", "v1")
        resource = child(child(variable, "valueFrom"), "resourceFieldRef")
        if resource:
            setdefault(resource, "divisor", "0")
    for name in _PROBES:
        if isinstance(container.get(name), dict):
            _default_probe(child(container, name))
    for name in ("postStart", "preStop"):
        _default_http_get(child(child(container, "lifecycle"), name))


def _default_probe(probe: JsonObject) -> None:
    setdefault(probe, "timeoutSeconds", 1)
    setdefault(probe, "periodSeconds", 10)
    setdefault(probe, "successThreshold", 1)
    setdefault(probe, "failureThreshold", 3)
    _default_http_get(probe)
    grpc = probe.get("grpc")
    if isinstance(grpc, dict):
        setdefault(grpc, "service", "")


def _default_http_get(handler: JsonObject) -> None:
    get = handler.get("httpGet")
    if isinstance(get, dict):
        default_text(get, "path", "/")
        default_text(get, "scheme", "HTTP")


def _default_host_ports(spec: JsonObject) -> None:
    for container in _containers(spec):
        for port in children(container, "ports"):
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort")


def _canonical_amounts(resources: JsonObject) -> None:
    _canonical(child(resources, "limits"))
    _canonical(child(resources, "requests"))


def _canonical(amounts: JsonObject) -> None:
    for name, amount in amounts.items():
        amounts[name] = canonical(str(amount))


def _containers(spec: JsonObject) -> Iterable[JsonObject]:
    yield from children(spec, "initContainers")
    yield from children(spec, "containers")


def tolerate_lost_nodes(spec: JsonObject, seconds: int) -> None:
    """Tolerate a not-ready and an unreachable node for a while (DefaultTolerationSeconds).

    Args:
        seconds: how long a pod stays bound to a node that is lost.
    """
    present = children(spec, "tolerations")
    added: list[Json] = [
        {
            "key": taint,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": seconds,
        }
        for taint in TOLERATED_TAINTS
        if not any(_tolerates(toleration, taint) for toleration in present)
    ]
    if added:
        spec["tolerations"] = [*present, *added]


def _tolerates(toleration: JsonObject, taint: str) -> bool:
    return text(toleration, "key") in {"", taint} and text(toleration, "effect") in {
        "",
        "NoExecute",
    }


def qos_class(spec: JsonObject) -> str:
    """Return Guaranteed, Burstable or BestEffort of a pod with its defaults.

    What the pod asks for as a whole decides where it is set, its containers do otherwise.
    Source: Kubernetes ComputePodQOS, with PodLevelResources.
    """
    level = child(spec, "resources")
    amounts = [*child(level, "requests"), *child(level, "limits")]
    if any(map(_is_pod_level, amounts)):
        return _class_of([(_requested(spec, n), _amount(level, "limits", n)) for n in _CORE])
    every = [(child(each, "resources"), n) for each in _containers(spec) for n in _CORE]
    return _class_of([(_amount(r, "requests", n), _amount(r, "limits", n)) for r, n in every])


def _class_of(amounts: list[tuple[Decimal, Decimal]]) -> str:
    """Return the class of pairs of a request and a limit, 0 for none."""
    if not any(map(any, amounts)):
        return "BestEffort"
    equal = all(limit and request == limit for request, limit in amounts)
    return "Guaranteed" if equal else "Burstable"


def _requested(spec: JsonObject, name: str) -> Decimal:
    """Return what the pod requests as a whole, else what its containers do together."""
    level = child(child(spec, "resources"), "requests")
    if name in level:
        return parse(str(level[name]))
    together, most = Decimal(0), Decimal(0)
    inits = children(spec, "initContainers")
    for container in _containers(spec):
        amount = _amount(child(container, "resources"), "requests", name)
        if container in inits and text(container, "restartPolicy") != "Always":
            most = max(most, amount)
        else:
            together += amount
    return max(together, most)


def _amount(resources: JsonObject, field: str, name: str) -> Decimal:
    return parse(str(child(resources, field).get(name) or 0))
