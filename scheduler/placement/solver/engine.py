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
from .improving import please, polish, settle_small
from .objectives import Objective, Placed, Shortfall
from .problem import Problem
from .rules import Across, Floor
from .search import Limits, Search
from .softening import anneal, refine, settled_before
from .solution import Goal, Progress, Solution, Status

_NOISE = 1e-6
_ENDING = 4e-8  # seconds for a class on a node: what is begun is ended, and the plan read off
_MOST_ENDING = 0.1  # of the deadline


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

    What is demanded (Floors, Acrosses, everything placed) is solved for as a goal first; a bound
    that falls short of it is the proof that it cannot be done.
    """
    options = options or Options()
    demanded: list[Objective] = []
    if any(isinstance(rule, Floor | Across) for rule in given.rules):
        demanded.append(Shortfall())
    if given.require_all:
        demanded.append(Placed(np.ones(given.count.size)))
    asked = replace(
        given,
        require_all=False,
        objectives=(*demanded, *given.objectives),
        claims=(*[None] * len(demanded), *given.claims) if given.claims else (),
    )
    before = len(demanded)

    def report(progress: Progress) -> None:
        options.report(replace(progress, goal=progress.goal - before))

    found = _solve(asked, replace(options, report=report))
    goals = found.goals[len(demanded) :]
    for objective, goal in zip(demanded, found.goals, strict=False):
        if isinstance(objective, Shortfall):
            found = _floored(found, goal)
        else:
            found = _complete(found, goal, float(given.count.sum()))
        if found.status in (Status.INFEASIBLE, Status.UNKNOWN):
            return replace(found, goals=goals)
    return replace(found, goals=goals, status=_status(goals))


def _floored(found: Solution, missing: Goal) -> Solution:
    """Return a solution that has what rules demand, or why there is none."""
    if missing.value <= 0:
        return found
    if missing.bound > _NOISE:
        reason = f"no plan meets what rules demand; at least {missing.bound:g} is always missing"
        return _without_plan(found, Status.INFEASIBLE, reason)
    reason = f"{missing.value:g} is missing of what rules demand; not proved that no plan has it"
    return _without_plan(found, Status.UNKNOWN, reason)


def _complete(found: Solution, most: Goal, wanted: float) -> Solution:
    """Return a solution that has every copy, or why there is none."""
    if most.value == wanted:
        return found
    if most.bound < wanted - 0.5:
        reason = f"no plan places more than {most.bound:.0f} of {wanted:.0f} copies"
        return _without_plan(found, Status.INFEASIBLE, reason)
    reason = f"{most.value:.0f} of {wanted:.0f} copies placed; not proved that no plan does more"
    return _without_plan(found, Status.UNKNOWN, reason)


def _solve(given: Problem, options: Options) -> Solution:
    ending = min(_ENDING * given.count.size * given.group.size, _MOST_ENDING * options.seconds)
    deadline = Deadline(options.seconds - ending, options.clock, options.cancelled)
    search = Search(given, Limits(deadline, options.gap), options.seed, options.report)

    def reached() -> bool:
        """Whether only soft limits are left, which packing does not know of."""
        return settled_before(search) is not None

    packing: tuple[tuple[str, Callable[[], None]], ...] = (
        ("bound", search.prove),
        ("greedy", search.greedy),
        ("contents", lambda: complete(search)),
        ("columns", search.generate),
        ("dive", search.dive),
    )
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("moves", lambda: please(search)),
        ("annealing", lambda: anneal(search)),
        ("exact", lambda: settle_small(search)),
        ("proof", lambda: certify(search)),
        ("polish", lambda: refine(search) if reached() else polish(search)),
    )
    search.incumbent.offer(search.empty())
    search.resume()
    for phase, step in steps if reached() else (*packing, *steps):
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


def _without_plan(found: Solution, status: Status, reason: str) -> Solution:
    nothing: Counts = np.zeros(0, dtype=np.int64)
    return replace(
        found,
        nodes=nothing,
        classes=nothing,
        copies=nothing,
        status=status,
        reason=reason,
    )
