"""When a toleration tolerates a taint (core/v1 Toleration.ToleratesTaint)."""

from collections.abc import Sequence
from typing import Protocol

from .pod import Toleration


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
    Gt match nothing: upstream has them behind the gate TaintTolerationComparisonOperators, which
    is off by default.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.value == taint.value


def tolerated(tolerations: Sequence[Toleration], taint: TaintKey) -> bool:
    """Tell whether any of the tolerations tolerates the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)
