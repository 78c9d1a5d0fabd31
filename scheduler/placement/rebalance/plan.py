"""What a Rebalance should be good for, and what is to be moved for it. Pure."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

from ...objects.rebalance_job import MOST_FIXED
from ...objects.stored import ObjectKey
from ...snapshot import Mask
from ..plan import PendingPod
from ..solver.problem import Problem
from ..solver.solution import Solution
from .defragmenting import Room, Wanted
from .floor import Floor, Step
from .objective import Objective
from .waiting import Waiting


@dataclass(frozen=True, slots=True)
class Aim:
    """What a plan should be good for.

    Args:
        moves_per_host: what a host, or the room for a pod, may cost at most.
        waiting: who should get room, the most important first; () for hosts only.
        empties: whether hosts are to be emptied.
        shapes: pods that there should be room for, the most important first.
        objective: what should become better, None for nothing.
        over: tells that it is time to come to an end.
    """

    moves_per_host: int = 20
    waiting: tuple[Waiting, ...] = ()
    empties: bool = True
    shapes: tuple[Wanted, ...] = ()
    objective: Objective | None = None
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
class Improved:
    """What a goal of an objective is worth.

    Args:
        before: as pods are. after: once everything is moved.
        bound: nothing is better, whatever is moved; None where it is not known.
    """

    name: str
    before: float
    after: float
    bound: float | None


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
        improved: what it comes to for the goals of an objective.
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
    improved: tuple[Improved, ...] = ()


NOTHING = RebalancePlan((), 0, 0, 0, None, (), ())
"""The plan that nobody has looked for, because nothing waits."""

T = TypeVar("T")
Asking = Generator[Question, Solution | None, T]
Planning = Generator[Question, Solution | None, RebalancePlan]


def asked(asking: Generator[Problem, Solution | None, T], share: float) -> Asking[T]:
    """Have problems solved in a share of the time each."""
    answer: Solution | None = None
    try:
        while True:
            answer = yield Question(asking.send(answer), share)
    except StopIteration as done:
        return cast(T, done.value)


def moves_of(floor: Floor, step: Step, why: str = "") -> Iterator[Move]:
    """Yield the moves of a step; without a reason they empty hosts."""
    names = floor.base.nodes
    for number, row in step.moves:
        tenant = floor.tenants[number]
        source = names[tenant.row].name
        said = why or f"empties {source}"
        yield Move(tenant.key, tenant.uid, source, names[row].name, said)


def told(
    floor: Floor,
    before: Mask,
    moves: Sequence[Move],
    bound: int | None,
) -> RebalancePlan:
    """Return the plan of moves that a floor has made."""
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
