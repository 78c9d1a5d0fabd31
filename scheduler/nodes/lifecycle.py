"""The life of a pod on a host: a pure machine from what is wanted and seen to what to do next.

A pod is a sandbox and containers that live in it. Every restart is a new attempt with its own
name, so an instruction may be repeated at will: an attempt that exists is adopted, never doubled.
The machine is level-triggered; it is asked again after every round of instructions and its
answer depends on nothing but its arguments (Kubernetes: kubelet's computePodActions and SyncPod).
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..drivers import ContainerStatus, EngineState, PodObservation
from ..objects.pod import (
    Container,
    ContainerStateTerminated,
    ContainerStateWaiting,
    Pod,
    PodContainerStatus,
    PodStatus,
)
from .instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    Instruction,
    PullImage,
    RemoveContainer,
    RemovePod,
    RemoveSandbox,
    StopContainer,
    StopSandbox,
)
from .memory import PodMemory, crashed
from .pod_status import ContainerReport, PodReport, build_status, ended, restartable
from .verdict import Fate, Verdict, judge

_SHOWN = timedelta(seconds=2)  # how long ErrImagePull is shown before ImagePullBackOff


@dataclass(frozen=True, slots=True)
class DesiredPod:
    """A pod that the store has bound to this host.

    Args:
        bound_at: when its binding was written.
        host_ip: of the node.
        runtime: the engine's word, e.g. "docker"; prefixes container ids.
    """

    pod: Pod
    bound_at: datetime
    host_ip: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth an event of the pod."""

    type: str
    reason: str
    message: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Args:
        instructions: EnsureContainers in their order, everything else at once.
        status: to show; None leaves the status as it is.
        memory: to pass in next time.
        wake_at: when to ask again even if nothing happens.
    """

    instructions: tuple[Instruction, ...]
    status: PodStatus | None
    memory: PodMemory
    wake_at: datetime | None = None
    notices: tuple[Notice, ...] = ()


def spec_hash(container: Container, sandbox_attempt: int) -> str:
    """Return the identity of a container beyond its name: what runs, and in which sandbox.

    Only name and image count (as in kubelet): the rest of a pod's containers cannot change, and a
    hash over every field would restart the world when Ironfree learns a new one.
    """
    text = f"{container.name}\0{container.image}".encode()
    return f"{hashlib.blake2b(text, digest_size=8).hexdigest()}.{sandbox_attempt}"


def reconcile(
    desired: DesiredPod | None,
    observed: PodObservation | None,
    memory: PodMemory,
    now: datetime,
) -> Decision:
    """Decide the next step towards the desired state.

    Args:
        desired: None when the store has no such pod on this host: whatever is there must go.
        observed: what the host has of it, None for nothing. The caller has looked: "not looked
            yet" or "the host does not answer" is no observation, and then this is not called.
        memory: from the previous decision and the outcomes since.
        now: UTC.
    """
    if desired is None:
        uid = observed.identity.uid if observed else ""
        return Decision((RemovePod(uid),) if observed else (), None, memory)
    case = _Case(desired, observed, _seen(memory, observed), now)
    if desired.pod.meta.deletion_timestamp is not None:
        return _delete(case)
    if desired.pod.terminal:
        return _settle(case)
    return _run(case)


def _seen(memory: PodMemory, observed: PodObservation | None) -> PodMemory:
    """Remember the newest sandbox attempt that left a trace on the host."""
    if observed is None:
        return memory
    attempts = [_sandbox_of(c) for c in observed.containers]
    if observed.sandbox is not None:
        attempts.append(observed.sandbox.attempt)
    newest = max(attempts, default=-1) + 1
    if newest <= memory.sandbox_attempts:
        return memory
    return replace(memory, sandbox_attempts=newest)


def _sandbox_of(container: ContainerStatus) -> int:
    suffix = container.spec_hash.rpartition(".")[2]
    return int(suffix) if suffix.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class _Case:
    """One pod at one moment."""

    desired: DesiredPod
    observed: PodObservation | None
    memory: PodMemory
    now: datetime

    @property
    def pod(self) -> Pod:
        return self.desired.pod

    @property
    def sandbox_attempt(self) -> int | None:
        """The running sandbox's attempt, None when none runs."""
        sandbox = self.observed.sandbox if self.observed else None
        return sandbox.attempt if sandbox and sandbox.running else None

    @property
    def live_sandbox_id(self) -> str | None:
        sandbox = self.observed.sandbox if self.observed else None
        return sandbox.id if sandbox and sandbox.running else None

    def history(self, name: str) -> Sequence[ContainerStatus]:
        """Return a container's attempts, newest first."""
        found = [c for c in (self.observed.containers if self.observed else ()) if c.name == name]
        return sorted(found, key=lambda c: c.attempt, reverse=True)

    def running(self, names: Iterable[str] | None = None) -> Sequence[ContainerStatus]:
        """Return every running container of the pod, or those of the names."""
        present = self.observed.containers if self.observed else ()
        wanted = None if names is None else frozenset(names)
        return [
            c
            for c in present
            if c.state is EngineState.RUNNING and (wanted is None or c.name in wanted)
        ]

    def shown(self, name: str) -> PodContainerStatus | None:
        """Return the status the store shows of a container."""
        status = self.pod.status
        both = (*status.container_statuses, *status.init_container_statuses)
        return next((s for s in both if s.name == name), None)

    def current(self, container: Container, status: ContainerStatus) -> bool:
        """Return whether it is what the spec asks for, in the sandbox that runs now."""
        attempt = self.sandbox_attempt
        return attempt is not None and status.spec_hash == spec_hash(container, attempt)

    def verdict(self, container: Container, *, init: bool) -> Verdict:
        """Judge one container."""
        history = self.history(container.name)
        latest = history[0] if history else None
        return judge(
            container,
            latest,
            policy=self._policy(container, init=init),
            current=latest is not None and self.current(container, latest),
            shown=self.shown(container.name),
            memory=self.memory,
            now=self.now,
        )

    def _policy(self, container: Container, *, init: bool) -> str:
        pod = self.pod.spec.restart_policy
        if not init:
            return pod
        if restartable(container):
            return "Always"
        fresh = self.sandbox_attempt is None or self.memory.sandbox_made
        return f"Init{'Never' if pod == 'Never' else 'OnFailure'}{'Fresh' if fresh else ''}"


