"""What a pod may say of where it runs (Kubernetes core/v1 validation, in its words).

Node selectors, affinity to nodes and to pods, tolerations, spreading, and how a gated pod's may be
narrowed.
"""

from collections.abc import Iterator

from ...errors import BadRequest, Cause
from ..json import JsonObject
from ..names import (
    label_key_complaints,
    label_name_complaints,
    label_value_complaints,
    subdomain_complaints,
)
from ..selectors import node_requirements
from ..tolerations import comparable
from .causes import (
    duplicate,
    forbidden,
    invalid,
    label_map_causes,
    one_of,
    required,
)
from .fields import child, children, indexed, number, text, texts
from .label_keys import merged_twice

_EFFECTS = ("", "NoExecute", "NoSchedule", "PreferNoSchedule")
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_POLICIES = ("Honor", "Ignore")
_HARD = "requiredDuringSchedulingIgnoredDuringExecution"
_SOFT = "preferredDuringSchedulingIgnoredDuringExecution"
_NOT_POSITIVE = "must be greater than zero"
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"


def placement_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field that says where a pod may run.

    Args:
        path: of the pod spec, e.g. "spec.template.spec".
    """
    yield from label_map_causes(child(spec, "nodeSelector"), f"{path}.nodeSelector")
    for complaint in subdomain_complaints(text(spec, "nodeName")) if spec.get("nodeName") else ():
        yield invalid(f"{path}.nodeName", text(spec, "nodeName"), complaint)
    yield from toleration_causes(spec, path)
    affinity = child(spec, "affinity")
    yield from _node_affinity(child(affinity, "nodeAffinity"), f"{path}.affinity.nodeAffinity")
    for name in ("podAffinity", "podAntiAffinity"):
        yield from _pod_affinity(child(affinity, name), f"{path}.affinity.{name}")
    yield from _spread(spec, f"{path}.topologySpreadConstraints")


def toleration_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of what is tolerated."""
    for where, toleration in indexed(spec, "tolerations", path):
        yield from _toleration(toleration, where)


