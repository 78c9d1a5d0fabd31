"""Times of schedules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest
from scheduler.objects.cron_job import Schedule

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the day before clocks change in Europe


def at(text, zone="", moment=NOON):
    return Schedule(text, zone).after(moment).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "zone", "following"),
    [
        ("*/15 * * * *", "", "03-28 12:15"),
        ("0 9 * * MON-FRI", "", "03-30 09:00"),
        ("0 0 1 jan ?", "", "01-01 00:00"),
        ("0 0 13 * 5", "", "04-03 00:00"),  # either day is enough
        ("@daily", "", "03-29 00:00"),
        ("@hourly", "", "03-28 13:00"),
        ("0 20 * * *", "America/New_York", "03-29 00:00"),
        ("30 2 * * *", "Europe/Berlin", "03-29 01:00"),  # that hour is left out
        ("0 13 * * *", "Europe/Berlin", "03-29 11:00"),
    ],
)
def test_the_following_time(text, zone, following):
    assert at(text, zone) == following


@pytest.mark.parametrize(
    ("text", "zone", "why"),
    [
        ("* * * *", "", "number of fields"),
        ("60 * * * *", "", "minute"),
        ("@every 1h", "", "five fields"),
        ("@daily", "Nowhere/Place", "unknown time zone"),
        ("@daily", "../etc/passwd", "unknown time zone"),
    ],
)
def test_what_cannot_be_understood(text, zone, why):
    with pytest.raises(BadRequest, match=why):
        Schedule(text, zone)


@given(
    st.sampled_from(["* * * * *", "*/7 3 * * *", "0 0 1,15 * 1", "30 2 29 2 *", "@weekly"]),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
)
def test_the_latest_time_is_the_last_of_those_that_follow(text, start, seconds):
    since = NOON + timedelta(seconds=start)
    moment = since + timedelta(seconds=seconds)
    times = Schedule(text)
    latest = times.latest(moment, since)
    if latest is None:
        assert times.after(since) > moment
    else:
        assert since < latest <= moment
        assert times.after(latest) > moment