def _stops(containers: Iterable[ContainerStatus], grace: int, why: str) -> tuple[Instruction, ...]:
    return tuple(StopContainer(c.name, c.id, grace, f"{why} {c.name}") for c in containers)


# --- deleting -------------------------------------------------------------------------------


def _delete(case: _Case) -> Decision:
    """Stop apps, then sidecars, with the grace that is left; remove; let the object go."""
    meta = case.pod.meta
    if case.observed is None:
        return Decision((FinishDeletion(meta.uid),), None, case.memory)
    report = _report(case, _verdicts(case), ended=not case.running())
    left = (meta.deletion_timestamp - case.now).total_seconds() if meta.deletion_timestamp else 0.0
    running = _stop_order(case)
    if not running:
        return _decide(case, report, (RemovePod(meta.uid),))
    grace = max(1, math.ceil(left))
    return _decide(case, report, _stops(running, grace, "Stopping container"))


def _stop_order(case: _Case) -> Sequence[ContainerStatus]:
    """Return what to stop now: sidecars only when no other container runs any more."""
    sidecars = [c.name for c in case.pod.spec.init_containers if restartable(c)]
    others = [c for c in case.running() if c.name not in sidecars]
    return others or case.running()


def _settle(case: _Case) -> Decision:
    """A pod that is Succeeded or Failed runs nothing and holds no ports; its logs stay."""
    grace = case.pod.spec.termination_grace_period_seconds
    running = _stop_order(case)
    if running:
        return Decision(_stops(running, grace, "Stopping container"), None, case.memory)
    sandbox = case.live_sandbox_id
    return Decision((StopSandbox(sandbox),) if sandbox else (), None, case.memory)


# --- running --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Verdicts:
    apps: Sequence[tuple[Container, Verdict]]
    inits: Sequence[tuple[Container, Verdict]]

    @property
    def all(self) -> Sequence[tuple[Container, Verdict]]:
        return (*self.inits, *self.apps)


def _verdicts(case: _Case) -> _Verdicts:
    spec = case.pod.spec
    return _Verdicts(
        apps=[(c, case.verdict(c, init=False)) for c in spec.containers],
        inits=[(c, case.verdict(c, init=True)) for c in spec.init_containers],
    )


def _run(case: _Case) -> Decision:
    verdicts = _verdicts(case)
    case = replace(case, memory=_with_crashes(case.memory, verdicts))
    if _doomed(case, verdicts):
        verdicts = _given_up(verdicts)
    if _finished(verdicts):
        return _finish(case, verdicts)
    stops = _replacements(case, verdicts)
    if case.sandbox_attempt is None:
        case = replace(case, memory=_with_sandbox_crash(case))
        steps, wake = _sandbox_steps(case, stops)
    else:
        steps, wake = _container_steps(case, verdicts)
        steps = (*stops, *steps, *_garbage(case))
    return _decide(case, _report(case, verdicts), steps, wake, _notices(case, verdicts))


