"""The life of a pod on a host: a pure machine from what is wanted and seen to what to do next.

A pod is a sandbox and containers that live in it. Every restart is a new attempt with its own
name, so an instruction may be repeated at will: an attempt that exists is adopted, never doubled.
The machine is level-triggered; it is asked again after every round of instructions and its
answer depends on nothing but its arguments (Kubernetes: kubelet's computePodActions and SyncPod).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from msgspec.structs import replace as with_fields

from ..drivers import ContainerStatus, EngineState, PodObservation
from ..objects.disruption import BY_KUBELET, TARGET
from ..objects.pod import Condition, ContainerStateTerminated, PodStatus
from .assembly import container_steps, earliest, sandbox_steps
from .health import ProbeKind, Watch, watches
from .instructions import FinishDeletion, Instruction, RemovePod, StopContainer, StopSandbox
from .memory import Eviction, PodMemory, crashed
from .pod_case import DesiredPod, PodCase, Verdicts, judged, sandbox_of, spec_hash
from .pod_report import BACK_OFF, report_of
from .pod_status import PodFailure, PodReport, build_status, ended, restartable
from .verdict import Fate, Verdict

_EXPIRED = PodFailure(
    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
)
_EVICTION_GRACE = 1  # seconds, kubelet's for thresholds that are hard

__all__ = ["Decision", "DesiredPod", "Notice", "reconcile", "spec_hash"]


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
        watches: the probes that should be going on.
    """

    instructions: tuple[Instruction, ...]
    status: PodStatus | None
    memory: PodMemory
    wake_at: datetime | None = None
    notices: tuple[Notice, ...] = ()
    watches: tuple[Watch, ...] = ()


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
    case = PodCase(desired, observed, _seen(memory, observed), now)
    if desired.pod.meta.deletion_timestamp is not None:
        return _delete(case)
    if desired.pod.terminal:
        return _settle(case)
    eviction = _eviction(case)
    if eviction is not None:
        return _evict(case, eviction)
    deadline = _deadline(case)
    if deadline is not None and case.now >= deadline:
        return _fail(case, _EXPIRED, case.pod.spec.termination_grace_period_seconds)
    return _run(case)


def _seen(memory: PodMemory, observed: PodObservation | None) -> PodMemory:
    """Remember the newest sandbox attempt that left a trace on the host."""
    if observed is None:
        return memory
    attempts = [sandbox_of(c) for c in observed.containers]
    if observed.sandbox is not None:
        attempts.append(observed.sandbox.attempt)
    newest = max(attempts, default=-1) + 1
    if newest <= memory.sandbox_attempts:
        return memory
    return replace(memory, sandbox_attempts=newest)


def _stops(containers: Iterable[ContainerStatus], grace: int, why: str) -> tuple[Instruction, ...]:
    return tuple(StopContainer(c.name, c.id, grace, f"{why} {c.name}") for c in containers)


# --- deleting -------------------------------------------------------------------------------


def _delete(case: PodCase) -> Decision:
    """Stop apps, then sidecars, with the grace that is left; remove; let the object go."""
    meta = case.pod.meta
    if case.observed is None:
        return Decision((FinishDeletion(meta.uid),), None, case.memory)
    verdicts = judged(case)
    report = report_of(case, verdicts, over=not case.running())
    left = (meta.deletion_timestamp - case.now).total_seconds() if meta.deletion_timestamp else 0.0
    granted = meta.deletion_grace_period_seconds  # bounds it, should a clock have been set back
    running = _stop_order(case)
    if not running:
        return _decide(case, report, (RemovePod(meta.uid),))
    grace = max(1, math.ceil(left if granted is None else min(left, granted)))
    steps = _stops(running, grace, "Stopping container")
    return _decide(case, report, steps, watches=_watches(case, verdicts, over=True))


def _stop_order(case: PodCase) -> Sequence[ContainerStatus]:
    """Return what to stop now: sidecars after all others, the one that started last first."""
    sidecars = [c.name for c in case.pod.spec.init_containers if restartable(c)]
    others = [c for c in case.running() if c.name not in sidecars]
    if others:
        return others
    return next((s for name in reversed(sidecars) if (s := case.running((name,)))), ())


