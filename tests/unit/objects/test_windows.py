"""Recurring windows: when they are open, and when next."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.objects.windows import next_span, window, within

MONDAY = datetime(2030, 1, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(days=0, hours=0, minutes=0):
    return MONDAY + timedelta(days=days, hours=hours, minutes=minutes)


@pytest.mark.parametrize(
    ("windows", "hour", "inside"),
    [
        ((), 3, True),
        (("02:00-04:00",), 3, True),
        (("02:00-04:00",), 4, False),
        (("22:00-06:00",), 23, True),
        (("22:00-06:00",), 5, True),
        (("22:00-06:00",), 6, False),
        (("01:00-02:00", "12:00-13:00"), 12, True),
        (("Mon 02:00-04:00",), 3, True),
        (("Tue,Sun 02:00-04:00",), 3, False),
        (("Sun 22:00-06:00",), 5, True),
        (("Mon 22:00-06:00",), 5, False),
        (("nonsense",), 5, False),
    ],
)
def test_windows_open_and_close(windows, hour, inside):
    assert within(windows, at(hours=hour)) is inside


@pytest.mark.parametrize(
    "text",
    [
        *("", "22:00", "24:00-01:00", "1:00-2:00", "01:00-02:00 ", "05:00-05:00"),
        *("Mon", "mon 01:00-02:00", "Mon, 01:00-02:00", "Mon-Fri 01:00-02:00"),
    ],
)
def test_what_is_no_window(text):
    assert window(text) is None


@pytest.mark.parametrize(
    ("windows", "now", "opens", "closes"),
    [
        (["02:00-04:00"], at(hours=1), at(hours=2), at(hours=4)),
        (["02:00-04:00"], at(hours=4), at(1, 2), at(1, 4)),
        (["Sun 22:00-06:00"], at(hours=5), at(-1, 22), at(hours=6)),
        (["Sun 22:00-06:00"], at(hours=7), at(6, 22), at(7, 6)),
        (["Tue 02:00-04:00", "Wed 01:00-02:00"], at(2), at(2, 1), at(2, 2)),
        (["22:00-00:00", "00:00-06:00"], at(hours=23), at(hours=22), at(1, 6)),
        (["01:00-02:00", "02:20-03:00"], at(hours=1), at(hours=1), at(hours=3)),
        (["01:00-02:00", "02:40-03:00"], at(hours=1), at(hours=1), at(hours=2)),
    ],
)
def test_the_next_time(windows, now, opens, closes):
    span = next_span(windows, now, timedelta(minutes=30))
    assert (span.opens, span.closes) == (opens, closes)


def test_there_is_no_next_time_without_windows():
    assert next_span([], MONDAY) is None
    assert next_span(["nonsense"], MONDAY) is None


HOURS = st.integers(0, 23).map("{:02}:00".format)
DAYS = st.sampled_from(["", "Mon ", "Tue,Wed ", "Sat,Sun "])
WINDOWS = st.tuples(DAYS, HOURS, HOURS).map(lambda w: f"{w[0]}{w[1]}-{w[2]}").filter(window)


@given(
    st.lists(WINDOWS, min_size=1, max_size=3),
    st.integers(0, 7 * 24 * 60),
    st.lists(st.integers(0, 7 * 24 * 60), max_size=5),
)
def test_the_next_time_is_when_a_window_is_open(windows, minute, others):
    now = at(minutes=minute)
    span = next_span(windows, now)
    assert span.closes > now
    assert (span.opens <= now) == within(windows, now)
    if span.closes - now < timedelta(days=7):
        assert not within(windows, span.closes), "it is closed then"
    for later in others:
        moment = now + timedelta(minutes=later)
        if moment < span.closes:
            assert within(windows, moment) == (moment >= span.opens)


def test_windows_are_in_utc_wherever_the_clock_is():
    far = MONDAY.astimezone(timezone(timedelta(hours=9)))
    assert next_span(["02:00-04:00"], far).opens == at(hours=2)
