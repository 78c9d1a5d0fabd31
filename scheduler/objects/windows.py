"""Recurring windows of time, as Rebalances and DockerHosts name them.

"22:00-06:00", "Sat,Sun 01:00-05:00"; all in UTC. A window that closes at an earlier hour than it
opens closes the next day; days are those on which it opens, every day where none is named.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

SPELLING = "must be HH:MM-HH:MM, in UTC, with days before it if need be: Sat,Sun 22:00-06:00"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_HOUR = r"((?:[01]\d|2[0-3]):[0-5]\d)"
_FORM = re.compile(rf"(?:({_DAY}(?:,{_DAY})*) )?{_HOUR}-{_HOUR}")


@dataclass(frozen=True, slots=True)
class Window:
    """Args: days: on which it opens, 0 is Monday. opens, closes: time of day."""

    days: frozenset[int]
    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class Span:
    """One time that a window is open, `closes` excluded."""

    opens: datetime
    closes: datetime


def window(text: str) -> Window | None:
    """Return what a text says, None where it says no such thing."""
    found = _FORM.fullmatch(text)
    if found is None or found[2] == found[3]:
        return None
    days = frozenset(map(_DAYS.index, found[1].split(","))) if found[1] else frozenset(range(7))
    return Window(days, time.fromisoformat(found[2]), time.fromisoformat(found[3]))


def within(windows: Sequence[str], now: datetime) -> bool:
    """Tell whether a moment lies in one of the windows; always where there are none."""
    return not windows or any(s.opens <= now < s.closes for s in _around(windows, now))


def next_span(windows: Sequence[str], now: datetime, apart: timedelta = timedelta()) -> Span | None:
    """Return when windows are open now or will be next, None where there are none.

    Args:
        apart: what is closed for less, or for just as long, counts as open all the time.
    """
    ahead = sorted(
        (span for span in _around(windows, now) if span.closes > now), key=lambda s: s.opens
    )
    if not ahead:
        return None
    first, *others = ahead
    for other in others:
        if other.opens - first.closes > apart:
            break
        first = Span(first.opens, max(first.closes, other.closes))
    return first


def _around(windows: Iterable[str], now: datetime) -> Iterator[Span]:
    """Every span that began within a day before now, or begins within eight days."""
    midnight = datetime.combine(now.astimezone(UTC), time(), UTC)
    for each in filter(None, map(window, windows)):
        for ahead in range(-1, 9):
            day = midnight + timedelta(days=ahead)
            if day.weekday() in each.days:
                opens = datetime.combine(day, each.opens, UTC)
                later = timedelta(days=each.closes < each.opens)
                yield Span(opens, datetime.combine(day, each.closes, UTC) + later)
