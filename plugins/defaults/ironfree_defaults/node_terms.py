"""Terms of node selectors, read once and matched against all nodes at a time.

Kubernetes component-helpers, scheduling/corev1/nodeaffinity. A term is read as a whole: one
requirement that is not allowed makes all of it unreadable.
"""

from dataclasses import dataclass

from scheduler.errors import BadRequest
from scheduler.hookspecs import Mask, Snapshot
from scheduler.objects.pod import NodeSelectorRequirement, NodeSelectorTerm
from scheduler.objects.selectors import Requirement, integer, requirement

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


def compiled(term: NodeSelectorTerm) -> NodeTerm:
    """Return a term in the form that is matched.

    Raises:
        BadRequest: an operator, key or value is not allowed; says which.
    """
    return NodeTerm(
        tuple([_label_test(n, each) for n, each in enumerate(term.match_expressions)]),
        tuple([_field_test(n, each) for n, each in enumerate(term.match_fields)]),
    )


def names_nobody(term: NodeSelectorTerm) -> bool:
    """Tell whether the term names nodes, and no node's name could satisfy all of it."""
    names: set[str] | None = None
    for each in term.match_fields:
        if each.key == _NAME and each.operator == "In":
            names = set(each.values) if names is None else names & set(each.values)
    return names is not None and not names


def _label_test(number: int, wanted: NodeSelectorRequirement) -> Requirement:
    operator = _OPERATORS.get(wanted.operator)
    if operator is None:
        known = ", ".join(f'"{name}"' for name in sorted(_OPERATORS))
        raise BadRequest(
            f"matchExpressions[{number}].operator: "
            f'Unsupported value: "{wanted.operator}": supported values: {known}'
        )
    try:
        return requirement(wanted.key, operator, wanted.values)
    except BadRequest as error:
        raise BadRequest(f"matchExpressions[{number}].{error.message}") from None


def _field_test(number: int, wanted: NodeSelectorRequirement) -> FieldTest:
    if wanted.operator not in _FIELD_OPERATORS:
        raise BadRequest(
            f"matchFields[{number}].operator: "
            f'Unsupported value: "{wanted.operator}": supported values: "In", "NotIn"'
        )
    if len(wanted.values) != 1:
        raise BadRequest(
            f"matchFields[{number}].values: Invalid value: {list(wanted.values)}: "
            "must have one element"
        )
    return FieldTest(wanted.key, wanted.values[0], wanted.operator == "NotIn")


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
