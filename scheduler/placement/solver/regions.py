"""Where rules between nodes let copies go: parts of the cluster, and how many copies for each.

A region is a set of types that no rule between nodes tells apart. The relaxation, which knows the
rules, says how many copies of each class a region gets; within a region nodes are packed freely.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .occupancy import Occupancy
from .problem import Problem
from .rules import Apart, Cap, Floor, Gang, Needs, Quota
from .shapes import Shapes

_MOST = 256  # regions; beyond, rules are kept by trimming alone
_WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Regions:
    """Z regions.

    Args:
        of_type: (T,) the region of each type.
        many: Z.
        ruled: (C,) classes whose copies go where the relaxation says.
    """

    of_type: Counts
    many: int
    ruled: Mask

    def quotas(self, amounts: Reals, count: Counts) -> Counts:
        """Return (Z, C) whole copies from (T, C) amounts, as many in all as the amounts."""
        sums = np.zeros((self.many, count.size))
        np.add.at(sums, self.of_type, amounts)
        whole = np.floor(sums + _WHOLE).astype(np.int64)
        missing = np.rint(sums.sum(axis=0)).astype(np.int64)
        missing = np.minimum(missing, count) - whole.sum(axis=0)
        order = np.argsort(whole - sums, axis=0, kind="stable")
        for z in range(self.many):
            np.add.at(whole, (order[z], np.arange(count.size)), (missing > z).astype(np.int64))
        return whole

    def held(self, state: Occupancy, nodes: Counts) -> Counts:
        """Return (Z, C) copies that nodes hold, by region."""
        found = np.zeros((self.many, state.left.size), dtype=np.int64)
        np.add.at(found, self.of_type[state.type_of[nodes]], state.content[:, nodes].T)
        return found


def regions(given: Problem, shape: Shapes) -> Regions:
    """Return the regions of a problem; one if there is no rule between nodes."""
    codes: list[Counts] = [np.zeros(shape.group.size, dtype=np.int64)]
    ruled = np.zeros(given.count.size, dtype=np.bool_)
    for rule in given.rules:
        if isinstance(rule, Cap | Quota):
            ruled |= np.any(rule.weight != 0, axis=1)
            if isinstance(rule, Quota) and rule.domain is not None:
                codes.append(rule.domain[shape.group])
        elif isinstance(rule, Floor):
            ruled |= np.any(rule.weight != 0, axis=1)
            kinds = np.unique(rule.weight, axis=1, return_inverse=True)[1]
            codes.append(kinds.reshape(-1)[shape.group].astype(np.int64))
        elif isinstance(rule, Gang):
            ruled[list(rule.classes)] = True
        elif rule.domain is not None:
            codes.append(rule.domain[shape.group])
            paired = isinstance(rule, Apart | Needs)
            members = (*rule.left, *rule.right) if paired else rule.classes
            ruled[list(members)] = True
    kinds, region = np.unique(np.stack(codes), axis=1, return_inverse=True)
    many = int(kinds.shape[1])
    if many > _MOST:
        return Regions(np.zeros(shape.group.size, dtype=np.int64), 1, ruled)
    return Regions(region.reshape(-1).astype(np.int64), many, ruled)
