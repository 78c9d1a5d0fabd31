"""Of all contents, those chosen hold every copy on as few nodes as trying everything finds."""

from functools import cache
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement.solver.choosing import choose
from scheduler.placement.solver.columns import Pool
from scheduler.placement.solver.deadline import Deadline
from scheduler.placement.solver.objectives import HostCost, Placed
from scheduler.placement.solver.pricing import Pricer
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.shapes import shapes

NODES, SIZE = 8, 10


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, SIZE), st.integers(1, 2)), min_size=1, max_size=4))
def test_chosen_contents_hold_everything_on_as_few_nodes_as_can_be(items):
    asked, count = np.array(items, dtype=np.int64).T.copy()
    shape = shapes(
        problem(
            np.full((1, NODES), SIZE, dtype=np.int64),
            asked[None],
            count,
            objectives=(Placed(np.ones(count.size)), HostCost(np.ones(NODES))),
        )
    )
    ranges = product(*(range(many + 1) for many in count.tolist()))
    contents = [one for one in ranges if any(one) and np.dot(asked, one) <= SIZE]
    pool = Pool(shape)
    for one in contents:
        pool.add(0, np.array(one, dtype=np.int64))

    @cache
    def fewest(left):
        if not any(left):
            return 0
        first = next(c for c, many in enumerate(left) if many)
        return 1 + min(
            fewest(tuple(many - held for many, held in zip(left, one, strict=True)))
            for one in contents
            if one[first] and all(held <= many for held, many in zip(one, left, strict=True))
        )

    chosen = choose(pool, Pricer(shape), shape.number, shape.count, Deadline())
    held = np.zeros_like(count)
    for column, times in chosen.items():
        classes, copies = pool.content(column)
        held[classes] += times * copies
    assert (held >= count).all()
    assert sum(chosen.values()) == fewest(tuple(count.tolist()))
