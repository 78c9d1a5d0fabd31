"""Ends a worker whose test neither ends nor heeds its time limit, and says what it waited for.

pytest-timeout raises an error in the test once. What then hangs while it cleans up, or sits in
compiled code, would hang the whole run without a word.
"""

import asyncio
import faulthandler
import gc
import os
import threading

import pytest

_GRACE = 90  # seconds


class Watchdog:
    """A plugin of pytest; `limit` is the time limit in seconds of a test that names none."""

    def __init__(self, limit):
        self._limit = limit
        self._out = os.fdopen(os.dup(2), "w")  # pytest captures the original

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        marker = item.get_closest_marker("timeout")
        limit = marker.args[0] if marker and marker.args else self._limit
        timer = threading.Timer(limit + _GRACE, self._end, [item.nodeid])
        timer.daemon = True
        timer.start()
        try:
            return (yield)
        finally:
            timer.cancel()

    def _end(self, test):
        print(f"\n{test} does not end. Where it is:", file=self._out, flush=True)
        faulthandler.dump_traceback(self._out)
        for task in gc.get_objects():
            if isinstance(task, asyncio.Task) and not task.done():
                task.print_stack(file=self._out)
        self._out.flush()
        os._exit(1)