def _settle(case: PodCase) -> Decision:
    """A pod that is Succeeded or Failed runs nothing and holds no ports.

    Its logs stay, unless the host needs the room.
    """
    grace = case.pod.spec.termination_grace_period_seconds
    running = _stop_order(case)
    if running:
        return Decision(_stops(running, grace, "Stopping container"), None, case.memory)
    if case.memory.cleared and case.observed is not None:
        return Decision((RemovePod(case.pod.meta.uid),), None, case.memory)
    sandbox = case.live_sandbox_id
    return Decision((StopSandbox(sandbox),) if sandbox else (), None, case.memory)


# --- a deadline -----------------------------------------------------------------------------


def _deadline(case: PodCase) -> datetime | None:
    """Return when the pod has been active for as long as it may (activeDeadlineHandler)."""
    seconds, begun = case.pod.spec.active_deadline_seconds, case.pod.status.start_time
    return None if seconds is None or begun is None else begun + timedelta(seconds=seconds)


def _fail(case: PodCase, failure: PodFailure, grace: int) -> Decision:
    """Stop everything; then the pod has failed."""
    running, sandbox = _stop_order(case), case.live_sandbox_id
    steps: tuple[Instruction, ...] = ()
    if running:
        steps = _stops(running, grace, "Stopping container")
    elif sandbox is not None:
        steps = (StopSandbox(sandbox),)
    verdicts = judged(case)
    report = report_of(case, verdicts, over=not running, hold=bool(steps), failure=failure)
    return _decide(case, report, steps, watches=_watches(case, verdicts, over=True))


# --- an eviction ----------------------------------------------------------------------------


def _eviction(case: PodCase) -> Eviction | None:
    """Return why the pod has to go; its status remembers a disruption if this process does not."""
    target = case.pod.status.condition(TARGET)
    if target is not None and target.reason == BY_KUBELET and target.status == "True":
        return Eviction(target.message)
    return case.memory.eviction


def _evict(case: PodCase, eviction: Eviction) -> Decision:
    """Stop everything almost at once, and say so before (kubelet's evictPod)."""
    status, why = case.pod.status, eviction.why
    target = status.condition(TARGET)
    if eviction.disrupts and (target is None or target.reason != BY_KUBELET):
        now = case.now.replace(microsecond=0)
        target = Condition(TARGET, "True", BY_KUBELET, why, last_transition_time=now)
        others = tuple(c for c in status.conditions if c.type != TARGET)
        status = with_fields(status, conditions=(*others, target))
        desired = replace(case.desired, pod=with_fields(case.pod, status=status))
        case = replace(case, desired=desired)
    return _fail(case, PodFailure("Evicted", why), _EVICTION_GRACE)


# --- running --------------------------------------------------------------------------------


def _run(case: PodCase) -> Decision:
    verdicts = judged(case)
    case = replace(case, memory=_with_crashes(case.memory, verdicts))
    if _doomed(case, verdicts):
        verdicts = _given_up(verdicts)
    if _finished(verdicts):
        return _finish(case, verdicts)
    stops = _replacements(case, verdicts)
    if case.sandbox_attempt is None:
        case = replace(case, memory=_with_sandbox_crash(case))
        steps, wake = (stops, None) if stops else sandbox_steps(case)
    else:
        steps, wake = container_steps(case, verdicts, case.sandbox_attempt)
        steps = (*stops, *steps)
    wake = earliest(wake, _deadline(case))
    report = report_of(case, verdicts)
    notices = (*_notices(case, verdicts), *_pull_notices(report))
    return _decide(case, report, steps, wake, notices, _watches(case, verdicts))


def _watches(case: PodCase, verdicts: Verdicts, *, over: bool = False) -> tuple[Watch, ...]:
    """Return the probes of what runs: of what shall go on all, of the rest readiness (kubelet).

    Args:
        over: nothing of the pod shall go on.
    """
    found: list[Watch] = []
    for container, verdict in verdicts.all:
        latest = next(iter(case.history(container.name)), None)
        if latest is None or latest.state is not EngineState.RUNNING:
            continue
        kept = verdict.fate is Fate.KEEP and not over
        each = watches(container, latest, case.health(container, latest))
        found += (watch for watch in each if kept or watch.kind is ProbeKind.READINESS)
    return tuple(found)


def _with_crashes(memory: PodMemory, verdicts: Verdicts) -> PodMemory:
    for container, verdict in verdicts.all:
        known = memory.of(container.name)
        if verdict.crash is not None and verdict.crash != known.crash:
            memory = memory.with_container(container.name, replace(known, crash=verdict.crash))
    return memory


