"""The lines that pending pods wait in. Pure; see queue."""

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum

from ..objects.pod_class import PodClass
from ..objects.stored import ObjectKey
from .framework import Diagnosis
from .plan import Gang, PendingPod

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 10.0

Wanted = PodClass | Gang
"""What waits as one: the pods of a class, or a whole gang."""


class Place(Enum):
    """Where a class waits."""

    ACTIVE = 1
    BACKOFF = 2
    PARKED = 3


@dataclass(slots=True, eq=False)
class WaitingClass:
    """The waiting pods of one class, all in the same place.

    Args:
        pods: pod → when it arrived, in order of arrival.
        attempts: tries in a row that left pods over.
        tried: time of the last one.
        until: when back-off or parking ends.
        line: among whom it is: the active ones that it takes turns with, or the parked ones that
            the same changes wake.
    """

    pod: Wanted
    place: Place = Place.ACTIVE
    pods: dict[ObjectKey, tuple[float, PendingPod]] = field(
        default_factory=dict[ObjectKey, tuple[float, PendingPod]]
    )
    attempts: int = 0
    tried: float = 0.0
    until: float = 0.0
    diagnosis: Diagnosis | None = None
    line: "Line | None" = None

    def backoff_ends(self) -> float:
        """Return when the class may be tried again."""
        if not self.attempts:
            return self.tried
        return self.tried + min(FIRST_BACKOFF * 2 ** min(self.attempts - 1, 10), LONGEST_BACKOFF)


Line = OrderedDict[WaitingClass, None]  # first come, first served; anyone may leave at once


@dataclass(slots=True)
class Level:
    """The active classes of one priority: those never tried, and those that have failed.

    Args:
        turn: whose turn it is, as an index of lines.
    """

    lines: tuple[Line, Line] = field(default_factory=lambda: (OrderedDict(), OrderedDict()))
    turn: int = 0


class Levels:
    """Active classes by priority."""

    def __init__(self) -> None:
        self._levels: dict[int, Level] = {}
        self._priorities: list[int] = []

    def join(self, group: WaitingClass) -> None:
        """Go to the end of a line."""
        priority = group.pod.priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Level()
            insort(self._priorities, priority)
        group.line = level.lines[group.attempts > 0]
        group.line[group] = None

    def leave(self, group: WaitingClass) -> None:
        """Leave the line."""
        assert group.line is not None
        del group.line[group]
        priority = group.pod.priority
        if not any(self._levels[priority].lines):
            del self._levels[priority]
            self._priorities.remove(priority)

    def first(self) -> WaitingClass | None:
        """Return who is served next."""
        if not self._priorities:
            return None
        level = self._levels[self._priorities[-1]]
        return next(iter(level.lines[level.turn] or level.lines[1 - level.turn]))

    def end_turn(self, group: WaitingClass) -> None:
        """Go to the end of one's line; the next turn is the other line's."""
        level = self._levels[group.pod.priority]
        level.turn = int(group.line is level.lines[0])
        level.lines[1 - level.turn].move_to_end(group)
