"""What an objective of a Placement or a Rebalance may say."""

from collections.abc import Iterable

from ...errors import Cause
from ..json import JsonObject
from ..names import label_key_complaints
from .causes import invalid, one_of
from .fields import text

_WORTH = ("count", "priority", "value")


def goal_causes(goal: JsonObject, path: str) -> Iterable[Cause]:
    """Yield what is wrong with one goal."""
    place, hosts, prefer = text(goal, "place"), text(goal, "hosts"), text(goal, "prefer")
    if bool(place) + bool(hosts) + bool(prefer) != 1:
        yield invalid(path, "", "must set one of place, hosts and prefer")
    if hosts:
        yield from one_of(f"{path}.hosts", hosts, ("fewest", "cost"))
    elif place and place not in _WORTH:
        for complaint in label_key_complaints(place):
            yield invalid(
                f"{path}.place", place, f"is no resource, nor one of {_WORTH}: {complaint}"
            )
