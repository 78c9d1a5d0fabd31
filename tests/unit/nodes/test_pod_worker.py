"""When a pod's worker asks for another look at its host."""

import pytest

from scheduler.nodes.memory import PodMemory
from scheduler.nodes.pod_worker import PodWorker


class Desk:
    """Counts what a worker asks for."""

    def __init__(self):
        self.wanted = 0

    def look_soon(self):
        self.wanted += 1


@pytest.mark.parametrize("heard", [True, False])
def test_a_look_that_came_too_early_is_repeated_only_after_an_event(heard):
    desk = Desk()
    worker = PodWorker(desk, "u-1", PodMemory())
    if heard:
        worker.hear()
    worker.see(0, None)  # began before the worker's last action ended
    assert desk.wanted == heard
    assert not worker.nothing_there, "what such a look found may be out of date"
