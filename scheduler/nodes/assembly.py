"""How a pod that shall run is put together: a sandbox, files in its volumes, containers in order.

Pure. Each answer is what to do next and when to ask again even if nothing happens; what has been
done is seen next time, and what has failed is not tried before its time.
"""

from datetime import datetime

from ..drivers import EngineState
from ..objects.pod import Container
from .health import post_start
from .instructions import (
    EnsureContainer,
    EnsureSandbox,
    Instruction,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    RunPostStart,
    WriteVolumes,
)
from .pod_case import PodCase, Verdicts, sandbox_of
from .pod_report import SHOWN
from .pod_status import restartable
from .verdict import Fate, Verdict
from .volume_content import version, written

Steps = tuple[tuple[Instruction, ...], datetime | None]
"""Instructions, and when to ask again."""


def sandbox_steps(case: PodCase) -> Steps:
    """Return what brings a pod to a sandbox that runs: the dead one goes first."""
    dead = case.observed.sandbox if case.observed else None
    if dead is not None:
        return (RemoveSandbox(dead.id),), None
    failure, crash = case.memory.sandbox_failure, case.memory.sandbox_crash
    waits = [failure.retry_at] if failure and failure.holds(case.now) else []
    waits += [crash.until] if crash and crash.holds(case.now) else []
    if waits:
        return (), max(waits)
    return (EnsureSandbox(case.memory.sandbox_attempts),), None


def container_steps(case: PodCase, verdicts: Verdicts, attempt: int) -> Steps:
    """Return what its containers need next in a sandbox that runs.

    Args:
        attempt: of the sandbox.
    """
    writing, wake = _volume_steps(case, attempt)
    steps = (*writing, *_garbage(case))
    if not _has_volumes(case, attempt):
        return steps, wake
    starts, later = _start_steps(case, verdicts)
    return (*steps, *starts), earliest(wake, later)


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of some moments, None when there is none."""
    return min((moment for moment in moments if moment is not None), default=None)


def _volume_steps(case: PodCase, attempt: int) -> Steps:
    """Write the files of volumes when they are new or stale."""
    wanted, memory = version(case.pod, attempt, access=case.has_access), case.memory
    if wanted == memory.volumes or not wanted:
        return (), None
    failure = memory.volumes_failure
    if failure is not None and failure.attempt == attempt and failure.holds(case.now):
        return (), failure.retry_at
    return (WriteVolumes(attempt, wanted),), None


def _has_volumes(case: PodCase, attempt: int) -> bool:
    """Return whether containers find files in their volumes, though maybe stale ones."""
    some = written(case.pod) or case.has_access
    return not some or case.memory.volumes_attempt == attempt


def _start_steps(case: PodCase, verdicts: Verdicts) -> Steps:
    """Start ephemeral containers, init containers one after another, then the apps."""
    steps: list[Instruction] = []
    wakes: list[datetime] = []
    for container, verdict in verdicts.ephemerals:
        _start(case, container, verdict, steps, wakes)
    initialized = _initialized(case, verdicts)
    for container, verdict in verdicts.inits:
        sidecar = restartable(container)
        if initialized and not sidecar:
            continue
        held = _start(case, container, verdict, steps, wakes)
        passed = _has_started(case, container, verdict) if sidecar else verdict.fate is Fate.DONE
        if held or (not initialized and not passed):
            return tuple(steps), earliest(*wakes)
    for container, verdict in verdicts.apps:
        if _start(case, container, verdict, steps, wakes):
            break
    return tuple(steps), earliest(*wakes)


def _has_started(case: PodCase, container: Container, verdict: Verdict) -> bool:
    if verdict.fate is not Fate.KEEP:
        return False
    return bool(case.health(container, case.history(container.name)[0]).started)


def _initialized(case: PodCase, verdicts: Verdicts) -> bool:
    """Return whether an app has been created in the present sandbox: init was over by then."""
    return any(
        sandbox_of(status) == case.sandbox_attempt
        for container, _ in verdicts.apps
        for status in case.history(container.name)
    )


def _start(
    case: PodCase,
    container: Container,
    verdict: Verdict,
    steps: list[Instruction],
    wakes: list[datetime],
) -> bool:
    """Add the next step of one container; returns whether it keeps those after it waiting.

    A postStart hook does: kubelet starts the next container when it is over.
    """
    hook = post_start(container) is not None
    if verdict.fate is Fate.KEEP and hook:
        status = case.history(container.name)[0]
        if not case.health(container, status).hooked:
            steps.append(RunPostStart(container.name, status.id, status.attempt))
            return True
    if verdict.fate is Fate.WAIT and verdict.until is not None:
        wakes.append(verdict.until)
        failure = case.memory.of(container.name).failure
        if failure is not None and failure.at + SHOWN > case.now:
            wakes.append(failure.at + SHOWN)
    if verdict.fate is not Fate.START:
        return False
    if case.memory.of(container.name).pulled == verdict.attempt:
        steps.append(EnsureContainer(container.name, verdict.attempt))
    else:
        steps.append(PullImage(container.name, verdict.attempt))
    return hook


def _garbage(case: PodCase) -> tuple[Instruction, ...]:
    """Keep the newest attempt and the one before it (for `logs --previous`); drop older ones."""
    spec = case.pod.spec
    return tuple(
        RemoveContainer(status.name, status.id)
        for container in (*spec.init_containers, *spec.containers)
        for status in case.history(container.name)[2:]
        if status.state is not EngineState.RUNNING
    )
