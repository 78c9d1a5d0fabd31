"""Moves pods so that an objective becomes better. Pure.

The solver places the pods that may be moved anew, beginning with where they are. Of what it would
move, those moves are kept that can be made one after the other, each with room while its pod is
still where it was; of these as many of the first as are worth most. Others are moved singly to
where they are worth more then, and no move is kept that is worth nothing. What is left is a plan
only if it is better by a stated share: so every plan that is carried out makes the objective
better, and it cannot go on for ever.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from ...objects.rebalance_job import MOST_MOVES, PlannedMove
from ...snapshot import Mask
from ..batch.valuing import held
from ..solver.objectives import maximised
from ..solver.solution import Goal, Solution, Status
from .floor import Floor, Step
from .objective import Case, Objective, Values, better, case_of
from .plan import Aim, Improved, Planning, Question, moves_of, told

_SOLVING = 0.8  # share of the time
_TRIES = 4  # hosts that are tried for a pod


def improve(floor: Floor, wanted: Objective, aim: Aim, before: Mask) -> Planning:
    """Yield a problem, be sent its solution, and return the plan.

    Args:
        before: hosts in use.

    Raises:
        PluginError: a rule failed.
    """
    case = case_of(floor, wanted)
    if case is None:
        return replace(told(floor, before, (), None), empty=())
    today = case.values()
    solution = yield Question(case.made.problem, _SOLVING)
    if solution is not None and solution.status in (Status.INFEASIBLE, Status.UNKNOWN):
        solution = None
    improving = _Improving(floor, case, aim)
    if solution is not None:
        improving.follow(sought(case, solution))
        improving.climb()
        improving.spare()
    if not better(today, case.values(), wanted.least):
        improving.leave(0)
    why = f"improves {', '.join(case.names)}"
    moves = [move for step in improving.steps for move in moves_of(floor, step, why)]
    improved = tuple(_improved(case, solution, today))
    return replace(told(floor, before, moves, None), empty=(), improved=improved)


def pays(floor: Floor, wanted: Objective, moves: Iterable[PlannedMove]) -> bool:
    """Tell whether moves still make an objective better.

    Args:
        floor: of the cluster as it is.

    Raises:
        PluginError: a rule failed.
    """
    case = case_of(floor, wanted)
    if case is None:
        return False
    numbers = {tenant.uid: number for number, tenant in enumerate(floor.tenants)}
    before = case.values()
    for move in moves:
        number, row = numbers.get(move.uid, -1), floor.base.row_of.get(move.target, -1)
        if number in case and row >= 0 and floor.hosts[row]:
            case.move(Step(((number, row),)))
    return better(before, case.values())


def sought(case: Case, solution: Solution) -> list[tuple[int, int]]:
    """Return (tenant, row) of those that a solution has elsewhere, of a class as few as can be."""
    size, found = case.made.rows.size, list[tuple[int, int]]()
    for c, (members, at) in enumerate(zip(case.members, case.at, strict=True)):
        mine = solution.classes == c
        new = np.bincount(solution.nodes[mine], solution.copies[mine], size).astype(np.int64)
        come = np.maximum(new - np.bincount(at, minlength=size), 0)
        leaving: list[int] = []
        for number, node in zip(members, at.tolist(), strict=True):
            if new[node]:
                new[node] -= 1
            else:
                leaving.append(number)
        rows: list[int] = np.repeat(case.made.rows, come).tolist()
        found += zip(leaving, rows, strict=False)
    return found


class _Improving:
    """Moves that have been made, one a step, in order."""

    def __init__(self, floor: Floor, case: Case, aim: Aim) -> None:
        self.floor, self.case, self.aim = floor, case, aim
        self.steps: list[Step] = []
        self._out = Counter[int]()  # by row, how many have left

    def follow(self, moves: Sequence[tuple[int, int]]) -> None:
        """Make those that can be made, those that gain most first, as long as it is worth most."""
        best, worth = 0, self.case.values()
        left, progress = self._by_gain(moves), True
        while left and progress:
            progress, waits = False, list[Step]()
            for step in left:
                if self._full or not self._make(step):
                    waits.append(step)
                    continue
                progress = True
                if better(worth, values := self.case.values()):
                    best, worth = len(self.steps), values
            left = waits
        self.leave(best)

    def climb(self) -> None:
        """Move further tenants, one by one, to where they are worth more, until none is."""
        left, progress = set(self.case) - {step.moves[0][0] for step in self.steps}, True
        while progress:
            progress = False
            for number in sorted(left):
                if self._full:
                    return
                if self._better_off(number):
                    left.discard(number)
                    progress = True

    def _better_off(self, number: int) -> bool:
        """Move a tenant if one of the best hosts for it takes it and that is better."""
        opens = self.floor.opens(number)
        rows = (row for row in self.case.gains(number) if opens is None or opens[row])
        for row in islice(rows, _TRIES):
            before = self.case.values()
            if self._make(Step(((number, row),))):
                if better(before, self.case.values()):
                    return True
                self.leave(len(self.steps) - 1)
        return False

    def spare(self) -> None:
        """Do without those that nothing is lost without, if the others can be made then."""
        if self.aim.over():
            return
        whole, worth, needed = list(self.steps), self.case.values(), list[Step]()
        for step in reversed(whole):
            before = self.case.values()
            self.case.put_back(step)
            if better(self.case.values(), before):
                self.case.move(step)
                needed.append(step)
        if len(needed) == len(whole) or self._again(needed[::-1], worth):
            return
        if not self._again(whole, worth):
            raise AssertionError("moves that were right are wrong the second time")

    def _again(self, steps: Sequence[Step], worth: Values) -> bool:
        """Make some moves instead of those that were made; tell whether they are worth as much."""
        self.leave(0)
        return all(self._make(step) for step in steps) and not better(self.case.values(), worth)

    def leave(self, many: int) -> None:
        """Take all back but the first."""
        while len(self.steps) > many:
            step = self.steps.pop()
            self._out[self.floor.tenants[step.moves[0][0]].row] -= 1
            self.floor.undo(step)
            self.case.put_back(step)

    @property
    def _full(self) -> bool:
        return len(self.steps) >= MOST_MOVES or self.aim.over()

    def _by_gain(self, moves: Sequence[tuple[int, int]]) -> list[Step]:
        gains: list[tuple[Values, int]] = []
        steps = [Step((move,)) for move in moves]
        for index, step in enumerate(steps):
            self.case.move(step)
            gains.append((self.case.values() if not self.aim.over() else (), -index))
            self.case.put_back(step)
        return [steps[-index] for _, index in sorted(gains, reverse=True)]

    def _make(self, step: Step) -> bool:
        ((number, row),) = step.moves
        source = self.floor.tenants[number].row
        if self._out[source] == self.aim.moves_per_host:
            return False
        if not self.floor.takes(number, row) or not self.floor.make(step):
            return False
        self.steps.append(step)
        self._out[source] += 1
        self.case.move(step)
        return True


def _improved(case: Case, solution: Solution | None, before: Values) -> Iterator[Improved]:
    """Yield what goals come to, in their own directions."""
    goals = case.made.problem.objectives[:-1]
    after, signs = case.values(), [1.0 if maximised(each) else -1.0 for each in goals]
    values = [sign * value for sign, value in zip(signs, after, strict=True)]
    proved: list[Goal | None] = [None] * len(values)
    if solution is not None:
        proved = list(held(solution.goals[: len(values)], values))
    for name, old, new, sign, goal in zip(case.names, before, values, signs, proved, strict=True):
        bound = goal.bound if goal is not None and math.isfinite(goal.bound) else None
        yield Improved(name, sign * old, new, bound)
