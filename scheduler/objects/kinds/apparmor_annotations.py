"""AppArmor profiles of containers by annotation, as pods named them before Kubernetes 1.30.

Source: Kubernetes' applyAppArmorVersionSkew, which fills the field from the annotation on create.
"""

from collections.abc import Iterable, Iterator

from ..json import JsonObject
from .fields import child, children, ensure, text_map

PREFIX = "container.apparmor.security.beta.kubernetes.io/"
"""What a container's name follows in the annotation's key."""

_LOCAL = "localhost/"
_TYPES = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}


def are_named(annotations: Iterable[str]) -> bool:
    """Return whether one of these keys names a profile."""
    return any(key.startswith(PREFIX) for key in annotations)


def fill_profiles(pod: JsonObject) -> None:
    """Give containers without a profile of their own the annotated one, in place.

    What is no profile is left for validation to refuse.

    Args:
        pod: or a pod template.
    """
    annotations = text_map(child(pod, "metadata"), "annotations")
    if not are_named(annotations):
        return
    for container in _containers(pod):
        named = annotations.get(f"{PREFIX}{container.get('name')}")
        if named is not None and not _own(container):
            ensure(container, "securityContext")["appArmorProfile"] = _profile(named)


def idle_annotations(pod: JsonObject) -> Iterator[str]:
    """Yield a sentence per annotation that has no effect."""
    profiles = {f"{PREFIX}{each.get('name')}": _own(each) for each in _containers(pod)}
    for key, named in text_map(child(pod, "metadata"), "annotations").items():
        if not key.startswith(PREFIX):
            continue
        if key not in profiles:
            yield f"metadata.annotations[{key}]: has no effect: the pod has no such container"
        elif profiles[key] and profiles[key] != _profile(named):
            yield f"metadata.annotations[{key}]: has no effect: the container's appArmorProfile has"


def _containers(pod: JsonObject) -> list[JsonObject]:
    spec = child(pod, "spec")
    return [*children(spec, "initContainers"), *children(spec, "containers")]


def _own(container: JsonObject) -> JsonObject:
    return child(child(container, "securityContext"), "appArmorProfile")


def _profile(named: str) -> JsonObject:
    if named.startswith(_LOCAL):
        return {"type": "Localhost", "localhostProfile": named.removeprefix(_LOCAL)}
    return {"type": _TYPES.get(named, f"annotated {named}")}
