"""What a pod holds on its node while its containers are resized in place. Pure.

The source is component-helpers' resource.PodRequests (UseStatusResources; Kubernetes ≥ 1.33).
"""

from collections.abc import Iterator

from . import quantity
from .json import Json, JsonObject, get_object


def count_held(pod: JsonObject) -> None:
    """Let the containers of a pod on a node request what they hold there.

    A container or sidecar whose status tells of resources counts with the largest of what its spec
    asks, what it was allocated and what it has; a resize that its node can never make does not
    count.

    Raises:
        BadRequest: a quantity cannot be read.
    """
    status, spec = get_object(pod, "status", "pod"), get_object(pod, "spec", "pod")
    told = {
        each.get("name"): each
        for field in ("containerStatuses", "initContainerStatuses")
        for each in _objects(status, field)
        if isinstance(each.get("resources"), dict)
    }
    if not told:
        return
    sidecars = (
        each for each in _objects(spec, "initContainers") if each.get("restartPolicy") == "Always"
    )
    infeasible = _is_infeasible(status)
    for container in (*_objects(spec, "containers"), *sidecars):
        seen = told.get(container.get("name"))
        if seen is None:
            continue
        resources = get_object(container, "resources", "container")
        asked = {} if infeasible else get_object(resources, "requests", "container.resources")
        actual = get_object(get_object(seen, "resources", "status"), "requests", "status.resources")
        allocated = get_object(seen, "allocatedResources", "status")
        container["resources"] = {**resources, "requests": _largest(asked, actual, allocated)}


def _objects(parent: JsonObject, field: str) -> Iterator[JsonObject]:
    given = parent.get(field)
    for each in given if isinstance(given, list) else ():
        if isinstance(each, dict):
            yield each


def _is_infeasible(status: JsonObject) -> bool:
    """Tell what the first condition about a resize says, as upstream does."""
    for condition in _objects(status, "conditions"):
        if condition.get("type") == "PodResizePending":
            return condition.get("reason") == "Infeasible"
    return False


def _largest(*lists: JsonObject) -> JsonObject:
    largest: dict[str, Json] = {}
    for quantities in lists:
        for name, text in quantities.items():
            known = largest.get(name)
            if known is None or quantity.nano(str(known)) < quantity.nano(str(text)):
                largest[name] = text
    return largest
