"""How many nodes a search for victims looks at (kube-scheduler's DefaultPreemptionArgs)."""

from dataclasses import dataclass
from typing import Self

from .errors import ConfigurationError
from .objects.json import JsonObject

_PERCENTAGE, _ABSOLUTE = "minCandidateNodesPercentage", "minCandidateNodesAbsolute"
_MOST_PERCENT = 100


@dataclass(frozen=True, slots=True)
class PreemptionArgs:
    """Arguments of DefaultPreemption.

    Args:
        percentage: minCandidateNodesPercentage, of the nodes where evictions may help.
        absolute: minCandidateNodesAbsolute, where that is more.
        given: they were set by somebody; otherwise all nodes may be looked at where one look
            serves for all.
    """

    percentage: int = 10
    absolute: int = 100
    given: bool = False

    @classmethod
    def of(cls, args: JsonObject) -> Self:
        """Return the arguments of a profile.

        Raises:
            ConfigurationError: a field is unknown, of the wrong type or out of range.
        """
        unknown = args.keys() - {_PERCENTAGE, _ABSOLUTE, "apiVersion", "kind"}
        if unknown:
            raise ConfigurationError(f"DefaultPreemptionArgs has no field {min(unknown)!r}")
        default = cls()
        percentage = _whole(args, _PERCENTAGE, default.percentage)
        absolute = _whole(args, _ABSOLUTE, default.absolute)
        if not 0 <= percentage <= _MOST_PERCENT:
            raise _invalid(_PERCENTAGE, percentage, f"not in valid range [0, {_MOST_PERCENT}]")
        if absolute < 0:
            raise _invalid(_ABSOLUTE, absolute, "not in valid range [0, inf)")
        if not percentage and not absolute:
            raise ConfigurationError(
                f"DefaultPreemptionArgs: {_PERCENTAGE} and {_ABSOLUTE} cannot both be zero"
            )
        given = args.get(_PERCENTAGE) is not None or args.get(_ABSOLUTE) is not None
        return cls(percentage, absolute, given)

    def enough(self, nodes: int) -> int:
        """Return how many candidates do where evictions may help on so many nodes, one at least."""
        return min(max(nodes * self.percentage // 100, self.absolute, 1), nodes)


def _whole(args: JsonObject, name: str, default: int) -> int:
    value = args.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(
            f"DefaultPreemptionArgs.{name} is {value!r}; it must be a whole number"
        )
    return value


def _invalid(name: str, value: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"DefaultPreemptionArgs.{name}: Invalid value: {value}: {why}")
