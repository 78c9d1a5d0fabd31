"""Histograms count every value once, in the first bucket that has room for it."""

import hypothesis.strategies as st
from hypothesis import given

from scheduler.measures import Histogram, Histograms, exponential

BOUNDS = (1.0, 2.0, 4.0)
values = st.lists(st.floats(0, 9) | st.sampled_from(BOUNDS), max_size=60)


@given(values)
def test_one_by_one_and_all_at_once_are_equal(given_values):
    single, many = Histogram(BOUNDS), Histogram(BOUNDS)
    for value in given_values:
        single.add(value)
    many.add_all(given_values)
    assert single.counts == many.counts
    assert abs(single.total - many.total) < 1e-9
    assert single.count == len(given_values)
    assert single.counts[0] == sum(value <= 1.0 for value in given_values)
    assert single.counts[-1] == sum(value > 4.0 for value in given_values)


def test_a_value_may_count_many_times():
    histogram = Histogram(BOUNDS)
    histogram.add(2.0, 5)
    assert (histogram.counts, histogram.total, histogram.count) == ([0, 5, 0, 0], 10.0, 5)


def test_labels_have_a_histogram_each():
    family = Histograms(BOUNDS)
    family["a", "b"].add(1.5)
    family["a", "c"].add(1.5)
    family["a", "b"].add(9.0)
    assert {labels: each.counts for labels, each in family.items()} == {
        ("a", "b"): [0, 1, 0, 1],
        ("a", "c"): [0, 1, 0, 0],
    }


def test_bounds_are_round():
    assert exponential(0.001, 2, 5) == (0.001, 0.002, 0.004, 0.008, 0.016)
    assert exponential(0.00001, 1.5, 3) == (0.00001, 0.000015, 0.0000225)