def _with_crashes(memory: PodMemory, verdicts: _Verdicts) -> PodMemory:
    for container, verdict in verdicts.all:
        known = memory.of(container.name)
        if verdict.crash is not None and verdict.crash != known.crash:
            memory = memory.with_container(container.name, replace(known, crash=verdict.crash))
    return memory


def _with_sandbox_crash(case: _Case) -> PodMemory:
    """Delay the next sandbox when sandboxes keep dying."""
    memory, attempt = case.memory, case.memory.sandbox_attempts - 1
    known = memory.sandbox_crash
    if attempt < 0 or (known is not None and known.attempt >= attempt):
        return memory
    dead = case.observed.sandbox if case.observed else None
    made = dead.created_at if dead else None
    ran = case.now - made if made else timedelta(0)
    return replace(memory, sandbox_crash=crashed(known, attempt, ran, case.now))


def _doomed(case: _Case, verdicts: _Verdicts) -> bool:
    """Return whether a Never pod has lost its sandbox: it gets no other (kubelet)."""
    if case.pod.spec.restart_policy != "Never" or case.sandbox_attempt is not None:
        return False
    ran = case.observed is not None and any(
        c.state is EngineState.RUNNING or ended(c) for c in case.observed.containers
    )
    return ran or any(v.lost is not None for _, v in verdicts.all)


def _given_up(verdicts: _Verdicts) -> _Verdicts:
    def give_up(verdict: Verdict) -> Verdict:
        if verdict.fate in {Fate.DONE, Fate.KEEP, Fate.REPLACE}:
            return verdict
        end = ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The pod's sandbox died before the container could be started",
        )
        return Verdict(Fate.DONE, verdict.attempt, lost=verdict.lost or end, succeeded=False)

    return _Verdicts(
        apps=[(c, give_up(v)) for c, v in verdicts.apps],
        inits=[(c, give_up(v)) for c, v in verdicts.inits],
    )


def _finished(verdicts: _Verdicts) -> bool:
    """Return whether nothing of the pod will ever be started again."""
    failed_init = any(
        v.fate is Fate.DONE and not v.succeeded for c, v in verdicts.inits if not restartable(c)
    )
    return failed_init or all(v.fate is Fate.DONE for _, v in verdicts.apps)


def _finish(case: _Case, verdicts: _Verdicts) -> Decision:
    """Stop sidecars, then the sandbox; only then is the pod Succeeded or Failed."""
    running = _stop_order(case)
    sandbox = case.live_sandbox_id
    steps: tuple[Instruction, ...] = ()
    if running:
        grace = case.pod.spec.termination_grace_period_seconds
        steps = _stops(running, grace, "Stopping container")
    elif sandbox is not None:
        steps = (StopSandbox(sandbox),)
    return _decide(case, _report(case, verdicts, ended=not running, hold=bool(steps)), steps)


def _replacements(case: _Case, verdicts: _Verdicts) -> tuple[Instruction, ...]:
    """Stop what runs but should not: an old image, a dead sandbox, an attempt left behind."""
    wrong: list[ContainerStatus] = []
    for container, verdict in verdicts.all:
        history = case.history(container.name)
        older = history if verdict.fate is Fate.REPLACE else history[1:]
        wrong += [c for c in older if c.state is EngineState.RUNNING]
    grace = case.pod.spec.termination_grace_period_seconds
    return _stops(wrong, grace, "Replacing container")


def _sandbox_steps(
    case: _Case, stops: tuple[Instruction, ...]
) -> tuple[tuple[Instruction, ...], datetime | None]:
    if stops:
        return stops, None
    dead = case.observed.sandbox if case.observed else None
    if dead is not None:
        return (RemoveSandbox(dead.id),), None
    failure, crash = case.memory.sandbox_failure, case.memory.sandbox_crash
    waits = [failure.retry_at] if failure else []
    waits += [crash.until] if crash else []
    if max(waits, default=case.now) > case.now:
        return (), max(waits)
    return (EnsureSandbox(case.memory.sandbox_attempts),), None


def _container_steps(
    case: _Case, verdicts: _Verdicts
) -> tuple[tuple[Instruction, ...], datetime | None]:
    """Start init containers one after another, then the apps."""
    steps: list[Instruction] = []
    wakes: list[datetime] = []
    initialized = _initialized(case, verdicts)
    for container, verdict in verdicts.inits:
        sidecar = restartable(container)
        if initialized and not sidecar:
            continue
        _start(case, container, verdict, steps, wakes)
        passed = verdict.fate is (Fate.KEEP if sidecar else Fate.DONE)
        if not initialized and not passed:
            return tuple(steps), _earliest(wakes)
    for container, verdict in verdicts.apps:
        _start(case, container, verdict, steps, wakes)
    return tuple(steps), _earliest(wakes)


