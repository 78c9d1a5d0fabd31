"""What an objective of a Placement or a Rebalance may say."""

from collections.abc import Iterable, Sized

from ...errors import Cause
from ..json import JsonObject
from ..names import label_key_complaints
from ..objective import ALL, GOALS
from .causes import invalid, one_of
from .fields import text

_MOST_GOALS = 16

_WORTH = ("count", "priority", "value")


def number_causes(goals: Sized) -> Iterable[Cause]:
    """Yield a cause where an objective has too many goals."""
    if len(goals) > _MOST_GOALS:
        yield invalid("spec.objective", len(goals), f"must not have more than {_MOST_GOALS} goals")


def goal_causes(goal: JsonObject, path: str) -> Iterable[Cause]:
    """Yield what is wrong with one goal."""
    place, hosts, balance, fragmentation = (text(goal, name) for name in GOALS[:-1])
    if sum(bool(text(goal, name)) for name in GOALS) != 1:
        yield invalid(path, "", f"must set one of {', '.join(GOALS)}")
    if hosts:
        yield from one_of(f"{path}.hosts", hosts, ("fewest", "cost"))
    elif place and place not in _WORTH:
        yield from _no_resource(f"{path}.place", place, _WORTH)
    elif balance and balance != ALL:
        yield from _no_resource(f"{path}.balance", balance, (ALL,))
    elif fragmentation:
        yield from _no_resource(f"{path}.fragmentation", fragmentation)


def _no_resource(path: str, name: str, others: tuple[str, ...] = ()) -> Iterable[Cause]:
    nor = f", nor one of {others}" if others else ""
    for complaint in label_key_complaints(name):
        yield invalid(path, name, f"is no resource{nor}: {complaint}")
