"""Single answers of the lifecycle machine that its property tests do not pin down."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from scheduler.drivers import (
    ContainerStatus,
    EngineState,
    PodIdentity,
    PodObservation,
    SandboxStatus,
)
from scheduler.nodes.instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    PullImage,
    RemovePod,
    RemoveSandbox,
    StopContainer,
)
from scheduler.nodes.lifecycle import DesiredPod, reconcile, spec_hash
from scheduler.nodes.memory import PodMemory
from scheduler.nodes.status_writer import merged
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    EphemeralContainer,
    Pod,
    PodContainerStatus,
    PodSpec,
    PodStatus,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = PodIdentity("u1", "default", "web")
ALIVE = SandboxStatus(WHO, "s0", 0, running=True, ip="10.0.0.2")
DEAD = with_fields(ALIVE, running=False, ip="")
APP = Container("web", "web:1")


def pod(policy="Always", *containers, status=None, **meta):
    return Pod(
        ObjectMeta(name="web", namespace="default", uid="u1", **meta),
        PodSpec(containers=containers or (APP,), restart_policy=policy),
        status or PodStatus(),
        "h1",
        1,
        b"",
    )


def made(container=APP, number=0, state=EngineState.RUNNING, **fields):
    return ContainerStatus(
        container.name,
        f"{container.name}.{number}",
        number,
        spec_hash(container, 0),
        state,
        container.image,
        **fields,
    )


def ask(wanted, sandbox=ALIVE, *containers, memory=None, now=NOW):
    seen = PodObservation(WHO, sandbox, containers) if sandbox or containers else None
    desired = DesiredPod(wanted, NOW, "192.0.2.1", "docker")
    return reconcile(desired, seen, memory or PodMemory(), now)


def shown(count, state):
    status = PodContainerStatus(
        "web", restart_count=count, container_id="docker://old", state=state
    )
    return PodStatus(phase="Running", container_statuses=(status,))


RUNNING = ContainerState(running=ContainerStateRunning(NOW))
SUCCEEDED = ContainerState(terminated=ContainerStateTerminated(exit_code=0, reason="Completed"))


def test_what_a_wiped_host_lost_is_started_under_a_new_attempt():
    answer = ask(pod(status=shown(3, RUNNING)), ALIVE)
    assert answer.instructions == (PullImage("web", 4),)
    last = answer.status.container_statuses[0].last_state.terminated
    assert (last.exit_code, last.reason) == (137, "ContainerStatusUnknown")


@pytest.mark.parametrize(
    ("policy", "state", "phase"),
    [
        ("Never", RUNNING, "Failed"),
        ("Never", SUCCEEDED, "Succeeded"),
        ("OnFailure", SUCCEEDED, "Succeeded"),
    ],
)
def test_what_a_wiped_host_lost_is_not_started_against_its_policy(policy, state, phase):
    answer = ask(pod(policy, status=shown(0, state)), None)
    assert answer.instructions == ()
    assert answer.status.phase == phase


def test_a_never_pod_gets_no_second_sandbox():
    other = Container("other", "o")
    wanted = pod("Never", APP, other)
    answer = ask(wanted, DEAD, made(state=EngineState.EXITED))
    assert answer.instructions == ()
    assert answer.status.phase == "Failed"
    reasons = {s.name: s.state.terminated.reason for s in answer.status.container_statuses}
    assert reasons == {"web": "Completed", "other": "ContainerStatusUnknown"}
    assert ask(wanted, DEAD).instructions == (RemoveSandbox("s0"),), "nothing has run in it yet"


def test_restarts_wait_longer_each_time_and_start_over_after_ten_minutes():
    memory, now, waits = PodMemory(), NOW, []
    for number in range(12):
        ran = made(number=number, state=EngineState.EXITED, exit_code=1)
        ran = with_fields(ran, started_at=now, finished_at=now)
        answer = ask(pod(), ALIVE, ran, memory=memory, now=now)
        memory = answer.memory
        waits.append((answer.wake_at or now) - now)
    assert [w.total_seconds() for w in waits] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert answer.status.container_statuses[0].state.waiting.message == (
        "back-off 300s restarting failed container=web pod=web_default(u1)"
    )
    steady = with_fields(
        made(number=12, state=EngineState.EXITED),
        started_at=now,
        finished_at=now + timedelta(minutes=10),
    )
    answer = ask(pod(), ALIVE, steady, memory=memory, now=now + timedelta(minutes=10))
    assert answer.instructions == (PullImage("web", 13),)


def test_sandboxes_that_keep_dying_wait_too():
    memory, waits = PodMemory(), []
    for number in range(4):
        dead = with_fields(DEAD, id=f"s{number}", attempt=number, created_at=NOW)
        memory = ask(pod(), dead, memory=memory).memory
        answer = ask(pod(), None, memory=memory)
        waits.append((answer.wake_at or NOW) - NOW)
        if not number:
            assert answer.instructions == (EnsureSandbox(1),)
    assert [w.total_seconds() for w in waits] == [0, 1, 2, 4]


def test_a_start_that_failed_says_why():
    broken = made(state=EngineState.CREATED, exit_code=127, reason="StartError", message="no sh")
    answer = ask(pod(), ALIVE, broken)
    waiting = answer.status.container_statuses[0].state.waiting
    assert (waiting.reason, waiting.message) == ("RunContainerError", "no sh")
    assert answer.instructions == (PullImage("web", 1),)
    never = ask(pod("Never"), DEAD, broken)
    assert never.status.phase == "Failed"


def test_a_new_image_replaces_the_container_in_place():
    old = made(Container("web", "web:0"))
    answer = ask(pod(), ALIVE, old)
    assert [type(i) for i in answer.instructions] == [StopContainer]
    ended = with_fields(old, state=EngineState.EXITED, exit_code=143)
    assert ask(pod(), ALIVE, ended).instructions == (PullImage("web", 1),)


def test_deletion_uses_the_grace_that_is_left():
    deadline = NOW + timedelta(seconds=20)
    wanted = pod(deletion_timestamp=deadline, deletion_grace_period_seconds=30)
    for passed, grace in ((0, 20), (12.5, 8), (60, 1)):
        answer = ask(wanted, ALIVE, made(), now=NOW + timedelta(seconds=passed))
        [stop] = answer.instructions
        assert stop.grace_seconds == grace
    ended = made(state=EngineState.EXITED)
    assert ask(wanted, ALIVE, ended).instructions == (RemovePod("u1"),)
    assert ask(wanted, None).instructions == (FinishDeletion("u1"),)


def test_sidecars_are_stopped_after_the_apps():
    side = Container("side", "s", restart_policy="Always")
    wanted = pod(deletion_timestamp=NOW)
    wanted = with_fields(wanted, spec=PodSpec(containers=(APP,), init_containers=(side,)))
    both = ask(wanted, ALIVE, made(), made(side))
    assert [i.container for i in both.instructions] == ["web"]
    one = ask(wanted, ALIVE, made(state=EngineState.EXITED), made(side))
    assert [i.container for i in one.instructions] == ["side"]


def test_a_created_container_is_started_not_made_again():
    answer = ask(pod(), ALIVE, made(state=EngineState.CREATED))
    assert answer.instructions == (PullImage("web", 0),)
    memory = PodMemory().with_container("web", replace(PodMemory().of("web"), pulled=0))
    again = ask(pod(), ALIVE, made(state=EngineState.CREATED), memory=memory)
    assert again.instructions == (EnsureContainer("web", 0),)


LOOKER = EphemeralContainer("looker", "tools:1", target_container_name="web")


def looked_at(policy="Always", status=None):
    wanted = pod(policy, status=status)
    return with_fields(wanted, spec=with_fields(wanted.spec, ephemeral_containers=(LOOKER,)))


def test_an_ephemeral_container_is_started_in_a_running_pod_once():
    decision = ask(looked_at(), ALIVE, made())
    assert decision.instructions == (PullImage("looker", 0),)
    pulled = decision.memory.with_container(
        "looker", replace(decision.memory.of("looker"), pulled=0)
    )
    decision = ask(looked_at(), ALIVE, made(), memory=pulled)
    assert decision.instructions == (EnsureContainer("looker", 0),)
    running = ask(looked_at(), ALIVE, made(), made(LOOKER))
    assert running.instructions == ()
    (status,) = running.status.ephemeral_container_statuses
    assert (status.name, status.ready, status.state.running is None) == ("looker", False, False)
    assert running.status.phase == "Running"
    written = msgspec.json.decode(merged(b"", running.status), type=PodStatus)
    assert written == running.status, "nothing is left out, or it would be written for ever"
    ended = ask(looked_at(), ALIVE, made(), made(LOOKER, state=EngineState.EXITED, exit_code=1))
    assert ended.instructions == ()
    (status,) = ended.status.ephemeral_container_statuses
    assert status.state.terminated.exit_code == 1
    assert ended.status.phase == "Running", "how it ends says nothing of the pod"
    shown_before = ask(looked_at(status=ended.status), ALIVE, made())
    assert shown_before.instructions == (), "one that was removed from the host does not come back"


def test_an_ephemeral_container_does_not_keep_a_pod_alive():
    over = made(state=EngineState.EXITED)
    decision = ask(looked_at("Never"), ALIVE, over, made(LOOKER))
    (stop,) = decision.instructions
    assert (type(stop), stop.container) == (StopContainer, "looker")
