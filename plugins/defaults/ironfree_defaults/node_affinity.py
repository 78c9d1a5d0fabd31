"""NodeAffinity: nodeSelector and node affinity, required and preferred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from scheduler.hookspecs import (
    Change,
    Counts,
    Mask,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject
from scheduler.objects.pod import NodeSelectorRequirement, NodeSelectorTerm


@dataclass(frozen=True)
class NodeAffinity:
    """Kubernetes NodeAffinity.

    Filter: every nodeSelector label, and at least one required term. Score: the sum of the weights
    of the preferred terms that match, normalised.
    """

    name: str = "NodeAffinity"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_LABELS
    weight: int = 2
    normalise: Normalise = Normalise.LARGEST
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeAffinityArgs)."""
        return cls()

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes that do not match nodeSelector or none of the required terms."""
        affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
        required = affinity.required if affinity else None
        if not pod.spec.node_selector and required is None:
            return None
        room = snapshot.every()
        for key, value in pod.spec.node_selector.items():
            room &= snapshot.label(key).is_in((value,))
        if required is not None:
            room &= _any_term(required.node_selector_terms, snapshot)
        reason = "node(s) didn't match Pod's node affinity/selector"
        return Verdict(room, reason, resolvable=False)

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Add up the weights of matching preferred terms; an empty term matches nothing."""
        affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
        if affinity is None or not affinity.preferred:
            return None
        total = np.zeros(snapshot.size, dtype=np.int64)
        for term in affinity.preferred:
            total += term.weight * _term(term.preference, snapshot)
        return total[rows]


def _any_term(terms: Sequence[NodeSelectorTerm], snapshot: Snapshot) -> Mask:
    """OR the terms; no term, or only empty ones, match no node (Kubernetes NodeSelector)."""
    matched = snapshot.none()
    for term in terms:
        matched |= _term(term, snapshot)
    return matched


def _term(term: NodeSelectorTerm, snapshot: Snapshot) -> Mask:
    """AND a term's expressions and fields."""
    if not term.match_expressions and not term.match_fields:
        return snapshot.none()
    matched = snapshot.every()
    for requirement in term.match_expressions:
        matched &= _labels(requirement, snapshot)
    for requirement in term.match_fields:
        matched &= _fields(requirement, snapshot)
    return matched


def _labels(requirement: NodeSelectorRequirement, snapshot: Snapshot) -> Mask:
    """Match one label (labels.Requirement.Matches); an unknown operator matches nothing."""
    column = snapshot.label(requirement.key)
    values = requirement.values
    match requirement.operator:
        case "In":
            return column.is_in(values)
        case "NotIn":
            return ~column.is_in(values)
        case "Exists":
            return column.has()
        case "DoesNotExist":
            return ~column.has()
        case "Gt" | "Lt" if len(values) == 1:
            limit = _integer(values[0])
            if limit is None:
                return snapshot.none()
            greater = requirement.operator == "Gt"

            def beyond(value: str) -> bool:
                number = _integer(value)
                return number is not None and (number > limit if greater else number < limit)

            return column.where(beyond)
        case _:
            return snapshot.none()


def _fields(requirement: NodeSelectorRequirement, snapshot: Snapshot) -> Mask:
    """Match metadata.name, the one field node selectors know; In and NotIn take one value."""
    if requirement.key != "metadata.name" or len(requirement.values) != 1:
        return snapshot.none()
    named = snapshot.none()
    row = snapshot.row_of.get(requirement.values[0])
    if row is not None:
        named[row] = True
    match requirement.operator:
        case "In":
            return named
        case "NotIn":
            return ~named
        case _:
            return snapshot.none()


def _integer(text: str) -> int | None:
    """Parse as Go's strconv.ParseInt(text, 10, 64) does."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
