"""Puts a plan of few contents together: an exact choice among all that can be in a better one."""

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts, Reals
from .deadline import Deadline
from .shapes import Shapes

_WORK = 30.0  # CP-SAT's deterministic seconds


def assemble(
    shape: Shapes,
    contents: list[tuple[int, Counts]],
    cost: Reals,
    target: float,
    deadline: Deadline,
) -> tuple[list[int] | None, bool]:
    """Choose contents that hold every copy exactly once and cost no more than `target`.

    Args:
        contents: (type, (C,) copies).
        cost: (T,) of a node, whole numbers.

    Returns:
        How often each content is used, None if no choice was found; and whether that is proved.
    """
    model = cp_model.CpModel()
    terms: list[list[tuple[cp_model.IntVar, int]]] = [[] for _ in range(shape.count.size)]
    used: list[cp_model.IntVar] = []
    kinds: list[list[cp_model.IntVar]] = [[] for _ in range(shape.number.size)]
    for node_type, content in contents:
        classes = np.flatnonzero(content)
        most = int((shape.count[classes] // content[classes]).min())
        most = min(most, int(shape.number[node_type]))
        times = model.new_int_var(0, most, "") if most > 1 else model.new_bool_var("")
        used.append(times)
        kinds[node_type].append(times)
        for c in classes.tolist():
            terms[c].append((times, int(content[c])))
    for mine, wanted in zip(terms, shape.count.tolist(), strict=True):
        if wanted == 1:  # said so, which helps CP-SAT a lot
            model.add_exactly_one([times for times, _ in mine])
        else:
            model.add(sum(copies * times for times, copies in mine) == wanted)
    for t, mine in enumerate(kinds):
        if mine:
            model.add(sum(mine) <= int(shape.number[t]))
    prices = [round(float(cost[node_type])) for node_type, _ in contents]
    model.add(sum(p * x for p, x in zip(prices, used, strict=True)) <= round(target))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = deadline.limit(600.0)
    solver.parameters.max_deterministic_time = _WORK
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return [solver.value(times) for times in used], True
    return None, status == cp_model.INFEASIBLE
