"""What plans reach of their goals, and what is proved of that. Pure."""

import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...objects.placement_job import Reached
from ...snapshot import Counts, Rows
from ..solver.company import circle
from ..solver.objectives import Balanced, HostCost, Objective, Placed, Preferred, Stranded
from ..solver.penalties import penalty
from ..solver.problem import Problem
from ..solver.room import imbalance, stranded
from ..solver.solution import Goal

logger = logging.getLogger(__name__)

_NOISE = 1e-9
_REFUTED = 1e-6  # relative: sums of many floats differ by less


def value_of(objective: Objective, given: Problem, nodes: Sequence[Rows]) -> float:
    """Return what a plan reaches of an objective that Placements have.

    Args:
        nodes: by class, the problem's node of every copy.
    """
    if isinstance(objective, Placed):
        return float(objective.value @ np.array([each.size for each in nodes], dtype=np.float64))
    if isinstance(objective, Preferred):
        return _preferred(objective, given, nodes)
    if isinstance(objective, Balanced):
        return imbalance(given, objective, _content(given, nodes))
    if isinstance(objective, Stranded):
        return stranded(given, objective, _content(given, nodes))
    assert isinstance(objective, HostCost)
    used = np.isin(np.arange(given.group.size), np.concatenate(nodes))
    return float(objective.cost[used].sum())


def _preferred(objective: Preferred, given: Problem, nodes: Sequence[Rows]) -> float:
    group = given.group
    total = sum(float(objective.weight[c, group[mine]].sum()) for c, mine in enumerate(nodes))
    for meeting in objective.meetings:
        codes = np.arange(group.size) if meeting.domain is None else meeting.domain[group]
        left, right = (
            np.unique(codes[np.concatenate([nodes[c] for c in side])])
            for side in (meeting.left, meeting.right)
        )
        met = np.intersect1d(left, right, assume_unique=True)
        total += meeting.worth * int((met >= 0).sum())
    if not (objective.excesses or objective.peaks or objective.companies):
        return total
    content = _content(given, nodes)
    total -= penalty(objective, group, content)
    return total + sum(circle(each, group, content).worth for each in objective.companies)


def _content(given: Problem, nodes: Sequence[Rows]) -> Counts:
    size = given.group.size
    return np.array([np.bincount(mine, minlength=size) for mine in nodes], dtype=np.int64)


def held(solved: Sequence[Goal], values: Sequence[float]) -> Iterator[Goal | None]:
    """Yield what is proved of each goal; None once an earlier one is not what the proof assumed.

    A value that is better than a bound refutes it: no bound is known then.
    """
    assumed = True
    for goal, value in zip(solved, values, strict=True):
        if not assumed:
            yield None
            continue
        if beaten(value, goal.bound, goal.maximised):
            bound = math.inf if goal.maximised else -math.inf
        else:
            bound = max(goal.bound, value) if goal.maximised else min(goal.bound, value)
        yield Goal(goal.name, value, bound, goal.maximised)
        assumed = value >= goal.value if goal.maximised else value <= goal.value


def beaten(value: float, bound: float, maximised: bool) -> bool:
    """Tell, and log, that a plan is better than what was proved, but for noise."""
    over = value - bound if maximised else bound - value
    if over <= _REFUTED * max(1.0, abs(value)):
        return False
    logger.error("a plan that is worth %g refutes the bound %g; please report it", value, bound)
    return True


def as_text(goal: Goal) -> Reached:
    """Return a goal as text; what is not known yet is left empty."""
    gap = ""
    if math.isfinite(goal.gap):
        gap = f"{100 * goal.gap:.3f}%" if goal.gap > _NOISE else "0%"
    return Reached(goal.name, decimal_text(goal.value), decimal_text(goal.bound), gap)


def decimal_text(number: float) -> str:
    """Return a number as people write it, "" for an infinite one."""
    if not math.isfinite(number):
        return ""
    number += 0.0  # of -0
    return f"{number:.0f}" if abs(number - round(number)) < _NOISE else f"{number:.6g}"
