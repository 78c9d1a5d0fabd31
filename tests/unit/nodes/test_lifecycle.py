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
from scheduler.nodes.health import Doom, Health, ProbeKind
from scheduler.nodes.instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    PullImage,
    RemovePod,
    RemoveSandbox,
    RunPostStart,
    StopContainer,
    StopSandbox,
    WriteVolumes,
)
from scheduler.nodes.lifecycle import DesiredPod, reconcile, spec_hash
from scheduler.nodes.memory import ContainerMemory, Eviction, PodMemory, failed, succeeded
from scheduler.nodes.status_writer import merged
from scheduler.objects.handlers import (
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    Probe,
    RestartRule,
    RestartRuleExitCodes,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Condition,
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    EphemeralContainer,
    Pod,
    PodContainerStatus,
    PodSpec,
    PodStatus,
    ReadinessGate,
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


def test_a_removed_container_counts_as_one_even_if_an_earlier_attempt_is_still_there():
    earlier = made(number=2, state=EngineState.EXITED, exit_code=1)
    answer = ask(pod(status=shown(3, RUNNING)), ALIVE, earlier)
    assert answer.instructions == (PullImage("web", 4),)
    last = answer.status.container_statuses[0].last_state.terminated
    assert last.reason == "ContainerStatusUnknown"
    again = ask(pod(status=answer.status), ALIVE, earlier)
    assert again.instructions == (PullImage("web", 4),), "and so it stays"
    crashed = ask(pod(status=shown(2, RUNNING)), ALIVE, earlier)
    assert crashed.instructions == (PullImage("web", 3),)


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


def test_what_the_api_is_asked_with_is_there_before_containers_are():
    offering = with_fields(ALIVE, api_access=True)
    (writing,) = ask(pod(), offering).instructions
    assert isinstance(writing, WriteVolumes)
    memory = succeeded(PodMemory(), writing)
    assert ask(pod(), offering, memory=memory).instructions == (PullImage("web", 0),)
    stale = replace(memory, volumes="")
    assert ask(pod(), offering, made(), memory=stale).instructions == (writing,)


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


# --- hooks, probes, deadlines ---------------------------------------------------------------

HOOKED = Container(
    "first", "f", lifecycle=Lifecycle(post_start=LifecycleHandler(exec=ExecAction(("true",))))
)
PULLED = {"first": ContainerMemory(pulled=0), "web": ContainerMemory(pulled=0)}


def test_the_next_container_starts_when_the_hook_is_over():
    wanted, memory = pod("Always", HOOKED, APP), PodMemory(PULLED)
    assert ask(wanted, ALIVE, memory=memory).instructions == (EnsureContainer("first", 0),)
    answer = ask(wanted, ALIVE, made(HOOKED), memory=memory)
    assert answer.instructions == (RunPostStart("first", "first.0", 0),)
    [shown, _] = answer.status.container_statuses
    assert (shown.state.running is not None, shown.started, shown.ready) == (True, False, False)
    over = succeeded(answer.memory, answer.instructions[0])
    assert ask(wanted, ALIVE, made(HOOKED), memory=over).instructions == (
        EnsureContainer("web", 0),
    )


def test_a_hook_that_fails_ends_its_container():
    wanted = pod("Always", HOOKED)
    memory = failed(
        PodMemory(), RunPostStart("first", "first.0", 0), "FailedPostStartHook", "", NOW
    )
    answer = ask(wanted, ALIVE, made(HOOKED), memory=memory)
    [stop] = answer.instructions
    assert stop.why == "FailedPostStartHook, will be restarted"
    ended = made(HOOKED, state=EngineState.EXITED, exit_code=137)
    again = ask(wanted, ALIVE, ended, memory=answer.memory)
    assert again.instructions == (PullImage("first", 1),)


@pytest.mark.parametrize(
    ("policy", "starts", "phase"),
    [("Always", True, "Running"), ("OnFailure", True, "Running"), ("Never", False, "Succeeded")],
)
def test_a_container_doomed_by_its_probe_is_restarted_even_if_it_ends_well(policy, starts, phase):
    doom = Doom("Container web failed liveness probe", 3)
    memory = PodMemory().with_health("web", Health(0, started=True, doom=doom))
    answer = ask(pod(policy), ALIVE, made(), memory=memory)
    [stop] = answer.instructions
    words = ", will be restarted" if starts else ""
    assert (stop.grace_seconds, stop.why) == (3, f"Container web failed liveness probe{words}")
    assert answer.watches == ()
    ended = made(state=EngineState.EXITED, exit_code=0)
    after = ask(pod(policy), DEAD if not starts else ALIVE, ended, memory=memory)
    assert bool(after.instructions) is starts
    assert after.status.phase == phase


@pytest.mark.parametrize("why", ["deleted", "expired", "doomed"])
def test_of_what_is_being_stopped_readiness_is_probed_on(why):
    probed = Container("web", "web:1", readiness_probe=Probe(), liveness_probe=Probe())
    end = {"deletion_timestamp": NOW} if why == "deleted" else {}
    wanted = pod("Always", probed, status=PodStatus(start_time=NOW - timedelta(60)), **end)
    spec = with_fields(wanted.spec, active_deadline_seconds=1 if why == "expired" else None)
    doom = Doom("failed") if why == "doomed" else None
    memory = PodMemory().with_health("web", Health(0, started=True, doom=doom))
    answer = ask(with_fields(wanted, spec=spec), ALIVE, made(probed), memory=memory)
    assert [type(each) for each in answer.instructions] == [StopContainer]
    assert [each.kind for each in answer.watches] == [ProbeKind.READINESS]
    ended = made(probed, state=EngineState.EXITED)
    assert ask(with_fields(wanted, spec=spec), ALIVE, ended, memory=memory).watches == ()


def test_an_init_container_waits_for_a_sidecar_to_have_started():
    side = Container("side", "s", restart_policy="Always", startup_probe=Probe())
    init = Container("init", "i")
    wanted = pod("Always", APP)
    wanted = with_fields(wanted, spec=PodSpec(containers=(APP,), init_containers=(side, init)))
    waits = ask(wanted, ALIVE, made(side))
    assert waits.instructions == ()
    assert [w.kind for w in waits.watches] == [ProbeKind.STARTUP]
    assert waits.status.phase == "Pending"
    memory = PodMemory().with_health("side", Health(0, started=True))
    goes = ask(wanted, ALIVE, made(side), memory=memory)
    assert goes.instructions == (PullImage("init", 0),)
    assert goes.status.condition("Initialized").message == (
        "containers with incomplete status: [init]"
    )


def test_sidecars_stop_one_after_another_the_last_started_first():
    sides = [Container(name, "s", restart_policy="Always") for name in ("one", "two")]
    wanted = pod(deletion_timestamp=NOW)
    wanted = with_fields(wanted, spec=PodSpec(containers=(APP,), init_containers=tuple(sides)))
    ended = made(state=EngineState.EXITED)
    both = ask(wanted, ALIVE, ended, *map(made, sides))
    assert [i.container for i in both.instructions] == ["two"]
    two_ended = made(sides[1], state=EngineState.EXITED)
    last = ask(wanted, ALIVE, ended, made(sides[0]), two_ended)
    assert [i.container for i in last.instructions] == ["one"]


def test_a_deadline_stops_all_and_fails_the_pod():
    begun = PodStatus(phase="Running", start_time=NOW)
    wanted = pod(status=begun)
    wanted = with_fields(wanted, spec=PodSpec(containers=(APP,), active_deadline_seconds=5))
    running = ask(wanted, ALIVE, made())
    assert running.wake_at == NOW + timedelta(seconds=5)
    late = NOW + timedelta(seconds=5)
    over = ask(wanted, ALIVE, made(), now=late)
    assert [type(i) for i in over.instructions] == [StopContainer]
    assert over.status.phase == "Running", "until nothing runs any more"
    ended = made(state=EngineState.EXITED, exit_code=143)
    assert ask(wanted, ALIVE, ended, now=late).instructions == (StopSandbox("s0"),)
    done = ask(wanted, DEAD, ended, now=late)
    assert done.instructions == ()
    assert (done.status.phase, done.status.reason) == ("Failed", "DeadlineExceeded")


def test_an_evicted_pod_is_stopped_at_once_and_fails_whoever_remembers_it():
    wanted = pod(status=PodStatus(phase="Running", start_time=NOW))
    evicted = PodMemory(eviction=Eviction("no room"))
    first = ask(wanted, ALIVE, made(), memory=evicted)
    assert [(type(i), i.grace_seconds) for i in first.instructions] == [(StopContainer, 1)]
    assert (first.status.phase, first.status.reason) == ("Running", ""), "until nothing runs"
    target = first.status.condition("DisruptionTarget")
    assert (target.status, target.reason) == ("True", "TerminationByKubelet")
    assert target.message == "no room"
    # The service was restarted: only the store knows.
    later, wanted = NOW + timedelta(seconds=9), pod(status=first.status)
    ended = made(state=EngineState.EXITED, exit_code=0)
    assert ask(wanted, ALIVE, ended, now=later).instructions == (StopSandbox("s0"),)
    done = ask(wanted, DEAD, ended, now=later)
    assert done.instructions == ()
    assert (done.status.phase, done.status.reason) == ("Failed", "Evicted")
    assert done.status.message == "no room"
    assert done.status.condition("DisruptionTarget") == target


def test_a_pod_that_has_more_than_it_may_is_evicted_but_not_disrupted():
    wanted = pod(status=PodStatus(phase="Running", start_time=NOW))
    evicted = PodMemory(eviction=Eviction("too much", disrupts=False))
    first = ask(wanted, ALIVE, made(), memory=evicted)
    assert [type(i) for i in first.instructions] == [StopContainer]
    ended = made(state=EngineState.EXITED, exit_code=0)
    done = ask(wanted, DEAD, ended, memory=evicted)
    assert (done.status.phase, done.status.reason) == ("Failed", "Evicted")
    assert done.status.message == "too much"
    assert done.status.condition("DisruptionTarget") is None


def test_what_is_left_of_an_ended_pod_goes_when_its_host_needs_the_room():
    wanted = pod(status=PodStatus(phase="Failed"))
    ended = made(state=EngineState.EXITED, exit_code=1)
    assert ask(wanted, DEAD, ended).instructions == (), "its logs stay"
    cleared = PodMemory(cleared=True)
    stops = ask(wanted, ALIVE, made(), memory=cleared)
    assert [type(i) for i in stops.instructions] == [StopContainer], "first it ends"
    gone = ask(wanted, DEAD, ended, memory=cleared)
    assert (gone.instructions, gone.status) == ((RemovePod(wanted.meta.uid),), None)
    assert ask(wanted, None, memory=cleared).instructions == ()


def test_a_pod_that_never_began_can_be_evicted():
    done = ask(pod(), None, memory=PodMemory(eviction=Eviction("no room")))
    assert done.instructions == ()
    assert (done.status.phase, done.status.reason) == ("Failed", "Evicted")


def test_a_pod_that_others_disrupt_is_not_evicted():
    target = Condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "drained")
    wanted = pod(status=PodStatus(phase="Running", conditions=(target,)))
    assert ask(wanted, ALIVE, made()).status.phase == "Running"


