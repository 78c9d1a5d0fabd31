"""Label and field selectors: their text form, their object form, and matching.

Grammar and messages are those of Kubernetes (apimachinery labels.Parse, fields.ParseSelector). A
field selector may name any field here; which ones a kind serves is the kind's business.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

from ..errors import BadRequest
from .json import Json
from .names import label_key_complaints, label_value_complaints

MAX_LENGTH = 64 * 1024
_SPECIAL = frozenset("=!(),><")
_TOKENS = ("!=", "==", "=", "!", "(", ")", ",", ">", "<")
_WORD = re.compile(r"[^=!(),><\s]+")
_BLANK = re.compile(r"[ \t\r\n]*")
_SYMBOLS = re.compile("[=!(),><]+")
_BINARY = {"in": "in", "notin": "notin", "=": "=", "==": "=", "!=": "!=", ">": "gt", "<": "lt"}
_EXPECTED = "in, notin, =, ==, !=, gt, lt"
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_NODE_OPERATORS = {**_OBJECT_OPERATORS, "Gt": "gt", "Lt": "lt"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector.

    Args:
        key: label key.
        operator: "=", "!=", "in", "notin", "exists", "!" (does not exist), "gt" or "lt".
        values: sorted, without repetition; one for =, !=, gt, lt; none for exists and !.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels satisfy the term; != and notin accept an absent key."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        number, bound = integer(value), integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case operator:
                sign = {"gt": ">", "lt": "<"}.get(operator, operator)
                return f"{self.key}{sign}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction of requirements, in order of key; none of them matches everything.

    Args:
        requirements: the terms.
        nothing: matches no labels at all (an absent LabelSelector).
    """

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels satisfy every term."""
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def everything(self) -> bool:
        """Whether it matches whatever it is shown."""
        return not self.nothing and not self.requirements

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def requirement(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """Return a validated requirement.

    Raises:
        BadRequest: upstream's sentence about the key, the number of values or a value.
    """
    chosen = tuple(sorted(set(values)))
    if complaints := label_key_complaints(key):
        raise BadRequest(f'key: Invalid value: "{key}": {"; ".join(complaints)}')
    if operator in ("in", "notin") and not chosen:
        _bad_values("[]", "for 'in', 'notin' operators, values set can't be empty")
    if operator in ("=", "!=") and len(chosen) != 1:
        _bad_values(str(list(chosen)), "exact-match compatibility requires one single value")
    if operator in ("exists", "!") and chosen:
        _bad_values(str(list(chosen)), "values set must be empty for exists and does not exist")
    if operator in ("gt", "lt"):
        if len(chosen) != 1:
            _bad_values(
                str(list(chosen)), "for 'Gt', 'Lt' operators, exactly one value is required"
            )
        if integer(chosen[0]) is None:
            reason = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise BadRequest(f'values[0]: Invalid value: "{chosen[0]}": {reason}')
    for index, value in enumerate(chosen):
        if complaints := label_value_complaints(value):
            raise BadRequest(
                f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(complaints)}'
            )
    return Requirement(key, operator, chosen)


def integer(text: str) -> int | None:
    """Return a number as Go's strconv.ParseInt(text, 10, 64) reads it, None where it cannot."""
    if not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _bad_values(values: str, reason: str) -> NoReturn:
    raise BadRequest(f"values: Invalid value: {values}: {reason}")


