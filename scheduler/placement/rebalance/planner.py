"""Chooses what to move: hosts to empty, or pods that are in the way of one that waits.

Pure. Whole hosts are emptied, those with the fewest pods first, onto hosts that stay in use; so a
pod moves once, moves do not wait for each other, and every plan that is carried out leaves fewer
hosts in use than before: it cannot go on for ever. Where one after another leaves more hosts in use
than the solver's relaxation says are needed, the solver is asked to pack the pods of more hosts
together.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np

from ...hookspecs import PodClass
from ...objects.rebalance_job import MOST_FIXED, MOST_MOVES
from ...objects.stored import ObjectKey
from ...snapshot import Mask, Rows
from ..batch.following import follow
from ..batch.modelling import Demand, Model, Wish, model
from ..framework import Framework
from ..plan import PendingPod
from ..solver.objectives import HostCost, Placed
from ..solver.problem import Problem
from ..solver.solution import Solution, Status
from ..state import request_vector
from .defragmenting import Room, Wanted, bounds, defragment
from .floor import Among, Floor, Fullest, Step
from .proofs import MOST_PROOFS, prove
from .repair import MOST_REPAIRS, repair
from .room import make_room
from .waiting import Waiting, alike_once

_TRIES = 6  # sets of hosts that the solver is asked to pack away
_NOISE = 1e-6
_REPAIRING, _PROVING, _BOUNDING, _PACKING = 0.2, 0.2, 0.2, 0.4  # shares of the time


@dataclass(frozen=True, slots=True)
class Aim:
    """What a plan should be good for.

    Args:
        moves_per_host: what a host, or the room for a pod, may cost at most.
        waiting: who should get room, the most important first; () for hosts only.
        empties: whether hosts are to be emptied.
        shapes: pods that there should be room for, the most important first.
        over: tells that it is time to come to an end.
    """

    moves_per_host: int = 20
    waiting: tuple[Waiting, ...] = ()
    empties: bool = True
    shapes: tuple[Wanted, ...] = ()
    over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Question:
    """A problem that somebody else solves.

    Args:
        share: of the time there is.
    """

    problem: Problem
    share: float


@dataclass(frozen=True, slots=True)
class Move:
    """A pod that is to be replaced on another host."""

    pod: ObjectKey
    uid: str
    source: str
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """What to move, and what it is good for.

    Args:
        total: chosen hosts. used: of them, those with pods. after: once everything is moved.
        bound: fewer cannot do, whatever is moved; None where it is not known.
        empty: hosts without pods once everything is moved.
        fixed: hosts that stay in use, and why.
        room: waiting pods that get room.
        rooms: what it comes to for shapes.
        hopeless: waiting pods that are proved to have none, whoever is moved, and the proof.
    """

    moves: tuple[Move, ...]
    total: int
    used: int
    after: int
    bound: int | None
    empty: tuple[str, ...]
    fixed: tuple[tuple[str, str], ...]
    room: tuple[ObjectKey, ...] = ()
    rooms: tuple[Room, ...] = ()
    hopeless: tuple[tuple[PendingPod, str], ...] = ()


NOTHING = RebalancePlan((), 0, 0, 0, None, (), ())
"""The plan that nobody has looked for, because nothing waits."""

T = TypeVar("T")
Asking = Generator[Question, Solution | None, T]
Planning = Generator[Question, Solution | None, RebalancePlan]


def plan(floor: Floor, aim: Aim) -> Planning:
    """Yield problems, be sent their solutions (or None), and return the plan.

    Raises:
        PluginError: a filter failed.
    """
    before = floor.used()
    made, without = make_room(floor, aim.waiting, aim.moves_per_host, aim.over)
    made += yield from _repair(floor, aim, [step for step, _ in made], without)
    if made:
        moves = [move for step, whom in made for move in _moves(floor, step, _room_for(whom))]
        rooms = (pod.key for _, whom in made for pod in whom.pods)
        return replace(_told(floor, before, moves, None), room=tuple(dict.fromkeys(rooms)))
    hopeless = tuple((yield from _prove(floor, without)))
    if aim.shapes:
        found = yield from _defragment(floor, aim, before)
        return replace(found, hopeless=hopeless)
    if not aim.empties:
        return replace(_told(floor, before, (), None), empty=(), hopeless=hopeless)
    whole = _relaxed(floor, before)
    emptying = _Emptying(floor, aim)
    emptying.one_by_one()
    bound: int | None = None
    if whole is not None:
        solution = yield Question(whole.problem, _BOUNDING)
        bound = _bound(solution, whole, before)
        yield from emptying.together(_unused(solution, whole, before), bound)
    moves = [move for step in emptying.steps for move in _moves(floor, step)]
    return replace(_told(floor, before, moves, bound), hopeless=hopeless)


def _defragment(
    floor: Floor, aim: Aim, before: Mask
) -> Generator[Question, Solution | None, RebalancePlan]:
    made = defragment(floor, aim.shapes, aim.moves_per_host, aim.over)
    moves = [
        move
        for step, shape in made.steps
        for move in _moves(floor, step, f"makes room for one more like {shape.name}")
    ]
    asking = bounds(floor.fresh(), made.rooms)
    rooms = yield from _asked(asking, _PACKING / len(aim.shapes))
    return replace(_told(floor, before, moves, None), empty=(), rooms=rooms)


def _asked(asking: Generator[Problem, Solution | None, T], share: float) -> Asking[T]:
    """Have problems solved in a share of the time each."""
    answer: Solution | None = None
    try:
        while True:
            answer = yield Question(asking.send(answer), share)
    except StopIteration as done:
        return cast(T, done.value)


def _repair(
    floor: Floor, aim: Aim, before: Sequence[Step], waiting: Sequence[Waiting]
) -> Generator[Question, Solution | None, list[tuple[Step, Waiting]]]:
    """Ask the solver for moves that let others in, whom freeing a single host does not help."""
    made: list[tuple[Step, Waiting]] = []
    for each in alike_once(waiting)[:MOST_REPAIRS]:
        steps = [*before, *(step for step, _ in made)]
        repairing = repair(floor, each, aim.moves_per_host, steps)
        step = yield from _asked(repairing, _REPAIRING / MOST_REPAIRS)
        if step is not None:
            made.append((step, each))
    return made


def _prove(
    floor: Floor, waiting: Sequence[Waiting]
) -> Generator[Question, Solution | None, list[tuple[PendingPod, str]]]:
    if not waiting:
        return []
    return (yield from _asked(prove(floor.fresh(), waiting), _PROVING / MOST_PROOFS))


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
            snapshot, wish = floor.snapshot(), Wish((Placed(np.ones(len(demands))),))
            made = model(demands, snapshot, np.flatnonzero(targets), floor.filters, wish)
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


def _relaxed(floor: Floor, used: Mask) -> Model | None:
    """Return the problem of placing every movable pod anew on as few of the hosts as possible."""
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
    made = model(demands, floor.snapshot(), rows, floor.filters, wish)
    floor.what_if.take_back(numbers)
    return made


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
    needed = math.ceil(solution.goals[0].bound - _NOISE)
    return min(kept + max(needed, 0), int(np.count_nonzero(used)))


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


def _moves(floor: Floor, step: Step, why: str = "") -> Iterator[Move]:
    names = floor.base.nodes
    for number, row in step.moves:
        tenant = floor.tenants[number]
        source = names[tenant.row].name
        said = why or f"empties {source}"
        yield Move(tenant.key, tenant.uid, source, names[row].name, said)


def _room_for(waiting: Waiting) -> str:
    return f"makes room for {waiting.name}"


def _told(
    floor: Floor,
    before: Mask,
    moves: Sequence[Move],
    bound: int | None,
) -> RebalancePlan:
    after = floor.used()
    return RebalancePlan(
        moves=tuple(moves),
        total=int(np.count_nonzero(floor.hosts)),
        used=int(np.count_nonzero(before)),
        after=int(np.count_nonzero(after)),
        bound=bound,
        empty=floor.base.names(np.flatnonzero(floor.hosts & ~after)),
        fixed=tuple(_fixed(floor, after))[:MOST_FIXED],
    )


def _fixed(floor: Floor, after: Mask) -> Iterator[tuple[str, str]]:
    rows: list[int] = np.flatnonzero(after).tolist()
    for row in rows:
        reason = floor.why_not_empty(row) if row in floor.on else ""
        if reason:
            yield floor.base.nodes[row].name, reason
