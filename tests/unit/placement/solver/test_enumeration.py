"""The contents of a node that the proofs leave are those found by trying everything."""

import time
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement.solver.deadline import Deadline
from scheduler.placement.solver.enumeration import Proof, enumerate_contents
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.shapes import shapes


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_content_with_enough_earned_is_listed_once(data):
    width = data.draw(st.integers(1, 3))
    many = data.draw(st.integers(1, 5))
    sizes = st.lists(st.integers(-3, 7), min_size=width, max_size=width)
    asked = np.array(data.draw(st.lists(sizes, min_size=many, max_size=many)), dtype=np.int64).T
    count = np.array(data.draw(st.lists(st.integers(1, 3), min_size=many, max_size=many)))
    shape = shapes(problem(np.full((width, 6), 10, dtype=np.int64), asked, count))
    paid = data.draw(st.lists(st.integers(0, 8), min_size=many, max_size=many))
    proof = Proof(np.array(paid) / 10, np.zeros(1), 0.0)
    slack = np.array([data.draw(st.integers(0, 5)) / 10])
    found = enumerate_contents(shape, 0, 1.0, [proof], slack, Deadline())
    assert found is not None
    listed = [tuple(content.tolist()) for content in found]
    expected = {
        content
        for content in product(*(range(int(c) + 1) for c in shape.fit[0]))
        if any(content)
        and (asked @ np.array(content) <= 10).all()
        and proof.prices @ np.array(content) >= 1.0 - slack[0] - 1e-9
    }
    assert len(set(listed)) == len(listed)
    assert set(listed) == expected


def test_the_clock_is_looked_at_as_often_as_proofs_and_resources_cost():
    random = np.random.default_rng(1)
    many, limited = 300, 60  # classes, and those that are limited by a resource of their own
    asked = np.zeros((1 + limited, many), dtype=np.int64)
    asked[0] = random.integers(500, 4000, many)
    asked[range(1, limited + 1), range(limited)] = 1
    room = np.ones((1 + limited, 50), dtype=np.int64)
    room[0] = 32_000
    shape = shapes(problem(room, asked, np.full(many, 10)))
    shares = shape.demand[:, :32] / shape.capacity[0, :32]
    proofs = [Proof(prices, np.zeros(1), 0.0) for prices in shares.T]
    slack = np.full(len(proofs), 2.0)
    began = time.process_time()
    deadline = Deadline(0.2, time.process_time)
    assert enumerate_contents(shape, 0, 1.0, proofs, slack, deadline) is None
    assert time.process_time() - began < 1.0