def parse_label_selector(text: str) -> Selector:
    """Return the selector of a labelSelector query parameter.

    Args:
        text: "a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1"; empty matches everything.

    Raises:
        BadRequest: text does not follow the grammar; says what was found and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"unable to parse requirement: selector is longer than {MAX_LENGTH}")
    requirements = sorted(_Parser(text).requirements(), key=lambda each: each.key)
    return Selector(tuple(requirements))


def _lex(text: str) -> Iterator[str]:
    """Yield the tokens; "" ends them."""
    position = _skip_blank(text, 0)
    while position < len(text):
        if text[position] in _SPECIAL:
            run = _SYMBOLS.match(text, position)
            assert run is not None
            symbol = next(each for each in _TOKENS if run[0].startswith(each))
        else:
            word = _WORD.match(text, position)
            if word is None:
                raise BadRequest(f"unable to parse requirement: found {text[position]!r}")
            symbol = word[0]
        yield symbol
        position = _skip_blank(text, position + len(symbol))
    yield ""


def _skip_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _is_word(symbol: str) -> bool:
    return symbol != "" and symbol[0] not in _SPECIAL


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_lex(text))
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        symbol = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return symbol

    def requirements(self) -> Iterator[Requirement]:
        if self._peek() == "":
            return
        if not (_is_word(self._peek()) or self._peek() == "!"):
            _found(self._peek(), "!, identifier, or 'end of string'")
        while True:
            try:
                yield self._requirement()
            except BadRequest as error:
                raise BadRequest(f"unable to parse requirement: {error.message}") from None
            symbol = self._next()
            if symbol == "":
                return
            if symbol != ",":
                _found(symbol, "',' or 'end of string'")
            if not (_is_word(self._peek()) or self._peek() == "!"):
                _found(self._peek(), "identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._next()
        key = self._next()
        if not _is_word(key):
            _found(key, "identifier")
        if complaints := label_key_complaints(key):
            raise BadRequest(f'Invalid value: "{key}": {"; ".join(complaints)}')
        if negated:
            return requirement(key, "!", ())
        if self._peek() in ("", ","):
            return requirement(key, "exists", ())
        symbol = self._next()
        operator = _BINARY.get(symbol)
        if operator is None:
            _found(symbol, _EXPECTED)
        if operator in ("in", "notin"):
            return requirement(key, operator, self._values())
        if self._peek() in ("", ","):
            return requirement(key, operator, ("",))
        value = self._next()
        if not _is_word(value):
            _found(value, "identifier")
        return requirement(key, operator, (value,))

    def _values(self) -> list[str]:
        """Read "(x,,y)"; an empty place is the empty value."""
        opening = self._next()
        if opening != "(":
            raise BadRequest(f"found '{opening}' expected: '('")
        values: list[str] = []
        while True:
            named = _is_word(self._peek())
            values.append(self._next() if named else "")
            symbol = self._next()
            if symbol == ")":
                return values
            if symbol == ",":
                continue
            if named:
                _found(symbol, "',' or ')'")
            _found(symbol, "',', or identifier" if len(values) > 1 else "',', ')' or identifier")


def _found(symbol: str, expected: str) -> NoReturn:
    raise BadRequest(f"found '{symbol}', expected: {expected}")


def from_map(labels: Mapping[str, str]) -> Selector:
    """Return the selector that wants exactly these labels (ReplicationController, Service)."""
    return Selector(tuple(Requirement(key, "=", (labels[key],)) for key in sorted(labels)))


def from_label_selector(selector: Json) -> Selector:
    """Return the selector of a LabelSelector object.

    Args:
        selector: {"matchLabels": …, "matchExpressions": […]}; None matches nothing, {} everything.

    Raises:
        BadRequest: an operator, key or value is not allowed.
    """
    if selector is None:
        return NOTHING
    if not isinstance(selector, dict):
        raise BadRequest("a label selector must be an object")
    labels = selector.get("matchLabels") or {}
    if not isinstance(labels, dict):
        raise BadRequest("matchLabels must be an object")
    terms = [requirement(key, "=", (_text(labels[key], "matchLabels"),)) for key in sorted(labels)]
    terms.extend(from_expressions(selector.get("matchExpressions"), _OBJECT_OPERATORS))
    return Selector(tuple(terms))


def node_requirements(expressions: Json) -> tuple[Requirement, ...]:
    """Return the requirements of a NodeSelectorTerm's matchExpressions (Gt and Lt allowed)."""
    return tuple(from_expressions(expressions, _NODE_OPERATORS))


def from_expressions(expressions: Json, operators: Mapping[str, str]) -> Iterator[Requirement]:
    """Yield a requirement per {"key", "operator", "values"}; BadRequest where one is malformed."""
    if expressions is None:
        return
    if not isinstance(expressions, list):
        raise BadRequest("matchExpressions must be a list")
    for each in expressions:
        if not isinstance(each, dict):
            raise BadRequest("matchExpressions must hold objects")
        name = _text(each.get("operator"), "operator")
        if name not in operators:
            raise BadRequest(f'"{name}" is not a valid label selector operator')
        values = each.get("values") or []
        if not isinstance(values, list):
            raise BadRequest("values must be a list")
        texts = [_text(value, "values") for value in values]
        yield requirement(_text(each.get("key"), "key"), operators[name], texts)


def _text(value: Json, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"{what} must be text, not {value!r:.64}")
    return value


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
            raise BadRequest("invalid field selector: unescaped character in value: =")
        else:
            out.append(character)
    return "".join(out)
