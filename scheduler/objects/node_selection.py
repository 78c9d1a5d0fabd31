"""Which nodes a pod's node selector and required node affinity allow, one node at a time.

For a DaemonSet's controller; placement asks for all nodes at once (NodeAffinity).
"""

from functools import lru_cache

from ..errors import BadRequest
from .json import Json
from .node import Node
from .pod import NodeSelectorRequirement, NodeSelectorTerm, PodSpec
from .selectors import NOTHING, Selector, node_requirements


def selects_node(spec: PodSpec, node: Node) -> bool:
    """Tell whether a pod's spec lets it go to a node (Kubernetes GetRequiredNodeAffinity)."""
    labels = node.meta.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    if affinity is None or affinity.required is None:
        return True
    return any(_matches(term, node) for term in affinity.required.node_selector_terms)


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    return all(_is_named(each, node.meta.name) for each in term.match_fields) and _selector(
        term.match_expressions
    ).matches(node.meta.labels)


def _is_named(wanted: NodeSelectorRequirement, name: str) -> bool:
    """Tell whether a node's name, the only field there is, is as a requirement wants."""
    return wanted.key == "metadata.name" and (
        (wanted.operator == "In" and name in wanted.values)
        or (wanted.operator == "NotIn" and name not in wanted.values)
    )


@lru_cache(maxsize=1024)
def _selector(expressions: tuple[NodeSelectorRequirement, ...]) -> Selector:
    listed: list[Json] = [
        {"key": each.key, "operator": each.operator, "values": list(each.values)}
        for each in expressions
    ]
    try:
        return Selector(node_requirements(listed))
    except BadRequest:  # stored without validation
        return NOTHING
