"""What no placement can beat even if running pods make room: a problem that is easier than that.

Pure. Pods that may be moved are placed anew together with those that wait, anywhere and as many as
may be; of those that may be evicted all but so many must have a place again. Whatever moves and
evictions lead to is a solution of that problem, so its bound holds for all of them.

Where the rules of a pod that waits want others to be somewhere, fewer pods may be worse, and
nothing is said. A running pod whose own rules are about others, or whose host would not take it any
more, need not have a place again, which makes the problem easier still; nor need pods that wait
and are nominated to a host, for they may never come.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...snapshot import Mask, Rows
from ..inspection import inspect
from ..preemption import NEVER
from ..rebalance.floor import Floor
from ..rebalance.room import wants_others
from ..solver.objectives import Placed
from ..solver.problem import Problem
from ..solver.solution import Solution, Status
from .modelling import Demand, Wish, at_least, model


@dataclass(frozen=True, slots=True)
class Freedom:
    """What may be done to running pods, at most.

    Args:
        moves: whether any may be moved.
        evictions: how many of lower priority may be evicted.
    """

    moves: bool
    evictions: int = 0


def relaxed(
    floor: Floor, demands: Sequence[Demand], hosts: Rows, freedom: Freedom
) -> Problem | None:
    """Return the problem of placing the most of demands' value; None where it would prove nothing.

    Args:
        floor: with nobody moved yet; left as it is.
        hosts: (H,) rows that may be used.

    Raises:
        PluginError: a filter failed.
    """
    if any(wants_others(each.pod) for each in demands):
        return None
    able = floor.able() if freedom.moves else []
    lesser = _lesser(floor, demands) if freedom.evictions else []
    leaving = [number for number, tenant in enumerate(floor.tenants) if tenant.leaving]
    chosen = floor.base.none()
    chosen[hosts] = True
    away = sorted(n for n in {*able, *lesser, *leaving} if chosen[floor.tenants[n].row])
    numbers = np.array(away, dtype=np.int64)
    full: Mask = np.any(floor.base.requested > floor.base.allocatable, axis=0)
    floor.what_if.send_away(numbers)
    steady = [n for n in away if not floor.tenants[n].leaving]
    stays = _returning(floor, [n for n in steady if not full[floor.tenants[n].row]])
    weak = set(lesser)
    parts = [[n for n in stays if n not in weak], [n for n in stays if n in weak]]
    asked, rules = list(demands), list[tuple[range, int]]()
    for part, spared in zip(parts, (0, freedom.evictions), strict=True):
        members = floor.by_class(part)
        classes = range(len(asked), len(asked) + len(members))
        asked += [Demand(pod, len(each), 0.0) for pod, each in members.items()]
        if len(part) > spared:
            rules.append((classes, len(part) - spared))
    wish = Wish((Placed(np.array([each.value for each in asked])),))
    made = model(asked, floor.what_if.snapshot(), hosts, floor.filters, wish).problem
    floor.what_if.take_back(numbers)
    for classes, least in rules:
        made = at_least(made, classes, least)
    return made


def bound_of(solution: Solution | None) -> float | None:
    """Return the proved bound of a relaxed problem, None where there is none."""
    if solution is None or solution.status is Status.INFEASIBLE:
        return None  # what runs could not run: the rules have changed since
    bound = solution.goals[0].bound
    return bound if math.isfinite(bound) else None


def _lesser(floor: Floor, demands: Sequence[Demand]) -> list[int]:
    able = [each.pod for each in demands if each.pod.spec.preemption_policy != NEVER]
    highest = max((pod.priority for pod in able), default=0)
    return [n for n, t in enumerate(floor.tenants) if able and t.pod.priority < highest]


def _returning(floor: Floor, numbers: Sequence[int]) -> list[int]:
    """Return the tenants, all of whom are away, that could come back where they were."""
    snapshot, found = floor.what_if.snapshot(), list[int]()
    for pod, members in floor.by_class(numbers).items():
        if pod.attracts or pod.claims or pod.host_ports or pod.group or wants_others(pod):
            continue
        rows = inspect(pod, snapshot, floor.filters, ()).rows
        found += [n for n in members if np.isin(floor.tenants[n].row, rows)]
    return found
