"""Empties hosts: those with the fewest pods first, then what the solver packs together. Pure.

Whole hosts are emptied onto hosts that stay in use; so a pod moves once, moves do not wait for each
other, and every plan that is carried out leaves fewer hosts in use than before: it cannot go on for
ever. Where one after another leaves more hosts in use than the solver's relaxation says are needed,
the solver is asked to pack the pods of more hosts together.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...hookspecs import PodClass
from ...objects.rebalance_job import MOST_MOVES
from ...snapshot import Mask, Rows
from ..batch.following import follow
from ..batch.modelling import Demand, Model, Wish, model
from ..batch.valuing import beaten
from ..framework import Framework
from ..solver.objectives import HostCost, Placed
from ..solver.solution import Solution, Status
from ..state import request_vector
from .floor import Among, Floor, Fullest, Step
from .plan import Aim, Planning, Question, moves_of, told
from .standing import admitting, content_of, homes_of, standing

_TRIES = 6  # sets of hosts that the solver is asked to pack away
_NOISE = 1e-6
_BOUNDING, _PACKING = 0.2, 0.4  # shares of the time


def consolidate(floor: Floor, aim: Aim, before: Mask) -> Planning:
    """Yield problems, be sent their solutions, and return the plan that empties hosts.

    Args:
        before: hosts in use.

    Raises:
        PluginError: a filter or a batch rule failed.
    """
    whole = _relaxed(floor)
    emptying = _Emptying(floor, aim)
    emptying.one_by_one()
    bound: int | None = None
    if whole is not None:
        solution = yield Question(whole.problem, _BOUNDING)
        bound = _bound(solution, whole, before)
        yield from emptying.together(_unused(solution, whole, before), bound)
    moves = [move for step in emptying.steps for move in moves_of(floor, step)]
    return told(floor, before, moves, bound)


@dataclass(slots=True)
class _Emptying:
    """The hosts that a plan empties, and how."""

    floor: Floor
    aim: Aim
    steps: list[Step] = field(default_factory=list[Step])

    def candidates(self) -> Iterator[int]:
        """Yield the hosts that may be emptied, the cheapest first."""
        floor = self.floor
        rows: list[int] = np.flatnonzero(floor.used()).tolist()
        able = [
            row
            for row in rows
            if row in floor.on and row not in floor.guests and not floor.why_not_empty(row)
        ]
        yield from sorted(able, key=lambda row: (len(floor.on[row]), row))

    def one_by_one(self) -> None:
        """Empty every host whose pods fit on those that stay."""
        count = 0
        for row in list(self.candidates()):
            cost = len(self.floor.on[row])
            count += cost
            if cost > self.aim.moves_per_host or count > MOST_MOVES or self.aim.over():
                return
            if row in self.floor.guests:
                count -= cost
                continue
            step = self.try_one(row)
            if step is None:
                count -= cost
            else:
                self.steps.append(step)

    def try_one(self, row: int) -> Step | None:
        targets = self.floor.used()
        targets[row] = False
        if not _may_hold(self.floor, self.floor.on[row], targets):
            return None
        step = self.floor.fit(self.floor.on[row], targets)
        return step if step is not None and self.floor.make(step) else None

    def together(
        self, unused: Sequence[int], bound: int | None
    ) -> Generator[Question, Solution | None, None]:
        """Empty more hosts, their pods packed together, as long as that is not proved futile."""
        for wanted in self._sets(unused):
            left = int(np.count_nonzero(self.floor.used()))
            if (bound is not None and left <= bound) or self.aim.over():
                return
            yield from self._pack(frozenset(wanted))

    def _sets(self, unused: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield sets of hosts to empty: the solver's, then those that are empty and one more."""
        if len(unused) > len(self.floor.emptied):
            yield unused
        guests = self.floor.guests
        tried: set[int] = set()
        for _ in range(_TRIES):
            rows: list[int] = np.flatnonzero(self.floor.used()).tolist()
            able = [r for r in rows if r in self.floor.on and not self.floor.why_not_empty(r)]
            able = sorted(set(able) - tried, key=lambda r: (len(self.floor.on[r]), r in guests, r))
            if not able:
                return
            tried.add(able[0])
            yield [*self.floor.emptied, able[0]]

    def _pack(self, wanted: frozenset[int]) -> Generator[Question, Solution | None, None]:
        floor = self.floor
        numbers = [number for row in sorted(wanted) for number in floor.on[row]]
        more = len(wanted) - len(floor.emptied)
        now = sum(len(step.moves) for step in self.steps)
        dear = len(numbers) - now > more * self.aim.moves_per_host
        if more < 1 or dear or len(numbers) > MOST_MOVES:
            return
        before, self.steps = self.steps, []
        for step in before:
            floor.undo(step)
        targets = floor.used()
        targets[list(wanted)] = False
        if _may_hold(floor, numbers, targets):
            members = floor.by_class(numbers)
            demands = [Demand(pod, len(each), 1.0) for pod, each in members.items()]
            rows, leave = np.flatnonzero(targets), np.array(numbers, dtype=np.int64)
            stated = floor.stated([(each.pod, each.count) for each in demands], leave, rows)
            snapshot, wish = floor.snapshot(), Wish((Placed(np.ones(len(demands))),), stated=stated)
            made = model(demands, snapshot, rows, floor.filters, wish)
            solution = yield Question(made.problem, _PACKING / _TRIES)
            framework = Framework((Among(targets), *floor.filters), (Fullest(),))
            step = _step(members, follow(made, solution, framework, snapshot).rows)
            if step is not None and floor.make(step):
                self.steps = [step]
                return
        for step in before:
            if not floor.make(step):
                raise AssertionError("a step that was right is wrong the second time")
        self.steps = before