def _with_sandbox_crash(case: PodCase) -> PodMemory:
    """Delay the next sandbox when sandboxes keep dying."""
    memory, attempt = case.memory, case.memory.sandbox_attempts - 1
    known = memory.sandbox_crash
    if attempt < 0 or (known is not None and known.attempt >= attempt):
        return memory
    dead = case.observed.sandbox if case.observed else None
    made = dead.created_at if dead else None
    ran = case.now - made if made else timedelta(0)
    return replace(memory, sandbox_crash=crashed(known, attempt, ran, case.now))


def _doomed(case: PodCase, verdicts: Verdicts) -> bool:
    """Return whether a Never pod has lost its sandbox: it gets no other (kubelet)."""
    if case.pod.spec.restart_policy != "Never" or case.sandbox_attempt is not None:
        return False
    ran = case.observed is not None and any(
        c.state is EngineState.RUNNING or ended(c) for c in case.observed.containers
    )
    return ran or any(v.lost is not None for _, v in verdicts.all)


def _given_up(verdicts: Verdicts) -> Verdicts:
    def give_up(verdict: Verdict) -> Verdict:
        if verdict.fate in {Fate.DONE, Fate.KEEP, Fate.REPLACE}:
            return verdict
        end = ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The pod's sandbox died before the container could be started",
        )
        return Verdict(Fate.DONE, verdict.attempt, lost=verdict.lost or end, succeeded=False)

    return Verdicts(
        apps=[(c, give_up(v)) for c, v in verdicts.apps],
        inits=[(c, give_up(v)) for c, v in verdicts.inits],
        ephemerals=[(c, give_up(v)) for c, v in verdicts.ephemerals],
    )


def _finished(verdicts: Verdicts) -> bool:
    """Return whether nothing of the pod will ever be started again."""
    failed_init = any(
        v.fate is Fate.DONE and not v.succeeded for c, v in verdicts.inits if not restartable(c)
    )
    return failed_init or all(v.fate is Fate.DONE for _, v in verdicts.apps)


def _finish(case: PodCase, verdicts: Verdicts) -> Decision:
    """Stop sidecars, then the sandbox; only then is the pod Succeeded or Failed."""
    running = _stop_order(case)
    sandbox = case.live_sandbox_id
    steps: tuple[Instruction, ...] = ()
    if running:
        grace = case.pod.spec.termination_grace_period_seconds
        steps = _stops(running, grace, "Stopping container")
    elif sandbox is not None:
        steps = (StopSandbox(sandbox),)
    report = report_of(case, verdicts, over=not running, hold=bool(steps))
    return _decide(case, report, steps, watches=_watches(case, verdicts, over=True))


def _replacements(case: PodCase, verdicts: Verdicts) -> tuple[Instruction, ...]:
    """Stop what runs but should not: an old image, a dead sandbox, an attempt left behind.

    Also what a probe or a hook has doomed.
    """
    stops: list[Instruction] = []
    usual = case.pod.spec.termination_grace_period_seconds
    for container, verdict in verdicts.all:
        history, doom = case.history(container.name), verdict.doom
        older = history if verdict.fate is Fate.REPLACE and doom is None else history[1:]
        wrong = [c for c in older if c.state is EngineState.RUNNING]
        stops += _stops(wrong, usual, "Replacing container")
        if doom is not None:
            again = case.restarts(container)
            why = f"{doom.message}, will be restarted" if again else doom.message
            grace = usual if doom.grace_seconds is None else doom.grace_seconds
            stops.append(StopContainer(container.name, history[0].id, grace, why))
    return tuple(stops)


def _notices(case: PodCase, verdicts: Verdicts) -> tuple[Notice, ...]:
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


def _pull_notices(report: PodReport) -> Iterator[Notice]:
    """Yield kubelet's words when a pull that has failed begins to wait."""
    for each in (*report.apps, *report.inits, *report.ephemerals):
        before = each.before.state.waiting if each.before else None
        if each.waiting is None or each.waiting.reason != BACK_OFF or before == each.waiting:
            continue
        name, image = each.container.name, each.container.image
        yield Notice("Normal", "BackOff", f'Back-off pulling image "{image}"', name)
        yield Notice("Warning", "Failed", f"Error: {BACK_OFF}", name)


def _decide(
    case: PodCase,
    report: PodReport,
    steps: tuple[Instruction, ...],
    wake_at: datetime | None = None,
    notices: tuple[Notice, ...] = (),
    watches: tuple[Watch, ...] = (),
) -> Decision:
    status = build_status(report, case.pod.status, case.now)
    return Decision(steps, status, case.memory, wake_at, notices, watches)
