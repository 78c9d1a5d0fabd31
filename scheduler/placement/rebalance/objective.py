"""An objective of a Rebalance in the solver's numbers, and what it comes to. Pure.

The pods that may be moved are placed anew, on the cluster without them; who breaks a batch rule, or
could not come back where it is, stays and is no part of that. Rules between pods that are broken
already are not asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...batch_terms import Batch
from ...hookspecs import PodClass
from ...objects.objective import Goal
from ...plugin_manager import GuardedScorer
from ...snapshot import Counts, Rows
from ..batch.modelling import Demand, Model, Wish, model
from ..batch.preferences import preferences
from ..batch.preparation import objectives
from ..batch.stated import state
from ..batch.valuing import value_of
from ..solver import objectives as kinds
from ..solver.ledger import Ledger, keeps
from ..solver.problem import Problem
from .floor import Floor, Step
from .standing import content_of, homes_of, standing

_NOISE = 1e-9

Values = tuple[float, ...]
"""What is reached of each goal, the more the better."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to become better.

    Args:
        goals: the most important first.
        scorers: of the profile, for what pods prefer.
        least: share of what a goal was by which it must become better, ≥ 0.
    """

    goals: tuple[Goal, ...]
    scorers: tuple[GuardedScorer, ...] = ()
    least: float = 0.0


def better(before: Values, after: Values, least: float = 0.0) -> bool:
    """Tell whether a goal is better by a share of what it was, and none before it is worse."""
    for old, new in zip(before, after, strict=True):
        noise = _NOISE * max(1.0, abs(old))
        if new < old - noise:
            return False
        if new > old + max(noise, least * abs(old)):
            return True
    return False


class Case:
    """Pods that may be moved, as a problem, and where each of them is.

    Args:
        made: its last objective is to move little, and nobody's goal.
        names: of the goals.
        members: by class, numbers of tenants.
        homes: by class, the problem's node of each of them.
    """

    def __init__(
        self,
        made: Model,
        names: tuple[str, ...],
        members: Sequence[Sequence[int]],
        homes: Sequence[Counts],
    ) -> None:
        self.made = made
        self.names = names
        self.members = members
        self.at = [each.copy() for each in homes]
        self._homes = homes
        self._place = {n: (c, i) for c, each in enumerate(members) for i, n in enumerate(each)}
        self._books = [_book(made.problem, each, self.at) for each in made.problem.objectives[:-1]]

    def __contains__(self, number: int) -> bool:
        return number in self._place

    def __iter__(self) -> Iterator[int]:
        return iter(self._place)

    def values(self) -> Values:
        """Return what is reached of each goal."""
        problem, found = self.made.problem, list[float]()
        for each, book in zip(problem.objectives, self._books, strict=False):
            value = book.worth if book is not None else value_of(each, problem, self.at)
            found.append(value if kinds.maximised(each) else -value)
        return tuple(found)

    def gains(self, number: int) -> Iterator[int]:
        """Yield rows where a tenant would be worth more, peaks aside, the best first.

        Only of goals whose books are kept, and of these the first.
        """
        book = next((each for each in self._books if each is not None), None)
        if book is not None:
            c, i = self._place[number]
            losses = book.losses(c, int(self.at[c][i]))
            for node in np.argsort(losses, kind="stable").tolist():
                if losses[node] >= 0:
                    return
                yield int(self.made.rows[node])

    def move(self, step: Step) -> None:
        """Count tenants on other rows."""
        for number, row in step.moves:
            self._put(number, int(np.searchsorted(self.made.rows, row)))

    def put_back(self, step: Step) -> None:
        """Count tenants where they are."""
        for number, _ in step.moves:
            c, i = self._place[number]
            self._put(number, int(self._homes[c][i]))

    def _put(self, number: int, node: int) -> None:
        c, i = self._place[number]
        for book in self._books:
            if book is not None:
                book.shift(c, int(self.at[c][i]), node)
        self.at[c][i] = node


def _book(given: Problem, objective: kinds.Objective, at: Sequence[Counts]) -> Ledger | None:
    """Return the books of a goal that it is dear to add up each time."""
    if not isinstance(objective, kinds.Preferred) or not keeps(given, objective):
        return None
    book = Ledger(given, objective)
    for c, nodes in enumerate(at):
        for node in nodes.tolist():
            book.shift(c, -1, node)
    book.worth = value_of(objective, given, at)
    return book


def case_of(floor: Floor, wanted: Objective) -> Case | None:
    """Return the case of a floor on which nobody has been moved; None where there is none.

    Raises:
        PluginError: a rule failed.
    """
    over = np.any(floor.base.requested > floor.base.allocatable, axis=0)
    offenders = floor.rulebook.offenders() if floor.rulebook else frozenset[PodClass]()
    numbers = [
        number
        for number in floor.able()
        if floor.hosts[floor.tenants[number].row]
        and not over[floor.tenants[number].row]
        and floor.tenants[number].pod not in offenders
    ]
    while numbers:
        case = _case(floor, numbers, wanted)
        if case is None:
            return None
        astray = _astray(case)
        if not astray:
            return case
        numbers = [number for number in numbers if number not in astray]
    return None


def _astray(case: Case) -> set[int]:
    """Return the tenants whose host would not take them any more."""
    problem = case.made.problem
    return {
        number
        for c, (members, at) in enumerate(zip(case.members, case.at, strict=True))
        for number, node in zip(members, at.tolist(), strict=True)
        if not problem.feasible[c, problem.group[node]]
    }


def _case(floor: Floor, numbers: Sequence[int], wanted: Objective) -> Case | None:
    rows, members = np.flatnonzero(floor.hosts), floor.by_class(numbers)
    leave = np.array(numbers, dtype=np.int64)
    floor.what_if.send_away(leave)
    found = _model(floor, rows, {pod: len(each) for pod, each in members.items()}, wanted)
    floor.what_if.take_back(leave)
    if found is None:
        return None
    made, names = found
    homes = homes_of(floor, members.values(), rows)
    content = content_of(homes, rows.size)
    classes, nodes = np.nonzero(content)
    current = np.stack([nodes, classes, content[classes, nodes]]).astype(np.int64)
    made = replace(made, problem=replace(standing(made.problem, content), current=current))
    return Case(made, names, list(members.values()), homes)


def _model(
    floor: Floor, rows: Rows, counts: dict[PodClass, int], wanted: Objective
) -> tuple[Model, tuple[str, ...]] | None:
    """Return the problem of placing so many pods, who are away, and its goals' names."""
    count = np.array(list(counts.values()), dtype=np.int64)
    snapshot = floor.snapshot()
    labels = tuple([goal.label for goal in wanted.goals])
    batch = Batch(snapshot, rows, tuple(counts), count, labels)
    stated = state(batch, floor.batch)
    likings = {each.name: each for each in stated.likings}
    if any(goal.prefer not in likings for goal in wanted.goals if goal.prefer):
        own = preferences(batch, wanted.scorers)
        likings.setdefault(own.name, own)
    named = dict(objectives(wanted.goals, {}, batch, likings))
    if not named:
        return None
    claims = tuple([stated.bounds.get(name, (None, None))[1] for name in named])
    little = kinds.Kept(np.ones(count.size))
    wish = Wish((*named.values(), little), require_all=True, stated=stated, claims=(*claims, None))
    demands = [Demand(pod, many, 1.0) for pod, many in counts.items()]
    return model(demands, snapshot, rows, floor.filters, wish, floor.base), tuple(named)