def _step(members: dict[PodClass, list[int]], rows: Sequence[Rows]) -> Step | None:
    moves: list[tuple[int, int]] = []
    for numbers, placed in zip(members.values(), rows, strict=True):
        if placed.size < len(numbers):
            return None
        moves += zip(numbers, placed.tolist(), strict=True)
    return Step(tuple(moves))


def _may_hold(floor: Floor, numbers: Iterable[int], targets: Mask) -> bool:
    """Tell whether some hosts have as much room together as tenants ask for."""
    base, snapshot = floor.base, floor.snapshot()
    free = snapshot.allocatable[:, targets] - snapshot.requested[:, targets]
    room = np.maximum(free, 0).sum(axis=1)
    for pod, members in floor.by_class(numbers).items():
        room = room - request_vector(pod, base.resource_row) * len(members)
    return bool((room >= 0).all())


def _relaxed(floor: Floor) -> Model | None:
    """Return the problem of placing every movable pod anew on as few of the hosts as possible.

    What they break where they are, they may go on breaking.
    """
    free_to_go = [
        number
        for number, tenant in enumerate(floor.tenants)
        if not tenant.fixed and floor.hosts[tenant.row]
    ]
    if not free_to_go:
        return None
    numbers = np.array(free_to_go, dtype=np.int64)
    floor.what_if.send_away(numbers)
    members = floor.by_class(free_to_go)
    demands = [Demand(pod, len(each), 1.0) for pod, each in members.items()]
    rows = np.flatnonzero(floor.hosts)
    stays = _occupied(floor)
    wish = Wish((HostCost(np.where(stays[rows], 0.0, 1.0)),), require_all=True)
    made = model(demands, floor.snapshot(), rows, floor.filters, wish, floor.base)
    floor.what_if.take_back(numbers)
    content = content_of(homes_of(floor, members.values(), rows), rows.size)
    return replace(made, problem=admitting(standing(made.problem, content), content))


def _occupied(floor: Floor) -> Mask:
    """Return which hosts have pods that cannot be moved."""
    stays = floor.base.none()
    stays[[tenant.row for tenant in floor.tenants if tenant.fixed]] = True
    stays[list(floor.guests)] = True
    return stays & floor.hosts


def _bound(solution: Solution | None, whole: Model, used: Mask) -> int | None:
    """Return how many hosts are needed, those that cannot be emptied among them."""
    if solution is None or solution.status is Status.INFEASIBLE:
        return None  # rules have changed since: some pods could not come back where they are
    if not math.isfinite(solution.goals[0].bound):
        return None
    cost = _costs(whole)
    kept = int(np.count_nonzero(used[whole.rows] & (cost == 0)))
    needed = kept + max(math.ceil(solution.goals[0].bound - _NOISE), 0)
    return None if beaten(int(np.count_nonzero(used)), needed, maximised=False) else needed


def _unused(solution: Solution | None, whole: Model, used: Mask) -> list[int]:
    """Return the hosts in use that a solution which places everybody does without."""
    if solution is None or solution.copies.sum() < whole.problem.count.sum():
        return []
    empty = used[whole.rows] & (_costs(whole) > 0)
    empty[solution.nodes] = False
    return whole.rows[empty].tolist()


def _costs(whole: Model) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    (objective,) = whole.problem.objectives
    assert isinstance(objective, HostCost)
    return objective.cost
