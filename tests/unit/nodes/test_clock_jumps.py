"""Clocks that jump, ours or a host's, must not hold back what is due."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from scheduler.drivers import EngineState
from scheduler.nodes.health import ProbeKind, Watch
from scheduler.nodes.instructions import EnsureSandbox, PullImage
from scheduler.nodes.memory import CRASH, PodMemory, failed
from scheduler.nodes.probing import first_delay
from scheduler.objects.handlers import Probe
from tests.unit.nodes.test_lifecycle import ALIVE, NOW, ask, made, pod

DAY = timedelta(days=1)


def test_a_clock_set_back_ends_the_wait_for_a_restart():
    memory = PodMemory()
    for number in range(6):
        ran = made(number=number, state=EngineState.EXITED, exit_code=1)
        memory = ask(pod(), ALIVE, ran, memory=memory).memory
    assert ask(pod(), ALIVE, ran, memory=memory).instructions == ()
    again = ask(pod(), ALIVE, ran, memory=memory, now=NOW - DAY)
    assert again.instructions == (PullImage("web", 6),)
    slight = NOW - timedelta(seconds=1)
    assert ask(pod(), ALIVE, ran, memory=memory, now=slight).instructions == ()
    assert CRASH.delay(5) > timedelta(seconds=1)


@pytest.mark.parametrize("step", [PullImage("web", 0), EnsureSandbox(0)])
def test_a_clock_set_back_ends_the_wait_after_a_refusal(step):
    memory = failed(PodMemory(), step, "ErrImagePull", "no", NOW)
    sandbox = ALIVE if isinstance(step, PullImage) else None
    assert ask(pod(), sandbox, memory=memory).instructions == ()
    assert ask(pod(), sandbox, memory=memory, now=NOW - DAY).instructions == (step,)


def test_a_clock_set_back_does_not_lengthen_a_grace():
    deleted = {"deletion_timestamp": NOW + DAY, "deletion_grace_period_seconds": 30}
    [stop] = ask(pod(**deleted), ALIVE, made()).instructions
    assert stop.grace_seconds == 30


def test_a_host_whose_clock_is_ahead_delays_no_probe():
    probe = Probe(initial_delay_seconds=5)
    watch = Watch("web", "web.0", 0, ProbeKind.LIVENESS, probe)
    assert 5 <= first_delay(watch, NOW + DAY, NOW) < 6
    assert first_delay(watch, NOW - DAY, NOW) <= probe.period_seconds


def test_an_end_before_its_start_is_a_short_run():
    ran = replace(
        made(state=EngineState.EXITED, exit_code=1), started_at=NOW, finished_at=NOW - DAY
    )
    first = ask(pod(), ALIVE, ran)
    assert first.instructions == (PullImage("web", 1),)
    again = replace(made(number=1, state=EngineState.EXITED, exit_code=1), started_at=NOW)
    waits = ask(pod(), ALIVE, replace(again, finished_at=NOW - DAY), memory=first.memory)
    assert waits.wake_at == NOW + timedelta(seconds=1)
