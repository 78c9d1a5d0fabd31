"""Field selectors: their text form and matching.

Grammar and messages are those of Kubernetes (apimachinery fields.ParseSelector). Any field may be
named here; which ones a kind serves is the kind's business.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from ..errors import BadRequest
from .selectors import MAX_LENGTH


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One term of a field selector: its text equals (negated: differs from) value."""

    field: str
    value: str
    negated: bool = False

    def matches(self, actual: str) -> bool:
        """Return whether a field's text satisfies the term."""
        return (actual != self.value) if self.negated else (actual == self.value)

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.field}{'!=' if self.negated else '='}{escaped}"


def parse_field_selector(text: str) -> tuple[FieldRequirement, ...]:
    r"""Return the terms of a fieldSelector query parameter.

    Args:
        text: "status.phase!=Running,spec.nodeName=a"; in values, backslash escapes \ , and =.

    Raises:
        BadRequest: a term has no operator, or a value is wrongly escaped.
    """
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"invalid selector: longer than {MAX_LENGTH}")
    return tuple(_field_term(text, term) for term in _split_terms(text) if term)


def _split_terms(text: str) -> Sequence[str]:
    return cast(list[str], re.findall(r"(?:\\.|[^,\\]|\\\Z)+", text, re.DOTALL))


def _field_term(text: str, term: str) -> FieldRequirement:
    match = re.search("!=|==|=", term)
    if match is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    value = _unescape(term[match.end() :])
    return FieldRequirement(term[: match.start()], value, negated=match[0] == "!=")


def _unescape(text: str) -> str:
    out: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{escaped}")
            out.append(escaped)
        elif character == "=":
            # upstream prints the character's number
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord('=')}")
        else:
            out.append(character)
    return "".join(out)