def test_readiness_waits_for_the_probe_and_for_the_gates():
    probed = Container("web", "web:1", readiness_probe=Probe())
    spec = PodSpec(containers=(probed,), readiness_gates=(ReadinessGate("example.com/fed"),))
    wanted = with_fields(pod(), spec=spec)
    seen = made(probed)
    assert ask(wanted, ALIVE, seen).status.condition("Ready").reason == "ContainersNotReady"
    memory = PodMemory().with_health("web", Health(0, ready=True))
    gated = ask(wanted, ALIVE, seen, memory=memory).status
    assert gated.condition("ContainersReady").status == "True"
    ready = gated.condition("Ready")
    assert (ready.status, ready.reason) == ("False", "ReadinessGatesNotReady")
    assert ready.message == (
        'corresponding condition of pod readiness gate "example.com/fed" does not exist.'
    )
    met = PodStatus(conditions=(Condition("example.com/fed", "True"),))
    fed = ask(with_fields(wanted, status=met), ALIVE, seen, memory=memory).status
    assert fed.condition("Ready").status == "True"
    assert fed.condition("example.com/fed").status == "True"


@pytest.mark.parametrize(
    ("policy", "exit_code", "starts"),
    [("Never", 42, True), ("Never", 1, False), ("OnFailure", 1, True), ("OnFailure", 0, False)],
)
def test_a_container_may_have_a_restart_policy_of_its_own(policy, exit_code, starts):
    rule = RestartRule(exit_codes=RestartRuleExitCodes("In", (42,)))
    own = Container("web", "web:1", restart_policy=policy, restart_policy_rules=(rule,))
    other = Container("other", "o")
    ended = made(own, state=EngineState.EXITED, exit_code=exit_code)
    answer = ask(pod("Always", own, other), ALIVE, ended, made(other))
    assert (PullImage("web", 1) in answer.instructions) is starts
    assert answer.status.phase == "Running"


