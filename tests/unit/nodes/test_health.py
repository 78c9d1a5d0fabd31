"""Health of running containers: what probes count, and what is assumed before they have."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.drivers import ContainerStatus, EngineState
from scheduler.nodes.health import (
    UNKNOWN,
    Health,
    ProbeKind,
    Tally,
    Watch,
    after_probe,
    known_health,
    watches,
)
from scheduler.objects.handlers import Lifecycle, LifecycleHandler, Probe, SleepAction
from scheduler.objects.pod import Container, PodContainerStatus

PROBE = Probe()
HOOK = Lifecycle(post_start=LifecycleHandler(sleep=SleepAction(1)))
RUNS = ContainerStatus("c", "id", 2, "h.0", EngineState.RUNNING, "img")


def health(container, remembered=UNKNOWN, shown=None):
    found = known_health(container, RUNS, remembered, shown, "docker")
    return found.hooked, found.started, found.ready


def watch(kind, **fields):
    return Watch("c", "id", 2, kind, Probe(**fields))


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (Container("c"), (True, True, True)),
        (Container("c", readiness_probe=PROBE), (True, True, False)),
        (Container("c", liveness_probe=PROBE), (True, True, True)),
        (Container("c", startup_probe=PROBE), (True, False, False)),
        (Container("c", lifecycle=HOOK), (False, False, False)),
    ],
)
def test_what_counts_before_any_probe_has_spoken(container, expected):
    assert health(container) == expected


def test_a_new_leader_believes_the_status_of_the_same_container_only():
    container = Container("c", startup_probe=PROBE, readiness_probe=PROBE, lifecycle=HOOK)
    shown = PodContainerStatus("c", ready=True, started=True, container_id="docker://id")
    assert health(container, shown=shown) == (True, True, True)
    other = PodContainerStatus("c", ready=True, started=True, container_id="docker://old")
    assert health(container, shown=other) == (False, False, False)
    known = Health(2, hooked=True, started=True, ready=False)
    assert health(container, known, shown) == (True, True, False)
    of_another_attempt = Health(1, hooked=True, started=True, ready=True)
    assert health(container, of_another_attempt) == (False, False, False)


def test_the_startup_probe_goes_first_and_the_hook_before_it():
    container = Container("c", startup_probe=PROBE, liveness_probe=PROBE, readiness_probe=PROBE)

    def kinds(known):
        return [w.kind for w in watches(container, RUNS, known)]

    assert kinds(Health(2, hooked=True)) == [ProbeKind.STARTUP]
    assert kinds(Health(2, hooked=False)) == []
    started = Health(2, hooked=True, started=True)
    assert kinds(started) == [ProbeKind.LIVENESS, ProbeKind.READINESS]


def test_failures_doom_and_readiness_only_tells():
    fine = Health(2, hooked=True, started=True)
    ready = after_probe(fine, watch(ProbeKind.READINESS), success=False)
    assert (ready.ready, ready.doom) == (False, None)
    dead = after_probe(
        fine, watch(ProbeKind.LIVENESS, termination_grace_period_seconds=7), success=False
    )
    assert dead.doom is not None
    assert dead.doom.grace_seconds == 7
    assert dead.doom.message == "Container c failed liveness probe"
    begun = after_probe(Health(1), watch(ProbeKind.STARTUP), success=True)
    assert (begun.attempt, begun.started) == (2, True)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_needs_its_threshold_in_a_row_and_is_given_once(results, successes, failures):
    probe = replace_probe(successes, failures)
    tally, told = Tally(), []
    for index, result in enumerate(results):
        tally, verdict = tally.count(probe, success=result)
        if verdict is not None:
            needed = successes if verdict else failures
            assert results[index + 1 - needed : index + 1] == [verdict] * needed
            told.append(verdict)
    assert all(a is not b for a, b in pairwise(told))
    if results and len(set(results)) == 1:
        needed = successes if results[0] else failures
        assert told == ([results[0]] if len(results) >= needed else [])


def replace_probe(successes, failures):
    return Probe(success_threshold=successes, failure_threshold=failures)


def test_what_is_known_of_another_attempt_is_nothing():
    assert Health(1, hooked=True).of(2) == Health(2)
    assert replace(Health(1), ready=True).of(1).ready
