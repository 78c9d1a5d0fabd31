"""Room for those whom freeing one host of its fewest pods does not help: the solver's. Pure.

The pods that may be moved on a few hosts with much free room are placed anew together with those
that wait: everybody who runs must have a place, as many as possible the one they have, and so many
of a PodGroup as it needs; further members get what is left over. What the solver says is made only
if it costs no more moves than it may and holds beside everybody who runs.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from ...hookspecs import PodClass
from ...snapshot import Mask, Rows
from ..batch.modelling import Demand, Model, Wish, at_least, model
from ..batch.stated import ByHost, Liking
from ..draft import Draft
from ..framework import Framework
from ..inspection import inspect
from ..solver.objectives import Placed
from ..solver.problem import Problem
from ..solver.solution import Solution, Status
from ..state import request_vector
from .floor import Floor, Step
from .waiting import Waiting

MOST_REPAIRS = 4  # tried for one plan
_HOSTS = 12
_TENANTS = 150
_WAITING = 64  # members of one PodGroup

Repairing = Generator[Problem, Solution | None, Step | None]


def repair(floor: Floor, waiting: Waiting, most: int, before: Sequence[Step]) -> Repairing:
    """Yield a problem, be sent its solution, and make the moves that let enough of them in.

    Args:
        most: moves that a pod may cost.
        before: moves that the floor has made already.

    Raises:
        PluginError: a filter failed.
    """
    if len(waiting.pods) > _WAITING:
        return None
    able = floor.able()
    rows = _hosts(floor, waiting, able)
    there = set(rows.tolist())
    numbers = [number for number in able if floor.tenants[number].row in there]
    if not rows.size or not numbers or len(numbers) > _TENANTS:
        return None
    homes = _by_home(floor, numbers)
    made = _model(floor, waiting, homes, rows)
    solution = yield made.problem
    if solution is None or solution.status in (Status.INFEASIBLE, Status.UNKNOWN):
        return None
    step = _step(homes, made, solution, len(waiting.members))
    if not step.moves or len(step.moves) > most * len(waiting.pods):
        return None
    earlier = (move for each in before for move in each.moves)
    if not floor.holds_beside(Step((*earlier, *step.moves))) or not floor.make(step):
        return None
    if _admit(floor, waiting, made, solution):
        return step
    floor.undo(step)
    return None


def _hosts(floor: Floor, waiting: Waiting, able: Sequence[int]) -> Rows:
    """Return hosts that could take one of those who wait, and such as could take who then goes.

    Those with most room first, half of them at most of the former.
    """
    numbers = np.array(able, dtype=np.int64)
    snapshot = floor.snapshot()
    free = np.maximum(snapshot.allocatable - snapshot.requested, 0)
    shares = np.zeros(snapshot.size)
    floor.what_if.send_away(numbers)
    fits = snapshot.none()
    for pod, _ in waiting.members:
        fits[inspect(pod, floor.snapshot(), floor.filters, ()).rows] = True
        asked = request_vector(pod, snapshot.resource_row)
        needed = asked > 0
        shares = np.maximum(shares, (free[needed] / asked[needed, None]).min(axis=0, initial=1.0))
    floor.what_if.take_back(numbers)

    def best(among: Mask, most: int) -> list[int]:
        rows = np.flatnonzero(floor.hosts & among)
        return rows[np.lexsort((rows, -shares[rows]))][:most].tolist()

    first, takes, now = best(fits, _HOSTS // 2), fits.copy(), floor.snapshot()
    for pod in floor.by_class(n for n in able if floor.tenants[n].row in first):
        takes[inspect(pod, now, floor.filters, ()).rows] = True
    takes[first] = False
    rows = [*first, *best(takes, _HOSTS - len(first))] if first else []
    return np.sort(np.array(rows, dtype=np.int64))


def _by_home(floor: Floor, numbers: Sequence[int]) -> dict[tuple[PodClass, int], list[int]]:
    found: dict[tuple[PodClass, int], list[int]] = {}
    for number in numbers:
        tenant = floor.tenants[number]
        found.setdefault((tenant.pod, tenant.row), []).append(number)
    return found


def _model(
    floor: Floor, waiting: Waiting, homes: dict[tuple[PodClass, int], list[int]], rows: Rows
) -> Model:
    demands = [Demand(pod, count, 1.0) for pod, count in waiting.members]
    likes: dict[int, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for (pod, home), members in homes.items():
        likes[len(demands)] = (rows == home).astype(np.float64)
        demands.append(Demand(pod, len(members), 1.0))
    first = len(waiting.members)
    worth = np.array([float(c < first) for c in range(len(demands))])
    numbers = np.array([n for each in homes.values() for n in each], dtype=np.int64)
    stated = floor.stated([(each.pod, each.count) for each in demands], numbers, rows)
    wish = Wish((Liking("stays", ByHost(likes)), Placed(worth)), stated=stated)
    floor.what_if.send_away(numbers)
    made = model(demands, floor.snapshot(), rows, floor.filters, wish)
    floor.what_if.take_back(numbers)
    problem = at_least(made.problem, range(first), waiting.least)
    tenants = sum(map(len, homes.values()))
    problem = at_least(problem, range(first, len(demands)), tenants)
    return replace(made, problem=problem)


def _step(
    homes: dict[tuple[PodClass, int], list[int]], made: Model, solution: Solution, first: int
) -> Step:
    """Return the moves of tenants that a solution places elsewhere.

    Args:
        first: the first class that is of tenants.
    """
    moves: list[tuple[int, int]] = []
    for c, ((_, home), members) in enumerate(homes.items(), start=first):
        mine = solution.classes == c
        rows = np.repeat(made.rows[solution.nodes[mine]], solution.copies[mine])
        away: list[int] = rows[rows != home].tolist()
        moves += zip(members, away, strict=False)
    return Step(tuple(moves))


def _admit(floor: Floor, waiting: Waiting, made: Model, solution: Solution) -> bool:
    """Invite those who wait where the solution has them, if the rules let them in."""
    draft, framework = Draft(floor.snapshot()), Framework(floor.filters, ())
    guests: list[tuple[PodClass, int]] = []
    for c, (pod, _) in enumerate(waiting.members):
        mine = solution.classes == c
        wanted = np.zeros(floor.base.size, dtype=np.int64)
        wanted[made.rows[solution.nodes[mine]]] = solution.copies[mine]
        rows: list[int] = framework.follow(pod, wanted, draft).tolist()
        guests += [(pod, row) for row in rows]
    if len(guests) < waiting.least:
        return False
    for pod, row in guests:
        floor.invite(pod, row)
    return True
