"""The search: bound, greedies, columns, diving, then better and better until time or proof ends it.

Sources: Gilmore and Gomory 1961 (columns), Lübbecke and Desrosiers 2005 (column generation),
Sadykov et al. 2019 (diving), Shaw 1998 (large neighbourhood search).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .certifying import certify
from .deadline import FOREVER, Deadline
from .improving import polish
from .incumbent import achieved
from .occupancy import Occupancy
from .problem import Problem
from .search import Limits, Search
from .solution import Progress, Solution, Status


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
    """Return the best plan found in time, with what is proved about it."""
    options = options or Options()
    deadline = Deadline(options.seconds, options.clock, options.cancelled)
    search = Search(given, Limits(deadline, options.gap), options.seed, options.report)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("bound", search.prove),
        ("greedy", search.greedy),
        ("columns", search.generate),
        ("dive", search.dive),
        ("proof", lambda: certify(search)),
        ("polish", lambda: polish(search)),
    )
    for phase, step in steps:
        if search.done:
            break
        search.incumbent.enter(phase)
        step()
    search.incumbent.enter("")
    return _answer(search)


def _answer(search: Search) -> Solution:
    incumbent = search.incumbent
    state = incumbent.best or Occupancy(search.shape)
    if incumbent.best is None:
        incumbent.values = achieved(search.given, state)
    classes, nodes = np.nonzero(state.content)
    return Solution(
        nodes=nodes.astype(np.int64),
        classes=classes.astype(np.int64),
        copies=state.content[classes, nodes].astype(np.int64),
        goals=incumbent.goals(),
        status=Status.OPTIMAL if incumbent.within(0.0) else Status.FEASIBLE,
        reason="",
        seconds=incumbent.seconds,
    )
