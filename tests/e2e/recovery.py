"""How long it took until desired was observed again, told at the end of a run; never asserted."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Recovery = Callable[[str], AbstractContextManager[None]]
"""Measures its block, which begins when the fault ends and ends when all is as desired."""

PROPERTY = "time to recover"


def measured(record: Callable[[str, object], None]) -> Recovery:
    """Recoveries that are recorded as properties of a test."""

    @contextmanager
    def recovery(fault: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        record(PROPERTY, f"{time.monotonic() - begun:5.1f} s after {fault}")

    return recovery
