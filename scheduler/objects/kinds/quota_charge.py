"""What an object costs of its namespace's ResourceQuotas. Pure.

It follows from the object's spec and, for a pod, from whether it has ended. Source: Kubernetes'
quota evaluators (pods, services, persistent volume claims, object counts).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec

from .. import quantity
from ..json import JsonObject
from ..resources import is_extended
from ..storage import CLAIMS
from ..stored import Body
from .fields import child, children, number, text
from .limit_admission import total
from .pod_defaults import qos_class

ONE = 10**9  # of what is counted, in billionths
COUNT = "count/"
REQUIRED = (
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.memory",
)
"""Resources that each container must say something of once a quota limits them."""

OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
"""The annotation that named a claim's storage class before there was a field."""

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"
_COUNTED = frozenset(
    {"configmaps", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"}
)
_FREE = frozenset({"events", "events.events.k8s.io"})
_body: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


class Traits(msgspec.Struct, frozen=True):
    """What scopes ask of a pod."""

    terminating: bool
    best_effort: bool
    priority_class: str
    cross_namespace: bool


class Charge(msgspec.Struct, frozen=True, eq=False):
    """What one object costs; equal objects share the same.

    Args:
        amounts: by resource as quotas name it, in billionths of its unit.
        traits: of a pod, None of anything else.
        unspecified: resource of REQUIRED → names of the containers that say nothing of it, sorted.
    """

    amounts: Mapping[str, int]
    traits: Traits | None = None
    unspecified: Mapping[str, tuple[str, ...]] = {}


def is_charged(resource: str) -> bool:
    """Tell whether objects of a resource count at all; Events do not, as upstream."""
    return resource not in _FREE


def counted_resource(name: str) -> str:
    """Return the resource that an entry of a quota's `hard` is about; most entries are of pods."""
    if name.startswith(COUNT):
        return name[len(COUNT) :]
    if name in _COUNTED:
        return name
    if name.startswith("services."):
        return "services"
    if name == CLAIMS or name.endswith(("requests.storage", f"storage.k8s.io/{CLAIMS}")):
        return CLAIMS
    return "pods"


def charge_of(resource: str, body: Body, *, ended: bool, old_class: str = "") -> Charge:
    """Return what an object costs.

    Args:
        ended: of a pod, whether it has Succeeded or Failed: then it only counts as an object.
        old_class: of a claim, the storage class that its annotation OLD_CLASS names.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    if resource == "pods":
        return _pod(body, ended)
    if resource == "services":
        return _service(body)
    if resource == CLAIMS:
        return _claim(body, old_class)
    return _counted(resource)


@lru_cache(maxsize=512)
def _counted(resource: str) -> Charge:
    amounts = {COUNT + resource: ONE}
    if resource in _COUNTED:
        amounts[resource] = ONE
    return Charge(amounts)


@lru_cache(maxsize=4096)
def _service(body: Body) -> Charge:
    spec = child(_body.decode(body.json), "spec")
    ports, kind = children(spec, "ports"), text(spec, "type")
    given = sum(1 for port in ports if number(port, "nodePort"))
    amounts = {**_counted("services").amounts, "services.nodeports": 0, "services.loadbalancers": 0}
    if kind == "NodePort":
        amounts["services.nodeports"] = len(ports) * ONE
    elif kind == "LoadBalancer":
        allocated = spec.get("allocateLoadBalancerNodePorts") is not False
        amounts["services.nodeports"] = (len(ports) if allocated else given) * ONE
        amounts["services.loadbalancers"] = ONE
    return Charge(amounts)


@lru_cache(maxsize=4096)
def _claim(body: Body, old_class: str) -> Charge:
    spec = child(_body.decode(body.json), "spec")
    amounts = {COUNT + CLAIMS: ONE, CLAIMS: ONE}
    named = old_class or text(spec, "storageClassName")
    prefix = f"{named}.storageclass.storage.k8s.io/"
    if named:
        amounts[prefix + CLAIMS] = ONE
    requested = child(child(spec, "resources"), "requests").get("storage")
    if requested is not None:
        amounts["requests.storage"] = quantity.nano(str(requested))
        if named:
            amounts[f"{prefix}requests.storage"] = quantity.nano(str(requested))
    return Charge(amounts)


@lru_cache(maxsize=8192)
def _pod(body: Body, ended: bool) -> Charge:
    spec = child(_body.decode(body.json), "spec")
    amounts = {f"{COUNT}pods": ONE}
    if not ended:
        amounts |= _compute(*_totals(spec))
    traits = Traits(
        terminating=spec.get("activeDeadlineSeconds") is not None,
        best_effort=qos_class(spec) == "BestEffort",
        priority_class=text(spec, "priorityClassName"),
        cross_namespace=any(map(_crosses, _affinity_terms(spec))),
    )
    return Charge(amounts, traits, _unspecified(spec))


def _totals(spec: JsonObject) -> tuple[dict[str, int], dict[str, int]]:
    """Return a pod's requests and limits; its runtime's overhead comes on top of both."""
    requests, limits = total(spec, "requests"), total(spec, "limits")
    for name, amount in quantity.nanos(child(spec, "overhead")).items():
        requests[name] = requests.get(name, 0) + amount
        if limits.get(name):
            limits[name] += amount
    return requests, limits


def _compute(requests: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Name requests and limits as quotas do."""
    found = {"pods": ONE}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith(_HUGE_PAGES):
            found[name] = found[f"requests.{name}"] = amount
        elif is_extended(name):
            found[f"requests.{name}"] = amount
    found.update({f"limits.{name}": limits[name] for name in _COMPUTE if name in limits})
    return found


def _unspecified(spec: JsonObject) -> dict[str, tuple[str, ...]]:
    """Find the containers that say nothing of a required resource, unless their pod does."""
    level = _said(child(spec, "resources"))
    lacking: dict[str, list[str]] = {}
    for container in (*children(spec, "containers"), *children(spec, "initContainers")):
        said = level | _said(child(container, "resources"))
        for name in REQUIRED:
            if name not in said:
                lacking.setdefault(name, []).append(text(container, "name"))
    return {name: tuple(sorted(lacking[name])) for name in lacking}


def _said(resources: JsonObject) -> set[str]:
    requests, limits = child(resources, "requests"), child(resources, "limits")
    return {*requests, *(f"requests.{n}" for n in requests), *(f"limits.{n}" for n in limits)}


def _affinity_terms(spec: JsonObject) -> Iterator[JsonObject]:
    for field in ("podAffinity", "podAntiAffinity"):
        rules = child(child(spec, "affinity"), field)
        yield from children(rules, "requiredDuringSchedulingIgnoredDuringExecution")
        for weighted in children(rules, "preferredDuringSchedulingIgnoredDuringExecution"):
            yield child(weighted, "podAffinityTerm")


def _crosses(term: JsonObject) -> bool:
    return bool(term.get("namespaces")) or term.get("namespaceSelector") is not None
