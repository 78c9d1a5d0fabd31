"""Moves pods so that more copies of a shape have room. Pure.

How many copies of each shape would fit, the other shapes aside, is what counts, the first shape
first. A step is made only if one more of its shape fits and no fewer of those before it; so every
plan that is carried out leaves more room, up to what was asked for, and it cannot go on for ever.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from ...hookspecs import PodClass
from ...objects.rebalance_job import MOST_MOVES
from ..batch.modelling import Demand
from ..batch.relaxing import Freedom, bound_of, relaxed
from ..draft import Draft
from ..framework import Framework
from ..solver.problem import Problem
from ..solver.solution import Solution
from .floor import Floor, Step
from .room import step_for


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many copies of a pod that there should be room for."""

    name: str
    pod: PodClass
    count: int


@dataclass(frozen=True, slots=True)
class Room:
    """How many copies of a shape have room, before and after.

    Args:
        bound: more cannot have, whatever is moved; None where it is not known.
    """

    wanted: Wanted
    fit: int
    after: int
    bound: int | None = None


@dataclass(frozen=True, slots=True)
class Defragmented:
    """The steps, each with the shape that it makes room for, and what they come to."""

    steps: tuple[tuple[Step, Wanted], ...]
    rooms: tuple[Room, ...]


def defragment(
    floor: Floor,
    shapes: Sequence[Wanted],
    most: int,
    over: Callable[[], bool] = lambda: False,
) -> Defragmented:
    """Make the moves that give room to more copies of shapes, the most important first.

    Args:
        most: moves that one more copy may cost.
        over: tells that it is time to come to an end.

    Raises:
        PluginError: a filter failed.
    """
    before = [_fit(floor, shape) for shape in shapes]
    now, steps = list(before), list[tuple[Step, Wanted]]()
    for number, shape in enumerate(shapes):
        while now[number] < shape.count and not over():
            left = min(most, MOST_MOVES - len(floor.moved))
            step = _one_more(floor, shape, left, [step for step, _ in steps]) if left else None
            if step is None:
                break
            then = [_fit(floor, each) for each in shapes]
            worse = any(t < n for t, n in zip(then[:number], now[:number], strict=True))
            if worse or then[number] <= now[number]:
                floor.undo(step)
                break
            now = then
            steps.append((step, shape))
    rooms = [Room(shape, fit, after) for shape, fit, after in zip(shapes, before, now, strict=True)]
    return Defragmented(tuple(steps), tuple(rooms))


def bounds(
    floor: Floor, rooms: Sequence[Room]
) -> Generator[Problem, Solution | None, tuple[Room, ...]]:
    """Yield problems, be sent their solutions, and return rooms with their bounds.

    Args:
        floor: with nobody moved.
    """
    found: list[Room] = []
    for room in rooms:
        bound = room.wanted.count if room.after == room.wanted.count else None
        if bound is None:
            demand = Demand(room.wanted.pod, room.wanted.count, 1.0)
            problem = relaxed(floor, [demand], floor.base.all_rows, Freedom(moves=True))
            most = bound_of((yield problem)) if problem is not None else None
            bound = None if most is None or most < room.after - 1e-6 else int(most + 1e-6)
        found.append(replace(room, bound=bound))
    return tuple(found)


def _fit(floor: Floor, shape: Wanted) -> int:
    draft = Draft(floor.snapshot())
    return Framework(floor.filters, ()).decide(shape.pod, shape.count, draft).rows.size


def _one_more(floor: Floor, shape: Wanted, most: int, before: Sequence[Step]) -> Step | None:
    """Make moves by which one more copy fits beside those that do."""

    def allowed(step: Step) -> bool:
        earlier = (move for each in before for move in each.moves)
        return floor.holds_beside(Step((*earlier, *step.moves)))

    draft = Draft(floor.snapshot())
    rows: list[int] = (
        Framework(floor.filters, ()).decide(shape.pod, shape.count, draft).rows.tolist()
    )
    for row in rows:
        floor.invite(shape.pod, row)
    found = step_for(floor, shape.pod, most, allowed)
    if found is not None:
        rows.append(found[1])
    for row in rows:
        floor.uninvite(shape.pod, row)
    return found[0] if found is not None else None