def test_a_container_that_cannot_be_created_is_tried_less_and_less_often():
    memory, now, waits = PodMemory(), NOW, []
    for _ in range(8):
        memory = succeeded(memory, PullImage("web", 0))
        memory = failed(memory, EnsureContainer("web", 0), "CreateContainerError", "no", now)
        answer = ask(pod(), ALIVE, memory=memory, now=now)
        assert answer.instructions == ()
        failure = memory.of("web").failure
        waits.append((failure.retry_at - now).total_seconds())
        now = failure.retry_at
        again = ask(pod(), ALIVE, memory=memory, now=now)
        assert again.instructions == (PullImage("web", 0),)
        waiting = again.status.container_statuses[0].state.waiting
        assert (waiting.reason, waiting.message) == ("CreateContainerError", "no")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    done = succeeded(memory, EnsureContainer("web", 0))
    assert done.of("web").failure is None


def test_a_pull_that_succeeds_at_last_leaves_no_failure():
    memory = failed(PodMemory(), PullImage("web", 0), "ErrImagePull", "no", NOW)
    memory = succeeded(memory, PullImage("web", 0))
    assert memory.of("web").failure is None
    refused = failed(memory, EnsureContainer("web", 0), "CreateContainerError", "no", NOW)
    assert refused.of("web").failure.count == 1
