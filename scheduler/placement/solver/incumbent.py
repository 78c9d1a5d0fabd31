"""The best plan so far, goal by goal, and what is proved about it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .bound import ceiling
from .company import circle
from .deadline import Deadline
from .objectives import (
    Balanced,
    HostCost,
    Kept,
    Meeting,
    Objective,
    Placed,
    Preferred,
    Stranded,
    maximised,
)
from .occupancy import Occupancy
from .penalties import missing, penalty
from .problem import Problem
from .room import imbalance, least_imbalance, stranded
from .solution import Goal, Progress

_NOISE = 1e-9


@dataclass(slots=True)
class Incumbent:
    """Keeps the best of the plans offered.

    Values and bounds are of what is maximised: costs count negative.

    Args:
        bounds: of each objective, given the value of those before.
        report: hears of every better plan.
    """

    given: Problem
    deadline: Deadline
    report: Callable[[Progress], None]
    bounds: list[float] = field(init=False)
    best: Occupancy | None = None
    values: tuple[float, ...] = ()
    phase: str = ""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    _begun: float = 0.0

    def __post_init__(self) -> None:
        self.bounds = [ceiling(self.given, objective) for objective in self.given.objectives]

    def enter(self, phase: str) -> None:
        """Say what is being done from now on; an empty name ends the last phase."""
        now = self.deadline.elapsed
        if self.phase:
            self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self._begun
        self.phase, self._begun = phase, now
        if phase:
            self.tell()

    def offer(self, state: Occupancy) -> bool:
        """Keep a plan if it is better; the caller leaves it alone from then on.

        Args:
            state: breaks no rule.
        """
        values = achieved(self.given, state)
        if self.best is not None and not _better(values, self.values):
            return False
        self.best, self.values = state, values
        self.tell()
        return True

    def exchange(self, state: Occupancy) -> None:
        """Keep a plan in place of the best if it is as good: others can be reached from it."""
        if not _better(self.values, achieved(self.given, state)):
            self.best = state

    def prove(self, goal: int, bound: float) -> None:
        """Note a bound."""
        if bound < self.bounds[goal]:
            self.bounds[goal] = bound
            self.tell()

    def tell(self) -> None:
        """Report the goal that is worked on: the first that is not proved, else the last."""
        if not self.values:
            self.tell_of(0, -math.inf)
            return
        goals = range(len(self.values))
        goal = next((goal for goal in goals if not self.within_goal(goal, 0.0)), goals[-1])
        self.tell_of(goal, self.values[goal])

    def tell_of(self, goal: int, value: float, tried: int = 0) -> None:
        """Report what is reached of a goal, by somebody who has not offered it yet."""
        sign = 1.0 if maximised(self.given.objectives[goal]) else -1.0
        bound, now = sign * self.bound(goal), self.deadline.elapsed
        self.report(Progress(self.phase, sign * value, bound, now, goal, tried))

    def within(self, gap: float) -> bool:
        """Tell whether every goal is within a relative gap of its bound."""
        return all(self.within_goal(goal, gap) for goal in range(len(self.bounds)))

    def within_goal(self, goal: int, gap: float) -> bool:
        """Tell whether one goal is."""
        if not self.values:
            return False
        bound = self.bound(goal)
        if not math.isfinite(bound):
            return False
        return bound - self.values[goal] <= max(gap, _NOISE) * abs(bound)

    def bound(self, goal: int) -> float:
        """Return the best bound known; a claim that the best plan beats is none."""
        proved, objective = self.bounds[goal], self.given.objectives[goal]
        if isinstance(objective, Balanced) and self._all_placed(goal):
            proved = min(proved, -least_imbalance(self.given, objective, whole=True))
        claim = self.given.claims[goal] if self.given.claims else None
        if claim is None:
            return proved
        claim = claim if maximised(objective) else -claim
        beaten = bool(self.values) and self.values[goal] > claim + _NOISE * abs(claim)
        return proved if beaten else min(proved, claim)

    def _all_placed(self, goal: int) -> bool:
        """Tell whether plans as good in the goals before place everything."""
        return bool(self.values) and any(
            isinstance(each, Placed)
            and (each.value > 0).all()
            and value >= ceiling(self.given, each)
            for each, value in zip(self.given.objectives[:goal], self.values, strict=False)
        )

    def goals(self) -> tuple[Goal, ...]:
        """Return the objectives with values and bounds in their own directions."""
        found: list[Goal] = []
        bounds = [self.bound(goal) for goal in range(len(self.bounds))]
        for objective, value, bound in zip(self.given.objectives, self.values, bounds, strict=True):
            up = maximised(objective)
            sign = 1.0 if up else -1.0
            proved = max(bound, value) if abs(bound - value) <= _NOISE * abs(value) else bound
            found.append(Goal(type(objective).__name__, sign * value, sign * proved, up))
        return tuple(found)


def achieved(given: Problem, state: Occupancy) -> tuple[float, ...]:
    """Return what a plan reaches in each objective; costs are negative."""
    return tuple(_value(given, objective, state) for objective in given.objectives)


def _value(given: Problem, objective: Objective, state: Occupancy) -> float:
    if isinstance(objective, Placed):
        return float(objective.value @ (given.count - state.left))
    if isinstance(objective, HostCost):
        return -float(objective.cost @ state.used)
    if isinstance(objective, Preferred):
        per_group = np.zeros(objective.weight.shape)
        np.add.at(per_group.T, given.group, state.content.T)
        met = sum(_met(given, meeting, state) for meeting in objective.meetings)
        group, content = given.group, state.content
        met += sum(circle(each, group, content).worth for each in objective.companies)
        met -= penalty(objective, group, content)
        return float((objective.weight * per_group).sum()) + met
    if isinstance(objective, Kept):
        nodes, classes, copies = given.current
        stay = np.minimum(state.content[classes, nodes], copies)
        return float(objective.weight[classes] @ stay)
    if isinstance(objective, Balanced):
        return -imbalance(given, objective, state.content)
    if isinstance(objective, Stranded):
        return -stranded(given, objective, state.content)
    return -missing(given, state.content)


def _met(given: Problem, meeting: Meeting, state: Occupancy) -> float:
    """Return what a pairwise term adds."""
    codes = np.arange(given.group.size)
    if meeting.domain is not None:
        codes = meeting.domain[given.group]
    sides = [
        np.unique(codes[state.content[list(side)].any(axis=0) & (codes >= 0)])
        for side in (meeting.left, meeting.right)
    ]
    return meeting.worth * np.intersect1d(*sides, assume_unique=True).size


def _better(values: tuple[float, ...], than: tuple[float, ...]) -> bool:
    for mine, other in zip(values, than, strict=True):
        if abs(mine - other) > _NOISE * max(1.0, abs(other)):
            return mine > other
    return False
