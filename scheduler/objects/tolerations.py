"""When a toleration tolerates a taint (core/v1 Toleration.ToleratesTaint)."""

import re
from collections.abc import Sequence
from typing import Protocol

from .pod import Toleration
from .selectors import integer

_CANONICAL = re.compile(r"0|-?[1-9][0-9]*").fullmatch


class TaintKey(Protocol):
    """What of a taint a toleration looks at."""

    @property
    def key(self) -> str:
        """The taint's key."""
        ...

    @property
    def value(self) -> str:
        """Its value, "" if none."""
        ...

    @property
    def effect(self) -> str:
        """NoSchedule, PreferNoSchedule or NoExecute."""
        ...


def tolerates(toleration: Toleration, taint: TaintKey) -> bool:
    """Tell whether one toleration tolerates one taint.

    An empty effect matches every effect, an empty key every key; Exists looks at no value. Lt and
    Gt compare whole numbers: the taint's must be less, or greater, than the toleration's
    (upstream's gate TaintTolerationComparisonOperators, on here).
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator:
        case "Exists":
            return True
        case "" | "Equal":
            return toleration.value == taint.value
        case "Lt" | "Gt":
            bound, number = comparable(toleration.value), comparable(taint.value)
            if bound is None or number is None:
                return False
            return number < bound if toleration.operator == "Lt" else number > bound
        case _:
            return False


def comparable(text: str) -> int | None:
    """Return a value that Lt and Gt can compare, None for any other.

    It is written as people write whole numbers, without plus sign and leading zeros, and fits
    64 bits (apimachinery content.IsDecimalInteger).
    """
    return integer(text) if _CANONICAL(text) else None


def tolerated(tolerations: Sequence[Toleration], taint: TaintKey) -> bool:
    """Tell whether any of the tolerations tolerates the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)
