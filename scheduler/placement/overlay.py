"""Objects laid over others: what a live cluster would be with, without or with other objects.

Pure; works on documents. Pods of a node that is taken away wait for another one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import BadRequest
from ..objects.json import Json, JsonObject, get_object


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a Simulation changes of the live cluster, beyond the objects it gives.

    Args:
        without_nodes: names of nodes that are gone; what ran there is pending.
        without_pods: namespace/name of pods that are gone.
    """

    without_nodes: frozenset[str]
    without_pods: frozenset[str]

    def over(self, live: Mapping[str, Sequence[JsonObject]], spec: JsonObject) -> JsonObject:
        """Return the lists of a scenario: live objects, but those given win by name.

        Live pods that wait come before given ones, those displaced last of the live.
        """
        laid: JsonObject = {}
        for name, objects in live.items():
            given = spec.get(name) or []
            if not isinstance(given, list):
                raise BadRequest(f"spec.{name} must be a list")
            named = {_key(name, obj) for obj in given if isinstance(obj, dict)}
            kept = [obj for obj in objects if _key(name, obj) not in named]
            if name == "nodes":
                kept = [obj for obj in kept if _key(name, obj) not in self.without_nodes]
            if name == "pods":
                kept = self._pods(kept)
            laid[name] = [*kept, *given]
        return laid

    def _pods(self, pods: Sequence[JsonObject]) -> list[JsonObject]:
        stay: list[JsonObject] = []
        displaced: list[JsonObject] = []
        for pod in pods:
            if _key("pods", pod) in self.without_pods:
                continue
            spec = get_object(pod, "spec", "pod")
            if spec.get("nodeName") in self.without_nodes:
                rest: JsonObject = {k: v for k, v in spec.items() if k != "nodeName"}
                displaced.append({**pod, "spec": rest})
            else:
                stay.append(pod)
        return [*stay, *displaced]


def read_overlay(spec: JsonObject) -> Overlay | None:
    """Return the overlay that spec.cluster asks for, None where it asks for none.

    Args:
        spec: `cluster: live`, and `without: {nodes: [name…], pods: [namespace/name…]}`.

    Raises:
        BadRequest: names the field that cannot be.
    """
    cluster = spec.get("cluster")
    if cluster is None:
        if spec.get("without") is not None:
            raise BadRequest("spec.without needs spec.cluster: live")
        return None
    if cluster != "live":
        raise BadRequest(f'spec.cluster is {cluster!r}; it must be "live", or absent')
    without = get_object(spec, "without", "spec")
    return Overlay(_names(without, "nodes"), _names(without, "pods"))


def _names(without: JsonObject, what: str) -> frozenset[str]:
    given = without.get(what) or []
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise BadRequest(f"spec.without.{what} must be a list of names")
    return frozenset(name for name in given if isinstance(name, str))


def _key(kind: str, obj: JsonObject) -> str:
    meta = get_object(obj, "metadata", kind)
    name = _text(meta.get("name"))
    if kind in ("nodes", "namespaces", "priorityClasses"):
        return name
    return f"{_text(meta.get('namespace')) or 'default'}/{name}"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
