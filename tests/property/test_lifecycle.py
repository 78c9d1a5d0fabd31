"""The lifecycle machine against a model engine: it converges, and never starts anything twice."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from scheduler.drivers import (
    ContainerStatus,
    EngineState,
    PodIdentity,
    PodObservation,
    SandboxStatus,
)
from scheduler.nodes.health import Doom, Health, ProbeKind, after_probe
from scheduler.nodes.instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    PullImage,
    RemoveContainer,
    RemovePod,
    RemoveSandbox,
    RunPostStart,
    StopContainer,
    StopSandbox,
)
from scheduler.nodes.lifecycle import DesiredPod, reconcile, spec_hash
from scheduler.nodes.memory import PodMemory, failed, succeeded
from scheduler.objects.handlers import Lifecycle, LifecycleHandler, Probe, SleepAction
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, Pod, PodSpec, PodStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
UID = "0000-uid"
IDENTITY = PodIdentity(UID, "default", "web")


HOOK = Lifecycle(post_start=LifecycleHandler(sleep=SleepAction(1)))


def make_pod(policy="Always", apps=1, inits=0, sidecars=0, watched=False):
    more = {"startup_probe": Probe(), "liveness_probe": Probe(), "lifecycle": HOOK}
    more = more if watched else {}
    init = [
        Container(name=f"side{i}", image="s", restart_policy="Always", **more)
        for i in range(sidecars)
    ]
    init += [Container(name=f"init{i}", image="i") for i in range(inits)]
    return Pod(
        meta=ObjectMeta(name="web", namespace="default", uid=UID),
        spec=PodSpec(
            containers=tuple(Container(name=f"app{i}", image="a", **more) for i in range(apps)),
            init_containers=tuple(init),
            restart_policy=policy,
        ),
        status=PodStatus(),
        node="h1",
        revision=1,
        digest=b"",
    )


@dataclass
class Engine:
    """Does what it is told, and counts what must happen only once."""

    pod: Pod
    sandbox: SandboxStatus | None = None
    containers: dict = field(default_factory=dict)
    started: set = field(default_factory=set)
    finished: bool = False
    now: datetime = START
    hooked: set = field(default_factory=set)
    healthy: set = field(default_factory=set)  # attempts whose startup probe has succeeded

    def observe(self):
        if self.sandbox is None and not self.containers:
            return None
        return PodObservation(IDENTITY, self.sandbox, tuple(self.containers.values()))

    def spec(self, name):
        every = (*self.pod.spec.init_containers, *self.pod.spec.containers)
        return next(c for c in every if c.name == name)

    def apply(self, instruction):
        match instruction:
            case EnsureSandbox(attempt):
                assert self.sandbox is None, "a dead sandbox is removed first"
                assert not any(c.state is EngineState.RUNNING for c in self.containers.values())
                self.sandbox = SandboxStatus(IDENTITY, f"s{attempt}", attempt, True, "10.0.0.2")
            case PullImage():
                pass
            case EnsureContainer(name, attempt):
                self.start(name, attempt)
            case RunPostStart(name, _, attempt):
                assert self.containers[name, attempt].state is EngineState.RUNNING
                assert (name, attempt) not in self.hooked, "a hook runs once an attempt"
                self.hooked.add((name, attempt))
            case StopContainer(name, container_id, _):
                self.check_stop_order(name)
                self.end(container_id, 143)
            case RemoveContainer(_, container_id):
                gone = next(k for k, c in self.containers.items() if c.id == container_id)
                assert self.containers[gone].state is not EngineState.RUNNING
                del self.containers[gone]
            case StopSandbox():
                self.sandbox = with_fields(self.sandbox, running=False)
            case RemoveSandbox():
                assert not self.sandbox.running
                self.sandbox = None
            case RemovePod():
                self.sandbox = None
                self.containers = {}
            case FinishDeletion():
                assert self.observe() is None, "nothing may be left behind"
                self.finished = True

    def start(self, name, attempt):
        assert self.sandbox is not None
        assert self.sandbox.running
        present = self.containers.get((name, attempt))
        wanted = spec_hash(self.spec(name), self.sandbox.attempt)
        if name.startswith("app"):
            self.check_initialized()
        if present is not None and present.state is EngineState.CREATED:
            assert present.spec_hash == wanted, "another image or sandbox is another attempt"
            self.containers[name, attempt] = with_fields(
                present, state=EngineState.RUNNING, started_at=self.now
            )
            return
        assert (name, attempt) not in self.started, "an attempt is started once"
        others = [c for c in self.containers.values() if c.name == name]
        assert not any(c.state is EngineState.RUNNING for c in others), "one at a time"
        self.started.add((name, attempt))
        self.containers[name, attempt] = ContainerStatus(
            name=name,
            id=f"{name}.{attempt}",
            attempt=attempt,
            spec_hash=wanted,
            state=EngineState.RUNNING,
            image="a",
            started_at=self.now,
        )

    def check_initialized(self):
        """Init containers have succeeded in this sandbox, unless an app was made in it before."""
        here = [
            c for c in self.containers.values() if c.spec_hash.endswith(f".{self.sandbox.attempt}")
        ]
        if any(c.name.startswith("app") for c in here):
            return
        for spec in self.pod.spec.init_containers:
            done = EngineState.EXITED if spec.name.startswith("init") else EngineState.RUNNING
            assert any(c.name == spec.name and c.state is done and not c.exit_code for c in here)

    def check_stop_order(self, name):
        """When a pod ends, sidecars outlive the others, and later ones end before earlier ones."""
        if self.ending and name.startswith("side"):
            alive = {c.name for c in self.containers.values() if c.state is EngineState.RUNNING}
            assert all(other.startswith("side") and other <= name for other in alive)

    @property
    def ending(self):
        return self.pod.meta.deletion_timestamp is not None

    def probe(self, memory, decision):
        """Let every startup probe succeed; returns the memory, and whether there was one."""
        found = [w for w in decision.watches if w.kind is ProbeKind.STARTUP]
        for watch in found:
            container = self.containers[watch.container, watch.attempt]
            assert container.state is EngineState.RUNNING
            assert container.id == watch.container_id
            health = after_probe(memory.of(watch.container).health, watch, success=True)
            memory = memory.with_health(watch.container, health)
            self.healthy.add((watch.container, watch.attempt))
        return memory, bool(found)

    def end_inits(self):
        """Let init containers that run come to their end; returns whether any did."""
        busy = [
            c
            for c in self.containers.values()
            if c.name.startswith("init") and c.state is EngineState.RUNNING
        ]
        for container in busy:
            self.end(container.id, 0)
        return bool(busy)

    def end(self, container_id, exit_code):
        for key, c in self.containers.items():
            if c.id == container_id and c.state is EngineState.RUNNING:
                self.containers[key] = with_fields(
                    c, state=EngineState.EXITED, exit_code=exit_code, finished_at=self.now
                )


def drive(engine, memory=None, *, wanted=True, rounds=200, waits=0):
    """Run the machine until it asks for nothing; returns its last decision."""
    memory = memory or PodMemory()
    for _ in range(rounds):
        target = DesiredPod(engine.pod, START, "192.0.2.1", "test") if wanted else None
        decision = reconcile(target, engine.observe(), memory, engine.now)
        memory = decision.memory
        if decision.status is not None:
            engine.pod = replace_status(engine.pod, decision.status)
        if engine.finished:
            return decision
        if not decision.instructions:
            memory, probed = engine.probe(memory, decision)
            if engine.end_inits() or probed:
                continue
            if decision.wake_at is None or waits == 0:
                return decision
            waits -= 1
            engine.now = max(engine.now, decision.wake_at)
            continue
        for instruction in decision.instructions:
            engine.apply(instruction)
            memory = succeeded(memory, instruction)
    raise AssertionError("the machine does not come to rest")


def replace_status(pod, status):
    return Pod(pod.meta, pod.spec, status, pod.node, pod.revision, pod.digest)


policies = st.sampled_from(["Always", "OnFailure", "Never"])
pods = st.builds(
    make_pod,
    policy=policies,
    apps=st.integers(1, 3),
    inits=st.integers(0, 2),
    sidecars=st.integers(0, 2),
    watched=st.booleans(),
)


@st.composite
def observed(draw, pod):
    """Anything a host may be found in: half made, half dead, of an earlier sandbox or image."""
    sandbox = None
    attempt = draw(st.integers(0, 2))
    if draw(st.booleans()):
        sandbox = SandboxStatus(IDENTITY, f"s{attempt}", attempt, draw(st.booleans()), "10.0.0.2")
    found = {}
    for c in (*pod.spec.init_containers, *pod.spec.containers):
        home = 0  # a later attempt is of the same sandbox or a later one
        for number in sorted(draw(st.sets(st.integers(0, 4), max_size=3))):
            home = draw(st.integers(home, attempt))
            state = draw(st.sampled_from(EngineState))
            image = draw(st.sampled_from([c.image, "other"]))
            known = Container(name=c.name, image=image)
            found[c.name, number] = ContainerStatus(
                name=c.name,
                id=f"{c.name}.{number}",
                attempt=number,
                spec_hash=spec_hash(known, home),
                state=state,
                image=image,
                exit_code=draw(st.sampled_from([0, 1])) if state is EngineState.EXITED else 0,
                reason=draw(st.sampled_from(["", "StartError"]))
                if state is EngineState.CREATED
                else "",
            )
    return sandbox, found


def prepared(pod, state):
    sandbox, found = state
    return Engine(pod, sandbox, dict(found), set(found))


@settings(max_examples=300)
@given(st.data())
def test_whatever_is_found_becomes_what_is_wanted(data):
    pod = data.draw(pods)
    engine = prepared(pod, data.draw(observed(pod)))
    was_running = {
        k: c
        for k, c in engine.containers.items()
        if engine.sandbox is not None
        and engine.sandbox.running
        and c.state is EngineState.RUNNING
        and c.spec_hash == spec_hash(engine.spec(c.name), engine.sandbox.attempt)
        and c.attempt == max(n for name, n in engine.containers if name == c.name)
    }
    before = set(engine.started)
    drive(engine, waits=20)
    running = {c.name for c in engine.containers.values() if c.state is EngineState.RUNNING}
    apps = {c.name for c in pod.spec.containers}
    phase = engine.pod.status.phase
    if phase in {"Succeeded", "Failed"}:
        assert pod.spec.restart_policy != "Always"
        assert not running
        assert engine.sandbox is None or not engine.sandbox.running
        return
    assert engine.sandbox is not None
    assert engine.sandbox.running
    assert running & apps, "something of a live pod runs"
    if pod.spec.restart_policy == "Always":
        assert apps <= running
    for name, attempt in was_running:
        if name in apps:
            assert engine.containers[name, attempt].state is EngineState.RUNNING, "adopted"
            assert not {(n, a) for n, a in engine.started - before if n == name}


@given(st.data())
def test_a_settled_pod_asks_for_nothing_and_shows_the_same_status(data):
    pod = data.draw(pods)
    engine = Engine(pod)
    drive(engine)
    status, started = engine.pod.status, set(engine.started)
    engine.now += timedelta(hours=1)
    again = drive(engine)  # nothing is remembered: the scheduler was restarted
    assert engine.started == started
    assert again.instructions == ()
    assert again.status in {status, None}
    assert status.phase == "Running"
    assert status.condition("Ready").status == "True"
    assert status.pod_ip == "10.0.0.2"


@given(policies, st.integers(0, 255), st.integers(1, 6))
def test_policy_decides_what_follows_an_exit(policy, exit_code, times):
    engine = Engine(make_pod(policy))
    memory = drive(engine).memory
    for _ in range(times):
        newest = max(engine.containers.values(), key=lambda c: c.attempt)
        engine.end(newest.id, exit_code)
        memory = drive(engine, memory, waits=1).memory
    starts = len(engine.started)
    status = engine.pod.status
    if policy == "Always" or (policy == "OnFailure" and exit_code):
        assert starts == times + 1
        assert status.phase == "Running"
        assert status.container_statuses[0].restart_count == times
        assert status.container_statuses[0].last_state.terminated.exit_code == exit_code
    else:
        assert starts == 1
        assert status.phase == ("Failed" if exit_code else "Succeeded")
        assert status.container_statuses[0].state.terminated.exit_code == exit_code
    assert len(engine.containers) <= 2, "old attempts are removed"


@given(st.data())
def test_deleting_leaves_nothing_and_starts_nothing(data):
    pod = data.draw(pods)
    engine = prepared(pod, data.draw(observed(pod)))
    meta = with_fields(pod.meta, deletion_timestamp=START + timedelta(seconds=30))
    engine.pod = with_fields(pod, meta=meta)
    before = set(engine.started)
    drive(engine)
    assert engine.finished
    assert engine.observe() is None
    assert engine.started == before


@given(st.data())
def test_a_pod_that_is_not_wanted_is_removed(data):
    pod = data.draw(pods)
    engine = prepared(pod, data.draw(observed(pod)))
    before = set(engine.started)
    drive(engine, wanted=False)
    assert engine.observe() is None
    assert engine.started == before
    assert not engine.finished


@given(st.data())
def test_a_finished_pod_is_never_started_again(data):
    pod = data.draw(pods)
    engine = prepared(pod, data.draw(observed(pod)))
    engine.pod = replace_status(
        pod, PodStatus(phase=data.draw(st.sampled_from(["Succeeded", "Failed"])))
    )
    before = set(engine.started)
    drive(engine)
    assert engine.started == before
    assert not [c for c in engine.containers.values() if c.state is EngineState.RUNNING]
    assert engine.sandbox is None or not engine.sandbox.running


@given(pods.filter(lambda p: p.spec.restart_policy != "Never"))
def test_a_dead_sandbox_is_followed_by_another_with_every_container(pod):
    engine = Engine(pod)
    memory = drive(engine).memory
    engine.sandbox = with_fields(engine.sandbox, running=False)
    drive(engine, memory)
    assert engine.sandbox.running
    assert engine.sandbox.attempt == 1
    apps = {c.name for c in pod.spec.containers}
    fresh = [
        c
        for c in engine.containers.values()
        if c.state is EngineState.RUNNING and c.spec_hash.endswith(".1")
    ]
    assert apps <= {c.name for c in fresh}
    inits = [c for c in pod.spec.init_containers if c.name.startswith("init")]
    assert all((c.name, 1) in engine.started for c in inits), "init containers ran again"


@given(st.integers(1, 12))
def test_refusals_wait_longer_each_time_and_never_end(times):
    pod = make_pod()
    engine = Engine(pod)
    memory, waits = PodMemory(), []
    engine.apply(EnsureSandbox(0))
    for _ in range(times):
        target = DesiredPod(pod, START, "192.0.2.1", "test")
        decision = reconcile(target, engine.observe(), memory, engine.now)
        assert decision.instructions == (PullImage("app0", 0),)
        memory = failed(
            decision.memory, decision.instructions[0], "ErrImagePull", "no such image", engine.now
        )
        decision = reconcile(target, engine.observe(), memory, engine.now)
        assert decision.instructions == ()
        assert decision.status.container_statuses[0].state.waiting.reason == "ErrImagePull"
        later = reconcile(target, engine.observe(), memory, decision.wake_at)
        assert later.status.container_statuses[0].state.waiting.reason == "ImagePullBackOff"
        assert later.status.phase == "Pending"
        waits.append(later.wake_at - engine.now)
        engine.now = later.wake_at
    assert waits == [timedelta(seconds=min(300, 10 * 2**i)) for i in range(times)]


class Mishap(Enum):
    """What may come between a decision and its outcome."""

    NONE = auto()
    LOST = auto()  # the call never reached the host
    UNHEARD = auto()  # it did, but the answer got lost
    FORGOTTEN = auto()  # the scheduler was killed after the call
    CRASH = auto()  # a container exits meanwhile
    SANDBOX = auto()  # the sandbox dies meanwhile
    SICK = auto()  # a liveness probe fails meanwhile
    POWER = auto()  # everything dies meanwhile


def suffer(engine, mishap, draw):
    running = [c for c in engine.containers.values() if c.state is EngineState.RUNNING]
    if mishap is Mishap.CRASH and running:
        engine.end(draw(st.sampled_from(running)).id, draw(st.sampled_from([0, 1, 137])))
    if mishap in {Mishap.SANDBOX, Mishap.POWER} and engine.sandbox is not None:
        engine.sandbox = with_fields(engine.sandbox, running=False)
    if mishap is Mishap.POWER:
        for container in running:
            engine.end(container.id, 137)


@settings(max_examples=200)
@given(st.data())
def test_no_mishap_starts_anything_twice_and_all_is_well_in_the_end(data):
    engine = Engine(data.draw(pods))
    memory = PodMemory()
    for mishap in data.draw(st.lists(st.sampled_from(Mishap), max_size=25)):
        target = DesiredPod(engine.pod, START, "192.0.2.1", "test")
        decision = reconcile(target, engine.observe(), memory, engine.now)
        memory = decision.memory
        if data.draw(st.booleans()):  # the status may or may not have been written
            engine.pod = replace_status(engine.pod, decision.status or engine.pod.status)
        for instruction in decision.instructions:
            if isinstance(instruction, RunPostStart):
                engine.hooked.clear()  # a leader that did not hear of it runs a hook again
            if mishap is not Mishap.LOST:
                engine.apply(instruction)
            if mishap not in {Mishap.LOST, Mishap.UNHEARD}:
                memory = succeeded(memory, instruction)
        if not decision.instructions:
            engine.end_inits()
            engine.now += timedelta(seconds=data.draw(st.integers(0, 700)))
        if mishap is Mishap.FORGOTTEN:
            memory = PodMemory()
        if mishap is Mishap.SICK and decision.watches:
            watch = data.draw(st.sampled_from(decision.watches))
            health = after_probe(memory.of(watch.container).health, watch, success=False)
            memory = memory.with_health(watch.container, health)
        suffer(engine, mishap, data.draw)
    engine.hooked.clear()
    drive(engine, memory, waits=20)
    status = engine.pod.status
    running = {c.name for c in engine.containers.values() if c.state is EngineState.RUNNING}
    if status.phase in {"Succeeded", "Failed"}:
        assert engine.pod.spec.restart_policy != "Always"
        assert not running
    else:
        assert status.phase == "Running"
        assert engine.sandbox.running
        assert running
    if engine.pod.spec.restart_policy == "Always":
        assert status.condition("Ready").status == "True"
        assert {c.name for c in engine.pod.spec.containers} <= running
    if engine.pod.spec.restart_policy == "Never":
        apps = {c.name for c in engine.pod.spec.containers}
        assert all(attempt == 0 for name, attempt in engine.started if name in apps)


@given(pods, st.data())
def test_only_what_is_sick_is_restarted(pod, data):
    """A healthy container keeps its attempt, whatever befalls the others."""
    engine = Engine(pod)
    memory = drive(engine).memory
    every = [c.name for c in (*pod.spec.init_containers, *pod.spec.containers)]
    stays = [name for name in every if not name.startswith("init")]
    sick = data.draw(st.sets(st.sampled_from(stays), max_size=len(stays)))
    for name in sick:
        memory = memory.with_health(name, Health(0, hooked=True, started=True, doom=Doom("sick")))
    drive(engine, memory, waits=5)
    again = {name for name, attempt in engine.started if attempt > 0}
    if pod.spec.restart_policy == "Never":
        assert again <= {name for name in sick if name.startswith("side")}
    else:
        assert again == sick
    if engine.pod.status.phase == "Running":
        for name in set(stays) - sick:
            assert engine.containers[name, 0].state is EngineState.RUNNING


@given(pods)
def test_a_pod_that_is_deleted_while_it_runs_ends_in_order(pod):
    engine = Engine(pod)
    memory = drive(engine).memory
    meta = with_fields(pod.meta, deletion_timestamp=START + timedelta(seconds=30))
    engine.pod = with_fields(engine.pod, meta=meta)
    drive(engine, memory)
    assert engine.finished
