"""What holds however pods are moved, although they break rules where they are. Pure.

Moves are tried by the rules one after another; who is not moved is asked nothing. So a bound on
what moves lead to may not demand of those who stay what they do not keep today.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ...snapshot import Counts, Rows
from ..solver.problem import Problem
from ..solver.regulation import breaks
from ..solver.rules import Apart, Exclusive, Needs, Rule, Spread, Together
from .floor import Floor


def homes_of(floor: Floor, members: Iterable[Sequence[int]], rows: Rows) -> list[Counts]:
    """Return by class on which of the hosts, rows of the snapshot, its tenants are."""
    return [np.searchsorted(rows, [floor.tenants[n].row for n in each]) for each in members]


def content_of(homes: Sequence[Counts], hosts: int) -> Counts:
    """Return (C, H) copies of each class on each host."""
    return np.array([np.bincount(each, minlength=hosts) for each in homes], dtype=np.int64)


def standing(given: Problem, content: Counts) -> Problem:
    """Return a problem without the rules that are broken today, and with room for who is there.

    Args:
        content: (C, H) copies of each class on each host today.
    """
    rules = tuple([rule for rule in given.rules if _lasts(rule, given.group, content)])
    return replace(given, free=np.maximum(given.free, given.demand @ content), rules=rules)


def admitting(given: Problem, content: Counts) -> Problem:
    """Return a problem in which every class may be where it is today, whatever filters say."""
    feasible = given.feasible.copy()
    classes, hosts = np.nonzero(content)
    feasible[classes, given.group[hosts]] = True
    return replace(given, feasible=feasible)


def _lasts(rule: Rule, group: Counts, content: Counts) -> bool:
    """Tell whether a rule holds after every move if each move keeps it for the pod that comes.

    Where a pod leaves the emptiest domain, those of others may end further above it than a spread
    constraint lets pods come; not if it lets them come to the emptiest only.
    """
    if isinstance(rule, Spread) and rule.skew > 1:
        return False
    if isinstance(rule, Exclusive | Apart | Spread | Together | Needs):
        return not breaks(content, rule, group)
    return True
