"""Terms of node selectors, read once and matched against all nodes at a time.

Kubernetes component-helpers, scheduling/corev1/nodeaffinity. A term is read as a whole: one
requirement that is not allowed makes all of it unreadable.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scheduler.errors import BadRequest
from scheduler.hookspecs import Mask, Snapshot
from scheduler.objects.pod import NodeSelectorTerm
from scheduler.objects.selectors import (
    Requirement,
    aggregate,
    integer,
    quoted,
    quoted_list,
    requirement,
    requirement_complaints,
)

_NAME = "metadata.name"
_OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}
_FIELD_OPERATORS = ("In", "NotIn")


@dataclass(frozen=True, slots=True)
class FieldTest:
    """A field of the node is, or is not, a value; fields other than the name are "" everywhere."""

    field: str
    value: str
    negated: bool

    def matches(self, snapshot: Snapshot) -> Mask:
        """Return (N,) where it holds."""
        if self.field != _NAME:
            return snapshot.every() if (self.value == "") != self.negated else snapshot.none()
        named = snapshot.none()
        row = snapshot.row_of.get(self.value)
        if row is not None:
            named[row] = True
        return ~named if self.negated else named


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """A term that can be read: all of its requirements must hold."""

    labels: tuple[Requirement, ...]
    fields: tuple[FieldTest, ...]

    def matches(self, snapshot: Snapshot) -> Mask:
        """Return (N,) where every requirement holds."""
        matched = snapshot.every()
        for wanted in self.labels:
            matched &= _where(wanted, snapshot)
        for test in self.fields:
            matched &= test.matches(snapshot)
        return matched


def compiled(terms: Iterable[tuple[str, NodeSelectorTerm]]) -> tuple[NodeTerm, ...]:
    """Return terms in the form that is matched; empty ones match nothing and are left out.

    Args:
        terms: each with what to put before the names of its fields.

    Raises:
        BadRequest: operators, keys or values that are not allowed; says all of them.
    """
    given = [(w, term) for w, term in terms if term.match_expressions or term.match_fields]
    if complaints := [each for where, term in given for each in _complaints(where, term)]:
        raise BadRequest(aggregate(complaints))
    return tuple(
        NodeTerm(
            tuple(
                requirement(each.key, _OPERATORS[each.operator], each.values)
                for each in term.match_expressions
            ),
            tuple(
                FieldTest(each.key, each.values[0], each.operator == "NotIn")
                for each in term.match_fields
            ),
        )
        for _, term in given
    )


def names_nobody(term: NodeSelectorTerm) -> bool:
    """Tell whether the term names nodes, and no node's name could satisfy all of it."""
    names: set[str] | None = None
    for each in term.match_fields:
        if each.key == _NAME and each.operator == "In":
            names = set(each.values) if names is None else names & set(each.values)
    return names is not None and not names


def _complaints(where: str, term: NodeSelectorTerm) -> Iterator[str]:
    for n, wanted in enumerate(term.match_expressions):
        spot = f"{where}matchExpressions[{n}]."
        operator = _OPERATORS.get(wanted.operator)
        if operator is None:
            yield _unsupported(spot, wanted.operator, _OPERATORS)
        else:
            yield from requirement_complaints(wanted.key, operator, wanted.values, spot)
    for n, wanted in enumerate(term.match_fields):
        spot = f"{where}matchFields[{n}]."
        if wanted.operator not in _FIELD_OPERATORS:
            yield _unsupported(spot, wanted.operator, _FIELD_OPERATORS)
        elif len(wanted.values) != 1:
            values = quoted_list(wanted.values)
            yield f"{spot}values: Invalid value: {values}: must have one element"


def _unsupported(spot: str, operator: str, known: Iterable[str]) -> str:
    names = ", ".join(map(quoted, known))
    return f"{spot}operator: Unsupported value: {quoted(operator)}: supported values: {names}"


def _where(wanted: Requirement, snapshot: Snapshot) -> Mask:
    """Match one label (labels.Requirement.Matches)."""
    column = snapshot.label(wanted.key)
    match wanted.operator:
        case "in":
            return column.is_in(wanted.values)
        case "notin":
            return ~column.is_in(wanted.values)
        case "exists":
            return column.has()
        case "!":
            return ~column.has()
        case _:
            limit = integer(wanted.values[0])
            assert limit is not None
            greater = wanted.operator == "gt"

            def beyond(value: str) -> bool:
                number = integer(value)
                return number is not None and (number > limit if greater else number < limit)

            return column.where(beyond)
