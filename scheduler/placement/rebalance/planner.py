"""Chooses what to move: for pods that wait first, then for what a Rebalance's goal is. Pure."""

from collections.abc import Generator, Sequence
from dataclasses import replace

from ...snapshot import Mask
from ..plan import PendingPod
from ..solver.solution import Solution
from .consolidating import consolidate
from .defragmenting import bounds, defragment
from .floor import Floor, Step
from .improving import improve
from .plan import Aim, Planning, Question, RebalancePlan, asked, moves_of, told
from .proofs import MOST_PROOFS, prove
from .repair import MOST_REPAIRS, repair
from .room import make_room
from .waiting import Waiting, alike_once

_REPAIRING, _PROVING, _ROOMS = 0.2, 0.2, 0.4  # shares of the time


def plan(floor: Floor, aim: Aim) -> Planning:
    """Yield problems, be sent their solutions (or None), and return the plan.

    Raises:
        PluginError: a filter failed.
    """
    before = floor.used()
    made, without = make_room(floor, aim.waiting, aim.moves_per_host, aim.over)
    made += yield from _repair(floor, aim, [step for step, _ in made], without)
    if made:
        moves = [move for step, whom in made for move in moves_of(floor, step, _room_for(whom))]
        rooms = (pod.key for _, whom in made for pod in whom.pods)
        return replace(told(floor, before, moves, None), room=tuple(dict.fromkeys(rooms)))
    hopeless = tuple((yield from _prove(floor, without)))
    if aim.shapes:
        found = yield from _defragment(floor, aim, before)
        return replace(found, hopeless=hopeless)
    if aim.objective is not None:
        found = yield from improve(floor, aim.objective, aim, before)
        return replace(found, hopeless=hopeless)
    if not aim.empties:
        return replace(told(floor, before, (), None), empty=(), hopeless=hopeless)
    return replace((yield from consolidate(floor, aim, before)), hopeless=hopeless)


def _defragment(
    floor: Floor, aim: Aim, before: Mask
) -> Generator[Question, Solution | None, RebalancePlan]:
    made = defragment(floor, aim.shapes, aim.moves_per_host, aim.over)
    moves = [
        move
        for step, shape in made.steps
        for move in moves_of(floor, step, f"makes room for one more like {shape.name}")
    ]
    asking = bounds(floor.fresh(), made.rooms)
    rooms = yield from asked(asking, _ROOMS / len(aim.shapes))
    return replace(told(floor, before, moves, None), empty=(), rooms=rooms)


def _repair(
    floor: Floor, aim: Aim, before: Sequence[Step], waiting: Sequence[Waiting]
) -> Generator[Question, Solution | None, list[tuple[Step, Waiting]]]:
    """Ask the solver for moves that let others in, whom freeing a single host does not help."""
    made: list[tuple[Step, Waiting]] = []
    for each in alike_once(waiting)[:MOST_REPAIRS]:
        steps = [*before, *(step for step, _ in made)]
        repairing = repair(floor, each, aim.moves_per_host, steps)
        step = yield from asked(repairing, _REPAIRING / MOST_REPAIRS)
        if step is not None:
            made.append((step, each))
    return made


def _prove(
    floor: Floor, waiting: Sequence[Waiting]
) -> Generator[Question, Solution | None, list[tuple[PendingPod, str]]]:
    if not waiting:
        return []
    return (yield from asked(prove(floor.fresh(), waiting), _PROVING / MOST_PROOFS))


def _room_for(waiting: Waiting) -> str:
    return f"makes room for {waiting.name}"
