"""The search: bound, greedies, columns, diving, then better and better until time or proof ends it.

Sources: Gilmore and Gomory 1961 (columns), Lübbecke and Desrosiers 2005 (column generation),
Sadykov et al. 2019 (diving), Shaw 1998 (large neighbourhood search).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Counts
from .certifying import certify, complete
from .deadline import FOREVER, Deadline
from .improving import polish, settle_small
from .objectives import Placed
from .problem import Problem
from .search import Limits, Search
from .solution import Goal, Progress, Solution, Status


def _nobody(_: Progress) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Options:
    """How long to search, and who hears of it.

    Args:
        seconds: deadline, from the call on; infinite for as long as the engine finds it worth.
        gap: stop when every goal is within this of its bound, relative.
        seed: of everything random; equal seeds give equal plans where no deadline interferes.
        report: called on the engine's thread at every better plan and bound.
        cancelled: asked at every step; True ends the search with what there is.
        clock: seconds that only grow, for the deadline.
    """

    seconds: float = FOREVER
    gap: float = 0.0
    seed: int = 1
    report: Callable[[Progress], None] = _nobody
    cancelled: Callable[[], bool] = _never
    clock: Callable[[], float] = time.monotonic


def solve(given: Problem, options: Options | None = None) -> Solution:
    """Return the best plan found in time, with what is proved about it.

    A problem that demands everything is solved for as many copies as possible first; a bound below
    all of them is the proof that it cannot be done.
    """
    options = options or Options()
    if not given.require_all:
        return _solve(given, options)
    everything = Placed(np.ones(given.count.size))
    asked = replace(given, require_all=False, objectives=(everything, *given.objectives))
    found = _solve(asked, options)
    most, goals = found.goals[0], found.goals[1:]
    wanted = float(given.count.sum())
    if most.value == wanted:
        return replace(found, goals=goals, status=_status(goals))
    if most.bound < wanted - 0.5:
        reason = f"no plan places more than {most.bound:.0f} of {wanted:.0f} copies"
        return _without_plan(found, goals, Status.INFEASIBLE, reason)
    reason = f"{most.value:.0f} of {wanted:.0f} copies placed; not proved that no plan does more"
    return _without_plan(found, goals, Status.UNKNOWN, reason)


def _solve(given: Problem, options: Options) -> Solution:
    deadline = Deadline(options.seconds, options.clock, options.cancelled)
    search = Search(given, Limits(deadline, options.gap), options.seed, options.report)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("bound", search.prove),
        ("greedy", search.greedy),
        ("contents", lambda: complete(search)),
        ("columns", search.generate),
        ("dive", search.dive),
        ("exact", lambda: settle_small(search)),
        ("proof", lambda: certify(search)),
        ("polish", lambda: polish(search)),
    )
    search.incumbent.offer(search.empty())
    for phase, step in steps:
        if search.done:
            break
        search.incumbent.enter(phase)
        step()
    search.incumbent.enter("")
    return _answer(search, options)


def _answer(search: Search, options: Options) -> Solution:
    incumbent = search.incumbent
    state = incumbent.best or search.empty()
    classes, nodes = np.nonzero(state.content)
    goals = incumbent.goals()
    if options.cancelled():
        reason = "cancelled"
    elif incumbent.within(options.gap):
        reason = "every goal is within the gap asked for"
    elif search.deadline.over:
        reason = "the deadline has passed"
    else:
        reason = "no further improvement was found"
    return Solution(
        nodes=nodes.astype(np.int64),
        classes=classes.astype(np.int64),
        copies=state.content[classes, nodes],
        goals=goals,
        status=_status(goals),
        reason=reason,
        seconds=incumbent.seconds,
    )


def _status(goals: tuple[Goal, ...]) -> Status:
    return Status.OPTIMAL if all(goal.proved for goal in goals) else Status.FEASIBLE


def _without_plan(
    found: Solution, goals: tuple[Goal, ...], status: Status, reason: str
) -> Solution:
    nothing: Counts = np.zeros(0, dtype=np.int64)
    return replace(
        found,
        nodes=nothing,
        classes=nothing,
        copies=nothing,
        goals=goals,
        status=status,
        reason=reason,
    )
