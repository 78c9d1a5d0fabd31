"""Room is given only to copies that fit there, and nobody is given more than there is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.placement.solver.deadline import Deadline
from scheduler.placement.solver.devices import assign
from scheduler.placement.solver.exchange import core, exchange, handed_out
from scheduler.placement.solver.filling import fill
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.shapes import shapes
from scheduler.placement.solver.swaps import improve
from tests.solver_cases import ints, problems


@st.composite
def sizes(draw):
    """Draw the shapes of classes on two groups of nodes, some kept off one of them."""
    classes = draw(st.integers(1, 8))
    return shapes(
        problem(
            draw(ints(4, 9, 2, 3)),
            draw(ints(0, 4, 2, classes)),
            draw(ints(1, 3, classes)),
            group=np.array([0, 1, 1]),
            feasible=draw(ints(0, 1, classes, 2)).astype(np.bool_),
        )
    )


@given(sizes())
def test_room_goes_only_to_a_class_that_fits_wherever_the_other_does(shape):
    found = exchange(shape, Deadline())
    for larger, smaller in zip(found.larger.tolist(), found.smaller.tolist(), strict=True):
        assert (shape.demand[larger] >= shape.demand[smaller]).all()
        assert (shape.fit[:, smaller] >= 1)[shape.fit[:, larger] >= 1].all()


@given(sizes())
def test_once_time_is_over_every_class_keeps_to_its_own_room(shape):
    found = exchange(shape, Deadline(0.0))
    assert not found.larger.size
    assert sorted(found.order.tolist()) == list(range(shape.count.size))


@given(sizes(), st.data())
def test_as_much_room_is_handed_out_as_there_is_for_those_placed(shape, data):
    found = exchange(shape, Deadline())
    classes = shape.count.size
    room = data.draw(ints(0, 4, classes))
    moved, spare = np.zeros(found.larger.size, dtype=np.int64), room.copy()
    for c in found.order.tolist():
        for e in np.flatnonzero(found.larger == c).tolist():
            moved[e] = data.draw(st.integers(0, int(spare[c])))
            spare[c] -= moved[e]
            spare[found.smaller[e]] += moved[e]
    placed = np.minimum(spare, data.draw(ints(0, 4, classes)))
    takers = handed_out(found, room, placed, moved)
    got = np.zeros(classes, dtype=np.int64)
    for origin, mine in enumerate(takers):
        assert sum(copies for _, copies in mine) <= room[origin]
        for taker, copies in mine:
            assert (shape.demand[origin] >= shape.demand[taker]).all()
            got[taker] += copies
    assert got.tolist() == placed.tolist()


@given(sizes(), st.data())
def test_of_the_core_every_class_has_one_that_asks_for_no_more_and_pays_no_less(shape, data):
    prices = data.draw(ints(0, 3, shape.count.size)).astype(np.float64)
    kept = core(shape, exchange(shape, Deadline()).kinds, prices)
    for c in np.flatnonzero((shape.fit > 0).any(axis=0) & (prices > 0)).tolist():
        same = (shape.demand[kept] <= shape.demand[c]).all(axis=1)
        assert (same & (prices[kept] >= prices[c])).any()


@given(sizes(), st.data())
def test_exchanged_copies_still_fit_and_pay_no_less(shape, data):
    prices = data.draw(ints(0, 5, shape.count.size)).astype(np.float64)
    types = np.arange(shape.number.size)
    empty = np.zeros((types.size, shape.count.size), dtype=np.int64)
    filled = improve(shape, types, empty, prices)
    assert (filled @ shape.demand <= shape.capacity).all()
    assert (filled <= np.minimum(shape.fit, shape.count)).all()
    again = improve(shape, types, filled, prices[::-1].copy())
    assert (again @ prices[::-1] >= filled @ prices[::-1]).all()


@given(problems(), st.data())
def test_exchanged_copies_find_their_devices_and_keep_apart(given, data):
    shape = shapes(given)
    types = np.arange(shape.number.size)
    order = np.tile(np.arange(shape.count.size), (types.size, 1))
    filled = fill(shape, types, order, shape.count)
    prices = data.draw(ints(0, 5, shape.count.size)).astype(np.float64)
    better = improve(shape, types, filled, prices)
    assert (better @ prices >= filled @ prices).all()
    assert (better @ shape.demand <= shape.capacity).all()
    assert (better <= shape.fit).all()
    for t in types.tolist():
        assert assign(shape, shape.devices[t], better[t]) is not None
        if shape.apart is not None:
            here = np.flatnonzero(better[t])
            assert not shape.apart[np.ix_(here, here)].any()
