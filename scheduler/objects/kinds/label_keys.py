"""matchLabelKeys and mismatchLabelKeys: selectors that take values from the pod's own labels.

As Kubernetes' API server does on create (KEP-3633; for spreading KEP-3243, from 1.34): the pod's
values become requirements of the labelSelector beside them, so that placement looks at nothing but
the selector.
"""

from collections.abc import Iterable, Iterator, Sequence

from ..json import Json, JsonObject
from .fields import child, children, text, text_map, texts


def merge_label_keys(pod: JsonObject) -> None:
    """Add the values of a new pod's labels to its selectors, in place.

    To be done once, when the pod is made: its labels may change later, its selectors may not.
    """
    labels, spec = text_map(child(pod, "metadata"), "labels"), child(pod, "spec")
    for name in ("podAffinity", "podAntiAffinity"):
        for term in _terms(child(child(spec, "affinity"), name)):
            _merge(term, "matchLabelKeys", "In", labels)
            _merge(term, "mismatchLabelKeys", "NotIn", labels)
    for constraint in children(spec, "topologySpreadConstraints"):
        _merge(constraint, "matchLabelKeys", "In", labels)


def merged_twice(selector: JsonObject, keys: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the position and key of each that the selector names besides the merged requirement."""
    seen = set(child(selector, "matchLabels"))
    for expression in children(selector, "matchExpressions"):
        key = text(expression, "key")
        if key in seen and key in keys:
            yield len(keys) - 1 - keys[::-1].index(key), key
        seen.add(key)


def _terms(affinity: JsonObject) -> Iterable[JsonObject]:
    yield from children(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
    for preferred in children(affinity, "preferredDuringSchedulingIgnoredDuringExecution"):
        yield child(preferred, "podAffinityTerm")


def _merge(term: JsonObject, field: str, operator: str, labels: dict[str, str]) -> None:
    selector = term.get("labelSelector")
    if not isinstance(selector, dict):  # matches nothing; validation refuses the keys
        return
    added: list[Json] = []
    for key in texts(term, field):
        if key in labels:
            values: list[Json] = [labels[key]]
            added.append({"key": key, "operator": operator, "values": values})
    if added:
        selector["matchExpressions"] = [*children(selector, "matchExpressions"), *added]
