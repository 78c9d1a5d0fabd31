"""Nodes filled together hold what each of them alone would take, one class after the other."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler.placement.solver import filling
from scheduler.placement.solver.columns import density_orders
from scheduler.placement.solver.filling import fill
from scheduler.placement.solver.shapes import Shapes, shapes
from tests.solver_cases import problems


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 99), st.integers(1, 3))
def test_nodes_hold_what_each_alone_takes(given, seed, width):
    shape = shapes(given)
    assume(not (shape.demand < 0).any())  # what is brought along lets earlier ones fit
    random = np.random.default_rng(seed)
    types = np.arange(shape.number.size)
    prices = random.random((types.size, shape.count.size))
    weights = random.random((3, shape.demand.shape[1] + 1)) + 0.1
    order = density_orders(shape, types, prices, weights, random)
    rows = np.tile(types, 3)
    with pytest.MonkeyPatch.context() as patch:  # so few places are looked at together
        patch.setattr(filling, "_LEAST", width)
        patch.setattr(filling, "_MOST", width)
        filled = fill(shape, rows, order, shape.count)
    for row, t in enumerate(rows.tolist()):
        assert filled[row].tolist() == alone(shape, t, order[row].tolist())


def alone(shape: Shapes, node_type: int, order: list[int]) -> list[int]:
    """Return (C,) what one node takes in an order of classes, copy by copy."""
    content = [0] * shape.count.size
    free = shape.capacity[node_type].tolist()
    devices = shape.devices[node_type].tolist()
    for c in order:
        if c < 0 or (shape.apart is not None and shape.apart[c, np.flatnonzero(content)].any()):
            continue
        units, share = int(shape.units[c]), int(shape.share[c])
        fresh = sorted(range(len(devices)), key=lambda d: devices[d])
        for _ in range(int(min(shape.fit[node_type, c], shape.count[c]))):
            if any(0 < asked > left for asked, left in zip(shape.demand[c], free, strict=True)):
                break
            able = [d for d in fresh if devices[d] >= share][:units]
            if len(able) < units:
                break
            for d in able:
                devices[d] -= share
            if units > 1:  # a device serves one copy of those that ask for several
                fresh = [d for d in fresh if d not in able]
            free = [left - int(asked) for asked, left in zip(shape.demand[c], free, strict=True)]
            content[c] += 1
    return content
