"""Resource quantities: "250m", "1.5Gi", "2e3" (Kubernetes resource.Quantity).

Values are exact to nano; whatever is rounded is rounded away from zero, as upstream does. Integers
are capped at ±(2^63 - 1), so that they fit the columns of a snapshot. As upstream, a number without
digits is zero ("m", ".", "Gi"). Numbers and exponents are bounded: 128 digits, 10^±999.
"""

import re
from collections.abc import Mapping
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache

from ..errors import BadRequest

MAX = 2**63 - 1
PATTERN = (
    r"^(?=.)[+-]?[0-9]{0,64}(?:\.[0-9]{0,64})?"
    r"(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?\Z"
)
_FORM = re.compile(PATTERN)
_UPSTREAM_ERROR = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_SUFFIX_ERROR = "unable to parse quantity's suffix"
_NUMERIC_ERROR = "unable to parse numeric part of quantity"
_SPLITS = re.compile(r"[+-]?[0-9]*(?:\.[0-9]*)?[eEinumkKMGTP]*[-+]?[0-9]*\Z")
_PARTS = re.compile(r"([+-]?[0-9]*\.?[0-9]*)(.*)\Z", re.DOTALL)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
_EXACT = Context(prec=1200)  # 128 digits, exponents to ±999, and the largest binary factor
_LEAST, _MOST = -9, 999  # exponents: what a quantity can say, and what is read
_NANO = Decimal("1e-9")


@lru_cache(maxsize=16384)
def parse(text: str) -> Decimal:
    """Return the exact amount in base units (cores, bytes, devices).

    Args:
        text: a quantity as Kubernetes writes it.

    Raises:
        BadRequest: text is not a quantity; the message is upstream's.
    """
    return _amount(text)[0]


def _amount(text: str) -> tuple[Decimal, str]:
    """Return the amount, rounded to nano, and its suffix's family: "Ki", "m" or "e"."""
    parts = _PARTS.match(text) if _FORM.match(text) else None
    if parts is None:
        raise BadRequest(_complaint(text))
    digits, suffix = parts[1], parts[2]
    given = digits.strip("+-.") != ""
    number = Decimal(digits if given else 0)
    if suffix in _BINARY:
        amount, family = _EXACT.multiply(number, Decimal(1024 ** _BINARY[suffix])), "Ki"
    elif suffix in _DECIMAL:
        amount, family = _EXACT.scaleb(number, _DECIMAL[suffix]), "m"
    else:
        exponent, family = int(suffix[1:]), "e"
        if not given and exponent < _LEAST:
            raise BadRequest(_NUMERIC_ERROR)
        amount = _EXACT.scaleb(number, exponent)
    if family == "Ki" and abs(amount) > MAX:
        return Decimal(MAX if amount > 0 else -MAX), family
    return amount.quantize(_NANO, rounding=ROUND_UP, context=_EXACT), family


def _complaint(text: str) -> str:
    """Return upstream's sentence: a number with a suffix that is none, or no number at all."""
    return _SUFFIX_ERROR if text and _SPLITS.match(text) else _UPSTREAM_ERROR


def _scaled(text: str, factor: int) -> int:
    amount = _EXACT.multiply(parse(text), Decimal(factor))
    return max(-MAX, min(MAX, int(amount.to_integral_value(rounding=ROUND_UP))))


@lru_cache(maxsize=16384)
def milli(text: str) -> int:
    """Return thousandths of the base unit, rounded up (millicores of CPU)."""
    return _scaled(text, 1000)


@lru_cache(maxsize=16384)
def value(text: str) -> int:
    """Return whole base units, rounded up (bytes, devices)."""
    return _scaled(text, 1)


@lru_cache(maxsize=16384)
def nano(text: str) -> int:
    """Return billionths of the base unit, which is all that a quantity can say; never rounded."""
    return int(_EXACT.scaleb(parse(text), 9))


def nanos(amounts: Mapping[str, object]) -> dict[str, int]:
    """Return quantities by name in billionths of their units.

    Raises:
        BadRequest: one cannot be read.
    """
    return {name: nano(str(amount)) for name, amount in amounts.items()}


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """Return the form upstream would store: no fraction, the largest suffix, same suffix family."""
    amount, family = _amount(text)
    if not amount:
        return "0"
    if family == "Ki" and abs(amount) >= 1024 and amount == amount.to_integral_value():
        return format_binary(int(amount))
    return _format_decimal(amount, exponential=family == "e")


def _format_decimal(amount: Decimal, *, exponential: bool) -> str:
    nanos = int(_EXACT.scaleb(amount, 9))
    exponent, most = _LEAST, _MOST if exponential else max(_DECIMAL_SUFFIX)
    while exponent < most and nanos % 1000 == 0:
        nanos //= 1000
        exponent += 3
    if exponential:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[exponent]}"


def format_binary(amount: int) -> str:
    """Return a whole amount with the largest binary suffix that divides it: 1073741824 → "1Gi"."""
    power = 0
    while power < 6 and amount and amount % 1024 == 0:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY_SUFFIX[power]}"


format_bytes = format_binary


def format_cpu(millicores: int) -> str:
    """Return millicores as a quantity: 1500 → "1500m", 2000 → "2"."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_milli(amount: int) -> str:
    """Return thousandths of a unit in canonical decimal form: 3000000 → "3k"."""
    if not amount:
        return "0"
    return _format_decimal(Decimal(amount).scaleb(-3, context=_EXACT), exponential=False)