def _initialized(case: _Case, verdicts: _Verdicts) -> bool:
    """Return whether an app has been created in the present sandbox: init was over by then."""
    return any(
        _sandbox_of(status) == case.sandbox_attempt
        for container, _ in verdicts.apps
        for status in case.history(container.name)
    )


def _start(
    case: _Case,
    container: Container,
    verdict: Verdict,
    steps: list[Instruction],
    wakes: list[datetime],
) -> None:
    if verdict.fate is Fate.WAIT and verdict.until is not None:
        wakes.append(verdict.until)
        failure = case.memory.of(container.name).failure
        if failure is not None and failure.at + _SHOWN > case.now:
            wakes.append(failure.at + _SHOWN)
    if verdict.fate is not Fate.START:
        return
    if case.memory.of(container.name).pulled == verdict.attempt:
        steps.append(EnsureContainer(container.name, verdict.attempt))
    else:
        steps.append(PullImage(container.name, verdict.attempt))


def _garbage(case: _Case) -> tuple[Instruction, ...]:
    """Keep the newest attempt and the one before it (for `logs --previous`); drop older ones."""
    spec = case.pod.spec
    return tuple(
        RemoveContainer(status.name, status.id)
        for container in (*spec.init_containers, *spec.containers)
        for status in case.history(container.name)[2:]
        if status.state is not EngineState.RUNNING
    )


def _earliest(moments: Sequence[datetime]) -> datetime | None:
    return min(moments, default=None)


# --- reporting ------------------------------------------------------------------------------


def _report(
    case: _Case, verdicts: _Verdicts, *, ended: bool = False, hold: bool = False
) -> PodReport:
    sandbox = case.observed.sandbox if case.observed else None
    ip = sandbox.ip if sandbox and sandbox.running else ""
    if sandbox and sandbox.running and case.pod.spec.host_network:
        ip = case.desired.host_ip
    return PodReport(
        apps=[_container_report(case, c, v) for c, v in verdicts.apps],
        inits=[_container_report(case, c, v) for c, v in verdicts.inits],
        restart_policy=case.pod.spec.restart_policy,
        runtime=case.desired.runtime,
        pod_ip=ip,
        host_ip=case.desired.host_ip,
        bound_at=case.desired.bound_at,
        generation=case.pod.meta.generation,
        ended=ended,
        hold=hold,
    )


def _container_report(case: _Case, container: Container, verdict: Verdict) -> ContainerReport:
    history = case.history(container.name)
    return ContainerReport(
        container=container,
        latest=history[0] if history else None,
        previous=next((c for c in history[1:] if ended(c)), None),
        waiting=_waiting(case, container, verdict),
        lost=verdict.lost,
        before=case.shown(container.name),
    )


def _waiting(case: _Case, container: Container, verdict: Verdict) -> ContainerStateWaiting | None:
    if case.pod.meta.deletion_timestamp is not None:
        return None
    if verdict.fate not in {Fate.WAIT, Fate.START}:
        return None
    failure = case.memory.of(container.name).failure
    if failure is not None and failure.attempt == verdict.attempt:
        if failure.reason == "ErrImagePull" and failure.at + _SHOWN <= case.now:
            text = f'Back-off pulling image "{container.image}": {failure.message}'
            return ContainerStateWaiting("ImagePullBackOff", text)
        return ContainerStateWaiting(failure.reason, failure.message)
    if verdict.fate is Fate.WAIT and verdict.crash is not None:
        return ContainerStateWaiting("CrashLoopBackOff", _back_off(case, container, verdict))
    if verdict.lost is not None:
        return ContainerStateWaiting("ContainerCreating")
    return None


def _back_off(case: _Case, container: Container, verdict: Verdict) -> str:
    meta = case.pod.meta
    delay = verdict.crash.delay_seconds if verdict.crash else 0
    return (
        f"back-off {delay}s restarting failed container={container.name} "
        f"pod={meta.name}_{meta.namespace}({meta.uid})"
    )


def _notices(case: _Case, verdicts: _Verdicts) -> tuple[Notice, ...]:
    meta = case.pod.meta
    return tuple(
        Notice(
            "Warning",
            "BackOff",
            f"Back-off restarting failed container {container.name} in pod "
            f"{meta.name}_{meta.namespace}({meta.uid})",
            container.name,
        )
        for container, verdict in verdicts.all
        if verdict.crashed_now and verdict.fate is Fate.WAIT
    )


def _decide(
    case: _Case,
    report: PodReport,
    steps: tuple[Instruction, ...],
    wake_at: datetime | None = None,
    notices: tuple[Notice, ...] = (),
) -> Decision:
    status = build_status(report, case.pod.status, case.now)
    return Decision(steps, status, case.memory, wake_at, notices)
