"""Paths of the Kubernetes API into what they name."""

from dataclasses import dataclass

from ..errors import NotFound
from ..objects.kind import Kind, KindRegistry

UNKNOWN_PATH = "the server could not find the requested resource"


@dataclass(frozen=True, slots=True)
class Place:
    """A resource path taken apart.

    Args:
        namespace: "" for cluster scope and for all namespaces.
        name: "" for a collection.
        subresource: "" for the object itself.
    """

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def unknown_path() -> NotFound:
    """Return the error for a path nothing is served at."""
    return NotFound(UNKNOWN_PATH)


def find(parts: list[str], registry: KindRegistry) -> Place:
    """Return what /api/v1/… or /apis/{group}/{version}/… names.

    Args:
        parts: the path's segments, decoded, without empty ends.

    Raises:
        NotFound: nothing is served there.
    """
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not _of_namespace(rest, group):
        namespace, rest = rest[1], rest[2:]
    kind = registry.by_path(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise unknown_path()
    name = rest[1] if len(rest) > 1 else ""
    if kind.namespaced and name and not namespace:
        raise unknown_path()
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in subresources(kind):
        raise unknown_path()
    return Place(kind, namespace, name, subresource)


def _of_namespace(rest: list[str], group: str) -> bool:
    """Tell /api/v1/namespaces/{name}/status from a resource in a namespace."""
    return not group and len(rest) == 3 and rest[2] in {"status", "finalize"}


def subresources(kind: Kind) -> tuple[str, ...]:
    """Return the subresources a kind serves."""
    found = [*kind.subresources, *kind.portions]
    if kind.has_status:
        found.append("status")
    if kind.scale is not None:
        found.append("scale")
    return tuple(sorted(found))
