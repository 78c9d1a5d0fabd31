"""What a pod's status is built from, put together from one moment of its life."""

from datetime import timedelta

from ..drivers import EngineState
from ..objects.pod import Container, ContainerStateWaiting
from .pod_case import PodCase, Verdicts
from .pod_status import ContainerReport, PodFailure, PodReport, ended, failed_start
from .verdict import Fate, Verdict

SHOWN = timedelta(seconds=2)  # how long ErrImagePull is shown before ImagePullBackOff
BACK_OFF = "ImagePullBackOff"


def report_of(
    case: PodCase,
    verdicts: Verdicts,
    *,
    over: bool = False,
    hold: bool = False,
    failure: PodFailure | None = None,
) -> PodReport:
    """Return what the pod's status is built from.

    Args:
        over: nothing of the pod runs or will be started again.
        hold: do not show a final phase yet.
        failure: the pod has failed as a whole, and why.
    """
    sandbox = case.observed.sandbox if case.observed else None
    ip = sandbox.ip if sandbox and sandbox.running else ""
    if sandbox and sandbox.running and case.pod.spec.host_network:
        ip = case.desired.host_ip
    return PodReport(
        apps=[_container_report(case, c, v) for c, v in verdicts.apps],
        inits=[_container_report(case, c, v) for c, v in verdicts.inits],
        ephemerals=[_container_report(case, c, v) for c, v in verdicts.ephemerals],
        restart_policy=case.pod.spec.restart_policy,
        runtime=case.desired.runtime,
        pod_ip=ip,
        host_ip=case.desired.host_ip,
        bound_at=case.desired.bound_at,
        generation=case.pod.meta.generation,
        again=any(v.fate in {Fate.START, Fate.WAIT} for _, v in verdicts.apps),
        ended=over,
        hold=hold,
        gates=tuple(gate.condition_type for gate in case.pod.spec.readiness_gates),
        failure=failure,
    )


def _container_report(case: PodCase, container: Container, verdict: Verdict) -> ContainerReport:
    history = case.history(container.name)
    latest = history[0] if history else None
    runs = latest is not None and latest.state is EngineState.RUNNING
    return ContainerReport(
        container=container,
        latest=latest,
        previous=next((c for c in history[1:] if ended(c)), None),
        waiting=_waiting(case, container, verdict),
        lost=verdict.lost,
        before=case.shown(container.name),
        health=case.health(container, latest) if runs and latest else None,
    )


def _waiting(case: PodCase, container: Container, verdict: Verdict) -> ContainerStateWaiting | None:
    if case.pod.meta.deletion_timestamp is not None:
        return None
    if verdict.fate not in {Fate.WAIT, Fate.START}:
        return None
    failure = case.memory.of(container.name).failure
    if failure is not None and failure.attempt == verdict.attempt:
        if failure.reason == "ErrImagePull" and failure.at + SHOWN <= case.now:
            text = f'Back-off pulling image "{container.image}": ErrImagePull: {failure.message}'
            return ContainerStateWaiting(BACK_OFF, text)
        return ContainerStateWaiting(failure.reason, failure.message)
    if verdict.fate is Fate.WAIT and verdict.crash is not None:
        return ContainerStateWaiting("CrashLoopBackOff", _back_off(case, container, verdict))
    history = case.history(container.name)
    if history and failed_start(history[0]):
        return ContainerStateWaiting("RunContainerError", history[0].message)
    if verdict.lost is not None:
        return ContainerStateWaiting("ContainerCreating")
    return None


def _back_off(case: PodCase, container: Container, verdict: Verdict) -> str:
    meta = case.pod.meta
    delay = verdict.crash.delay_seconds if verdict.crash else 0
    return (
        f"back-off {delay}s restarting failed container={container.name} "
        f"pod={meta.name}_{meta.namespace}({meta.uid})"
    )
