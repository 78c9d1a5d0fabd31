"""Pod phase and conditions against kubelet's own tables (getPhase, GenerateContainersReady…)."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.drivers import ContainerStatus, EngineState
from scheduler.nodes.pod_status import ContainerReport, PodReport, build_status
from scheduler.objects.pod import (
    Condition,
    Container,
    ContainerStateWaiting,
    PodStatus,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WAIT = ContainerStateWaiting("CrashLoopBackOff", "…")


def attempt(state, code=0, number=0, **fields):
    return ContainerStatus("c", "id", number, "h.0", state, "img", exit_code=code, **fields)


RUNS = ContainerReport(Container("a"), attempt(EngineState.RUNNING))
DONE = ContainerReport(Container("a"), attempt(EngineState.EXITED))
FAILED = ContainerReport(Container("a"), attempt(EngineState.EXITED, 1))
WAITS = ContainerReport(Container("a"))
BACKS_OFF = ContainerReport(Container("a"), attempt(EngineState.EXITED, 1), waiting=WAIT)
SIDE = Container("s", restart_policy="Always")
SIDE_RUNS = ContainerReport(SIDE, attempt(EngineState.RUNNING))
SIDE_WAITS = ContainerReport(SIDE)
SIDE_DONE = ContainerReport(SIDE, attempt(EngineState.EXITED, 137))


def status(apps, inits=(), policy="Always", before=None, now=NOW, **fields):
    report = PodReport(
        apps=apps,
        inits=inits,
        restart_policy=policy,
        runtime="docker",
        pod_ip=fields.pop("pod_ip", "10.0.0.2"),
        host_ip="192.0.2.1",
        bound_at=NOW - timedelta(minutes=1),
        generation=1,
        **fields,
    )
    return build_status(report, before or PodStatus(), now)


@pytest.mark.parametrize(
    ("policy", "apps", "phase"),
    [
        ("Always", [WAITS, WAITS], "Pending"),
        ("Always", [RUNS, RUNS], "Running"),
        ("Always", [RUNS, WAITS], "Pending"),
        ("Always", [RUNS, FAILED], "Running"),
        ("Always", [DONE, DONE], "Running"),
        ("Always", [FAILED, FAILED], "Running"),
        ("Always", [RUNS, BACKS_OFF], "Running"),
        ("Always", [BACKS_OFF], "Running"),
        ("Never", [DONE, DONE], "Succeeded"),
        ("Never", [FAILED, DONE], "Failed"),
        ("Never", [RUNS, FAILED], "Running"),
        ("OnFailure", [DONE, DONE], "Succeeded"),
        ("OnFailure", [FAILED, DONE], "Running"),
        ("OnFailure", [BACKS_OFF, DONE], "Running"),
        ("OnFailure", [WAITS], "Pending"),
    ],
)
def test_phase_of_apps(policy, apps, phase):
    assert status(apps, policy=policy).phase == phase


@pytest.mark.parametrize(
    ("policy", "inits", "apps", "phase"),
    [
        ("Always", [WAITS], [WAITS], "Pending"),
        ("Always", [RUNS], [WAITS], "Pending"),
        ("Always", [DONE], [RUNS], "Running"),
        ("Always", [FAILED], [WAITS], "Pending"),
        ("Never", [FAILED], [WAITS], "Failed"),
        ("OnFailure", [BACKS_OFF], [WAITS], "Pending"),
        ("Always", [SIDE_RUNS], [WAITS], "Pending"),
        ("Always", [SIDE_RUNS], [RUNS], "Running"),
        ("Always", [SIDE_WAITS], [WAITS], "Pending"),
        ("Never", [SIDE_RUNS], [DONE], "Running"),
        ("Never", [SIDE_DONE], [DONE], "Succeeded"),
    ],
)
def test_phase_with_init_containers_and_sidecars(policy, inits, apps, phase):
    assert status(apps, inits, policy).phase == phase


def test_a_final_phase_is_held_back_while_ports_are_taken():
    running = PodStatus(phase="Running")
    assert status([DONE], policy="Never", hold=True, before=running).phase == "Running"
    assert status([DONE], policy="Never", before=running).phase == "Succeeded"


def test_conditions_say_which_containers_are_not_ready():
    found = status([WAITS], [RUNS])
    words = {c.type: (c.status, c.reason, c.message) for c in found.conditions}
    assert words == {
        "PodReadyToStartContainers": ("True", "", ""),
        "Initialized": (
            "False",
            "ContainersNotInitialized",
            "containers with incomplete status: [a]",
        ),
        "Ready": ("False", "ContainersNotReady", "containers with unready status: [a]"),
        "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [a]"),
        "PodScheduled": ("True", "", ""),
    }
    waiting = found.container_statuses[0].state.waiting
    assert waiting.reason == "PodInitializing"


def test_transition_times_move_only_with_the_status():
    first = status([WAITS])
    assert first.condition("PodScheduled").last_transition_time == NOW - timedelta(minutes=1)
    later = NOW + timedelta(hours=1)
    second = status([RUNS], before=first, now=later)
    assert second.condition("Ready").last_transition_time == later
    assert second.condition("PodReadyToStartContainers").last_transition_time == NOW
    assert status([RUNS], before=second, now=later + timedelta(hours=1)) == second


def test_what_others_say_is_kept():
    before = PodStatus(
        conditions=(Condition("DisruptionTarget", "True"),),
        qos_class="Guaranteed",
        nominated_node_name="h2",
    )
    found = status([RUNS], before=before)
    assert found.condition("DisruptionTarget").status == "True"
    assert (found.qos_class, found.nominated_node_name) == ("Guaranteed", "h2")


def test_how_containers_ended():
    oom = attempt(EngineState.EXITED, 137, oom_killed=True)
    broken = attempt(EngineState.CREATED, 127, reason="StartError", message="no such file")
    ended = [
        status([ContainerReport(Container("a"), each)], policy="Never")
        .container_statuses[0]
        .state.terminated
        for each in (oom, broken, attempt(EngineState.EXITED, 2), attempt(EngineState.EXITED))
    ]
    assert [(e.reason, e.exit_code) for e in ended] == [
        ("OOMKilled", 137),
        ("StartError", 127),
        ("Error", 2),
        ("Completed", 0),
    ]
    assert ended[1].message == "no such file"


def test_restart_count_and_last_state_come_from_the_attempts():
    report = ContainerReport(
        Container("a"),
        latest=attempt(EngineState.RUNNING, number=4, started_at=NOW + timedelta(microseconds=7)),
        previous=attempt(EngineState.EXITED, 3, number=3),
    )
    [found] = status([report]).container_statuses
    assert found.restart_count == 4
    assert found.last_state.terminated.exit_code == 3
    assert found.state.running.started_at == NOW, "whole seconds"
    assert found.container_id == "docker://id"
    assert found.ready
    assert found.started
