"""Proofs that a pod, or enough of a PodGroup, has no room however running pods are moved. Pure.

The solver bounds how many of them could be placed if every pod that may be moved were placed anew
(`batch.relaxing`); a bound below what is needed is the proof.
"""

import math
from collections.abc import Generator, Sequence

from ..batch.modelling import Demand
from ..batch.relaxing import Freedom, bound_of, relaxed
from ..plan import PendingPod
from ..solver.problem import Problem
from ..solver.solution import Solution
from .floor import Floor
from .waiting import Waiting, alike_once

MOST_PROOFS = 4  # sought for one plan
_NOISE = 1e-6

Proving = Generator[Problem, Solution | None, list[tuple[PendingPod, str]]]


def prove(floor: Floor, waiting: Sequence[Waiting]) -> Proving:
    """Yield problems, be sent their solutions, and return pods that are proved to have no room.

    Args:
        floor: with nobody moved yet.
        waiting: for whom no room was found.

    Raises:
        PluginError: a filter failed.
    """
    found: list[tuple[PendingPod, str]] = []
    for each in alike_once(waiting)[:MOST_PROOFS]:
        demands = [Demand(pod, count, 1.0) for pod, count in each.members]
        problem = relaxed(floor, demands, floor.base.all_rows, Freedom(moves=True))
        if problem is None:
            continue
        bound = bound_of((yield problem))
        if bound is None or bound >= each.least - _NOISE:
            continue
        most = max(0, math.floor(bound + _NOISE))
        movable = len(floor.able())
        said = (
            f"no assignment exists for it, wherever the {movable} pod(s) that may be moved were: "
            f"at most {most} of {len(each.pods)} would have a node, and {each.least} must"
        )
        same = [other for other in waiting if other.members == each.members]
        found += [(pod, said) for other in same for pod in other.pods]
    return found