def label_selector_causes(selector: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a LabelSelector (apimachinery ValidateLabelSelector)."""
    yield from label_map_causes(child(selector, "matchLabels"), f"{path}.matchLabels")
    for where, term in indexed(selector, "matchExpressions", path):
        operator, values = text(term, "operator"), texts(term, "values")
        if operator in {"In", "NotIn"}:
            if not values:
                yield required(
                    f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"
                )
        elif operator in {"Exists", "DoesNotExist"}:
            if values:
                yield forbidden(
                    f"{where}.values",
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from _label_key(text(term, "key"), f"{where}.key")
        for index, value in enumerate(values):
            for complaint in label_value_complaints(value):
                yield invalid(f"{where}.values[{index}]", value, complaint)


def _label_key(key: str, path: str) -> Iterator[Cause]:
    for complaint in label_key_complaints(key):
        yield invalid(path, key, complaint)


def _node_affinity(affinity: JsonObject, path: str) -> Iterator[Cause]:
    if isinstance(affinity.get(_HARD), dict):
        terms = child(affinity, _HARD)
        if not children(terms, "nodeSelectorTerms"):
            yield required(
                f"{path}.{_HARD}.nodeSelectorTerms", "must have at least one node selector term"
            )
        for where, term in indexed(terms, "nodeSelectorTerms", f"{path}.{_HARD}"):
            yield from _node_term(term, where)
    for where, preferred in indexed(affinity, _SOFT, path):
        yield from _weight(preferred, where)
        yield from _node_term(child(preferred, "preference"), f"{where}.preference")


def _weight(preferred: JsonObject, path: str) -> Iterator[Cause]:
    weight = number(preferred, "weight")
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _pod_affinity(affinity: JsonObject, path: str) -> Iterator[Cause]:
    for where, term in indexed(affinity, _HARD, path):
        yield from _affinity_term(term, where)
    for where, preferred in indexed(affinity, _SOFT, path):
        yield from _weight(preferred, where)
        yield from _affinity_term(child(preferred, "podAffinityTerm"), f"{where}.podAffinityTerm")


def _affinity_term(term: JsonObject, path: str) -> Iterator[Cause]:
    for field in ("labelSelector", "namespaceSelector"):
        yield from label_selector_causes(child(term, field), f"{path}.{field}")
    for namespace in texts(term, "namespaces"):
        for complaint in label_name_complaints(namespace):
            yield invalid(f"{path}.namespace", namespace, complaint)  # upstream says it so
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        yield from _label_keys(term, field, path)
    selector = term.get("labelSelector")
    if isinstance(selector, dict):
        for index, key in merged_twice(selector, texts(term, "matchLabelKeys")):
            yield invalid(f"{path}[{index}]", key, _IN_BOTH)  # upstream says it so
    other = texts(term, "mismatchLabelKeys")
    for index, key in enumerate(texts(term, "matchLabelKeys")):
        if key in other:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(f"{path}.matchLabelKeys[{index}]", key, why)
    if not text(term, "topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from _label_key(text(term, "topologyKey"), f"{path}.topologyKey")


def _label_keys(term: JsonObject, field: str, path: str) -> Iterator[Cause]:
    keys = texts(term, field)
    if keys and not isinstance(term.get("labelSelector"), dict):
        yield forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
        return
    for index, key in enumerate(keys):
        yield from _label_key(key, f"{path}.{field}[{index}]")


def _spread(spec: JsonObject, path: str) -> Iterator[Cause]:
    constraints = children(spec, "topologySpreadConstraints")
    pairs = [(text(c, "topologyKey"), text(c, "whenUnsatisfiable")) for c in constraints]
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        key, action = pairs[index]
        skew = number(constraint, "maxSkew")
        if skew <= 0:
            yield invalid(f"{where}.maxSkew", skew, _NOT_POSITIVE)
        if not key:
            yield required(f"{where}.topologyKey", "can not be empty")
        yield from one_of(f"{where}.whenUnsatisfiable", action, _ACTIONS)
        if pairs[index] in pairs[index + 1 :]:
            both = "{topologyKey, whenUnsatisfiable}"
            yield duplicate(f"{where}.{both}", f"{{{key}, {action}}}")
        yield from _min_domains(constraint, where)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(field) is not None:
                yield from one_of(f"{where}.{field}", text(constraint, field), _POLICIES)
        yield from _label_keys(constraint, "matchLabelKeys", where)
        selector = child(constraint, "labelSelector")
        for place, twice in merged_twice(selector, texts(constraint, "matchLabelKeys")):
            yield invalid(f"{where}.matchLabelKeys[{place}]", twice, _IN_BOTH)
        yield from label_selector_causes(selector, f"{where}.labelSelector")


def _min_domains(constraint: JsonObject, path: str) -> Iterator[Cause]:
    if constraint.get("minDomains") is None:
        return
    domains, action = number(constraint, "minDomains"), text(constraint, "whenUnsatisfiable")
    if domains <= 0:
        yield invalid(f"{path}.minDomains", domains, _NOT_POSITIVE)
    if action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield invalid(f"{path}.minDomains", domains, why)


def _node_term(term: JsonObject, path: str) -> Iterator[Cause]:
    for field in ("matchExpressions", "matchFields"):
        for where, expression in indexed(term, field, path):
            try:
                node_requirements([expression])
            except BadRequest as error:
                yield invalid(where, text(expression, "key"), error.message)


def _toleration(toleration: JsonObject, path: str) -> Iterator[Cause]:
    key, operator = text(toleration, "key"), text(toleration, "operator") or "Equal"
    effect = text(toleration, "effect")
    if key:
        for complaint in label_key_complaints(key):
            yield invalid(f"{path}.key", key, complaint)
    elif operator != "Exists":
        yield invalid(
            f"{path}.operator",
            text(toleration, "operator"),
            "operator must be Exists when `key` is empty, which means "
            '"match all values and all keys"',
        )
    yield from one_of(f"{path}.operator", operator, ("Equal", "Exists", "Lt", "Gt"))
    if operator in {"Lt", "Gt"} and comparable(text(toleration, "value")) is None:
        yield invalid(
            f"{path}.value",
            text(toleration, "value"),
            "must be a valid decimal integer in canonical form",
        )
    if operator == "Exists" and text(toleration, "value"):
        yield invalid(
            f"{path}.operator",
            text(toleration, "value"),
            "value must be empty when `operator` is 'Exists'",
        )
    yield from one_of(f"{path}.effect", effect, _EFFECTS)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid(
            f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )


def narrowing_causes(before: JsonObject, after: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per change of a gated pod's node selection that does not only narrow it.

    Args:
        before, after: pod specs (Kubernetes KEP-3838: directives of gated pods).
    """
    old, new = child(before, "nodeSelector"), child(after, "nodeSelector")
    if any(new.get(key) != value for key, value in old.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid(f"{path}.nodeSelector", new, why)
    old_affinity = child(child(before, "affinity"), "nodeAffinity")
    new_affinity = child(child(after, "affinity"), "nodeAffinity")
    old_terms = children(child(old_affinity, _HARD), "nodeSelectorTerms")
    new_terms = children(child(new_affinity, _HARD), "nodeSelectorTerms")
    where = f"{path}.affinity.nodeAffinity.{_HARD}.nodeSelectorTerms"
    if old_terms and len(old_terms) != len(new_terms):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield invalid(where, list(new_terms), why)
        return
    for index, (wide, narrow) in enumerate(zip(old_terms, new_terms, strict=False)):
        if not _only_added(wide, narrow):
            why = "only additions are allowed (no mutations or deletions)"
            yield invalid(f"{where}[{index}]", narrow, why)


def _only_added(wide: JsonObject, narrow: JsonObject) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(children(wide, field) for field in fields):  # it matches nothing, and stays so
        return not any(children(narrow, field) for field in fields)
    return all(
        each in children(narrow, field) for field in fields for each in children(wide, field)
    )
