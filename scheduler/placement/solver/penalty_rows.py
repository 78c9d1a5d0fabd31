"""Soft limits as rows of the relaxation: what sums are above their amounts at least.

Nodes of a type are taken together, which only lowers what is above.
"""

import numpy as np

from .arrays import Counts, Reals
from .objectives import Peak, Preferred
from .relaxation import Relaxation
from .rule_rows import cells

_MOST = 5_000  # rows for the sums of peaks; beyond, they are left out, which only raises bounds


def penalty_rows(built: Relaxation, objective: Preferred) -> tuple[list[int], float]:
    """Add rows for soft limits.

    Returns:
        Variables that cost their value, and what every plan is charged besides.
    """
    found, constant = list[int](), 0.0
    for each in objective.excesses:
        weight = each.weight[built.classes, built.shape.group[built.types]]
        for mine, number, k in cells(built, weight != 0, each.domain):
            amount = number * float(each.amount[k])
            if mine.size:
                over = built.rows.variables(np.array([_most(built, mine, weight) - min(amount, 0)]))
                _above(built, mine, weight, over, amount)
                found += over.tolist()
            else:
                constant += max(0.0, -amount)
    for peak in objective.peaks:
        found += _peak(built, peak)
    return found, constant


def _peak(built: Relaxation, peak: Peak) -> list[int]:
    weight = peak.weight[built.classes, built.shape.group[built.types]]
    sums: list[tuple[Counts, int, float]] = []
    for classes in peak.sums:
        ours = np.isin(built.classes, np.array(classes, dtype=np.int64)) & (weight != 0)
        for mine, number, k in cells(built, ours, peak.domain):
            if mine.size:
                sums.append((mine, number, number * float(peak.amount[k])))
        if len(sums) > _MOST:
            return []
    tops = [(_most(built, mine, weight) - amount) for mine, _, amount in sums]
    highest = built.rows.variables(np.array([max([0.0, *tops])]))
    for mine, number, amount in sums:
        _above(built, mine, weight, highest, amount, number)
    return highest.tolist()


def _most(built: Relaxation, mine: Counts, weight: Reals) -> float:
    upper: Reals = np.array(built.rows.upper)[mine]
    return float(np.maximum(weight[mine], 0.0) @ upper)


def _above(
    built: Relaxation, mine: Counts, weight: Reals, over: Counts, amount: float, number: int = 1
) -> None:
    """number · over ≥ Σ weight · x - amount."""
    weights = np.append(weight[mine], -float(number))
    built.rows.add(np.append(mine, over), weights, amount)
