"""Label selectors: their text form, their object form, and matching.

Grammar and messages are those of Kubernetes (apimachinery labels.Parse, labels.NewRequirement).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..errors import BadRequest
from .json import Json
from .names import label_key_complaints, label_value_complaints

MAX_LENGTH = 64 * 1024
_SPECIAL = frozenset("=!(),><")
_TOKENS = ("!=", "==", "=", "!", "(", ")", ",", ">", "<")
_WORD = re.compile(r"[^=!(),><\t\n\r ]+")
_BLANK = re.compile(r"[ \t\r\n]*")
_SYMBOLS = re.compile("[=!(),><]+")
_BINARY = {"in": "in", "notin": "notin", "=": "=", "==": "=", "!=": "!=", ">": "gt", "<": "lt"}
_EXPECTED = "in, notin, =, ==, !=, gt, lt"
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_NODE_OPERATORS = {**_OBJECT_OPERATORS, "Gt": "gt", "Lt": "lt"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,64}\Z", re.ASCII)
_SOME = "for 'in', 'notin' operators, values set can't be empty"
_SAME = "exact-match compatibility requires one single value"
_NONE = "values set must be empty for exists and does not exist"
_ONE = "for 'Gt', 'Lt' operators, exactly one value is required"
_COUNTS = {"in": _SOME, "notin": _SOME, "exists": _NONE, "!": _NONE, "gt": _ONE, "lt": _ONE}


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


def requirement(key: str, operator: str, values: Sequence[str]) -> Requirement:
    """Return a validated requirement.

    Raises:
        BadRequest: upstream's sentences about the key, the number of values and the values.
    """
    if complaints := requirement_complaints(key, operator, values):
        raise BadRequest(aggregate(complaints))
    return Requirement(key, operator, tuple(sorted(set(values))))


def requirement_complaints(
    key: str, operator: str, values: Sequence[str], where: str = ""
) -> list[str]:
    """Return all that is wrong with a requirement (labels.NewRequirement).

    Args:
        where: what to put before the names of fields.
    """
    found: list[str] = []
    if complaints := label_key_complaints(key):
        found.append(f"{where}key: Invalid value: {quoted(key)}: {'; '.join(complaints)}")
    rule = _COUNTS.get(operator, _SAME)
    wanted = 0 if rule is _NONE else 1
    if len(values) < wanted or (len(values) > wanted and rule is not _SOME):
        found.append(f"{where}values: Invalid value: {quoted_list(values)}: {rule}")
    if operator in ("gt", "lt"):
        reason = "for 'Gt', 'Lt' operators, the value must be an integer"
        found += [
            f"{where}values[{n}]: Invalid value: {quoted(value)}: {reason}"
            for n, value in enumerate(values)
            if integer(value) is None
        ]
    for n, value in enumerate(values):
        if complaints := label_value_complaints(value):
            spot = f"{where}values[{n}][{key}]"
            found.append(f"{spot}: Invalid value: {quoted(value)}: {'; '.join(complaints)}")
    return found


def aggregate(complaints: Iterable[str]) -> str:
    """Return complaints as one sentence, each once (apimachinery's Aggregate of errors)."""
    each = dict.fromkeys(complaints)
    return next(iter(each)) if len(each) == 1 else f"[{', '.join(each)}]"


def quoted(text: str) -> str:
    """Return text in quotes as Go prints it."""
    return json.dumps(text, ensure_ascii=False)


def quoted_list(values: Sequence[str]) -> str:
    """Return a list of text as upstream's errors print it: as JSON, and none as null."""
    return f"[{','.join(map(quoted, values))}]" if values else "null"


def integer(text: str) -> int | None:
    """Return a number as Go's strconv.ParseInt(text, 10, 64) reads it, None where it cannot."""
    if not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


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
        run = (_SYMBOLS if text[position] in _SPECIAL else _WORD).match(text, position)
        assert run is not None
        symbol = run[0]
        if symbol[0] in _SPECIAL:
            symbol = next(each for each in _TOKENS if symbol.startswith(each))
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
            # upstream's parser has no field to name here
            raise BadRequest(f"<nil>: Invalid value: {quoted(key)}: {'; '.join(complaints)}")
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
        """Read "(x,,y)"; an empty place is the empty value, except a last one after another."""
        opening = self._next()
        if opening != "(":
            raise BadRequest(f"found '{opening}' expected: '('")
        if self._peek() == ")":
            self._next()
            return [""]
        if not (_is_word(self._peek()) or self._peek() == ","):
            _found(self._peek(), "',', ')' or identifier")
        values: set[str] = set()
        while True:
            symbol = self._next()
            if _is_word(symbol):
                values.add(symbol)
                if self._peek() not in (",", ")"):
                    _found(self._peek(), "',' or ')'")
            elif symbol == ",":
                if not values or self._peek() in (",", ")"):
                    values.add("")
                if self._peek() == ",":
                    self._next()
                    continue
            else:
                _found(symbol, "',', or identifier")
            if self._peek() == ")":
                self._next()
                return sorted(values)


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
